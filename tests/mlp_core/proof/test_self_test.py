"""Slips are noticed, one in 24 of them here and all in `mlpbp gradcheck --self-test`; and all of them fit."""

from __future__ import annotations

import os

import pytest

from mlp_core.backends.cpu.library import NoKernels, library
from mlp_core.proof.planted import CASES, SLIPS, Slip
from mlp_core.proof.self_test import self_test
from mlp_core.runs.prove import answer

EVERY = int(os.environ.get("MLPBP_SLIPS_EVERY", "24"))


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.name)
def test_every_slip_fits_the_program_as_it_is(slip: Slip) -> None:
    function = slip.plain()
    sound = function.__code__
    with slip.planted():
        assert function.__code__ is not sound
    assert function.__code__ is sound
    assert slip.case in CASES


def test_there_are_slips_of_every_kind() -> None:
    assert len(SLIPS) >= 250
    assert len(SLIPS) == len({(slip.name, slip.case) for slip in SLIPS})


def test_slips_are_noticed_and_sound_experiments_are_not_accused() -> None:
    try:
        library()
    except NoKernels as error:
        pytest.skip(str(error))
    report = self_test(SLIPS[::EVERY], answer=answer)
    assert not report.survived
    assert not report.accused
    assert report.passed


def test_a_report_names_what_was_not_caught() -> None:
    harmless = Slip(SLIPS[0].function, "theta", "theta", "plain")
    report = self_test([harmless])
    assert not report.passed
    assert report.lines()[1].endswith("caught: 0/1")
    assert report.to_json()["survived"] == (f"{harmless.name} (plain)",)


def test_a_slip_that_breaks_the_program_is_told_by_name_and_the_others_go_on() -> None:
    first = SLIPS[0]
    broken = Slip(first.function, "theta", "nobody_knows_this", "plain")
    report = self_test([Slip(first.function, "lr *", "nobody *", first.case), broken, first])
    assert not report.passed
    assert report.survived == (f"{broken.name} (plain)",)  # momentum trains there, nobody gets to it
    assert report.broken[0].startswith(first.function.__qualname__)
    assert "NameError" in report.broken[0]
    assert report.lines()[1].endswith("caught: 1/3")

"""One mutant in so many of what trains; with MLPBP_MUTANTS_EVERY=1 all of them."""

from __future__ import annotations

import ast
import inspect
import os
import sys

import pytest
from mutants import mutants, planted
from run_mutants import ROOMS, run

from mlp_core.backends.cpu.library import NoKernels, library

try:
    HERE = sys.platform == "linux" and bool(library())
except NoKernels:
    HERE = False


USUAL = {"engine": 30, "training": 300}


@pytest.mark.parametrize("room", ROOMS)
def test_every_mutant_of_a_sample_is_killed_or_known_to_be_equivalent(room):
    if room == "training" and not HERE:
        pytest.skip("its mutants are judged in processes of their own, on Linux, some with kernels")
    every, (find, known) = int(os.environ.get("MLPBP_MUTANTS_EVERY", USUAL[room])), ROOMS[room]
    outcome = run(find(), every, known=known)
    assert not outcome.wrong
    assert not outcome.survivors, "\n".join(map(str, outcome.survivors))
    assert every > 1 or not outcome.stale(), "listed as equivalent, but not among the survivors"
    assert outcome.total("killed") > 1000 // every


@pytest.mark.parametrize("room", ROOMS)
def test_equivalent_mutants_are_mutants(room):
    find, listed = ROOMS[room]
    made = [(target.name, m.before, m.after) for target in find() for m in mutants(target.function)]
    for entry in listed:
        assert entry.reason
        for name in entry.functions:
            assert any(one[0] == name and entry.matches(*one) for one in made), f"{name}: {entry.before}"


def example(x: float, flag: bool = True) -> float:
    """Something to mutate."""
    if flag and x > 1.0:
        return -x * 2
    return x


@pytest.mark.parametrize(
    "after",
    [
        *("return x * 2", "return -x / 2", "return -x * 3", "return -x", "return 2", "return -(-x * 2)"),
        *("if flag or x > 1.0:", "if flag and x >= 1.0:", "if flag and x < 1.0:", "if flag and x > 1.5:", "if True:"),
    ],
)
def test_each_kind_of_change_is_made(after):
    assert after in {mutant.after for mutant in mutants(example)}


def test_mutants_are_valid_differ_and_leave_the_function_alone():
    before, found = example(3.0), list(mutants(example))
    assert len({(m.before, m.after) for m in found}) > 15
    results = []
    for mutant in found:
        with planted(example, mutant.code):
            results.append(example(3.0))
        assert mutant.before != mutant.after
    assert example(3.0) == before
    assert sum(result != before for result in results) > 10
    assert ast.parse(inspect.getsource(example))

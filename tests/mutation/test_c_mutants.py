"""Mutants of the kernels' C: how they are made; and with MLPBP_C_MUTANTS=300 so many of them compiled and judged."""

from __future__ import annotations

import os
import sys

import pytest
from c_mutants import changes

from mlp_core.backends.cpu import compile as compiling
from mlp_core.backends.cpu.library import NoKernels, library

MANY = int(os.environ.get("MLPBP_C_MUTANTS", "0"))
C = """
/* a + b */
#define TWICE(x) (2 * (x))
static double f(const double *x, long n)
{
    double s = 0;
    for (long i = 0; i < n; i++)
        s += -x[i] * 0.5;
    if (n > 3 && s != 1)
        g("a - b", &s);
    return TWICE(s) - (double)-n;
}
"""


def _here() -> bool:
    try:
        return sys.platform == "linux" and bool(library()) and bool(compiling.compilers())
    except NoKernels:
        return False


needed = pytest.mark.skipif(not _here(), reason="no kernels, no C compiler, or no Linux")


@pytest.mark.parametrize(
    "line",
    [
        *("#define TWICE(x) (2 / (x))", "#define TWICE(x) (3 * (x))", "double s = 1;", "for (long i = 1; i < n; i++)"),
        *("for (long i = 0; i <= n; i++)", "for (long i = 0; i > n; i++)", "s -= -x[i] * 0.5;", "s = -x[i] * 0.5;"),
        *("s += x[i] * 0.5;", "s += -x[i + 1] * 0.5;", "s += -x[i] / 0.5;", "s += -x[i] * 0.75;", ";"),
        *("if (!(n > 3 && s != 1))", "if (1)", "if (0)", "if (n > 3 || s != 1)", "if (n > 3 && s == 1)"),
        *("if (n >= 3 && s != 1)", "return TWICE(s) + (double)-n;", "return TWICE(s) - (double)n;"),
    ],
)
def test_each_kind_of_change_is_made(line):
    assert line in {change.told(C)[1] for change in changes(C)}


def test_comments_texts_types_and_stars_are_left_alone():
    told = [change.told(C)[1] for change in changes(C)]
    assert not [line for line in told if "a - b" in line or "a + b" in line]  # but the call is left out as a whole
    assert not [line for line in told if "const double /" in line or "(double)+" in line]
    assert len(told) == len({(change.start, change.text) for change in changes(C)}) > 25


@needed
def test_a_source_is_cut_into_pieces_of_it():
    from c_build import pieces

    for path in compiling.sources():
        text = path.read_text()
        assert "".join(piece.text for piece in pieces(path.name, text)) == text
    named = {name for path in compiling.sources() for one in pieces(path.name, path.read_text()) for name in one.names}
    assert {"FN(norm_forward)", "FN(elu_slope)", "philox", "ROW", "least"} <= named


@needed
def test_what_a_change_touches_is_found_by_names(tmp_path):
    from c_build import Bench

    bench = Bench(tmp_path)

    def touched(file: str, text: str) -> set[str]:
        start = bench.sources[file].index(text)
        behind = [one for one in changes(bench.sources[file]) if one.start >= start]
        change = min(behind, key=lambda one: one.start)
        return {piece.text.split("(const")[0].split()[-1] for piece in bench.touched(file, change)}

    assert {"FN(norm_forward)", "FN(cross_entropy)", "FN(penalty)"} <= touched("sums.h", "(double)x[i] * ")
    assert "EACH_ACTIVATION(ACTIVATION)" in touched("formulas.h", "INLINE REAL FN(elu)")
    assert touched("units.c", "EXPORT void FN(penalty)(") == {"FN(penalty)"}


@needed
@pytest.mark.skipif(not MANY, reason="MLPBP_C_MUTANTS is not set: it takes minutes")
def test_no_mutant_survives_without_a_reason(tmp_path):
    from c_build import Bench
    from run_c_mutants import Run, asked_for, drawn

    run = Run(Bench(tmp_path), asked_for())
    for file, change in drawn(run.bench)[:MANY]:
        run.judge(file, change)
    assert not run.survivors, "\n".join(run.survivors)
    assert run.kills


@needed
@pytest.mark.skipif(not MANY, reason="MLPBP_C_MUTANTS is not set: it takes minutes")
def test_every_slip_is_noticed_by_its_own_experiment(tmp_path):
    from c_build import Bench
    from c_slips import SLIPS
    from run_c_mutants import noticed

    bench = Bench(tmp_path)
    assert [slip for slip in SLIPS if not noticed(bench, *slip)] == []

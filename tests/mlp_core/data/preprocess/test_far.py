"""Numbers of further rows in another unit are told, and rows that are drawn as the training rows never are."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.data.preprocess.cycles import WEEK, YEAR
from mlp_core.data.preprocess.far import stray_line
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor
from mlp_core.errors import CheckpointError

RNG = np.random.default_rng(3)
SCALES = ("standard", "robust", "robust_smooth")
LONGEST = "longest tail"  # Cauchy's: one row in a hundred lies a hundred spreads away
DRAWS = {
    "normal": lambda n: RNG.normal(50, 10, n),
    "long tail": lambda n: RNG.lognormal(3, 2, n),
    LONGEST: lambda n: RNG.standard_cauchy(n),
    "counts": lambda n: RNG.poisson(0.4, n).astype(float),
    "rare ones": lambda n: (RNG.random(n) < 0.1).astype(float),
    "even": lambda n: RNG.random(n),
}


def far_lines(inputs: Preprocessor, X: np.ndarray) -> list[str]:
    return inputs.far_lines(X)


def fitted(scale: str, X: np.ndarray, log: bool = False) -> Preprocessor:
    return Preprocessor(NumericPlan(scale, log=log), names=[f"x{k}" for k in range(X.shape[1])]).fit(X)


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("scale", [*SCALES, "minmax", "maxabs", "none", "quantile"])
def test_rows_that_are_drawn_as_those_of_training_give_no_line(scale: str, name: str) -> None:
    draw = DRAWS[name]
    for n in (40, 1000):
        inputs = fitted(scale, draw(n * 3).reshape(n, 3))
        for m in (9, 10, 25, 300) if name == LONGEST else (1, 9, 10, 25, 300):
            assert far_lines(inputs, draw(m * 3).reshape(m, 3)) == []


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("factor", [0.01, 100, 1000])
@pytest.mark.parametrize(("middle", "spread"), [(30, 15), (50, 10), (3, 1)])
def test_another_unit_is_told(scale: str, factor: float, middle: float, spread: float) -> None:
    X = np.abs(RNG.normal(middle, spread, (200, 2)))
    inputs = fitted(scale, X)
    other = X.copy()
    other[:, 1] *= factor
    (line,) = far_lines(inputs, other)
    assert line.startswith("numbers far from those of training: x1 (about ")
    assert line.endswith("; the same units?")
    assert far_lines(inputs, np.full((50, 2), np.nan)) == []


def test_one_row_is_told_only_where_it_cannot_be_of_training() -> None:
    inputs = fitted("robust_smooth", RNG.normal(0.5, 0.1, (200, 1)))
    assert far_lines(inputs, np.array([[2.0]])) == []
    assert far_lines(inputs, np.array([[51.0]]))


def test_logarithms_are_compared_as_such_and_shown_as_numbers() -> None:
    inputs = fitted("standard", RNG.lognormal(3, 1, (200, 1)), log=True)
    assert far_lines(inputs, RNG.lognormal(3, 1, (200, 1))) == []
    (line,) = far_lines(inputs, 1e4 * RNG.lognormal(3, 1, (200, 1)))
    assert "in training 2" in line or "in training 1" in line


def test_pictures_in_fractions_are_told_where_training_had_bytes() -> None:
    X = RNG.integers(0, 256, (100, 64)).astype(float)
    for scale in SCALES:
        assert far_lines(fitted(scale, X), X / 255)
        assert far_lines(fitted(scale, X / 255), X)
        assert far_lines(fitted(scale, X), RNG.integers(0, 256, (30, 64))) == []


def test_many_columns_make_one_line() -> None:
    X = RNG.normal(size=(100, 20))
    (line,) = far_lines(fitted("standard", X), X + 50)
    assert "x0 (" in line
    assert " and 17 more" in line


@pytest.mark.parametrize("scale", [*SCALES, "minmax", "maxabs", "none", "quantile"])
def test_a_single_absurd_number_is_told_with_its_place(scale: str) -> None:
    """Also of a model that was loaded, with gaps beside it; and not what is only somewhat outside."""
    X = RNG.uniform(0, 10, (300, 3))
    inputs = Preprocessor.from_state(fitted(scale, X).to_state())
    further = RNG.uniform(0, 10, (5000, 3))
    further[7, 0] = np.nan
    assert inputs.strays(further) == []
    further[17, 1] = 40.0
    assert inputs.strays(further) == []
    further[23, 1], further[42, 2] = 1e9, -1e9
    first, second = inputs.strays(further)
    assert (first.row, first.name, first.value) == (23, "x1", "1e+09")
    assert (second.row, second.name, second.value) == (42, "x2", "-1e+09")
    (line,) = stray_line([first], lambda row: f"f.csv:{row + 2}")
    assert line.startswith("numbers far outside all of training: x1 1e+09 (f.csv:25; in training 0.")
    assert stray_line([first] * 5, str)[0].endswith(" and in 2 more columns")


@pytest.mark.parametrize("name", sorted({*DRAWS} - {LONGEST}))
@pytest.mark.parametrize("scale", [*SCALES, "minmax", "maxabs", "none", "quantile"])
def test_no_number_that_is_drawn_as_those_of_training_is_told(scale: str, name: str) -> None:
    inputs = fitted(scale, DRAWS[name](2000 * 3).reshape(2000, 3))
    assert inputs.strays(DRAWS[name](2000 * 3).reshape(2000, 3)) == []


@pytest.mark.parametrize(("scale", "share"), [("standard", 0.02), ("maxabs", 0.12)])
def test_numbers_of_the_longest_tail_are_seldom_told(scale: str, share: float) -> None:
    """Of unknown spread, one is told that is 15 times as far out as all of training: in one column of 16."""
    draws = [RNG.standard_cauchy((2, 500, 3)) for _ in range(100)]
    assert sum(len(fitted(scale, train).strays(further)) for train, further in draws) < share * 300


def test_a_date_is_told_only_where_it_is_many_years_away() -> None:
    inputs = Preprocessor(NumericPlan("robust", cycles=(YEAR, WEEK)), names=["when"]).fit(
        RNG.uniform(19_000, 19_002, (200, 1))
    )
    assert inputs.strays(np.array([[19_700.0]])) == []
    (found,) = inputs.strays(np.array([[19_001.0], [2_932_896.0]]))
    assert (found.row, found.value, found.low) == (1, "9999-12-31", "2022-01-08")


def test_a_state_without_ranges_is_one_of_before() -> None:
    state = fitted("standard", RNG.normal(size=(50, 2))).to_state()
    del state["seen"]
    assert Preprocessor.from_state(state).strays(np.full((3, 2), 1e12)) == []
    for bad in ([[0.0], [1.0]], [[0.0, "x"], [1.0, 2.0]], [[0.0, float("nan")], [1.0, 2.0]]):
        with pytest.raises(CheckpointError):
            Preprocessor.from_state({**state, "seen": bad})

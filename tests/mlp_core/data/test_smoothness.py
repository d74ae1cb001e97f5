"""What a smooth function misses of a target: equal to leaving every row out for real, small without noise only."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.data import smoothness
from mlp_core.data.dataset import Dataset
from mlp_core.data.smoothness import missed

RNG = np.random.default_rng(3)


def rows(count: int, noise: float) -> Dataset:
    X = RNG.normal(size=(count, 3))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + noise * RNG.normal(size=count)
    return Dataset(X, y[:, None])


def test_each_row_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form beside a fit to all other rows, row by row, for one width and one ridge."""
    monkeypatch.setattr(smoothness, "WIDTHS", (4.0,))
    monkeypatch.setattr(smoothness, "RIDGES", (1e-2,))
    data = rows(40, 0.1)
    Z = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    D = ((Z[:, None] - Z[None]) ** 2).sum(axis=2)
    K = np.exp(-D / (4.0 * np.median(D[np.triu_indices(40, 1)])))
    y = (data.y[:, 0] - data.y.mean()) / data.y.std()
    wrong = []
    for i in range(40):
        rest = np.delete(np.arange(40), i)
        weights = np.linalg.solve(K[np.ix_(rest, rest)] + 1e-2 * np.eye(39), y[rest])
        wrong.append(y[i] - K[i, rest] @ weights)
    assert missed(data) == pytest.approx(np.sqrt(np.mean(np.square(wrong))), rel=1e-9)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.0, 0.2), (1.5, 0.6, 0.95), (1e3, 0.9, 1.1)])
def test_noise_is_what_is_missed(noise: float, low: float, high: float) -> None:
    assert low < missed(rows(200, noise)) < high


def test_words_and_gaps_take_part() -> None:
    """A target that is a number for each word, where one column of numbers has gaps and another holds nothing."""
    codes = RNG.integers(0, 3, 120)
    X = np.c_[RNG.normal(size=120), codes, np.full(120, np.nan)]
    X[::9, 0] = np.nan
    y = np.array([5.0, -1.0, 2.0])[codes][:, None]
    assert missed(Dataset(X, y, words={1: ["a", "b", "c"]})) < 0.05
    assert missed(Dataset(X[:, [0]], y)) > 0.9


def test_what_does_not_vary_is_no_function() -> None:
    assert missed(Dataset(np.ones((20, 2)), np.ones((20, 1)))) == float("inf")
    assert missed(Dataset(np.ones((20, 2)), np.arange(20.0)[:, None])) > 0.9
    assert missed(Dataset(np.ones((2, 1)), np.arange(2.0)[:, None])) == float("inf")


@pytest.mark.filterwarnings("error")
def test_numbers_too_large_to_be_squared_are_no_function() -> None:
    large = np.linspace(-1, 1, 20)[:, None] * 1e308
    assert missed(Dataset(large, np.arange(20.0)[:, None])) == float("inf")
    assert missed(Dataset(np.arange(20.0)[:, None], large)) == float("inf")

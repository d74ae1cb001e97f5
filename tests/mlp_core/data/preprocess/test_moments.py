"""Sums taken block by block are those of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_core.data.preprocess.moments import Sums

RNG = np.random.default_rng(4)


def blockwise(X: np.ndarray, sizes: list[int]) -> Sums:
    sums = Sums(X.shape[1])
    for part in np.split(X, np.minimum(np.cumsum(sizes), len(X))):
        sums.add(part)
    return sums


@given(st.integers(1, 60), st.lists(st.integers(0, 30), max_size=6), st.floats(0, 0.9), st.integers(0, 2**32))
def test_sums_do_not_depend_on_the_blocks(rows: int, sizes: list[int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, 3)) * [1, 1e3, 1e-3] + [0, 1e3, 5]
    X[rng.random(X.shape) < share] = np.nan
    sums, fill = blockwise(X, sizes), np.array([1.0, -2.0, 3.0])
    filled, whole = sums.filled(fill), np.where(np.isnan(X), fill, X)
    assert (sums.rows, sums.gaps.tolist()) == (rows, np.isnan(X).sum(axis=0).tolist())
    for got, want in (
        (filled.mean, whole.mean(axis=0)),
        (filled.variance, whole.var(axis=0)),
        (filled.low, whole.min(axis=0)),
        (filled.high, whole.max(axis=0)),
    ):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9 * np.abs(whole).max())


def test_a_large_mean_does_not_eat_the_deviation() -> None:
    X = 1e9 + RNG.standard_normal((100_000, 1))
    sums = blockwise(X, [1000] * 99)
    np.testing.assert_allclose(sums.variance, (X - 1e9).var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_every_type_is_summed_in_float64(dtype: str) -> None:
    X = RNG.integers(0, 256, (1000, 5)).astype(dtype)
    sums = blockwise(X, [64] * 15)
    np.testing.assert_allclose(sums.mean, X.astype(np.float64).mean(axis=0), rtol=1e-14)
    assert sums.low.tolist() == X.min(axis=0).tolist()

"""Rows kept as stored give the inputs, batches and measurements that rows made at once give, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.inputs import Stored
from mlp_core.data.preprocess.categories import CategoryPlan
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor
from mlp_core.nn.backend import numpy_backend

RNG = np.random.default_rng(0)
NUMBERS = RNG.standard_normal((101, 4))
GAPS = np.where(RNG.random((101, 4)) < 0.2, np.nan, NUMBERS)
CODES = np.hstack([NUMBERS[:, :2], RNG.integers(0, 3, (101, 1)).astype(float)])
CASES: dict[str, tuple[Any, Preprocessor, dict[int, list[str]]]] = {
    "uint8": (RNG.integers(0, 256, (101, 4), np.uint8), Preprocessor(NumericPlan("minmax")), {}),
    "float32": (NUMBERS.astype(np.float32), Preprocessor(), {}),
    "gaps": (GAPS, Preprocessor(NumericPlan("standard")), {}),
    "ranks": (NUMBERS, Preprocessor(NumericPlan("quantile")), {}),
    "limits": (NUMBERS, Preprocessor(NumericPlan(clip=1.5)), {}),
    "words": (CODES, Preprocessor(plans={2: CategoryPlan()}), {2: ["a", "b", "c"]}),
    "embedding": (CODES, Preprocessor(plans={2: CategoryPlan("embedding")}), {2: ["a", "b", "c"]}),
}


def stored(case: str, dtype: str) -> tuple[Stored, Any]:
    X, inputs, words = CASES[case]
    inputs.fit(X, words)
    return Stored(numpy_backend(), X, inputs, dtype, words), inputs.transform(X, words, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_rows_asked_for_are_those_made_at_once(case: str, dtype: str) -> None:
    rows, whole = stored(case, dtype)
    assert (len(rows), rows.shape, rows.dtype) == (101, whole.shape, whole.dtype)
    np.testing.assert_array_equal(rows[3:50], whole[3:50])
    np.testing.assert_array_equal(rows[np.array([7, 0, 100, 7])], whole[[7, 0, 100, 7]])


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_batches_are_those_of_rows_made_at_once(case: str, dtype: str, shuffle: bool) -> None:
    rows, whole = stored(case, dtype)
    Y, w = np.arange(101), RNG.random(101)
    ours, theirs = (Batches(numpy_backend(), X, Y, w, size=16, seed=3, shuffle=shuffle) for X in (rows, whole))
    for epoch, position in ((0, 0), (0, 6), (2, 3)):
        for mine, other in zip(ours.batch(epoch, position), theirs.batch(epoch, position), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("case", CASES)
def test_what_is_linear_is_a_shift_and_a_scale(case: str) -> None:
    X, inputs, words = CASES[case]
    inputs.fit(X, words)
    if case in ("uint8", "float32"):
        shift, scale = inputs.linear or pytest.fail("linear")
        np.testing.assert_array_equal((X.astype(np.float64) - shift) * scale, inputs.transform(X, words))
    else:
        assert inputs.linear is None

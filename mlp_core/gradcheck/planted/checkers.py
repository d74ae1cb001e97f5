"""Broken checkers: what a gradient check must not be. Each lets something through that the sound one reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.gradcheck import checker, complex_step
from mlp_core.gradcheck.compare import Comparison
from mlp_core.gradcheck.copies import Copies
from mlp_core.gradcheck.directions import Coverage
from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.report import FAIL, PASS, TensorResult
from mlp_core.nn.layers import Layer

CLEAN = "clean"
Compare = Callable[[np.ndarray, np.ndarray, float], Comparison]


def _checker(name: str, owner: Any, attribute: str, wrong: Any, lets: str) -> Bug:
    """A fault of the check itself. `lets` names the bug that it lets through, or is clean where a sound model is
    blamed."""
    return Bug("checker", name, owner, attribute, wrong, lets)


def _quiet(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return Comparison(0.0, 0.0, 0.0)


def _nan_is_small(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    """Finds the largest difference with `>`, which NaN never is."""
    found = compare(np.nan_to_num(a), np.where(np.isnan(a), 0.0, n), largest)
    return found if found.error > 0 else _quiet(compare, a, n, largest)


def _absolute(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    """PyTorch's rule: rtol 1e-3, atol 1e-5."""
    return _quiet(compare, a, n, largest) if np.allclose(a, n, rtol=1e-3, atol=1e-5) else compare(a, n, largest)


def _mean(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    found = compare(a, n, largest)
    return replace(found, error=float(np.abs(a - n).mean()) / max(float(np.abs(n).max()), 1e-4 * largest))


def _sorted(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(np.sort(a, axis=None), np.sort(n, axis=None), largest)


def _magnitudes(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(np.abs(a), np.abs(n), largest)


def _nothing(cover: Wrong, method: str, shape: tuple[int, ...], rng: np.random.Generator) -> Coverage:
    return Coverage(shape, [], lambda g: np.zeros(1), lambda error: None, 0, entrywise=False)


def _weights_only(result: Wrong, self: Any, part: Any, *more: Any) -> TensorResult:
    """Judges the weight matrices and forgets everything else."""
    found: TensorResult = result(self, part, *more)
    return found if len(found.shape) == 2 else replace(found, verdict=PASS)


def _tensors_only(conclude: Wrong, tensors: Any, preconditions: Any, expected: int) -> bool:
    return all(tensor.verdict != FAIL for tensor in tensors)


def _itself(compare: Compare, a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(a, a, largest)


def _layer_left_out(above: Wrong, self: Copies, place: int) -> list[Layer]:
    return self.network.layers[place + 2 :] or self.network.layers[place + 1 :]


_MEAN_BIAS = "bias gradient is a mean"
CHECKERS: tuple[Bug, ...] = (
    _checker("returns early", checker, "compare", _quiet, _MEAN_BIAS),
    _checker("compares an array with itself", checker, "compare", _itself, _MEAN_BIAS),
    _checker("compares NaN with <", checker, "compare", _nan_is_small, "NaN in one entry"),
    _checker("absolute tolerance", checker, "compare", _absolute, "weight gradient times 1 + 1e-4"),
    _checker("mean error for the largest", checker, "compare", _mean, "one entry off by 5e-8"),
    _checker("compares without order", checker, "compare", _sorted, "units reversed in the bias gradient"),
    _checker("compares without sign", checker, "compare", _magnitudes, "sign of the softmax sum lost"),
    _checker("covers nothing", checker, "cover", _nothing, CLEAN),
    _checker("judges the weights only", checker._Check, "_result", _weights_only, _MEAN_BIAS),
    _checker("says PASS beside a failure", checker, "conclude", lambda *found: True, _MEAN_BIAS),
    _checker("ignores its preconditions", checker, "conclude", _tensors_only, "not in the reported loss"),
    _checker("stays at the initial weights", checker, "move", lambda *where: None, "clipped softmax"),
    _checker("step too large", complex_step, "STEP", 1e-2, CLEAN),
    _checker("leaves out the layer above", Copies, "above", _layer_left_out, CLEAN),
    _checker("goes on from the first layer", Copies, "place", lambda *where: 0, CLEAN),
)

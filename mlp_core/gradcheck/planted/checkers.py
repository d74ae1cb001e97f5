"""Broken checkers: what a gradient check must not be. Each lets something through that the sound one reports."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.gradcheck import checker, complex_step
from mlp_core.gradcheck.compare import Comparison, compare
from mlp_core.gradcheck.copies import Copies
from mlp_core.gradcheck.directions import Coverage
from mlp_core.gradcheck.planted.bug import replaced
from mlp_core.gradcheck.report import FAIL, PASS, TensorResult
from mlp_core.nn.layers import Layer

CLEAN = "clean"


@dataclass(frozen=True)
class Checker:
    """A checker broken by replacing `owner.attribute`.

    `lets` names the bug that it lets through, or is clean where it blames a sound model.
    """

    name: str
    owner: Any
    attribute: str
    value: Any
    lets: str

    def broken(self) -> AbstractContextManager[None]:
        """The gradient check with this fault in it."""
        return replaced(self.owner, self.attribute, self.value)


def _quiet(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return Comparison(0.0, (0,) * a.ndim, 0.0, 0.0)


def _nan_is_small(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    """Finds the largest difference with `>`, which NaN never is."""
    found = compare(np.nan_to_num(a), np.where(np.isnan(a), 0.0, n), largest)
    return found if found.error > 0 else _quiet(a, n, largest)


def _absolute(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    """PyTorch's rule: rtol 1e-3, atol 1e-5."""
    return _quiet(a, n, largest) if np.allclose(a, n, rtol=1e-3, atol=1e-5) else compare(a, n, largest)


def _mean(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    found = compare(a, n, largest)
    return replace(found, error=float(np.abs(a - n).mean()) / max(float(np.abs(n).max()), 1e-4 * largest))


def _sorted(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(np.sort(a, axis=None), np.sort(n, axis=None), largest)


def _magnitudes(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(np.abs(a), np.abs(n), largest)


def _nothing(method: str, shape: tuple[int, ...], rng: np.random.Generator) -> Coverage:
    return Coverage(shape, [], lambda g: np.zeros(1), lambda error: None, 0, entrywise=False)


def _weights_only(original: Callable[..., TensorResult]) -> Callable[..., TensorResult]:
    """Judges the weight matrices and forgets everything else."""

    def wrong(self: Any, part: Any) -> TensorResult:
        result = original(self, part)
        return result if len(part.shape) == 2 else replace(result, verdict=PASS)

    return wrong


def _tensors_only(tensors: Any, preconditions: Any, expected: int) -> bool:
    return all(tensor.verdict != FAIL for tensor in tensors)


def _itself(a: np.ndarray, n: np.ndarray, largest: float) -> Comparison:
    return compare(a, a, largest)


def _layer_left_out(self: Copies, place: int) -> list[Layer]:
    return self.network.layers[place + 2 :] or self.network.layers[place + 1 :]


_WEIGHTS_ONLY = _weights_only(checker._Check._result)
_MEAN_BIAS = "bias gradient is a mean"
CHECKERS: tuple[Checker, ...] = (
    Checker("returns early", checker, "compare", _quiet, _MEAN_BIAS),
    Checker("compares an array with itself", checker, "compare", _itself, _MEAN_BIAS),
    Checker("compares NaN with <", checker, "compare", _nan_is_small, "NaN in one entry"),
    Checker("absolute tolerance", checker, "compare", _absolute, "weight gradient times 1 + 1e-4"),
    Checker("mean error for the largest", checker, "compare", _mean, "one entry off by 5e-8"),
    Checker("compares without order", checker, "compare", _sorted, "units reversed in the bias gradient"),
    Checker("compares without sign", checker, "compare", _magnitudes, "sign of the softmax sum lost"),
    Checker("covers nothing", checker, "cover", _nothing, CLEAN),
    Checker("judges the weights only", checker._Check, "_result", _WEIGHTS_ONLY, _MEAN_BIAS),
    Checker("says PASS beside a failure", checker, "conclude", lambda *found: True, _MEAN_BIAS),
    Checker("ignores its preconditions", checker, "conclude", _tensors_only, "not in the reported loss"),
    Checker("stays at the initial weights", checker, "move", lambda *where: None, "clipped softmax"),
    Checker("step too large", complex_step, "STEP", 1e-2, CLEAN),
    Checker("leaves out the layer above", Copies, "above", _layer_left_out, CLEAN),
    Checker("goes on from the first layer", Copies, "place", lambda self, name: 0, CLEAN),
)

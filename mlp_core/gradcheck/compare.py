"""When two gradients agree: relative to the largest entry of the tensor, never by an absolute tolerance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOOR = 1e-4
"""A tensor whose gradient is truly zero, such as a bias before batch norm, is measured against this share of the
largest entry of the whole model's gradient."""


@dataclass(frozen=True)
class Comparison:
    """The largest relative error of a tensor (infinite where anything is not a finite number), and what is there."""

    error: float
    analytic: float
    numeric: float

    def within(self, tolerance: float) -> bool:
        return self.error <= tolerance


def magnitude(array: np.ndarray) -> float:
    """The largest absolute value, NaN where there is one; takes no memory."""
    return float(np.maximum(array.max(initial=0), -array.min(initial=0)))


def compare(analytic: np.ndarray, numeric: np.ndarray, largest: float) -> Comparison:
    """max|a - n| / max(max|a|, max|n|, 1e-4 largest), with a and n of equal shape.

    Raises ValueError for unequal shapes and for empty arrays, because nothing compared is nothing proved.
    """
    if analytic.shape != numeric.shape or not analytic.size:
        raise ValueError(f"cannot compare {analytic.shape} with {numeric.shape}")
    bad = ~(np.isfinite(analytic) & np.isfinite(numeric))
    with np.errstate(invalid="ignore"):
        difference = np.abs(analytic - numeric)
    at = int(np.argmax(bad if bad.any() else difference))
    scale = max(float(np.abs(analytic).max()), float(np.abs(numeric).max()), FLOOR * largest)
    relative = float(difference.flat[at]) / scale if scale > 0 else 0.0
    error = np.inf if bad.any() else relative
    return Comparison(error, float(analytic.flat[at]), float(numeric.flat[at]))

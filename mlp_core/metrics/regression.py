"""Metrics of numbers: how far predictions are from targets, each output by itself, then the mean over the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.metrics.outcome import NAN, Outcome


def mse(o: Outcome) -> float:
    """Mean squared error: mean of (p - y)^2."""
    return o.mean(np.square(o.P - o.y).mean(axis=1))


def rmse(o: Outcome) -> float:
    """Root of the mean squared error of each output."""
    return float(np.mean(np.sqrt(_columns(o, np.square(o.P - o.y)))))


def mae(o: Outcome) -> float:
    """Mean absolute error: mean of |p - y|."""
    return o.mean(np.abs(o.P - o.y).mean(axis=1))


def medae(o: Outcome) -> float:
    """Median absolute error: half of the weight has a smaller |p - y|, half a larger one."""
    error = np.abs(o.P - o.y)
    if o.w is None:
        return float(np.mean(np.median(error, axis=0)))
    return float(np.mean([_weighted_median(column, o.weight) for column in error.T]))


def mape(o: Outcome) -> float:
    """Mean absolute percentage error as a share: mean of |p - y| / |y|; undefined where a target is 0."""
    size = np.abs(o.y)
    return o.mean((np.abs(o.P - o.y) / size).mean(axis=1)) if (size[o.weight > 0] > 0).all() else NAN


def pinball(o: Outcome, q: float = 0.5) -> float:
    """Quantile loss: mean of max(q (y - p), (q - 1) (y - p)); half the mean absolute error for the median, q = 0.5."""
    error = o.y - o.P
    return o.mean(np.maximum(q * error, (q - 1) * error).mean(axis=1))


def r2(o: Outcome) -> float:
    """Coefficient of determination: 1 - mean (p - y)^2 / mean (y - mean y)^2.

    Where a target is constant: 1 if it is met exactly, else 0, as scikit-learn has it; undefined for a single row.
    """
    return _explained(o, _columns(o, np.square(o.P - o.y)))


def explained_variance(o: Outcome) -> float:
    """1 - variance of (y - p) / variance of y: as r2, but a constant offset of the predictions costs nothing."""
    return _explained(o, _variances(o, o.y - o.P))


def _columns(o: Outcome, values: Any) -> Any:
    """Weighted mean of every column."""
    return o.weight @ values / o.weight.sum()


def _variances(o: Outcome, values: Any) -> Any:
    """Weighted variance of every column, exactly 0 where it is constant: a weighted mean need not meet its values."""
    spread = _columns(o, np.square(values - _columns(o, values)))
    return np.where(np.ptp(values, axis=0) == 0, 0.0, spread)


def _explained(o: Outcome, left: Any) -> float:
    spread = _variances(o, o.y)
    if len(o.y) < 2:
        return NAN
    constant = spread == 0
    return float(np.mean(np.where(constant, np.where(left == 0, 1.0, 0.0), 1 - left / np.where(constant, 1, spread))))


def _weighted_median(values: Any, w: Any) -> float:
    """The value with half of the weight on each side; between two such values their mean."""
    order = np.argsort(values, kind="stable")
    order = order[w[order] > 0]
    if not order.size:
        return NAN
    below = np.cumsum(w[order])
    middle = int(np.searchsorted(below, below[-1] / 2))
    after = min(middle + 1, len(order) - 1) if below[middle] == below[-1] / 2 else middle
    return float((values[order[middle]] + values[order[after]]) / 2)

"""Metrics of probabilities: whether what is called likely happens as often as it is said to."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.metrics.outcome import NAN, Outcome

_EPS = float(np.finfo(np.float64).eps)


def log_loss(o: Outcome) -> float:
    """-mean log of the probability given to the truth, in nats; probabilities are kept within the float64 epsilon.

    Multilabel: -(y log p + (1 - y) log(1 - p)), mean over the labels.
    """
    Q = np.clip(o.P.astype(np.float64), _EPS, 1 - _EPS)
    if o.y.ndim == 1:
        Q /= Q.sum(axis=1, keepdims=True)
        return o.mean(-np.log(Q[np.arange(len(o.y)), o.y]))
    return o.mean(-(o.y * np.log(Q) + (1 - o.y) * np.log(1 - Q)).mean(axis=1))


def brier(o: Outcome) -> float:
    """Mean squared error of the probabilities (Brier, Monthly Weather Review 78, 1950).

    Binary: (p - y)^2 for the positive class, at most 1; multiclass: sum over the classes of (p_k - [y = k])^2, at most
    2; multilabel: (p - y)^2, mean over the labels.
    """
    if o.y.ndim == 2:
        return o.mean(np.square(o.P - o.y).mean(axis=1))
    if o.P.shape[1] == 2:
        return o.mean(np.square(o.P[:, 1] - o.y))
    error = np.square(o.P).sum(axis=1) + 1 - 2 * o.P[np.arange(len(o.y)), o.y]  # of p_k - [y = k], expanded
    return o.mean(error)


def ece(o: Outcome) -> float:
    """Expected calibration error: sum_b W_b / W |right_b - confident_b| (Guo et al., ICML 2017).

    Rows are put into `bins` equal intervals (low, high] of their largest probability; W_b is the weight in a bin,
    right_b the share that is right, confident_b the mean of that probability. Multilabel: by the probability of a
    label against its frequency, mean over the labels.
    """
    if o.y.ndim == 2:
        return float(np.mean([_gap(score, yes, o.weight, o.bins) for score, yes in o.scored]))
    return _gap(o.P.max(axis=1), o.P.argmax(axis=1) == o.y, o.weight, o.bins)


def reliability(score: Any, happened: Any, w: Any, bins: int) -> tuple[Any, Any, Any]:
    """Weight, mean score and share that happened in every bin, each [bins]; 0 where a bin is empty."""
    index = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)
    weight = np.bincount(index, weights=w, minlength=bins)
    some = np.where(weight > 0, weight, 1)
    said = np.bincount(index, weights=w * score, minlength=bins) / some
    was = np.bincount(index, weights=w * happened, minlength=bins) / some
    return weight, said, was


def _gap(score: Any, happened: Any, w: Any, bins: int) -> float:
    weight, said, was = reliability(score, happened, w, bins)
    total = weight.sum()
    return float(weight @ np.abs(was - said) / total) if total > 0 else NAN

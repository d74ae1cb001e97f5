"""Metrics: what a user reads, computed on the host from the predictions for a whole split.

P are probabilities [n, c] (one column per class; per label for multilabel) or predictions [n, k] in the units of the
data; y are class indices [n], or targets [n, k]; w are row weights [n] or None. Each equals scikit-learn's number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Metric = Callable[[Any, Any, Any], float]
_EPS = float(np.finfo(np.float64).eps)


def _mean(values: Any, w: Any) -> float:
    return float(np.average(values, weights=w))


def confusion(P: Any, y: Any, w: Any = None) -> Any:
    """Row weights counted by (true class, predicted class), [c, c]."""
    c = P.shape[1]
    cells = np.bincount(y * c + P.argmax(axis=1), weights=w, minlength=c * c)
    return cells.reshape(c, c)


def accuracy(P: Any, y: Any, w: Any) -> float:
    """Share of rows whose most probable class is the true one (multilabel: share of rows with every label right)."""
    right = P.argmax(axis=1) == y if y.ndim == 1 else ((P >= 0.5) == (y > 0.5)).all(axis=1)
    return _mean(right, w)


def hamming(P: Any, y: Any, w: Any) -> float:
    """Share of labels that are wrong, over rows and labels (multilabel)."""
    return _mean(((P >= 0.5) != (y > 0.5)).mean(axis=1), w)


def balanced_accuracy(P: Any, y: Any, w: Any) -> float:
    """Mean recall of the classes that occur in y."""
    cells = confusion(P, y, w)
    total = cells.sum(axis=1)
    return float(np.mean(np.diag(cells)[total > 0] / total[total > 0]))


def macro_f1(P: Any, y: Any, w: Any) -> float:
    """Mean over classes of F1 = 2 tp / (2 tp + fp + fn), 0 where a class is never predicted right."""
    if y.ndim == 1:
        cells = confusion(P, y, w)
        hit, truth, guess = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
        used = truth + guess > 0
    else:
        weight = np.ones(len(y)) if w is None else w
        chosen, true = P >= 0.5, y > 0.5
        hit, truth, guess = weight @ (chosen & true), weight @ true, weight @ chosen
        used = np.full(len(hit), True)
    both = truth + guess
    return float(np.mean((2 * hit / np.where(both > 0, both, 1))[used]))


def log_loss(P: Any, y: Any, w: Any) -> float:
    """-mean log of the probability given to the truth, in nats; probabilities are kept within the float64 epsilon."""
    Q = np.clip(P.astype(np.float64), _EPS, 1 - _EPS)
    if y.ndim == 1:
        Q /= Q.sum(axis=1, keepdims=True)
        return _mean(-np.log(Q[np.arange(len(y)), y]), w)
    return _mean(-(y * np.log(Q) + (1 - y) * np.log(1 - Q)).mean(axis=1), w)


def top_k(P: Any, y: Any, w: Any, k: int) -> float:
    """Share of rows whose true class is among the k most probable ones."""
    truth = P[np.arange(len(y)), y][:, None]
    above = (truth < P).sum(axis=1)
    ties = ((truth == P) & (np.arange(P.shape[1]) > y[:, None])).sum(axis=1)  # scikit-learn ranks later columns first
    return _mean(above + ties < k, w)


def mse(P: Any, y: Any, w: Any) -> float:
    """Mean squared error, averaged over the outputs."""
    return _mean(np.square(P - y).mean(axis=1), w)


def rmse(P: Any, y: Any, w: Any) -> float:
    """Root of the mean squared error of each output, averaged over the outputs."""
    return float(np.mean(np.sqrt(np.average(np.square(P - y), axis=0, weights=w))))


def mae(P: Any, y: Any, w: Any) -> float:
    """Mean absolute error, averaged over the outputs."""
    return _mean(np.abs(P - y).mean(axis=1), w)


def r2(P: Any, y: Any, w: Any) -> float:
    """1 - (squared error) / (squared deviation from the mean), averaged over the outputs.

    Where a target is constant: 1 if it is met exactly, else 0, as scikit-learn has it.
    """
    error = np.average(np.square(P - y), axis=0, weights=w)
    spread = np.average(np.square(y - np.average(y, axis=0, weights=w)), axis=0, weights=w)
    constant = spread == 0
    ratio = 1 - error / np.where(constant, 1, spread)
    return float(np.mean(np.where(constant, np.where(error == 0, 1.0, 0.0), ratio)))


CLASSIFICATION: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "log_loss": log_loss,
}
MULTILABEL: dict[str, Metric] = {"accuracy": accuracy, "hamming": hamming, "macro_f1": macro_f1, "log_loss": log_loss}
REGRESSION: dict[str, Metric] = {"rmse": rmse, "mae": mae, "r2": r2, "mse": mse}
SMALLER_IS_BETTER = frozenset({"loss", "log_loss", "rmse", "mae", "mse", "hamming"})

# what `metrics: auto` shows while training, and in full at the end and in `eval`
BRIEF = {"binary": ["accuracy"], "multiclass": ["accuracy"], "multilabel": ["accuracy"], "regression": ["rmse", "r2"]}


def table(kind: str) -> dict[str, Metric]:
    """The metrics that make sense for a kind of task."""
    return {"regression": REGRESSION, "multilabel": MULTILABEL}.get(kind, CLASSIFICATION)


def known(kind: str, name: str) -> bool:
    """Whether a metric can be computed for a kind of task."""
    return name == "loss" or name in table(kind) or (kind in ("binary", "multiclass") and _k(name) is not None)


def compute(kind: str, names: Sequence[str], P: Any, y: Any, w: Any = None) -> dict[str, float]:
    """The named metrics of one split, `loss` left out (the evaluator knows it)."""
    values = {}
    for name in names:
        k = _k(name)
        if k is not None:
            values[name] = top_k(P, y, w, k)
        elif name != "loss":
            values[name] = table(kind)[name](P, y, w)
    return values


def _k(name: str) -> int | None:
    """The k of `top_k(k)`."""
    match = re.fullmatch(r"top_k\((\d+)\)", name)
    return int(match[1]) if match else None

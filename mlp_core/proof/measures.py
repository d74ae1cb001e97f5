"""Metrics by their definitions, one row or one pair of rows after the other: what the fast ones are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.metrics import Outcome

NAN = float("nan")
EPS = 2.0**-52
_SHARES = ("roc_auc", "pr_auc", "log_loss", "brier", "ece")
_CLASSES = ("accuracy", "balanced_accuracy", "mcc")
NAMES = {
    "binary": (*_CLASSES, "precision", "recall", "f1", *_SHARES, "f1_macro", "precision_weighted", "recall_micro"),
    "multiclass": (*_CLASSES, "f1_macro", "f1_weighted", "precision_macro", "recall_micro", *_SHARES, "top_k(2)"),
    "multilabel": ("subset_accuracy", "hamming", "f1_macro", "f1_micro", "f1_weighted", *_SHARES),
    "regression": (*("rmse", "mae", "medae", "r2", "explained_variance", "mape", "mse"), "pinball", "pinball(0.3)"),
}
"""The metrics that are looked at, by kind of task."""


@dataclass(frozen=True)
class Rows:
    """Predictions P [n, c] beside the truth y [n] or [n, c], with weights w [n]."""

    P: Any
    y: Any
    w: Any
    threshold: float
    bins: int

    def mean(self, values: Any) -> float:
        """sum of w v / sum of w."""
        return math.fsum(a * b for a, b in zip(self.w, values, strict=True)) / math.fsum(self.w)

    @property
    def guess(self) -> Any:
        """The class of each row, or whether each label holds."""
        if self.y.ndim == 2:
            return self.threshold <= self.P
        if self.P.shape[1] == 2:
            return np.where(self.P[:, 1] >= self.threshold, 1, 0)
        return np.array([int(np.argmax(p)) for p in self.P])

    def counts(self) -> list[tuple[float, float, float]]:
        """For every class or label: the weight of the rows that are it and called so, that are it, that are
        called so."""
        found, guess = [], self.guess
        for k in range(self.P.shape[1]):
            called = guess[:, k] if self.y.ndim == 2 else guess == k
            true = self.y[:, k] > 0.5 if self.y.ndim == 2 else self.y == k
            found.append((float(self.w[called & true].sum()), float(self.w[true].sum()), float(self.w[called].sum())))
        return found

    def questions(self) -> Iterator[tuple[Any, Any]]:
        """Scores, and whether the answer is yes: for each class against the rest, of two for the second one alone."""
        for k in range(self.P.shape[1]):
            if self.y.ndim == 2:
                yield self.P[:, k], self.y[:, k] > 0.5
            elif k or self.P.shape[1] != 2:
                yield self.P[:, k], self.y == k


def rows_of(o: Outcome, every: bool = False) -> Rows:
    """An outcome without its rows of weight 0, unless `every` row counts or there are no others."""
    w = np.ones(len(o.y)) if o.w is None else np.asarray(o.w, np.float64)
    kept = np.full(len(w), True) if every or not (w > 0).any() else w > 0
    return Rows(np.asarray(o.P, np.float64)[kept], np.asarray(o.y)[kept], w[kept], o.threshold, o.bins)


def measure(name: str, o: Rows) -> float:
    """A metric by its name; not a number where it is not defined."""
    base, _, number = name.rstrip(")").partition("(")
    if not o.w.sum() > 0:
        return NAN
    if base in NAMES["regression"]:
        return _of_numbers(base, float(number or 0.5), o)
    if base in ("roc_auc", "pr_auc"):
        area = _roc if base == "roc_auc" else _precision
        values = [v for v in (area(s, yes, o.w) for s, yes in o.questions()) if not math.isnan(v)]
        return float(np.mean(values)) if values else NAN
    if base in ("log_loss", "brier", "ece"):
        return _of_probabilities(base, o)
    if base == "top_k":
        k, order = int(number), [sorted(range(o.P.shape[1]), key=lambda j: (-p[j], -j)) for p in o.P]
        return o.mean([y in ranks[:k] for y, ranks in zip(o.y, order, strict=True)])
    return _of_decisions(base, o)


def _of_decisions(name: str, o: Rows) -> float:
    counts, guess = o.counts(), o.guess
    if name in ("accuracy", "subset_accuracy"):
        return o.mean([bool(np.all(g == (y > 0.5 if o.y.ndim == 2 else y))) for g, y in zip(guess, o.y, strict=True)])
    if name == "hamming":
        return o.mean([float(np.mean(g != (y > 0.5))) for g, y in zip(guess, o.y, strict=True)])
    if name == "balanced_accuracy":
        parts = [hit / true for hit, true, _ in counts if true > 0]
        return float(np.mean(parts)) if len(parts) > 1 else NAN
    if name == "mcc":
        if sum(true > 0 for _, true, _ in counts) < 2:
            return NAN
        if sum(called > 0 for *_, called in counts) < 2:
            return 0.0
        n, c = o.w.sum(), sum(hit for hit, *_ in counts)
        both = sum(true * called for _, true, called in counts)
        spread = [n * n - sum(one[i] ** 2 for one in counts) for i in (1, 2)]
        return float((c * n - both) / math.sqrt(spread[0] * spread[1]))
    measured, _, average = name.partition("_")
    if not average:
        return _share(measured, *counts[1]) if counts[1][1] > 0 else NAN
    if average == "micro":
        return _share(measured, *(sum(one[i] for one in counts) for i in range(3)))
    values = [_share(measured, *one) for one in counts]
    if average == "weighted":
        total = sum(true for _, true, _ in counts)
        return sum(v * one[1] for v, one in zip(values, counts, strict=True)) / total if total > 0 else NAN
    used = [v for v, one in zip(values, counts, strict=True) if o.y.ndim == 2 or one[1] + one[2] > 0]
    return float(np.mean(used))


def _share(name: str, hit: float, true: float, called: float) -> float:
    if name == "f1":
        return 2 * hit / (true + called) if true + called > 0 else 0.0
    whole = called if name == "precision" else true
    return hit / whole if whole > 0 else 0.0


def _roc(score: Any, yes: Any, w: Any) -> float:
    """How often a yes scores higher than a no, over all pairs; ties count by half."""
    pairs = w[yes][:, None] * w[~yes][None, :]
    if not pairs.sum() > 0:
        return NAN
    a, b = score[yes][:, None], score[~yes][None, :]
    return float((pairs * ((a > b) + 0.5 * (a == b))).sum() / pairs.sum())


def _precision(score: Any, yes: Any, w: Any) -> float:
    """Precision where each new yes is found, from the highest score down; rows of one score come together."""
    total, area, before = float(w[yes].sum()), 0.0, 0.0
    if not total > 0:
        return NAN
    for s in sorted(set(score.tolist()), reverse=True):
        called = score >= s
        found = float(w[called & yes].sum())
        area += (found - before) / total * found / float(w[called].sum())
        before = found
    return area


def _of_probabilities(name: str, o: Rows) -> float:
    one_hot = o.y if o.y.ndim == 2 else np.eye(o.P.shape[1])[o.y]
    if name == "log_loss":
        Q = np.clip(o.P, EPS, 1 - EPS)
        if o.y.ndim == 2:
            return o.mean(-np.mean(one_hot * np.log(Q) + (1 - one_hot) * np.log(1 - Q), axis=1))
        return o.mean(-np.log((one_hot * Q).sum(axis=1) / Q.sum(axis=1)))
    if name == "brier":
        errors = (o.P - one_hot) ** 2
        if o.y.ndim == 2:
            return o.mean(errors.mean(axis=1))
        return o.mean(errors[:, 1] if o.P.shape[1] == 2 else errors.sum(axis=1))
    if o.y.ndim == 2:
        return float(np.mean([_gaps(s, yes, o) for s, yes in o.questions()]))
    return _gaps(o.P.max(axis=1), o.P.argmax(axis=1) == o.y, o)


def _gaps(score: Any, right: Any, o: Rows) -> float:
    """By bins (low, high] of the score: how far what happened is from what was said, weighted."""
    total = 0.0
    for k in range(o.bins):
        place = np.clip(np.ceil(score * o.bins) - 1, 0, o.bins - 1) == k
        total += abs(float((o.w * (np.asarray(right, float) - score))[place].sum()))
    return total / float(o.w.sum())


def _of_numbers(name: str, q: float, o: Rows) -> float:
    """The mean over the outputs."""
    y = o.y.reshape(len(o.y), -1)
    return float(np.mean([_of_output(name, q, o, y[:, j], y[:, j] - o.P[:, j]) for j in range(o.P.shape[1])]))


def _of_output(name: str, q: float, o: Rows, y: Any, e: Any) -> float:
    """By the truth y [n] of one output, and its errors e [n]."""
    match name:
        case "mse":
            return o.mean(e**2)
        case "rmse":
            return math.sqrt(o.mean(e**2))
        case "mae":
            return o.mean(abs(e))
        case "medae":
            return _median(abs(e), o.w)
        case "mape":
            return o.mean(abs(e) / abs(y)) if (y != 0).all() else NAN
        case "pinball":
            return o.mean([max(q * v, (q - 1) * v) for v in e])
    if len(y) < 2:
        return NAN
    centre = o.mean(y)
    spread = 0.0 if np.ptp(y) == 0 else o.mean((y - centre) ** 2)
    middle = o.mean(e) if name == "explained_variance" else 0.0
    left = 0.0 if name == "explained_variance" and np.ptp(e) == 0 else o.mean((e - middle) ** 2)
    return (1 - left / spread) if spread else float(left == 0)


def _median(values: Any, w: Any) -> float:
    """The value with half of the weight below; where it lies between two, their mean."""
    order = np.argsort(values, kind="stable")
    half, below = w.sum() / 2, 0.0
    for place, i in enumerate(order):
        below += w[i]
        if below > half:
            return float(values[i])
        if below == half:
            following = order[min(place + 1, len(order) - 1)]
            return float((values[i] + values[following]) / 2)
    return NAN

"""Calibration: probabilities that happen as often as they say, and the threshold from which a class is predicted.

Both are fitted on validation rows. The order of a binary task's rows, and so its ROC AUC, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from mlp_core.metrics import THRESHOLD, Outcome
from mlp_core.metrics.classes import ratio

METHODS = ("none", "temperature", "platt")
_MEASURES: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "accuracy": lambda tp, fp, fn, tn: ratio(tp + tn, tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2,
    "f1": lambda tp, fp, fn, tn: ratio(2 * tp, 2 * tp + fp + fn),
    "mcc": lambda tp, fp, fn, tn: ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
}
RULES = tuple(_MEASURES)
_TINY = 1e-300
_SLOPES = (1e-3, 1e3)
_ROUNDS = 100


@dataclass(frozen=True)
class Calibration:
    """Logits become slope * logits + offset before they are made probabilities; labels count from `threshold` on.

    Temperature scaling (Guo et al., ICML 2017) has slope 1 / temperature and no offset; Platt scaling (Platt 1999) has
    both, for binary tasks. `fitted`: found on validation rows, rather than said by somebody.
    """

    method: str = "none"
    slope: float = 1.0
    offset: float = 0.0
    threshold: float = THRESHOLD
    fitted: bool = False

    @property
    def temperature(self) -> float:
        return 1 / self.slope

    def apply(self, P: Any, kind: str) -> Any:
        """Calibrated probabilities [n, c] for those of the model."""
        if self.method == "none":
            return P
        if kind == "multiclass":
            return _softmax(self.slope * _log(P))
        if kind == "multilabel":
            return _sigmoid(self.slope * (_log(P) - _log(1 - P)))
        z = self.slope * _log_odds(P) + self.offset
        return np.stack([_sigmoid(-z), _sigmoid(z)], axis=1)

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The calibration of a checkpoint. Raises ValueError when it is not one."""
        slope, offset, threshold = (float(state[name]) for name in ("slope", "offset", "threshold"))
        if state["method"] not in METHODS or not np.isfinite([slope, offset, threshold]).all():
            raise ValueError("not the state of a calibration")
        return cls(state["method"], slope, offset, threshold, fitted=True)


def wants_fit(method: str, threshold: float | str) -> bool:
    """Whether something has to be found on validation rows."""
    return method != "none" or isinstance(threshold, str)


def choose(
    kind: str, method: str, threshold: float | str, outcome: Outcome, before: Calibration | None = None
) -> Calibration:
    """What is fitted on the outcome of validation rows: first the probabilities, then the threshold on them.

    before: a calibration of the probabilities to choose the threshold on, where none is fitted.
    """
    calibration = before or Calibration()
    if method != "none":
        calibration = fit(kind, method, outcome.P, outcome.y, outcome.w)
    if isinstance(threshold, str):
        threshold = best_threshold(threshold, calibration.apply(outcome.P, kind), outcome.y, outcome.w)
    return replace(calibration, threshold=threshold, fitted=True)


def misfit(kind: str, method: str, threshold: float | str) -> tuple[str, str, str] | None:
    """Which of `calibrate` and `threshold` does not fit a kind of task, why not, and what to do; None if both do."""
    if kind == "regression" and method != "none":
        return "calibrate", "a regression task has no probabilities to calibrate", "leave it out"
    if method == "platt" and kind != "binary":
        return "calibrate", f"platt scaling does not fit a {kind} task", "use temperature"
    if isinstance(threshold, str) and threshold not in RULES:
        return "threshold", "no such rule for a threshold", "use one of " + ", ".join(RULES)
    if isinstance(threshold, str) and kind != "binary":
        hint = "give a number" if kind == "multilabel" else "leave it out"
        return "threshold", f"no threshold is chosen for a {kind} task", hint
    return None


def fit(kind: str, method: str, P: Any, y: Any, w: Any = None) -> Calibration:
    """The calibration with the least log loss on rows with probabilities P [n, c], truth y and row weights w.

    The loss is convex. As Platt has it, rows count as if there were one more that is wrong: few that are all told apart
    without error would make probabilities of 1 else, and the first error on other rows would cost without limit.
    """
    weight = np.ones(len(y)) if w is None else np.asarray(w, np.float64)
    right = (weight.sum() + 1) / (weight.sum() + 2)
    if kind == "multiclass":
        return Calibration(method, _fit_softmax(_log(P), y, weight, right))
    if kind == "multilabel":
        z, truth, weight = (_log(P) - _log(1 - P)).ravel(), y.ravel(), np.repeat(weight, P.shape[1])
    else:
        z, truth = _log_odds(P), y.astype(np.float64)
    if method == "platt":
        return Calibration(method, *_fit_platt(z, truth, weight))
    t = np.where(truth > 0, right, 1 - right)
    return Calibration(method, _root(lambda s: float(weight @ ((_sigmoid(s * z) - t) * z))))


def best_threshold(metric: str, P: Any, y: Any, w: Any = None) -> float:
    """The threshold on P[:, 1] with the largest value of one of RULES, in the middle between two scores.

    Of equals the nearest to 0.5, and 0.5 itself where it decides as they do.
    """
    weight = np.ones(len(y)) if w is None else np.asarray(w, np.float64)
    scores, index = np.unique(P[:, 1], return_inverse=True)
    index = index.reshape(-1)
    yes = np.bincount(index, weights=weight * (y == 1))[::-1].cumsum()[::-1]  # weight of the positives from a score on
    no = np.bincount(index, weights=weight * (y == 0))[::-1].cumsum()[::-1]
    tp, fp = np.append(yes, 0.0), np.append(no, 0.0)
    values = _MEASURES[metric](tp, fp, yes[0] - tp, no[0] - fp)
    bounds = np.concatenate([[0.0], scores, [1.0]])
    lower, upper = bounds[:-1], bounds[1:]  # a threshold in (lower, upper] decides alike
    middle = np.where((lower < THRESHOLD) & (upper >= THRESHOLD), THRESHOLD, (lower + upper) / 2)
    middle = np.where(middle > lower, middle, upper)  # between neighbours among floats there is nothing
    values = np.where(lower < upper, values, -np.inf)
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return float(middle[best[np.argmin(np.abs(middle[best] - THRESHOLD))]])


def _log(P: Any) -> Any:
    return np.log(np.maximum(P, _TINY))


def _log_odds(P: Any) -> Any:
    return _log(P[:, 1]) - _log(P[:, 0])


def _sigmoid(z: Any) -> Any:
    positive = z.real >= 0  # complex where a complex step differentiates it
    small = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1, small) / (1 + small)


def _softmax(Z: Any) -> Any:
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def _fit_softmax(L: Any, y: Any, w: Any, right: float) -> float:
    """The slope s that minimises the mean of logsumexp(s L) - s T L, with targets T of `right` for the true class and
    equal shares of the rest for the others."""
    wrong = (1 - right) / (L.shape[1] - 1)
    told = wrong * L.sum(axis=1) + (right - wrong) * L[np.arange(len(y)), y]
    return _root(lambda s: float(w @ ((_softmax(s * L) * L).sum(axis=1) - told)))


def _root(derivative: Callable[[float], float]) -> float:
    """Where the increasing derivative of a convex function of the slope crosses 0, by bisection of its logarithm."""
    low, high = (float(np.log(bound)) for bound in _SLOPES)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if derivative(float(np.exp(middle))) < 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def _fit_platt(z: Any, y: Any, w: Any) -> tuple[float, float]:
    """Slope a and offset b that minimise the mean of softplus(a z + b) - t (a z + b), by Newton's method.

    The targets t are (N1 + 1) / (N1 + 2) and 1 / (N0 + 2) for N1 positive and N0 negative rows, as Platt has them, so
    that rows that are told apart without error do not drive the slope to infinity.
    """
    ones, zeros = w @ y, w @ (1 - y)
    t = np.where(y > 0, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    F = np.stack([z, np.ones_like(z)], axis=1)
    x = np.array([0.0, np.log((ones + 1) / (zeros + 1))])

    def loss(x: Any) -> float:
        return float(w @ (np.logaddexp(0, F @ x) - t * (F @ x)))

    for _ in range(_ROUNDS):
        p = _sigmoid(F @ x)
        gradient, curvature = F.T @ (w * (p - t)), (F.T * (w * p * (1 - p))) @ F
        step = np.linalg.solve(curvature + 1e-12 * np.trace(curvature) * np.eye(2), gradient)
        while loss(x - step) > loss(x) and np.abs(step).max() > 1e-14:
            step /= 2
        x = x - step
        if np.abs(step).max() < 1e-12:
            break
    return float(x[0]), float(x[1])

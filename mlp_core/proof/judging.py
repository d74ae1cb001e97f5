"""The proof of what a model is judged by: its metrics by their definitions, calibrations as the best of their kind,
thresholds by trying all of them, and what a loss tells beyond a value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.metrics import Outcome, compute
from mlp_core.metrics.calibration import RULES, Calibration, best_threshold, fit
from mlp_core.proof.compare import Tally
from mlp_core.proof.measures import NAMES, Rows, measure, rows_of

SLOPES = 1e-3, 1e3
"""Within these the slope of temperature scaling is kept."""
FIT_WITHIN = 1e-9
ROWS = 160  # whose metrics and thresholds are computed by their definitions


def prove_metrics(tally: Tally, found: dict[str, float], outcome: Outcome) -> None:
    """Metrics that were reported of an outcome."""
    rows = rows_of(outcome)
    if not np.isfinite(rows.P).all():
        return
    for name, here in found.items():
        if name != "loss":
            _same(tally, f"the metric {name}", here, measure(name, rows))


def prove_judging(tally: Tally, kind: str, outcome: Outcome) -> None:
    """All that is measured of an outcome and fitted to it: on its first rows, and on rows that are made up, which are
    told apart by nobody without error and have weights."""
    P, w = np.asarray(outcome.P[:ROWS], np.float64), None if outcome.w is None else outcome.w[:ROWS]
    for few in (Outcome(P, outcome.y[:ROWS], w, 0.4, outcome.bins), _made_up(kind, P.shape[1], outcome.bins)):
        if not np.isfinite(few.P).all() or (few.w is not None and not few.w.any()):
            continue
        prove_metrics(tally, compute(kind, NAMES[kind], few), few)
        if kind == "regression":
            continue
        for method in ("temperature", "platt")[: 1 + (kind == "binary")]:
            prove_fit(tally, kind, method, few, fit(kind, method, few.P, few.y, few.w))
        for rule in RULES if kind == "binary" else ():
            there = _threshold(rule, few)
            _same(tally, f"the threshold of the best {rule}", best_threshold(rule, few.P, few.y, few.w), there)


def _made_up(kind: str, outputs: int, bins: int) -> Outcome:
    """Rows whose truth has something to do with what is predicted, with weights 0, 1, 2, 3 and some ties."""
    rng = np.random.Generator(np.random.Philox(key=[5, 7]))
    Z, w = rng.standard_normal((ROWS, outputs)), rng.integers(0, 4, ROWS).astype(np.float64)
    Z[::2] = Z[::2].round(1)
    noisy = Z + 1.5 * rng.standard_normal(Z.shape) + 0.4
    if kind == "regression":
        return Outcome(Z, noisy, w, 0.4, bins)
    if kind == "multilabel":
        return Outcome(1 / (1 + np.exp(-Z)), (noisy > 0).astype(np.float64), w, 0.4, bins)
    E = np.exp(Z)
    return Outcome(E / E.sum(axis=1, keepdims=True), noisy.argmax(axis=1), w, 0.4, bins)


def prove_threshold(tally: Tally, rule: float | str, outcome: Outcome) -> None:
    """The threshold that an outcome was judged by, as the config asks for it."""
    if not isinstance(rule, str):
        _same(tally, "the threshold that is kept", outcome.threshold, rule)
    elif len(outcome.y) <= 4 * ROWS:
        _same(tally, "the threshold that is chosen", outcome.threshold, _threshold(rule, outcome))


def prove_fit(tally: Tally, kind: str, method: str, outcome: Outcome, found: Calibration) -> None:
    """A calibration beside another one found by other means: it must not lose more on the rows than that."""
    right = found.method == method and (method == "platt" or found.offset == 0)
    tally.right("the kind of calibration", right, found.slope)
    if method == "none":
        _same(tally, "the slope without calibration", found.slope, 1.0)
        return
    P, y = np.asarray(outcome.P, np.float64), np.asarray(outcome.y)
    w = np.ones(len(y)) if outcome.w is None else np.asarray(outcome.w, np.float64)
    L, yes, rows = np.log(np.maximum(P, 1e-300)), y.astype(np.float64), float(w.sum())
    doubt = 1 / (rows + 2)  # as if there were one more row that is wrong
    if kind == "multiclass":
        T = np.full(P.shape, doubt / (P.shape[1] - 1))
        T[np.arange(len(y)), y] = 1 - doubt
        loss = _Log(L, T, w)
    else:
        if kind == "multilabel":
            z, yes, w = (L - np.log(np.maximum(1 - P, 1e-300))).ravel(), yes.ravel(), np.repeat(w, P.shape[1])
        else:
            z = L[:, 1] - L[:, 0]
        if method == "platt":  # Platt (1999): as if there were one more row of each class
            ones, zeros = float(w[yes > 0].sum()), float(w[yes == 0].sum())
            yes = np.where(yes > 0, (ones + 1) / (ones + 2), 1 / (zeros + 2))
        else:
            yes = np.where(yes > 0, 1 - doubt, doubt)
        loss = _Log(np.stack([0 * z, z], axis=1), np.stack([1 - yes, yes], axis=1), w)
    best = min(loss.at(*pair) for pair in loss.tried(method == "platt"))
    here = loss.at(found.slope, found.offset)
    wrong = here > best + FIT_WITHIN * max(1.0, abs(best))
    tally.right(f"the loss of rows by {method} scaling", not wrong, here, best)


@dataclass(frozen=True)
class _Log:
    """The mean log loss of softmax(a L) with b added to the last column, against targets T [n, c]; weights w."""

    L: Any
    T: Any
    w: Any

    def at(self, slope: float, offset: float = 0.0) -> float:
        Z = slope * self.L
        Z[:, -1] += offset
        top = Z.max(axis=1)
        rows = top + np.log(np.exp(Z - top[:, None]).sum(axis=1)) - (self.T * Z).sum(axis=1)
        return math.fsum(self.w * rows) / math.fsum(self.w)

    def tried(self, both: bool) -> Iterator[tuple[float, float]]:
        """Pairs of slope and offset, ever closer to the best: thirds of an interval that holds it, in turns."""
        if not both:
            yield math.exp(_least(lambda log: self.at(math.exp(log)), *map(math.log, SLOPES))), 0.0
            return

        def offset(slope: float) -> float:
            reach = 60.0 + abs(slope) * float(np.abs(self.L).max())
            return _least(lambda b: self.at(slope, b), -reach, reach)

        slope = _least(lambda a: self.at(a, offset(a)), -1e3, 1e3)
        yield slope, offset(slope)


def _least(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum has it, by the golden section."""
    share = (math.sqrt(5) - 1) / 2
    a, b = high - share * (high - low), low + share * (high - low)
    fa, fb = f(a), f(b)
    for _ in range(42):
        if fa <= fb:
            high, b, fb = b, a, fa
            a = high - share * (high - low)
            fa = f(a)
        else:
            low, a, fa = a, b, fb
            b = low + share * (high - low)
            fb = f(b)
    return (low + high) / 2


def _threshold(rule: str, outcome: Outcome) -> float:
    """The best of all thresholds, in the middle between two scores, of rows of weight 0 too; of equals the nearest to
    0.5, which counts itself."""
    o, tried = rows_of(outcome, every=True), []
    for low, high in itertools.pairwise(sorted({0.0, 1.0, *o.P[:, 1].tolist()})):
        middle = 0.5 if low < 0.5 <= high else (low + high) / 2
        middle = middle if middle > low else high
        tried.append((_rule(rule, replace(o, threshold=middle)), middle))
    top = max(value for value, _ in tried)
    return min((middle for value, middle in tried if value >= top - 1e-12), key=lambda m: abs(m - 0.5))


def _rule(rule: str, o: Rows) -> float:
    """A metric as it is maximised: 0 where its quotient has none."""
    (tn, no, _), (tp, yes, called) = o.counts()
    fp, fn = called - tp, yes - tp
    if rule == "accuracy":
        return (tp + tn) / (yes + no)
    if rule == "balanced_accuracy":
        return ((tp / yes if yes else 0) + (tn / no if no else 0)) / 2
    if rule == "f1":
        return 2 * tp / (2 * tp + fp + fn) if 2 * tp + fp + fn else 0.0
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(square) if square > 0 else 0.0


def _same(tally: Tally, name: str, here: float, there: float) -> None:
    """Two numbers, or two that are not defined."""
    right = math.isclose(here, there, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(here) and math.isnan(there))
    tally.right(name, right, here, there)

"""Permutation importance: how much worse a model gets when one column of the data is shuffled among the rows.

For row i and the loss l (Breiman, Random Forests, 2001; Fisher, Rudin and Dominici, JMLR 20, 2019):
d_i = mean over shuffles of l(x_i with the column of another row, y_i) - l(x_i, y_i). The importance is the mean of d_i,
its interval comes from how d_i differs between rows. A column that has nothing to do with rows and labels has mean 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held
from mlp_core.errors import Problem, UsageError
from mlp_core.metrics import BRIEF, Outcome, compute, known
from mlp_core.metrics.intervals import t_quantile
from mlp_core.nn.backend import numpy_backend
from mlp_core.rng import generator
from mlp_core.training.ensemble import Saved
from mlp_core.training.evaluator import Split

MOST_ROWS = 10_000
DRAWS = 20  # in 19 of so many draws no column of noise is above the line
ALIKE = 0.95  # correlation from which two columns say nearly the same
MOST_COMPARED = 500  # columns whose correlations are looked at


@dataclass(frozen=True)
class ColumnImportance:
    """One column of the data, with all inputs that are made of it.

    loss: by how much the mean loss grows when the column is shuffled; low, high: its interval of 95 %. change: by how
    much the metric changes; deviation: of that between shuffles. noise: what was found may as well be chance.
    """

    column: str
    inputs: int
    loss: float
    low: float
    high: float
    change: float
    deviation: float
    noise: bool

    @property
    def harmful(self) -> bool:
        """Whether the model is better without the column: what it learned of it does not hold on these rows."""
        return self.high < 0


@dataclass(frozen=True)
class Importance:
    """What every column is worth to a model, those above the noise first, each part by its importance.

    rows: measured on. loss, value: mean loss without penalties, and the metric, as the rows are. alike: pairs of
    columns that say nearly the same, with their correlation; shuffled alone, each can hide behind the other.
    """

    rows: int
    repeats: int
    loss: float
    metric: str
    value: float
    columns: tuple[ColumnImportance, ...]
    alike: tuple[tuple[str, str, float], ...] = ()


def importance(
    model: Saved,
    split: Split,
    repeats: int = 10,
    metric: str | None = None,
    seed: int = 0,
    most: int = MOST_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> Importance:
    """The importance of every column, on at most `most` rows of a split, drawn at random.

    Raises UsageError for a metric that the task does not have.
    """
    kind, names = model.task.kind, model.task.features
    chosen = BRIEF[kind][0] if metric is None else metric
    if chosen == "loss" or not known(kind, chosen):
        hint = "for example " + ", ".join(model.metric_names(report=True))
        raise UsageError(Problem("usage", f"--metric: no such metric for a {kind} task", hint, got=chosen))
    split = some_rows(split, most, seed)
    shuffles = _Shuffles(model, split, chosen)
    owner = np.array(model.inputs.input_columns())
    found = []
    for place, name in enumerate(names):
        inputs = np.flatnonzero(owner == place)
        draws = [generator(seed, "importance", place, r) for r in range(repeats)]
        found.append(_of_column(shuffles, name, inputs, draws))
        if progress is not None:
            progress(place + 1, len(names))
    columns = _above_noise(found, len(split.X))
    loss, value = shuffles.mean(shuffles.losses), shuffles.value
    return Importance(len(split.X), repeats, loss, chosen, value, columns, _alike(split.X, owner, names))


def some_rows(split: Split, most: int, seed: int = 0) -> Split:
    """At most `most` rows of a split, drawn at random, their inputs in memory."""
    n = len(split.X)
    rows = np.arange(n) if n <= most else np.sort(generator(seed, "importance").choice(n, most, replace=False))
    w, weight = (None if one is None else np.asarray(one)[rows] for one in (split.w, split.weight))
    X = Held(numpy_backend(), np.array(split.X[rows]))
    return Split(X, np.asarray(split.Y)[rows], w, split.y[rows], weight)


class _Shuffles:
    """A model's losses and metric on rows, as they are and with some inputs taken from other rows."""

    def __init__(self, model: Saved, split: Split, metric: str) -> None:
        self.split, self.metric, self.kind = split, metric, model.task.kind
        self.evaluator = model.evaluator(min(len(split.X), model.config.train.eval_batch_size))
        self.weights = np.ones(len(split.X)) if split.w is None else np.asarray(split.w, np.float64)
        self.losses, self.value = self.measure(split)
        self.room = np.array(split.X[:])
        self.rows = Held(numpy_backend(), self.room)

    def measure(self, split: Split) -> tuple[Any, float]:
        """The loss of every row [n], and the metric."""
        losses, P = self.evaluator.rows(split)
        outcome = Outcome(P, split.y, split.weight, self.evaluator.threshold, self.evaluator.bins)
        return losses, compute(self.kind, [self.metric], outcome)[self.metric]

    def shuffled(self, inputs: Any, order: Any) -> tuple[Any, float]:
        """The same with the inputs of the rows in `order` in place of a row's own."""
        self.room[:, inputs] = self.split.X[np.ix_(order, inputs)]
        found = self.measure(replace(self.split, X=self.rows))
        self.room[:, inputs] = self.split.X[:, inputs]
        return found

    def mean(self, values: Any) -> float:
        return float(self.weights @ values / self.weights.sum())

    def error(self, values: Any) -> float:
        """The standard error of the weighted mean of independent values [n]."""
        n, w = len(values), self.weights
        rest = w * (values - self.mean(values))
        return float(np.sqrt(rest @ rest * n / max(1, n - 1)) / w.sum())


def _of_column(shuffles: _Shuffles, name: str, inputs: Any, draws: Sequence[Any]) -> tuple[ColumnImportance, float]:
    """A column's importance and its standard error, which is 0 where shuffling changes no row."""
    X, n = shuffles.split.X, len(shuffles.split.X)
    if (X[:, inputs] == X[:1, inputs]).all():
        return ColumnImportance(name, len(inputs), 0.0, 0.0, 0.0, 0.0, 0.0, True), 0.0
    results = [shuffles.shuffled(inputs, rng.permutation(n)) for rng in draws]
    d = np.mean([losses for losses, _ in results], axis=0) - shuffles.losses
    mean, error = shuffles.mean(d), shuffles.error(d)
    reach = t_quantile(0.975, max(1, n - 1)) * error
    changes = np.array([value for _, value in results]) - shuffles.value
    spread = float(changes.std(ddof=1)) if len(changes) > 1 else math.nan
    change = float(changes.mean())
    return ColumnImportance(name, len(inputs), mean, mean - reach, mean + reach, change, spread, True), error


def _above_noise(found: Sequence[tuple[ColumnImportance, float]], rows: int) -> tuple[ColumnImportance, ...]:
    """The columns in order, with those marked whose importance all columns together reach by chance once in `DRAWS`
    draws at most (one-sided t test of the mean, corrected for their number by Bonferroni)."""
    tried = sum(error > 0 for _, error in found)
    bound = t_quantile(1 - 1 / (DRAWS * max(1, tried)), max(1, rows - 1))
    judged = [replace(one, noise=not one.loss > bound * error) for one, error in found]
    return tuple(sorted(judged, key=lambda one: (one.noise, -one.loss)))


def _alike(X: Any, owner: Any, names: Sequence[str]) -> tuple[tuple[str, str, float], ...]:
    """Pairs of columns of one input each that say nearly the same, the most alike first."""
    counts = np.bincount(owner, minlength=len(names))
    places = [place for place in range(X.shape[1]) if counts[owner[place]] == 1][:MOST_COMPARED]
    columns = X[:, places].astype(np.float64)
    moving = columns.std(axis=0) > 0
    places = [place for place, moves in zip(places, moving, strict=True) if moves]
    if len(places) < 2:
        return ()
    R = np.triu(np.corrcoef(columns[:, moving], rowvar=False), 1)
    pairs = sorted(zip(*np.nonzero(np.abs(R) >= ALIKE), strict=True), key=lambda pair: -abs(R[pair]))
    return tuple((names[owner[places[i]]], names[owner[places[j]]], float(R[i, j])) for i, j in pairs[:5])

"""An outcome broken down: by class, by groups of rows, by the size of its errors."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.metrics import Outcome, compute
from mlp_core.metrics.outcome import NAN

GROUPS = 10  # groups of words shown, the most frequent ones; the rest are one group
DISTINCT = 12  # numbers with more distinct values than this are grouped by quartiles
BY_GROUP = {
    "binary": ("accuracy", "f1", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1_macro", "log_loss"),
    "multilabel": ("subset_accuracy", "hamming", "f1_macro", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}


@dataclass(frozen=True)
class ClassRow:
    """One class or label: weight of its rows and of those called so, and how well they agree."""

    name: str
    precision: float
    recall: float
    f1: float
    rows: float
    predicted: float


@dataclass(frozen=True)
class GroupRow:
    """One group of rows with its metrics."""

    name: str
    rows: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Residual:
    """How prediction minus target is distributed for one target, in the units of the data.

    bias: mean; spread: standard deviation; quantiles: 5, 25, 50, 75, 95 %; largest: the one of largest size, at `row`.
    """

    name: str
    bias: float
    spread: float
    quantiles: tuple[float, ...]
    largest: float
    row: int


def per_class(outcome: Outcome, names: Sequence[str]) -> list[ClassRow]:
    """Precision, recall and F1 of every class or label, not a number where they are not defined."""
    return [
        ClassRow(name, _ratio(hit, guess), _ratio(hit, truth), _ratio(2 * hit, truth + guess), truth, guess)
        for name, hit, truth, guess in zip(names, *(part.tolist() for part in outcome.counts), strict=True)
    ]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else NAN


def confusions(cells: Any, names: Sequence[str], most: int = 10) -> list[tuple[str, str, float]]:
    """The most frequent mistakes in a confusion matrix [c, c]: true class, predicted class, weight of the rows."""
    wrong = cells - np.diag(np.diag(cells))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [(names[i], names[j], float(wrong[i, j])) for i, j in pairs if wrong[i, j] > 0]


def by_group(kind: str, outcome: Outcome, cells: Sequence[str]) -> list[GroupRow]:
    """The metrics of every group that the cells of a column [n] make."""
    names, index = groups(cells)
    found = []
    for place, name in enumerate(names):
        rows = np.flatnonzero(index == place)
        w = None if outcome.w is None else outcome.w[rows]
        part = Outcome(outcome.P[rows], outcome.y[rows], w, outcome.threshold, outcome.bins)
        found.append(GroupRow(name, len(rows), compute(kind, BY_GROUP[kind], part)))
    return found


def groups(cells: Sequence[str]) -> tuple[list[str], Any]:
    """The names of groups and the group of every cell [n]: numbers by value or quartile, words by frequency."""
    numbers = _numbers(cells)
    if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > DISTINCT:
        return _quartiles(numbers)
    if numbers is not None:
        values = dict(zip(cells, numbers, strict=True))
        order = sorted(values, key=lambda cell: (bool(np.isnan(values[cell])), values[cell]))
    else:
        order = [cell for cell, _ in Counter(cells).most_common(GROUPS)]
    index = {cell: place for place, cell in enumerate(order)}
    places = np.array([index.get(cell, len(order)) for cell in cells])
    names = [cell or "(missing)" for cell in order]
    return names + (["(others)"] if (places == len(order)).any() else []), places


def _numbers(cells: Iterable[str]) -> Any:
    """The cells as numbers, missing ones as NaN; None if one is neither, or all are missing."""
    try:
        values = np.array([float(cell) if cell else NAN for cell in cells])
    except ValueError:
        return None
    return None if np.isnan(values).all() else values


def _quartiles(values: Any) -> tuple[list[str], Any]:
    """Four groups of about the same size, and one for missing values."""
    edges = np.unique(np.quantile(values[~np.isnan(values)], [0.25, 0.5, 0.75]))
    index = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))
    names = [f"<= {edges[0]:g}", *(f"{a:g} .. {b:g}" for a, b in itertools.pairwise(edges))]
    names += [f"> {edges[-1]:g}", "(missing)"]
    used = [place for place in range(len(names)) if (index == place).any()]
    return [names[place] for place in used], np.searchsorted(used, index)


def residuals(outcome: Outcome, names: Sequence[str]) -> list[Residual]:
    """How the errors of every target are distributed; weights count for mean and deviation."""
    found = []
    for j, name in enumerate(names):
        error = outcome.P[:, j] - outcome.y[:, j]
        bias = outcome.mean(error)
        spread = float(np.sqrt(outcome.mean(np.square(error - bias))))
        quantiles = tuple(float(v) for v in np.quantile(error, [0.05, 0.25, 0.5, 0.75, 0.95]))
        row = int(np.abs(error).argmax())
        found.append(Residual(name, bias, spread, quantiles, float(error[row]), row))
    return found

"""The rows that a model is most wrong about: the largest losses, with what stands in those rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.config_sources import split_source
from mlp_core.data.readers.source import Source
from mlp_core.data.task import Task
from mlp_core.metrics import Outcome


@dataclass(frozen=True)
class WorstRow:
    """One row: its number in its file (from 0), its place there as `file:line` where it has one, what is true, what was
    predicted, the probability given to either (nan where there are no classes), its loss, and its cells."""

    row: int
    place: str
    truth: str
    predicted: str
    p_truth: float
    p_predicted: float
    loss: float
    cells: Mapping[str, str] = field(default_factory=dict)


def worst_rows(
    config: Config,
    task: Task,
    outcome: Outcome,
    losses: Any,
    count: int,
    split: str,
    dealt: Mapping[str, Any],
    path: Path | None = None,
    measured: Any = None,
) -> list[WorstRow]:
    """The `count` rows of a split with the largest losses [n], those of weight 0 left out.

    dealt: row numbers in the training file by split. path: the further file that was measured instead. measured: the
    numbers within the split of the rows that were measured, None for all. Raises DataError.
    """
    ranked = np.where(outcome.weight > 0, losses, -math.inf)
    order = [int(i) for i in np.argsort(-ranked, kind="stable")[:count] if ranked[i] > -math.inf]
    source, numbers = split_source(config, split, dealt, path)
    found = []
    for i in order:
        place = i if measured is None else int(measured[i])
        row = place if numbers is None else int(numbers[place])
        found.append(_row(task, outcome, i, float(losses[i]), source, row))
    return found


def _row(task: Task, outcome: Outcome, i: int, loss: float, source: Source, row: int) -> WorstRow:
    P, y, nothing = outcome.P[i], outcome.y[i], math.nan
    problem = source.problem("", "", row)
    place = "" if problem.line is None else f"{problem.file}:{problem.line}"
    names = [name for name in (*task.ids, *task.features) if name in source.names]
    cells = {name: source.cell(row, source.names.index(name)) for name in names}
    if task.classifies:
        guess = int(outcome.guess[i])
        true, told = task.classes[int(y)], task.classes[guess]
        return WorstRow(row, place, true, told, float(P[int(y)]), float(P[guess]), loss, cells)
    if task.kind == "multilabel":
        true, told = (_labels(task, held) for held in (y > 0.5, outcome.guess[i]))
    else:
        true, told = (", ".join(f"{value:.6g}" for value in values) for values in (y, P))
    return WorstRow(row, place, true, told, nothing, nothing, loss, cells)


def _labels(task: Task, held: Any) -> str:
    """The labels that hold, or a dash."""
    return ", ".join(name for name, one in zip(task.classes, held, strict=True) if one) or "-"


def columns(rows: Sequence[WorstRow], classifies: bool) -> dict[str, Any]:
    """The rows as columns to be written; a column of the data that has the name of one of ours is `column.NAME`."""
    ours: dict[str, Any] = {
        "row": [one.row for one in rows],
        "place": [one.place for one in rows],
        "truth": [one.truth for one in rows],
        "prediction": [one.predicted for one in rows],
    }
    if classifies:
        ours["p_truth"] = np.array([one.p_truth for one in rows])
        ours["p_prediction"] = np.array([one.p_predicted for one in rows])
    ours["loss"] = np.array([one.loss for one in rows])
    for name in rows[0].cells if rows else ():
        ours[f"column.{name}" if name in ours else name] = [one.cells[name] for one in rows]
    return ours

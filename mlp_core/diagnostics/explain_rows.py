"""Rows of a file explained: read as they are, placed, and each prediction shared out among the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.column_roles import by_name
from mlp_core.data.config_sources import split_source
from mlp_core.data.encode import inputs
from mlp_core.data.load import load
from mlp_core.data.readers.source import Source
from mlp_core.data.task import Task
from mlp_core.diagnostics.attribution import Attribution, Attributor, together
from mlp_core.diagnostics.importance import some_rows
from mlp_core.errors import Problem, UsageError
from mlp_core.runs.evaluate import with_data_of
from mlp_core.training.ensemble import Ensemble, Saved
from mlp_core.training.model import Model

MOST = 10_000  # rows explained at once


@dataclass(frozen=True)
class Explained:
    """One row: its number in its file (from 0), its place there, the class or target that is explained, its cells by
    column, and what they add."""

    row: int
    place: str
    output: str
    probability: bool
    cells: Mapping[str, str]
    parts: Attribution


def explain_rows(
    model: Saved,
    file: Path | None = None,
    rows: Sequence[int] | None = None,
    split: str | None = None,
    wanted: str | None = None,
    baseline: str = "mean",
    progress: Callable[[int, int], None] | None = None,
) -> list[Explained]:
    """Rows of a further file, or of the file that the split came from (the training file without `split`), explained.

    rows: their numbers from 0; None: all of them. wanted: a class or target; None: the predicted class, the first
    target. baseline: `mean` of the training rows, or `zeros` for inputs of 0. Raises DataError, UsageError.
    """
    source = _source(model, file, split)
    numbers = _numbers(source, rows)
    names = model.task.classes or model.task.targets
    if wanted is not None and wanted not in names:
        hint = "there are " + ", ".join(names[:12])
        raise UsageError(Problem("usage", "--class: no such class or target", hint, got=wanted))
    part = source.taken(np.asarray(numbers))
    features, _ = by_name(model.config, part, model.task, targets=False)
    X, words = inputs(part, features, model.task, whole=False)
    attributors = [Attributor(one) for one in _members(model)]
    starts = [_baseline(one, model, baseline) for one in attributors]
    points = [one.place(one.model.inputs.transform(X, words)) for one in attributors]
    P = np.mean([one.predict(A) for one, A in zip(attributors, points, strict=True)], axis=0)
    found = []
    for i, number in enumerate(numbers):
        predicted = int(np.argmax(P[i])) if model.task.classifies else 0
        k = predicted if wanted is None else names.index(wanted)
        problem = source.problem("", "", number)
        place = "" if problem.line is None else f"{problem.file}:{problem.line}"
        cells = {model.task.features[j]: part.cell(i, column) for j, column in enumerate(features)}
        ways = zip(attributors, points, starts, strict=True)
        parts = together([one.attribute(A[i], start, k) for one, A, start in ways])
        found.append(Explained(number, place, names[k], bool(model.task.classes), cells, parts))
        if progress is not None:
            progress(i + 1, len(numbers))
    return found


def _members(model: Saved) -> Sequence[Model]:
    """The models whose mean is explained: what columns add to a mean is the mean of what they add to each. Raises
    UsageError where more is done to the mean."""
    if not isinstance(model, Ensemble):
        return [model]
    if model.calibration.method != "none":
        message = "what was fitted to the average of members is not shared out among columns"
        raise UsageError(Problem("usage", message, "explain a member, or the folder without its calibration"))
    return model.members


def _source(model: Saved, file: Path | None, split: str | None) -> Source:
    """Where rows are looked up by their numbers. Raises DataError, UsageError."""
    data = model.config.data
    if file is None and split not in (None, "train") and getattr(data, str(split), None) is None:
        split = None  # dealt from the training file, whose numbers count
    return split_source(model.config, split or "train", {}, file)[0]


def _numbers(source: Source, rows: Sequence[int] | None) -> list[int]:
    if rows is None:
        if source.rows > MOST:
            message = f"{source.rows:,} rows are more than are explained at once ({MOST:,})"
            raise UsageError(Problem("usage", message, "give a part of the file, or single rows by --row"))
        return list(range(source.rows))
    for row in rows:
        if not 0 <= row < source.rows:
            hint = f"rows are 0 to {source.rows - 1}"
            raise UsageError(Problem("no_such_row", "--row: there is no such row", hint, got=str(row)))
    return list(rows)


def _baseline(attributor: Attributor, whole: Saved, kind: str) -> Any:
    """The point that rows are explained from."""
    model = attributor.model
    if kind == "zeros":
        return attributor.place(np.zeros((1, model.inputs.inputs)))[0]
    config = model.config if model is whole else with_data_of(model.config, whole.config)
    train = load(config, task=model.task).splits["train"]
    return attributor.place(some_rows(model.split(train), MOST).X[:]).mean(axis=0)


def columns(found: Sequence[Explained], task: Task) -> dict[str, Any]:
    """What was found as columns of a file: facts about each row, then what every column adds, as `adds.NAME`."""
    told: dict[str, Any] = {
        "row": [one.row for one in found],
        "output": [one.output for one in found],
        "prediction": np.array([one.parts.value for one in found]),
        "baseline": np.array([one.parts.baseline for one in found]),
        "gap": np.array([one.parts.gap for one in found]),
    }
    for j, name in enumerate(task.features):
        told[f"adds.{name}"] = np.array([one.parts.columns[j] for one in found])
    return told

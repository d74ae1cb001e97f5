"""An overview of data: what every column holds, what the classes are, and what stands in the way of learning."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.column_roles import nearly_numbers, read_notes, select
from mlp_core.data.column_types import Column, Profile, infer_types, profile
from mlp_core.data.config_sources import code_notes, point_notes, read_part
from mlp_core.data.load import Data, load
from mlp_core.data.readers.source import Source, on_disk
from mlp_core.errors import DataError, Problem, counted
from mlp_core.rng import generator

COLUMNS = 100  # looked at one by one; the rest of a wide table is only counted
EXAMPLES = 4
CELLS = 1 << 22  # looked at of data that stays on the disk


@dataclass(frozen=True)
class ColumnView:
    """One column: what it holds, its part (input, target, weight, id, split, or none), its values."""

    column: Column
    part: str
    values: Profile

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on."""
        kind, values = self.column, self.values
        fields = {"name": kind.name, "kind": kind.kind, "why": kind.why, "part": self.part, "missing": kind.missing}
        fields |= {"distinct": values.distinct, "low": values.low, "mean": values.mean, "high": values.high}
        return {**fields, "common": list(values.examples), "commonest": values.top}


@dataclass(frozen=True)
class Overview:
    """What a person wants to know before training.

    views: the first columns. repeated: rows that are equal to an earlier one. targeted: there is something to predict.
    task, splits: rows by split. classes: rows of every class by split. notes: what was inferred and found. problems:
    what training would refuse.
    """

    rows: int
    columns: int
    views: tuple[ColumnView, ...]
    repeated: int
    targeted: bool
    notes: tuple[str, ...]
    task: str | None = None
    splits: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def overview(config: Config, targeted: bool = True) -> Overview:
    """Look at the data of a config; `targeted` says that there is something to predict, as some files do themselves.

    Raises DataError only when the training file cannot be read at all.
    """
    source, seen_rows = read_part(config, "train"), None
    targeted = targeted or source.targets is not None
    types = infer_types(source, config.data.types, config.data.date_order)
    rows = source.rows
    if len(part := some_rows(source)) < rows:
        source, seen_rows = source.taken(part), len(part)
    data, problems = None, tuple[Problem, ...]()
    if targeted:
        try:
            data = load(config)
        except DataError as error:
            problems = error.problems
    parts = _parts(config, source, types) if targeted else {}
    views = tuple(
        ColumnView(column, parts.get(place, ""), profile(source, place, EXAMPLES))
        for place, column in enumerate(types[:COLUMNS])
    )
    notes = (*source.notes, *_told(config, source, types)) if data is None else data.notes
    if seen_rows is not None:
        notes = (*notes, f"values and repeated rows are those of {counted(seen_rows, 'row')} drawn at random")
    seen = Overview(rows, len(types), views, repeated_rows(source), targeted, notes, problems=problems)
    return seen if data is None else _with_task(seen, data)


def _told(config: Config, source: Source, types: list[Column]) -> list[str]:
    """How the columns of a file are read of which no target is known."""
    numbers = [place for place, column in enumerate(types) if column.kind == "numeric"]
    notations = {place: column.notation for place, column in enumerate(types) if column.notation is not None}
    notes = read_notes(source, types, notations)
    notes += nearly_numbers(source, types, range(len(types)))
    return notes + code_notes(config, source, numbers) + point_notes(config, source, numbers)


def _with_task(seen: Overview, data: Data) -> Overview:
    classes: dict[str, dict[str, int]] = {}
    for name, part in data.splits.items():
        if data.task.classifies:
            counts = np.bincount(part.y, minlength=len(data.task.classes)).tolist()
        else:
            counts = part.y.sum(axis=0).astype(int).tolist()
        for label, count in zip(data.task.classes, counts, strict=False):
            classes.setdefault(label, {})[name] = count
    rows = {name: part.rows for name, part in data.splits.items()}
    return replace(seen, task=data.task.kind, splits=rows, classes=classes)


def _parts(config: Config, source: Source, types: list[Column]) -> dict[int, str]:
    """The part of every column, by its place; {} where the config does not fit the columns."""
    try:
        roles = select(config, source)
    except DataError:
        return {}
    single = {"weight": roles.weight, "split": roles.split}
    parts = {place: part for part, place in single.items() if place is not None}
    for part, places in (("input", roles.features), ("target", roles.targets), ("id", roles.ids)):
        parts |= dict.fromkeys(places, part)
    return {place: parts.get(place, "left out") for place in range(len(types))}


def some_rows(source: Source) -> Any:
    """The numbers of the rows that are looked at: all in memory, of those on the disk as many as memory should hold."""
    count = max(1, CELLS // len(source.names))
    if not on_disk(source) or source.rows <= count:
        return np.arange(source.rows)
    return np.sort(generator(0, "overview").choice(source.rows, count, replace=False, shuffle=False))


def repeated_rows(source: Source) -> int:
    """How many rows are equal, cell for cell, to an earlier one (by a hash of 64 bits for each row)."""
    keys = np.zeros(source.rows, np.uint64)
    for place in range(len(source.names)):
        bits = (source.matrix([place])[:, 0].astype(np.float64) + 0.0).view(np.uint64)
        keys = (keys ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return source.rows - len(np.unique(keys))

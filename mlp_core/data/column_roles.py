"""The part that every column of a source plays: input, target, weight, name of a row, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mlp_core.config.nearest import question
from mlp_core.data.column_types import LOOKED_AT, Column, infer_types, is_empty
from mlp_core.data.dates import names_a_month
from mlp_core.data.identifiers import identifier_notes
from mlp_core.data.notation import Notation
from mlp_core.data.readers.csv_options import number
from mlp_core.data.readers.embedded import SETS
from mlp_core.data.readers.source import Source
from mlp_core.data.task import MAX_CLASSES, Task
from mlp_core.errors import DataError, Problem, counted, some

_BEGINS = re.compile(r"[^\w]{0,2}\d")
_POSITION = re.compile("[0-9]{1,6}")

if TYPE_CHECKING:
    from mlp_core.config import Config

MOST = 20  # problems told at once
MANY_WORDS = 20
FEW_WORDS = 10  # as many may be levels that have numbers as names


@dataclass(frozen=True)
class Roles:
    """The part that every column of the training source plays; columns as positions, kinds beside the features.

    notations: how numbers, dates and times are written in features, targets and weights where that is not plain.
    """

    features: list[int]
    kinds: tuple[str, ...]
    targets: list[int]
    weight: int | None
    ids: list[int]
    split: int | None
    notes: tuple[str, ...]
    notations: Mapping[int, Notation] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """The input columns of numbers."""
        return [column for column, kind in zip(self.features, self.kinds, strict=True) if kind == "numeric"]


def select(config: Config, source: Source) -> Roles:
    """The part every column plays, and what is to be said about it.

    Raises DataError for a name that is no column, and for a column with two parts.
    """
    data = config.data
    taken = {"data.drop": {_column(config, source, "data.drop", column) for column in data.drop}}
    targets = _targets(config, source)
    if len(set(targets)) < len(targets):
        raise _refusal(config, "data.target", "inconsistent", "a column twice", "name each column once")
    if taken["data.drop"].intersection(targets):
        raise _refusal(config, "data.drop", "inconsistent", "drops a target", "remove the column from one of the keys")
    weight = None if data.weight is None else _column(config, source, "data.weight", data.weight)
    split = None if data.split.column is None else _column(config, source, "data.split.column", data.split.column)
    ids = [_column(config, source, "data.id", column) for column in data.id]
    for key, columns in (("data.weight", [weight]), ("data.id", ids), ("data.split.column", [split])):
        if set(columns).intersection(targets):
            raise _refusal(config, key, "inconsistent", "the target", "name another column")
        taken[key] = {column for column in columns if column is not None}
    _check_names(config, source)
    others = set().union(*taken.values(), targets)
    rest = [column for column in _wanted(config, source) if column not in others]
    blank = [column for column in rest if _is_blank(source, column)]
    types = infer_types(source, data.types, data.date_order)
    features = [column for column in rest if column not in blank and types[column].kind != "ignore"]
    ignored = [types[column] for column in rest if column not in blank and types[column].kind == "ignore"]
    if not features:
        raise DataError(_no_inputs(source, ignored))
    notes = [f"left out: {source.names[column]}, without name and values" for column in blank]
    notes += [f"left out: {column.name} ({column.why})" for column in ignored if column.why != "as data.types says"]
    kinds = tuple(types[column].kind for column in features)
    numbers = [] if weight is None else [weight]
    numbers += [column for column in targets if _is_quantity(types[column], data.task)]
    notations = {c: one for c in (*features, *numbers) if (one := types[c].notation) is not None}
    notes += _told(source, features, kinds) + read_notes(source, types, notations)
    notes += nearly_numbers(source, [types[column] for column in rest], rest)
    if data.features == "auto":
        notes += identifier_notes(source, [types[column] for column in features], features)
    return Roles(features, kinds, targets, weight, ids, split, tuple(notes), notations)


def _no_inputs(source: Source, ignored: Sequence[Column]) -> Problem:
    """That no column is left to learn from, and what became of the others."""
    message, hint = "no input columns are left beside the target", "check data.csv.delimiter and data.drop"
    if words := [column for column in ignored if column.why != "as data.types says"]:
        message += f": {words[0].name} has {words[0].why}"
        message += f", and so have {counted(len(words) - 1, 'other')}" if len(words) > 1 else ""
        hint = "words that no other row has teach nothing about other rows: add columns that rows have in common"
    return source.problem("no_inputs", message, None, None, hint)


def as_known(config: Config, source: Source, task: Task) -> Roles:
    """The parts that the columns of the training source play in a task that was learned from it before."""
    features, targets = by_name(config, source, task)
    weight = source.names.index(task.weight) if task.weight in source.names else None
    by = config.data.split.column
    split = None if by is None else _column(config, source, "data.split.column", by)
    ids = [source.names.index(name) for name in task.ids if name in source.names]
    columns = [*features, *targets, *([] if weight is None else [weight])]
    notations = {c: n for c in columns if (n := task.kept.columns.get(source.names[c])) is not None}
    return Roles(features, task.input_kinds, targets, weight, ids, split, (), notations)


def _is_quantity(column: Column, task: str) -> bool:
    """Whether a target that is written in a notation is taken as numbers: few different words are labels."""
    if column.notation is None or column.kind != "numeric" or task in ("binary", "multiclass"):
        return False
    return column.distinct is None or column.distinct > MAX_CLASSES or task == "regression"


def read_notes(source: Source, types: Sequence[Column], notations: Mapping[int, Notation]) -> list[str]:
    """A line about columns whose numbers are written in a notation, and one about words taken as missing."""
    told, missing = [], []
    for column, notation in notations.items():
        name = source.names[column]
        if not notation.plain or " is " in types[column].why:
            told.append(f"{name} ({types[column].why})" if " " in types[column].why else name)
        if notation.missing:
            words = ", ".join(f'"{word}"' for word in notation.missing[:4])
            missing.append(f"{name} ({words})")
    notes = [f"read as numbers: {some(told)}"] if told else []
    hint = "data.types: {NAME: categorical} keeps the words"
    return notes + ([f"note: words taken as missing numbers: {some(missing)}; {hint}"] if missing else [])


def nearly_numbers(source: Source, types: Sequence[Column], columns: Sequence[int]) -> list[str]:
    """Lines about columns of words most of which are numbers, with one that is none, or look like dates, or begin with
    numbers."""
    found, begin, dated = [], [], []
    for column, place in zip(types, columns, strict=True):
        words: Sequence[str] = source.words.get(place, ()) if column.why != "as data.types says" else ()
        if column.kind in ("categorical", "ignore") and len(words) > 2 and all(map(names_a_month, words[:LOOKED_AT])):
            dated.append(f'{column.name} ("{words[0][:20]}")')
        elif column.kind in ("categorical", "ignore") and len(words) > FEW_WORDS:
            strange = [word for word in words if number(word) is None]
            if strange and 2 * len(strange) < len(words):
                found.append(f'{column.name} ("{strange[0][:20]}")')
            elif len(words) > MANY_WORDS and sum(_BEGINS.match(word) is not None for word in words) > 0.9 * len(words):
                begin.append(f'{column.name} ("{words[0][:20]}")')
    hint = "mend the others, or list them under data.csv.na"
    notes = [f"note: taken as words, though most are numbers: {some(found)}; {hint}"] if found else []
    hint = "write a quantity as plain numbers, in one unit, a date as 2024-01-31"
    notes += [f"note: words that look like dates stay words: {some(dated)}; write them as 2024-01-31"] if dated else []
    return notes + ([f"note: words that begin with numbers stay words: {some(begin)}; {hint}"] if begin else [])


def _told(source: Source, features: Sequence[int], kinds: Sequence[str]) -> list[str]:
    """A line about inputs that are not all numbers."""
    if all(kind == "numeric" for kind in kinds):
        return []
    parts = []
    for kind in ("numeric", "categorical", "boolean", "date", "time"):
        names = [source.names[column] for column, one in zip(features, kinds, strict=True) if one == kind]
        if names:
            shown = "" if kind == "numeric" else f" ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''})"
            parts.append(f"{len(names)} {kind}{shown}")
    return ["inputs: " + ", ".join(parts)]


def _wanted(config: Config, source: Source) -> list[int]:
    """The columns that may be inputs: all of them, or those that data.features names, in its order."""
    if config.data.features == "auto":
        return list(range(len(source.names)))
    found: dict[int, None] = {}
    for wish in config.data.features:
        if isinstance(wish, str) and wish not in source.names and any(sign in wish for sign in "*?["):
            hits = [column for column, name in enumerate(source.names) if fnmatchcase(name, wish)]
            if not hits:
                hint = nearest(wish, source.names)
                raise _refusal(config, "data.features", "unknown_column", f'no column is like "{wish}"', hint)
            found |= dict.fromkeys(hits)
        else:
            found[_column(config, source, "data.features", wish)] = None
    return list(found)


def _check_names(config: Config, source: Source) -> None:
    """Raise DataError for a column name in data.types or preprocess that the source does not have."""
    places: dict[str, Iterable[str]] = {
        "data.types": config.data.types,
        "preprocess.columns": config.preprocess.columns,
        "preprocess.numeric.log": config.preprocess.numeric.log,
    }
    for key, named in places.items():
        for name in named:
            if name not in source.names:
                message, hint = f'no column "{name}" in the data', nearest(name, source.names)
                raise _refusal(config, key, "unknown_column", message, hint)


def by_name(config: Config, source: Source, task: Task, targets: bool = True) -> tuple[list[int], list[int]]:
    """The columns of a further source that a trained task needs: by name, or all columns of
    arrays that have as many; a table without header may be like an embedded set.

    Without `targets`, those may be absent: then none are given. Raises DataError naming every missing column.
    """
    names = source.names
    if not source.named and config.data.name is not None and len(SETS[config.data.name].names) == len(names):
        names = SETS[config.data.name].names
    known = set(names)
    wanted = task.targets if targets or known.issuperset(task.targets) else ()
    missing = [name for name in (*task.features, *wanted) if name not in known]
    if missing and source.targets is not None:
        return _same_shape(source, source.targets, task, targets)
    if missing and not source.named:
        message = f"the first line does not name the columns that the model takes ({some(missing, 4)})"
        hint = "add a header line with the column names"
        raise DataError(source.problem("columns_differ", message, None, None, hint))
    if missing:
        raise DataError(
            source.problem("missing_column", f'no column "{name}"', None, hint=nearest(name, names))
            for name in missing[:MOST]
        )
    place = {name: column for column, name in enumerate(names)}
    return [place[name] for name in task.features], [place[name] for name in wanted]


def _same_shape(source: Source, own: range, task: Task, needed: bool = True) -> tuple[list[int], list[int]]:
    """The columns of arrays for a task that was trained on a table: all of them, in order; `own` are their targets."""
    inputs, targets = own.start, len(own)
    if inputs == len(task.features) and not needed and targets != len(task.targets):
        return list(range(inputs)), []
    if (inputs, targets) != (len(task.features), len(task.targets)):
        message = f"{inputs} inputs and {targets} targets"
        hint = f"trained on {len(task.features)} inputs and {len(task.targets)} targets"
        raise DataError(source.problem("columns_differ", message, None, None, hint))
    return list(range(inputs)), list(own)


def _targets(config: Config, source: Source) -> list[int]:
    """The target columns: those of the arrays, those the config names, or the embedded set's own."""
    target = config.data.target
    if source.targets is not None:
        if target is not None:
            message = "arrays bring their own targets"
            raise _refusal(config, "data.target", "inconsistent", message, "remove the key")
        return list(source.targets)
    if target is None and config.data.name is not None:
        target = SETS[config.data.name].target
    if target is None or target == ():
        hint = "columns are " + ", ".join(source.names[:12]) + (", ..." if len(source.names) > 12 else "")
        raise _refusal(config, "data.target", "missing", "name the column to predict", hint)
    wanted = target if isinstance(target, tuple) else (target,)
    return [_column(config, source, "data.target", column) for column in wanted]


def _refusal(config: Config, key: str, code: str, message: str, hint: str) -> DataError:
    return DataError(config.problem(key, message, code=code, hint=hint))


def _is_blank(source: Source, column: int) -> bool:
    """Whether a column has neither a name nor a value, such as the one after a delimiter at every line's end."""
    if source.targets is not None or source.names[column] != f"c{column}" or column in source.words:
        return False
    return column not in source.odd and is_empty(source, column)


def _column(config: Config, source: Source, key: str, column: int | str) -> int:
    """The index of a column given by name or by position; a name of digits that no column has is a position."""
    names = source.names
    if isinstance(column, str):
        if column in names:
            return names.index(column)
        if _POSITION.fullmatch(column) and int(column) < len(names):
            return int(column)
        raise _refusal(config, key, "unknown_column", f'no column "{column}" in the data', nearest(column, names))
    named, place = str(column) in names, column % len(names) if -len(names) <= column < len(names) else None
    if named and place not in (None, names.index(str(column))):
        last = key.split(".")[-1]
        hint = f'write {last}: "{column}" for the name, or the name "{names[place or 0]}" for the position'
        message = f"{column} is the name of a column, and the position of another"
        raise _refusal(config, key, "two_columns", message, hint)
    if named:
        return names.index(str(column))
    if place is not None:
        return place
    hint = f"positions go from 0 to {len(names) - 1}, or -1 for the last"
    raise _refusal(config, key, "unknown_column", f"no column {column}", hint)


def nearest(name: str, names: Sequence[str]) -> str:
    return question(name, names[:1000], 0.6) or "columns are " + ", ".join(names[:12])

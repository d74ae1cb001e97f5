"""Which columns of a source are inputs and which are targets, and whether the inputs are numbers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.errors import DataError, Problem
from mlp_core.readers.arrays import Arrays
from mlp_core.readers.embedded import SETS
from mlp_core.readers.source import Source
from mlp_core.task import Task

if TYPE_CHECKING:
    from mlp_core.config import Config

MOST = 20  # problems told at once


def select(config: Config, source: Source) -> tuple[list[int], list[int], tuple[str, ...]]:
    """The input and target columns, and what is to be said about them."""
    dropped = {_column(config, source, "data.drop", column) for column in config.data.drop}
    targets = _targets(config, source)
    if len(set(targets)) < len(targets):
        raise _refusal(config, "data.target", "inconsistent", "a column twice", "name each column once")
    if dropped.intersection(targets):
        raise _refusal(config, "data.drop", "inconsistent", "drops a target", "remove the column from one of the keys")
    rest = [column for column in range(len(source.names)) if column not in dropped and column not in targets]
    blank = [column for column in rest if _is_blank(source, column)]
    features = [column for column in rest if column not in blank]
    if not features:
        message, hint = "no input columns are left beside the target", "check data.csv.delimiter and data.drop"
        raise DataError(source.problem("no_inputs", message, None, None, hint))
    notes = tuple(f"left out: {source.names[column]}, without name and values" for column in blank)
    return features, targets, notes


def by_name(config: Config, source: Source, task: Task) -> tuple[list[int], list[int]]:
    """The columns of a further source that a trained task needs: by name, or all columns of
    arrays that have as many; a table without header may be like an embedded set.

    Raises DataError naming every missing column.
    """
    names = source.names
    if not source.header and config.data.name is not None and len(SETS[config.data.name].names) == len(names):
        names = SETS[config.data.name].names
    known = set(names)
    missing = [name for name in (*task.features, *task.targets) if name not in known]
    if missing and isinstance(source, Arrays):
        return _same_shape(source, task)
    if missing and not source.header:
        message = f"{len(names)} columns without names; trained on {len(task.features)} named inputs"
        hint = "add a header line with the column names"
        raise DataError(source.problem("columns_differ", message, None, None, hint))
    if missing:
        raise DataError(
            [
                source.problem("missing_column", f'no column "{name}"', None, None, nearest(name, names))
                for name in missing[:MOST]
            ]
        )
    place = {name: column for column, name in enumerate(names)}
    return [place[name] for name in task.features], [place[name] for name in task.targets]


def _same_shape(source: Arrays, task: Task) -> tuple[list[int], list[int]]:
    """The columns of arrays for a task that was trained on a table: all of them, in order."""
    inputs, targets = source.X.shape[1], len(source.targets)
    if (inputs, targets) != (len(task.features), len(task.targets)):
        message = f"{inputs} inputs and {targets} targets"
        hint = f"trained on {len(task.features)} inputs and {len(task.targets)} targets"
        raise DataError(source.problem("columns_differ", message, None, None, hint))
    return list(range(inputs)), list(source.targets)


def _targets(config: Config, source: Source) -> list[int]:
    """The target columns: those of the arrays, those the config names, or the embedded set's own."""
    target = config.data.target
    if isinstance(source, Arrays):
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
    if isinstance(source, Arrays) or source.names[column] != f"c{column}" or column in source.words:
        return False
    if column in source.odd or not np.isnan(source.values[0, column]):
        return False
    return bool(np.isnan(source.values[:, column]).all())


def _column(config: Config, source: Source, key: str, column: int | str) -> int:
    """The index of a column given by name or by position."""
    names = source.names
    if isinstance(column, str):
        if column in names:
            return names.index(column)
        raise _refusal(config, key, "unknown_column", f'no column "{column}" in the data', nearest(column, names))
    if -len(names) <= column < len(names):
        return column % len(names)
    hint = f"positions go from 0 to {len(names) - 1}, or -1 for the last"
    raise _refusal(config, key, "unknown_column", f"no column {column}", hint)


def nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names[:1000], 1)
    return f'did you mean "{close[0]}"?' if close else "columns are " + ", ".join(names[:12])


def inputs(source: Source, features: Sequence[int]) -> npt.NDArray[Any]:
    """The input columns, every cell a finite number. Raises DataError naming the first bad cell of each column."""
    X = source.matrix(features)
    problems = []
    finite = _finite_columns(X)
    for place, column in enumerate(features):
        if column in source.words or not finite[place]:
            problems.append(_bad_cell(source, column))
        if len(problems) == MOST:
            break
    if problems:
        raise DataError(problems)
    return X


def _finite_columns(X: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each column holds finite numbers only; looked at in blocks, so that no second matrix is made."""
    finite = np.ones(X.shape[1], bool)
    if X.dtype.kind == "f":
        step = max(1, (1 << 20) // X.shape[1])
        for start in range(0, len(X), step):
            finite &= np.isfinite(X[start : start + step]).all(axis=0)
    return finite


def _bad_cell(source: Source, column: int) -> Problem:
    """What is wrong with a column that cannot be an input, at its first bad cell."""
    name = source.names[column]
    values = source.matrix([column])[:, 0]
    if column in source.words:
        row = int(np.flatnonzero(~np.isnan(values))[0]) if (~np.isnan(values)).any() else 0
        message = f'column "{name}" holds text ("{source.cell(row, column)}")'
        return source.problem("text_column", message, row, column, f"leave it out with data.drop: [{name}]")
    if source.odd.get(column):
        row = min(source.odd[column])
        hint = "fix the cell or list it under data.csv.na"
        if "," in (cell := source.cell(row, column)):
            hint = "if it is a decimal comma, set data.csv.decimal"
        return source.problem("not_a_number", f'not a number ("{cell.strip()}")', row, column, hint)
    row = int(np.flatnonzero(~np.isfinite(values))[0])
    if isinstance(source, Arrays):
        return source.problem("not_finite", f"not a finite number ({values[row]})", row, column, "mend the array")
    hint = f"fill the cell, or leave the column out with data.drop: [{name}]"
    if np.isnan(values).all():
        return source.problem("empty_column", f'column "{name}" has no values', row, column, hint)
    return source.problem("missing_value", f'missing value in column "{name}"', row, column, hint)

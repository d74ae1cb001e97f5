"""From the config to host arrays: the task, and the rows of every split."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.errors import DataError, Problem
from mlp_core.readers.arrays import Arrays
from mlp_core.readers.dialect import CsvOptions
from mlp_core.readers.embedded import SETS, read_embedded
from mlp_core.readers.source import ReadOptions, Source, read
from mlp_core.split import OneRow, sample_rows, split_rows
from mlp_core.task import Task, Wish, encode, infer

if TYPE_CHECKING:
    from mlp_core.config import Config

__all__ = ["Data", "Dataset", "Task", "load", "load_split"]

MOST = 20  # problems told at once


@dataclass(frozen=True)
class Dataset:
    """The rows of one split on the host, not yet scaled.

    X: [rows, columns] as stored: uint8 for images, float64 for tables.
    y: class indices int64 [rows] (binary, multiclass), or float64 [rows, outputs] (multilabel, regression).
    weight: float64 [rows], or None when every row counts the same.
    """

    X: npt.NDArray[Any]
    y: npt.NDArray[Any]
    weight: npt.NDArray[np.float64] | None = None

    @property
    def rows(self) -> int:
        return len(self.X)


@dataclass(frozen=True)
class Data:
    """Everything a run is trained and judged on.

    splits: `train` always, `val` and `test` when there are such rows.
    indices: row numbers (from 0) in the training file of every split that was dealt from it.
    sha256: digest of the arrays of all splits. notes: what was inferred, one line each.
    """

    task: Task
    splits: dict[str, Dataset]
    indices: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sha256: str = ""
    notes: tuple[str, ...] = ()


def load(config: Config) -> Data:
    """Read the data a config names, infer the task, and deal the rows into splits.

    Raises DataError with every place found to be wrong: in the config, or at the file, line and column.
    """
    data = config.data
    train = _read_part(config, "train")
    features, targets, notes = _select(config, train)
    try:
        task, why = infer(train, features, targets, Wish(data.task, data.classes, data.positive))
    except DataError as error:
        raise _placed(config, error) from None
    whole = _dataset(train, features, targets, task)
    splits, indices = _deal(config, train, whole, task)
    for name in ("val", "test"):
        if getattr(data, name) is not None:
            further = _read_part(config, name, (*task.features, *task.targets))
            splits[name] = _further(config, task, further)
    _check_train(train, splits["train"], task, targets)
    splits = {name: splits[name] for name in ("train", "val", "test") if name in splits}
    counts = ", ".join(f"{name} {part.rows:,}" for name, part in splits.items())
    notes = (*train.notes, *notes, why, f"rows: {counts}", *_absent(splits["train"], task))
    return Data(task, splits, indices, digest(splits), notes)


def load_split(config: Config, task: Task, source: str | Path | Mapping[str, str | Path]) -> Dataset:
    """Read a further file with the classes and columns of a trained task.

    source: a path, or {x: PATH, y: PATH}, relative to the working directory. Table columns are found by name;
    others are ignored. Raises DataError naming a missing column or an unknown label.
    """
    where = (Path(source["x"]), Path(source["y"])) if isinstance(source, Mapping) else Path(source)
    return _further(config, task, read(where, _options(config), (*task.features, *task.targets)))


def digest(splits: Mapping[str, Dataset]) -> str:
    """SHA-256 over names, shapes, types and values of all arrays."""
    sha = hashlib.sha256()
    for name, part in splits.items():
        for array in (part.X, part.y, part.weight):
            if array is not None:
                sha.update(f"{name} {array.dtype.str} {array.shape};".encode())
                sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def _read_part(config: Config, name: str, names: Sequence[str] = ()) -> Source:
    """The source of one split as the config names it."""
    data = config.data
    if name == "train" and data.name is not None:
        return read_embedded(data.name)
    where = getattr(data, name)
    if not names:
        targets = data.target if isinstance(data.target, tuple) else (data.target,)
        names = [target for target in targets if isinstance(target, str)]
    if isinstance(where, str | Path):
        return read(config.resolve_path(str(where)), _options(config), names)
    return read((config.resolve_path(where.x), config.resolve_path(where.y)), _options(config), names)


def _options(config: Config) -> ReadOptions:
    data = config.data
    csv = CsvOptions(**{option.name: getattr(data.csv, option.name) for option in fields(CsvOptions)})
    return ReadOptions(data.format, data.x, data.y, csv)


def _select(config: Config, source: Source) -> tuple[list[int], list[int], tuple[str, ...]]:
    """The input and target columns, and what is to be said about them."""
    data = config.data
    dropped = {_column(config, source, "data.drop", column) for column in data.drop}
    target = data.target
    if isinstance(source, Arrays):
        if target is not None:
            raise DataError(config.problem("data.target", "arrays bring their own targets", code="inconsistent",
                                           hint="remove the key"))  # fmt: skip
        targets = list(source.targets)
    else:
        if target is None and data.name is not None:
            target = SETS[data.name].target
        if target is None or target == ():
            hint = "columns are " + ", ".join(source.names[:12]) + (", ..." if len(source.names) > 12 else "")
            message = "name the column to predict"
            raise DataError(config.problem("data.target", message, code="missing", hint=hint))
        wanted = target if isinstance(target, tuple) else (target,)
        targets = [_column(config, source, "data.target", column) for column in wanted]
    if len(set(targets)) < len(targets) or dropped.intersection(targets):
        key, message = (
            ("data.drop", "drops a target") if dropped.intersection(targets) else ("data.target", "a column twice")
        )
        raise DataError(config.problem(key, message, code="inconsistent", hint="name each column once"))
    features = [column for column in range(len(source.names)) if column not in dropped and column not in targets]
    blank = [column for column in features if _is_blank(source, column)]
    features = [column for column in features if column not in blank]
    if not features:
        problem = source.problem("no_inputs", "no input columns are left beside the target", None)
        raise DataError(replace(problem, hint="check data.csv.delimiter and data.drop"))
    notes = tuple(f"left out: {source.names[column]}, without name and values" for column in blank)
    return features, targets, notes


def _is_blank(source: Source, column: int) -> bool:
    """Whether a column has neither a name nor a value, such as the one after a delimiter at every line's end."""
    if isinstance(source, Arrays) or source.names[column] != f"c{column}" or column in source.words:
        return False
    return column not in source.odd and bool(np.isnan(source.values[:, column]).all())


def _column(config: Config, source: Source, key: str, column: int | str) -> int:
    """The index of a column given by name or by position."""
    names = source.names
    if isinstance(column, int):
        if -len(names) <= column < len(names):
            return column % len(names)
        message, hint = f"no column {column}", f"positions go from 0 to {len(names) - 1}, or -1 for the last"
        raise DataError(config.problem(key, message, code="unknown_column", hint=hint))
    if column in names:
        return names.index(column)
    raise DataError(
        config.problem(key, f'no column "{column}" in the data', code="unknown_column", hint=_nearest(column, names))
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names[:1000], 1)
    return f'did you mean "{close[0]}"?' if close else "columns are " + ", ".join(names[:12])


def _dataset(source: Source, features: Sequence[int], targets: Sequence[int], task: Task) -> Dataset:
    return Dataset(_inputs(source, features), encode(source, targets, task))


def _inputs(source: Source, features: Sequence[int]) -> npt.NDArray[Any]:
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


def _deal(
    config: Config, source: Source, whole: Dataset, task: Task
) -> tuple[dict[str, Dataset], dict[str, npt.NDArray[np.int64]]]:
    """Split the rows of the training source, as far as val and test are not given."""
    split = config.data.split
    seed = config.seed if split.seed is None else split.seed
    val = split.val if config.data.val is None else 0
    test = split.test if config.data.test is None else 0
    rows = sample_rows(whole.rows, config.data.limit, seed)
    labels = whole.y[rows] if task.classifies else None
    try:
        parts = split_rows(rows, labels, split.method, val, test, seed)
    except DataError as error:
        raise _placed(config, error) from None
    except OneRow as single:
        row = int(rows[np.flatnonzero(whole.y[rows] == single.label)[0]])
        message = f'class "{task.classes[single.label]}" has only this row'
        hint = "add rows of it, remove it, or set data.split.method: random"
        column = source.names.index(task.targets[0])
        raise DataError(source.problem("too_few_rows", message, row, column, hint)) from None
    if len(parts) == 1 and len(rows) == whole.rows:
        return {"train": whole}, {}
    return {name: Dataset(whole.X[part], whole.y[part]) for name, part in parts.items()}, parts


def _further(config: Config, task: Task, source: Source) -> Dataset:
    """A further source with the task's columns, found by name; by position where neither side has names."""
    if isinstance(source, Arrays):
        features, targets = list(range(source.X.shape[1])), list(source.targets)
        if len(features) != len(task.features) or len(targets) != len(task.targets):
            message = f"{len(features)} inputs and {len(targets)} targets"
            hint = f"trained on {len(task.features)} inputs and {len(task.targets)} targets"
            raise DataError(source.problem("columns_differ", message, None, None, hint))
        return _dataset(source, features, targets, task)
    names = source.names
    missing = [name for name in (*task.features, *task.targets) if name not in names]
    if missing and not source.header and _same_places(config, source, task):
        features, targets, _ = _select(config, source)
        return _dataset(source, features, targets, task)
    if missing:
        hints = [_nearest(name, names) if source.header else "the file has no header line" for name in missing]
        raise DataError(
            [
                source.problem("missing_column", f'no column "{name}"', None, None, hint)
                for name, hint in zip(missing[:MOST], hints, strict=False)
            ]
        )
    features, targets = ([names.index(name) for name in part] for part in (task.features, task.targets))
    return _dataset(source, features, targets, task)


def _same_places(config: Config, source: Source, task: Task) -> bool:
    """Whether a table without header has the columns of an embedded set, whose names are ours."""
    name = config.data.name
    return name is not None and len(source.names) == len(task.features) + len(task.targets) + len(config.data.drop)


def _check_train(source: Source, train: Dataset, task: Task, targets: Sequence[int]) -> None:
    """Raise DataError when the training rows of a classification hold a single class."""
    if task.classifies and (train.y == train.y[0]).all():
        message = f'all {train.rows} training rows have the class "{task.classes[int(train.y[0])]}"'
        hint = "set data.split.method: stratified, or give more data"
        raise DataError(source.problem("one_class", message, None, targets[0], hint))


def _absent(train: Dataset, task: Task) -> tuple[str, ...]:
    """A line about classes that have no training rows."""
    if not task.classifies:
        return ()
    counts = np.bincount(train.y, minlength=len(task.classes))
    names = [task.classes[index] for index in np.flatnonzero(counts == 0)]
    return (f"no training rows of: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}",) if names else ()


def _placed(config: Config, error: DataError) -> DataError:
    """The error with problems that name a config key placed where the config has it."""
    return DataError(
        [
            problem
            if problem.key is None
            else config.problem(problem.key, problem.message, code=problem.code, hint=problem.hint, got=problem.got)
            for problem in error.problems
        ]
    )

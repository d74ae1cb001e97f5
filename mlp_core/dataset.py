"""From the config to host arrays: the task, and the rows of every split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.columns import by_name, inputs, select
from mlp_core.errors import DataError
from mlp_core.readers.dialect import CsvOptions
from mlp_core.readers.embedded import read_embedded
from mlp_core.readers.source import ReadOptions, Source, read
from mlp_core.split import OneRow, sample_rows, split_rows
from mlp_core.task import Task, Wish, encode, infer

if TYPE_CHECKING:
    from mlp_core.config import Config

__all__ = ["Data", "Dataset", "Task", "load", "load_split"]


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
    features, targets, notes = select(config, train)
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


def _dataset(source: Source, features: Sequence[int], targets: Sequence[int], task: Task) -> Dataset:
    return Dataset(inputs(source, features), encode(source, targets, task))


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
    """A further source with the columns and classes of the task."""
    return _dataset(source, *by_name(config, source, task), task)


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

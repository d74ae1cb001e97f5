"""From the config to host arrays: the task, and the rows of every split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.column_roles import Roles, as_known, by_name, select
from mlp_core.data.config_sources import code_notes, date_notes, point_notes, pull, read_options, read_part, text_of
from mlp_core.data.dataset import Data, Dataset
from mlp_core.data.digest import digest
from mlp_core.data.encode import as_numbers, inputs, refuse_missing, relabel, weights
from mlp_core.data.folds import deal_fold
from mlp_core.data.kept import Kept
from mlp_core.data.preprocess.from_config import gapless
from mlp_core.data.readers.converted_table import DamagedTable
from mlp_core.data.readers.format import Reading
from mlp_core.data.readers.formats import read
from mlp_core.data.readers.frames import InMemory
from mlp_core.data.readers.source import Source, on_disk
from mlp_core.data.readers.table_cache import discard
from mlp_core.data.scan import survey_notes, surveyed
from mlp_core.data.split import OneRow, sample_rows, split_by, split_rows
from mlp_core.data.task import Task, encode, infer, without_target
from mlp_core.data.unlike import unlike
from mlp_core.data.warnings import findings
from mlp_core.errors import DataError

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.config.data import Split as SplitConfig

__all__ = ["Data", "Dataset", "load", "load_split"]

MAX_LONELY = 20  # more classes of one row each are no classes


def load(config: Config, progress: Reading | None = None, task: Task | None = None, look: bool = True) -> Data:
    """Read the data a config names, infer the task, and deal the rows into splits; `progress` hears of rows read.

    task: that of a model which was trained on this data: then nothing is inferred anew. Without `look` rows on the disk
    are not looked through: another process has done it, and there are no digest and no notes. Raises DataError with
    every place found to be wrong: in the config, or at the file, line and column.
    """
    try:
        return _load(config, progress, task, look)
    except DamagedTable as error:
        if not discard(config, error.folder):
            raise
        return _load(config, progress, task, look)


def _load(config: Config, progress: Reading | None, known: Task | None, look: bool) -> Data:
    data = config.data
    train = read_part(config, "train", known, progress)
    roles = select(config, train) if known is None else as_known(config, train, known)
    pull(train, [*roles.targets, *(column for column in (roles.weight, roles.split) if column is not None)])
    train, task, why = _task(config, train, roles, known)
    whole = _dataset(config, train, roles.features, roles.targets, task)
    codes = []
    if known is None:
        codes = code_notes(config, train, roles.numbers) + point_notes(config, train, [*roles.numbers, *roles.targets])
        codes += date_notes(train, roles.numbers)
    keys = None if roles.split is None else [train.cell(row, roles.split) for row in range(whole.rows)]
    lacking = without_target(train, roles.targets)
    gone = _gone(config, train, roles.targets, lacking)
    train = train if whole.on_disk else train.emptied()
    splits, indices = _deal(config, train, whole, task, keys, lacking)
    if whole.on_disk and look:
        rows = {name: indices.get(name, np.arange(whole.rows)) for name in splits}
        found = surveyed(config, train, whole.X, whole.words, rows, task, progress)
        splits = {name: replace(part, survey=found) for name, part in splits.items()}
    memory = "memmap" if whole.on_disk else "ram"
    for name in ("val", "test"):
        if getattr(data, name) is not None and not (name == "test" and data.split.folds):
            further = read_part(config, name, task, progress, memory)
            splits[name] = _further(config, task, further, name, look)
    splits = {name: splits[name] for name in ("train", "val", "test") if name in splits}
    if not look:
        return Data(task, splits, indices)
    absent = _check_train(train, splits["train"], task, roles.targets)
    counts = ", ".join(f"{name} {part.rows:,}" for name, part in splits.items())
    others = [f"note: {name} rows: {note}" for name, part in splits.items() for note in part.notes]
    notes = (*train.notes, *roles.notes, *codes, why, *gone, f"rows: {counts}", *absent, *others)
    return Data(task, splits, indices, digest(splits, indices), (*notes, *_found(splits, task)))


def _task(config: Config, train: Source, roles: Roles, known: Task | None) -> tuple[Source, Task, str]:
    """The source with labels as they are meant and targets that are numbers, what is to be learned from it, and why."""
    data = config.data
    train = relabel(train, roles.targets, data.labels)
    quantities = {
        c: roles.notations[c] for c in (*roles.targets, roles.weight) if c in roles.notations and c is not None
    }
    train = as_numbers(train, quantities)
    if known is not None:
        return train, known, f"task: {known.kind} (as the model was trained)"
    try:
        task, why = infer(train, roles.features, roles.targets, data)
    except DataError as error:
        raise _placed(config, error) from None
    columns = {train.names[column]: notation for column, notation in roles.notations.items()}
    dialect = None if train.dialect is None else replace(train.dialect, quote=None)
    task = replace(
        task,
        kinds=() if set(roles.kinds) == {"numeric"} else roles.kinds,
        weight=None if roles.weight is None else train.names[roles.weight],
        ids=tuple(train.names[column] for column in roles.ids),
        kept=Kept(dialect, train.base, columns),
    )
    return train, task, why


def _gone(config: Config, source: Source, targets: Sequence[int], rows: npt.NDArray[np.int64]) -> list[str]:
    """A line about rows that are left out because they miss a target. Raises DataError where they are refused."""
    if not len(rows):
        return []
    names = ", ".join(source.names[column] for column in targets)
    column = next(column for column in targets if np.isnan(source.matrix([column])[int(rows[0]), 0]))
    cell = text_of(config, source, int(rows[0]), column)
    written = f', the first is "{cell}"' if cell else ""
    hint = 'if that is a label, set data.csv.na: [""]' if cell and column in source.words else ""
    if config.data.missing_target == "error":
        message = f"{len(rows):,} of {source.rows:,} rows have no {names}{written}; this is the first"
        hint = hint or "data.missing_target: drop leaves them out"
        raise DataError(source.problem("missing_target", message, int(rows[0]), column, hint))
    lines = [source.problem("", "", int(row)).line for row in rows[:4]]
    places = ", ".join(str(line) for line in lines if line is not None)
    word = "line" if len(rows) == 1 else "lines"
    where = f" ({word} {places}{', ...' if len(rows) > len(lines) else ''})" if places else ""
    told = f"note: {len(rows):,} of {source.rows:,} rows have no {names}{where}{written}: left out"
    return [f"{told}; {hint}" if hint else told]


def load_split(config: Config, task: Task, source: str | Path | Mapping[str, str | Path] | InMemory) -> Dataset:
    """Read further rows with the classes and columns of a trained task.

    source: a path, or {x: PATH, y: PATH}, relative to the working directory, or rows in memory. Table columns are found
    by name; others are ignored. Raises DataError naming a missing column or an unknown label.
    """
    if isinstance(source, InMemory):
        return _further(config, task, source.read(read_options(config, task)))
    where = (Path(source["x"]), Path(source["y"])) if isinstance(source, Mapping) else Path(source)
    options = replace(read_options(config, task), memory="auto")
    return _further(config, task, read(where, options, (*task.features, *task.targets)))


def _dataset(
    config: Config, source: Source, features: Sequence[int], targets: Sequence[int], task: Task, whole: bool = True
) -> Dataset:
    X, words = inputs(source, features, task, whole)
    if not on_disk(source):
        refuse_missing(source, [features[place] for place in gapless(config, task)])
    weight = None
    if task.weight is not None and task.weight in source.names:
        weight = weights(source, source.names.index(task.weight))
    return Dataset(X, encode(source, targets, task), weight, words=words)


def _deal(
    config: Config,
    source: Source,
    whole: Dataset,
    task: Task,
    keys: Sequence[str] | None,
    lacking: npt.NDArray[np.int64],
) -> tuple[dict[str, Dataset], dict[str, npt.NDArray[np.int64]]]:
    """Split the rows of the training source, as far as val and test are not given; keys: the cells of the column that
    says where each row goes, if there is one. lacking: rows that are left out."""
    split = config.data.split
    seed = config.seed if split.seed is None else split.seed
    val = split.val if config.data.val is None else 0
    test = split.test if config.data.test is None else 0
    rows = sample_rows(whole.rows, config.data.limit, seed)
    if len(lacking):
        rows = np.setdiff1d(np.arange(whole.rows), lacking, assume_unique=True)
        rows = rows[sample_rows(len(rows), config.data.limit, seed)]
    try:
        parts = _parts(split, rows, whole.y if task.classifies else None, keys, val, test, seed)
    except DataError as error:
        raise _placed(config, error) from None
    except OneRow as single:
        row = int(rows[np.flatnonzero(whole.y[rows] == single.label)[0]])
        message = f'class "{task.classes[single.label]}" has only this row'
        either = len(task.classes) == 2  # dealt at random, training rows would have one class alone, or this one row
        hint = "nothing can be learned from one row: add rows of it" if either else "add rows of it, remove it"
        hint += "" if either else ", or set data.split.method: random"
        if row == 0 and source.dialect is not None and not source.named:
            hint = 'if the first line holds names, set data.csv.header: true (a name of digits: data.target: "2")'
            hint += "; else add rows of it, or set data.split.method: random"
        if (lonely := int((np.bincount(whole.y[rows]) == 1).sum())) > MAX_LONELY:
            message += f", and so have {lonely - 1:,} other classes"
            hint = "is this the column to predict? where it holds quantities, set data.task: regression"
        target = source.names.index(task.targets[0])
        raise DataError(source.problem("too_few_rows", message, row, target, hint)) from None
    if len(parts) == 1 and len(rows) == whole.rows:
        return {"train": whole}, {}
    return whole.dealt(parts), parts


def _parts(
    split: SplitConfig, rows: Any, labels: Any, keys: Sequence[str] | None, val: float, test: float, seed: int
) -> dict[str, Any]:
    """Row numbers by part; labels, keys: of all rows of the source. Under folds those of `test` are set apart, and a
    fold takes their place."""

    def labels_and_keys(rows: Any) -> tuple[Any, Sequence[str] | None]:
        return None if labels is None else labels[rows], None if keys is None else [keys[row] for row in rows]

    def dealt(rows: Any, val: float, test: float) -> dict[str, Any]:
        mine, words = labels_and_keys(rows)
        if words is not None:
            return split_by(rows, words, split.method, val, test, seed)
        return split_rows(rows, mine, split.method, val, test, seed)

    if split.folds is None or split.fold is None:
        return dealt(rows, val, test)
    among = dealt(rows, 0, test)["train"] if test else rows
    rest, held = deal_fold(among, *labels_and_keys(among), split.method, split.folds, split.fold, split.repeat, seed)
    return {**dealt(rest, val, 0), "test": held}


def _further(config: Config, task: Task, source: Source, name: str = "data", look: bool = True) -> Dataset:
    """A further source with the columns and classes of the task."""
    features, targets = by_name(config, source, task)
    written, source = source, with_targets(config, source, targets, task)
    part = _dataset(config, source, features, targets, task, whole=False)
    lacking = without_target(source, targets)
    notes = (*unlike(written, features, targets, task).values(), *_gone(config, source, targets, lacking))
    if len(lacking) == part.rows:
        message = f"no row has a value of the target {', '.join(task.targets)}"
        raise DataError(source.problem("missing_target", message, None, None, "nothing can be measured on it"))
    part = replace(part, notes=tuple(note.removeprefix("note: ") for note in notes), source=source.emptied())
    whole, part = part, part.present(np.setdiff1d(np.arange(part.rows), lacking, assume_unique=True))
    if not part.on_disk or not look:
        return part
    rows = np.arange(whole.rows) if part.places is None else part.places
    return replace(part, survey=surveyed(config, source, whole.X, part.words, {name: rows}, task))


def with_targets(config: Config, source: Source, targets: Sequence[int], task: Task) -> Source:
    """A further source with labels as they are meant, and targets that are numbers where the task has such."""
    columns = [*targets, *([source.names.index(task.weight)] if task.weight in source.names else [])]
    notations = {c: n for c in columns if (n := task.kept.columns.get(source.names[c])) is not None}
    return as_numbers(relabel(source, targets, config.data.labels), notations)


def _found(splits: Mapping[str, Dataset], task: Task) -> tuple[str, ...]:
    """What should be known about the data, as far as it is in memory or was found in one pass."""
    train = splits["train"]
    if train.survey is not None:
        rows = {name: part.rows for name, part in splits.items()}
        return survey_notes(train.survey, rows, train.y, train.words, task)
    return findings(splits, task) if all(part.survey is None for part in splits.values()) else ()


def _check_train(source: Source, train: Dataset, task: Task, targets: Sequence[int]) -> list[str]:
    """A line about classes that have no training rows, or about targets that are the same in all of them. Raises
    DataError when the training rows hold a single class, or a single value of every target."""
    same = (train.y == train.y[0]).all(axis=0)
    if task.kind == "regression" and same.all():
        shown = ", ".join(f"{value:g}" for value in train.y[0, :3].tolist())
        message = f"the target is the same in all {train.rows:,} training rows ({shown})"
        hint = "nothing can be learned from it; check data.target"
        raise DataError(source.problem("one_value", message, None, targets[0], hint))
    if task.kind == "regression":
        names = [name for name, one in zip(task.targets, same, strict=True) if one]
        return [f"note: {', '.join(names[:8])}: the same in all training rows, teaches nothing"] if names else []
    if not task.classifies:
        return []
    if same:
        message = f'all {train.rows} training rows have the class "{task.classes[int(train.y[0])]}"'
        hint = "set data.split.method: stratified, or give more data"
        raise DataError(source.problem("one_class", message, None, targets[0], hint))
    counts = np.bincount(train.y, minlength=len(task.classes))
    names = [task.classes[index] for index in np.flatnonzero(counts == 0)]
    return [f"no training rows of: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"] if names else []


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

"""The sources that a config names: which files they are, how they are read, and where their cells are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from glob import glob, has_magic
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.config.schema import IN_MEMORY
from mlp_core.data.column_roles import nearest
from mlp_core.data.column_types import compact_dates, unread
from mlp_core.data.readers.converted_table import VALUES, DamagedTable, folder_of, is_folder
from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.embedded import read_embedded
from mlp_core.data.readers.format import Reading, ReadOptions
from mlp_core.data.readers.formats import detect, read, read_all
from mlp_core.data.readers.look_again import rows_from
from mlp_core.data.readers.open_file import shown
from mlp_core.data.readers.source import Source, on_disk
from mlp_core.data.readers.table_cache import cached
from mlp_core.data.task import Task
from mlp_core.errors import DataError, Problem

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.config.data import Files

Rows = npt.NDArray[np.int64]
LOOKED_AT = 200  # rows in which zeros before numbers are looked for
_ZEROS = re.compile("0[0-9]+")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_WHOLE = re.compile("[0-9]{16,40}")  # from 2^53 on some whole numbers are no numbers of 64 bits
_CODE = re.compile(r"(?i)(\b|_)(zip|zip_?code|postal|post_?code|plz|fips)(\b|_)")
MOST_NAMED = 6


def read_part(
    config: Config, name: str, task: Task | None = None, progress: Reading | None = None, memory: str | None = None
) -> Source:
    """The source of one split as the config names it; `task` is known for all but the training split.

    memory: where inputs are, as far as files allow it; None: as the config says, which then must be possible.
    Raises DataError for what cannot be read, or cannot stay on the disk.
    """
    data, held = config.data, config.source.held.get(name)
    if held is not None:
        found: Source = held.read(read_options(config, task))
        again = _as_text(config, found, task)
        return held.read(read_options(config, task, again)) if again else found
    if getattr(data, name) == IN_MEMORY:
        message = "the data of this model was in memory or came through a pipe, and is not kept"
        problem = config.problem(f"data.{name}", message, code="not_kept", hint=f"say where it is: data.{name}=FILE")
        raise DataError(problem)
    if name == "train" and data.name is not None:
        if data.memory == "memmap":
            message, hint = "embedded data sets are small and live in memory", "remove the key"
            raise DataError(config.problem("data.memory", message, code="not_mappable", got="memmap", hint=hint))
        return read_embedded(data.name)
    where = getattr(data, name)
    targets = data.target if isinstance(data.target, tuple) else (data.target,)
    names: Sequence[str] = [target for target in targets if isinstance(target, str)]
    if task is not None:
        names = (*task.features, *task.targets)
    options = replace(read_options(config, task), progress=progress)
    if memory is not None:
        options = replace(options, memory=memory)
    source = _read(config, where, options, names, memory)
    if again := _as_text(config, source, task):
        source = _read(config, where, replace(options, text=(*options.text, *again)), names, memory)
    return source


def _as_text(config: Config, source: Source, task: Task | None) -> list[str]:
    """The columns that have to be read once more, as text: numbers in a notation, and names of groups."""
    if not source.pieces or on_disk(source) or any(is_folder(piece.path) for piece in source.pieces):
        return []
    by, found = config.data.split.column, [] if task is not None else unread(source)
    if isinstance(by, int) and -len(source.names) <= by < len(source.names):
        found.append(source.names[by])
    kept = {source.names[column] for column in source.words}
    return [name for name in dict.fromkeys(found) if name not in kept]


def _read(config: Config, where: Any, options: ReadOptions, names: Sequence[str], memory: str | None) -> Source:
    """The source in the files that a config names; where one is missing, the error names both places it may lie in."""
    try:
        return _read_files(config, where, options, names, memory)
    except DamagedTable:
        raise  # a cache's entry is made again
    except DataError as error:
        raise DataError([_both_places(config, where, problem) for problem in error.problems]) from None


def _both_places(config: Config, where: Any, problem: Problem) -> Problem:
    if problem.code != "missing_file":
        return problem
    texts = (where,) if isinstance(where, str) else where if isinstance(where, tuple) else (where.x, where.y)
    for text in texts:
        path = config.resolve_path(text)
        if not Path(text).is_absolute() and shown(path) == problem.file and Path(text).absolute() != path.absolute():
            message = f"no such file (tried {path.absolute()} and {Path(text).absolute()})"
            return replace(problem, message=message, file=text)
    return problem


def _read_files(config: Config, where: Any, options: ReadOptions, names: Sequence[str], memory: str | None) -> Source:
    if isinstance(where, str | tuple):
        paths = _paths(config, where)
        if len(paths) == 1 and is_folder(paths[0]):
            return read(paths[0], options, names)
        if config.data.cache and not any(map(is_folder, paths)):
            folder = config.resolve_path(config.data.cache)
            if (kept := cached(paths, options, names, folder, unread, make=not config.source.sent)) is not None:
                return read(kept, options, names)
        if options.memory == "memmap" and memory is None:
            raise _not_mappable(config, paths)
        return read_all(paths, replace(options, memory="ram"), names)
    x, y = config.resolve_path(where.x), config.resolve_path(where.y)
    if memory is not None and detect(x) != "npy":
        options = replace(options, memory="ram")
    return read((x, y), options, names)


def read_options(config: Config, task: Task | None = None, text: Sequence[str] = ()) -> ReadOptions:
    """How the config says that files are read, with the columns that are known to hold words, and those in `text`."""
    data = config.data
    given = {option.name: getattr(data.csv, option.name) for option in fields(CsvOptions) if option.name != "kept"}
    csv = CsvOptions(**given, kept=None if task is None else task.kept.dialect)
    words = {name for name, kind in data.types.items() if kind in ("categorical", "boolean")}
    words |= {data.split.column} if isinstance(data.split.column, str) else set()  # groups of long numbers, or of zeros
    text, itemsize = tuple(words.union(text, task.words if task else ())), np.dtype(config.dtype).itemsize
    base = None if task is None else task.kept.base
    return ReadOptions(data.format, data.x, data.y, csv, text, memory=data.memory, itemsize=itemsize, base=base)


def text_of(config: Config, source: Source, row: int, column: int) -> str:
    """What is written in a missing cell, looked up in the file once more; nothing where that cannot be told."""
    rows = rows_from(source, row, 1, config.data.csv.encoding)
    return rows[0][column].strip() if rows else ""


def code_notes(config: Config, source: Source, columns: Sequence[int]) -> list[str]:
    """A line about columns of numbers that look like names of something: zeros before them, more digits than a number
    of 64 bits holds, or called so."""
    rows = rows_from(source, 0, LOOKED_AT, config.data.csv.encoding)
    written = {column: [row[column].strip() for row in rows] for column in columns}
    shown = {c: cell for c, cells in written.items() if (cell := next(filter(_is_code, cells), None)) is not None}
    shown |= {} if rows or on_disk(source) else _huge(source, columns)
    called = {c: source.names[c] for c in columns if c not in shown and _CODE.search(source.names[c])}
    told = [*(f"{source.names[column]} ({cell})" for column, cell in shown.items()), *called.values()]
    if not told:
        return []
    name = source.names[next(iter({**shown, **called}))]
    hint = f"for what has no order: data.types: {{{name}: categorical}}"
    return [f"note: taken as numbers, but perhaps codes: {', '.join(told[:6])}; {hint}"]


def _huge(source: Source, columns: Sequence[int]) -> dict[int, str]:
    """Of a source without text, a number of every column that holds nothing but whole ones from 2^53 on."""
    head = source.taken(np.arange(min(LOOKED_AT, source.rows))).matrix(columns)
    if head.dtype.itemsize < 8:
        return {}
    low = np.abs(np.asarray(head, np.float64)).min(axis=0, initial=np.inf)
    return {column: f"{one:.4g}" for column, one in zip(columns, low, strict=True) if 2**53 <= one < 1e25}


def date_notes(source: Source, columns: Sequence[int]) -> list[str]:
    """A line about numbers such as 20240131 where no text tells that they are dates: in arrays."""
    if source.targets is None:
        return []
    named = {*(source.names[column] for column in columns)}
    found = [name for name in compact_dates(source) if name in named]
    hint = "days since a date, or a table, would tell the network more"
    return [f"note: numbers that look like dates are taken as numbers: {', '.join(found[:6])}; {hint}"] if found else []


def point_notes(config: Config, source: Source, columns: Sequence[int]) -> list[str]:
    """A line about numbers such as 1.234 where semicolons stand between the cells: the point may be of thousands."""
    dialect = source.dialect
    if dialect is None or dialect.delimiter != ";" or dialect.decimal != ".":
        return []
    rows = rows_from(source, 0, LOOKED_AT, config.data.csv.encoding)
    told = []
    for column in columns:
        pointed = [cell for row in rows if "." in (cell := row[column].strip())] if column not in source.words else []
        if len({*pointed}) > 2 and all(map(_THOUSANDS.fullmatch, pointed)):
            told.append(f"{source.names[column]} ({pointed[0]} is {float(pointed[0]):g})")
    hint = 'where it separates thousands: data.csv.decimal: ","'
    return [f"note: the point is taken as a decimal sign: {', '.join(told[:6])}; {hint}"] if told else []


def _is_code(cell: str) -> bool:
    return _ZEROS.fullmatch(cell) is not None or (_WHOLE.fullmatch(cell) is not None and int(float(cell)) != int(cell))


def moved(config: Config, error: DataError) -> DataError:
    """An error about data that a run or a model names: where a file is gone, with what says where it is now."""
    problems = []
    for problem in error.problems:
        if problem.code == "missing_file":
            parts = {"train": config.data.train, "val": config.data.val, "test": config.data.test}
            names = [name for name, part in parts.items() if problem.file in [*map(shown, _files(config, part))]]
            hint = f"if it has moved, say where it is now: add data.{(names or ['train'])[0]}=FILE to the command"
            problem = replace(problem, hint=hint)
        problems.append(problem)
    return DataError(problems)


def _files(config: Config, part: Files) -> list[Path]:
    """The files of a part of the data."""
    if isinstance(part, str | tuple):
        return _paths(config, part)
    return [] if part is None else [config.resolve_path(name) for name in (part.x, part.y)]


def training_files(config: Config) -> list[Path]:
    """The files of the training table that a config names."""
    where = config.data.train
    return _paths(config, where) if where != IN_MEMORY and isinstance(where, str | tuple) else []


def told_files(config: Config) -> str:
    """The files that a config names, as one line for people; empty where it names a data set that is embedded."""
    named: list[str] = []
    for part in (config.data.train, config.data.val, config.data.test):
        texts = part if isinstance(part, tuple) else () if part is None else (part,)
        for one in texts:
            paths = [one] if isinstance(one, str) else [one.x, one.y]
            named += [shown(config.resolve_path(text)) for text in paths if text != IN_MEMORY]
    named = list(dict.fromkeys(named))
    return ", ".join(named[:MOST_NAMED]) + (f" and {len(named) - MOST_NAMED:,} more" if named[MOST_NAMED:] else "")


def data_files(config: Config) -> list[Path]:
    """Every data file of a config that is there, the cells of a converted table in its place."""
    parts = (config.data.train, config.data.val, config.data.test)
    files = [file for part in parts for file in _files(config, part)]
    inside = [folder_of(path) / VALUES if is_folder(path) else path for path in files]
    return [path for path in inside if path.is_file()]


def pull(source: Source, columns: Sequence[int]) -> None:
    """Bring single columns of a table that stays on the disk into memory, in one pass; else there is nothing to do."""
    if source.targets is None and on_disk(source):
        source.cells.pull(columns)


def column_cells(config: Config, name: str, split: str, dealt: Mapping[str, Rows], path: Path | None) -> list[str]:
    """The cells of any column, as text, for the rows of a split, or of the further file at `path`.

    dealt: row numbers [n] in the training file of every split that was dealt from it. Raises DataError when there is
    no such column.
    """
    source, mine = split_source(config, split, dealt, path)
    if name not in source.names:
        hint = nearest(name, source.names)
        raise DataError(source.problem("unknown_column", f'no column "{name}"', None, None, hint))
    column = source.names.index(name)
    pull(source, [column])
    return [source.cell(row, column) for row in (range(source.rows) if mine is None else mine.tolist())]


def split_source(
    config: Config, split: str, dealt: Mapping[str, Rows], path: Path | None
) -> tuple[Source, Rows | None]:
    """The source of a split (or of the further file at `path`) as it is, and the numbers of its rows there, None for
    all. dealt: as in `column_cells`. Raises DataError."""
    if path is not None:
        config, split = config.replace(**{"data.test": str(path.absolute())}), "test"
    mine = dealt.get(split) if path is None else None
    if split in config.source.held:
        return read_part(config, split, memory="auto"), mine
    return read_part(config, split if mine is None else "train", memory="auto"), mine


def _paths(config: Config, where: str | Sequence[str]) -> list[Path]:
    """The files of a path, a pattern or a list of them, those of a pattern in the order of their names."""
    found = []
    for text in (where,) if isinstance(where, str) else where:
        path = config.resolve_path(text)
        hits = sorted(glob(str(path))) if has_magic(str(path)) and not path.exists() else []  # noqa: PTH207
        found += [Path(hit) for hit in hits] or [path]
    return found


def _not_mappable(config: Config, paths: Sequence[Path]) -> DataError:
    files = " ".join(quote(shown(path)) for path in paths[:3]) + " ..." * (len(paths) > 3)
    message = "only .npy arrays and converted tables stay on the disk"
    hint = f"convert it once with: mlpbp convert {files} -o FOLDER, or name a folder in data.cache"
    if config.source.sent and config.data.cache:
        message = "the table that this was trained on is not in its cache any more"
        hint = f"make it again: mlpbp train --resume RUN data.cache={quote(config.data.cache)}"
    if any(map(is_folder, paths)):
        message = "several converted tables are read into memory"
        hint = "convert their files together: mlpbp convert FILES -o FOLDER"
    return DataError(config.problem("data.memory", message, code="not_mappable", got="memmap", hint=hint))

"""Data in memory as a source: frames of pandas, polars and Arrow, columns by name, rows as objects, arrays of numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.readers.arrays import Arrays, alone, pair
from mlp_core.data.readers.arrow import fill, fill_plainly, taken_out
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.open_file import refuse_width
from mlp_core.data.readers.source import Lines, Piece
from mlp_core.data.readers.table import Table, number_name
from mlp_core.errors import DataError, Problem, counted

RESHAPE = "Reshape your data: X.reshape(1, -1) if it is one row, X.reshape(-1, 1) if it is one column"


@dataclass(frozen=True)
class Frame(Table):
    """A table that came from no file: what is wrong in it is placed at a row (from 0) and a column's name."""

    def problem(self, code: str, message: str, row: int | None, column: int | None = None, hint: str = "") -> Problem:
        places = [] if row is None else [f"row {row - self.pieces[0].first}"]
        if column is not None and f'"{self.names[column]}"' not in message:
            places.append(f'column "{self.names[column]}"')
        where = f" at {', '.join(places)}" if places else ""
        where += " (from 0)" if row is not None else ""
        return Problem(code, message + where, hint=hint or None, file=str(self.path))


@dataclass(frozen=True)
class InMemory:
    """A part of the data that is in memory and not in a file: its inputs X, and the targets and row weights that stand
    apart from them, if they do.

    X: a frame, a mapping of columns, a list of objects, or an array [rows, columns]. y: labels or values [rows], or
    values [rows, targets], with a name for each. weight: [rows], a column called `weight_name`.
    """

    X: Any
    y: Any = None
    weight: Any = None
    targets: tuple[str, ...] = ()
    weight_name: str = ""
    name: str = "data"

    @classmethod
    def of(cls, X: Any, y: Any = None, weight: Any = None, name: str = "data", target: Any = None) -> InMemory:
        """The same with names that no column of X has; target: what y is called, if it does not say so itself."""
        taken, named = set(column_names(X) or ()), getattr(y, "name", target)
        if y is None:
            targets: tuple[str, ...] = ()
        elif np.ndim(y) == 2:
            given = column_names(y)
            targets = tuple(given or (f"y{k}" for k in range(np.shape(y)[1])))
        else:
            targets = (named if isinstance(named, str) and named else "y",)
        targets = tuple(_free(name, taken) for name in targets)
        return cls(X, y, weight, targets, _free("weight", taken | set(targets)), name)

    @property
    def is_array(self) -> bool:
        """Whether it is numbers alone, to be taken as a file of arrays is."""
        return self.weight is None and _is_numbers(self.X)

    def read(self, options: ReadOptions, is_text: Callable[[str], bool] | None = None) -> Table | Arrays:
        """The source; columns of numbers that `options.text` names, or for which `is_text` holds, are words. Nothing of
        the caller's is changed."""
        X, path = as_table(self.X, self.name), Path(self.name)
        if self.is_array:
            found = alone(X, path) if self.y is None else self._with_targets(X, path)
            return replace(found, cells=_locked(found.cells))
        names, columns = _columns(X, self.name)
        count = len(columns[0]) if columns else 0
        if not count:
            raise DataError(Problem("no_rows", "no rows in this frame", file=self.name))
        further = _as_columns(self.y, self.targets) if self.y is not None else {}
        further |= {} if self.weight is None else {self.weight_name: _numbers_of(self.weight, self.weight_name)}
        for name, (values, _) in further.items():
            _refuse_other_length(name, len(values), count, self.name)
        width, is_text = len(names), is_text or frozenset(options.text).__contains__
        refuse_width(path, width)
        cells, vocabularies = np.empty((count, width + len(further))), dict[int, dict[str, int]]()
        for place, (name, column) in enumerate(zip(names, columns, strict=True)):
            text = is_text(name)
            if isinstance(column, np.ndarray) and column.dtype.kind in "iuf" and not text:
                cells[:, place] = column
            elif not (isinstance(column, list) and fill_plainly(column, place, cells, vocabularies, text, options.csv)):
                fill(path, _arrow(column), name, place, cells, vocabularies, text, options.csv)
        words = {place: list(vocabulary) for place, vocabulary in vocabularies.items()}
        for place, (values, vocabulary) in enumerate(further.values(), width):
            cells[:, place] = values
            words |= {place: vocabulary} if vocabulary else {}
        infinite = taken_out(cells, words)  # in a file, this word may mean that a number is missing; here it is one
        odd = {column: {row: f"{cell} (float64)" for row, cell in some.items()} for column, some in infinite.items()}
        note = f"table: {counted(count, 'row')} of {counted(cells.shape[1], 'column')}, in memory"
        pieces = (Piece(path, 0, Lines([0], [1])),)
        every = (*names, *further)
        return Frame(cells=_locked(cells), keyed=True, names=every, words=words, odd=odd, pieces=pieces, notes=(note,))

    def _with_targets(self, X: Any, path: Path) -> Arrays:
        further = _as_columns(self.y, self.targets)
        Y = np.stack([values for values, _ in further.values()], axis=1)
        _refuse_other_length("y", len(Y), len(X), self.name)
        width = int(np.prod(X.shape[1:]))
        words = {width + k: vocabulary for k, (_, vocabulary) in enumerate(further.values()) if vocabulary}
        return replace(pair(X, Y if len(further) > 1 else Y[:, 0], path, Path("y")), words=words)


def parts(source: Table | Arrays, rows: int) -> Iterator[Table | Arrays]:
    """A source that is in memory in parts of so many rows."""
    for start in range(0, source.rows, rows):
        cells = source.cells[start : start + rows]
        if isinstance(source, Arrays):
            yield replace(source, cells=cells, Y=source.Y[start : start + rows], first=start)
        else:
            yield source.part(start, cells)


def column_names(X: Any) -> list[str] | None:
    """The names of the columns of a frame; None for what has none."""
    if isinstance(X, Mapping):
        return [str(name) for name in X]
    names = getattr(X, "column_names", None)  # Arrow's
    names = getattr(X, "columns", None) if names is None else names
    return None if names is None else [str(name) for name in names]


def as_table(X: Any, name: str = "X") -> Any:
    """A frame, mapping or list of objects as it is, anything else as an array [rows, columns].

    Raises DataError for data that is no table of rows and columns, with what would make it one.
    """
    if hasattr(X, "tocsr") or hasattr(X, "to_coo"):
        hint = "give X.toarray(), or choose columns"
        raise DataError(Problem("sparse", "Sparse data was passed, and rows are dense here", hint, file=name))
    if column_names(X) is not None or (isinstance(X, list) and X and isinstance(X[0], Mapping)):
        return X
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(Problem("wrong_shape", f"no table of rows and columns ({error})", file=name)) from None
    if array.dtype.kind == "c":
        raise DataError(Problem("complex", "Complex data not supported", "give the parts as columns", file=name))
    if array.ndim < 2:
        message = f"Expected 2D array, got {array.ndim}D array instead, of shape {list(array.shape)}"
        raise DataError(Problem("wrong_shape", message, RESHAPE, file=name))
    return array


def label_name(value: Any) -> str:
    """The name of a class, as messages, files and other programs have it: `3` for 3.0, `true` for True."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | float | np.integer | np.floating):
        return number_name(float(value))
    return str(value)


def is_missing(value: Any) -> bool:
    """Whether a value is none: None, NaN, or what pandas calls NA, which says of no comparison whether it holds."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _is_numbers(X: Any) -> bool:
    """Whether data is an array of numbers: with no names, and no words."""
    if column_names(X) is not None or hasattr(X, "tocsr"):
        return False
    if isinstance(X, list) and X and isinstance(X[0], Mapping):
        return False
    array = np.asarray(X)
    return array.dtype.kind in "biuf" and array.ndim >= 2


def _locked(values: Any) -> Any:
    """The same memory, in which nobody writes: it is the caller's, or read more than once."""
    view = values.view()
    view.flags.writeable = False
    return view


def _columns(X: Any, name: str) -> tuple[list[str], list[Any]]:
    """Names and columns of a frame: arrays of numpy where these hold numbers, else whatever Arrow takes."""
    if isinstance(X, list) and X and isinstance(X[0], Mapping):
        keys = list(dict.fromkeys(str(key) for row in X for key in row))
        X = {key: [row.get(key) for row in X] for key in keys}
    names = column_names(X)
    columns: list[Any]
    if hasattr(X, "iloc") and all(isinstance(one, np.dtype) and one.kind in "iuf" for one in X.dtypes):  # pandas
        columns = list(X.to_numpy(np.float64).T)
    elif hasattr(X, "iloc"):
        columns = [_plain(column) for _, column in X.items()]
    elif isinstance(X, Mapping):
        columns = list(X.values())
    elif names is not None:
        import pyarrow

        table = X if isinstance(X, pyarrow.Table) else X.to_arrow() if hasattr(X, "to_arrow") else pyarrow.table(X)
        columns = [column.combine_chunks() for column in table.columns]
    else:
        array = np.asarray(X, object).reshape(len(X), -1)
        names, columns = [f"x{place}" for place in range(array.shape[1])], list(array.T)
    assert names is not None
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise DataError(Problem("duplicate_column", f'a column name given twice ("{twice}")', "rename one", file=name))
    if len({len(column) for column in columns}) > 1:
        raise DataError(Problem("rows_differ", "columns of different lengths", file=name))
    return names, columns


def _plain(series: Any) -> Any:
    """A column of pandas: its numbers where it holds nothing else."""
    return series.to_numpy() if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iuf" else series


def _arrow(column: Any) -> Any:
    """A column as one array of Arrow; cells of several kinds become text."""
    import pyarrow

    if isinstance(column, pyarrow.Array):
        return column
    try:
        found = pyarrow.array(column, from_pandas=True)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        cells = [None if is_missing(cell) else label_name(cell) for cell in column]
        found = pyarrow.array(cells)
    return found.combine_chunks() if isinstance(found, pyarrow.ChunkedArray) else found


def _as_columns(y: Any, names: Sequence[str]) -> dict[str, tuple[Any, list[str]]]:
    """Targets as columns of numbers, or of codes and their words."""
    array = np.asarray(y)
    if array.dtype.kind == "c":
        raise DataError(Problem("complex", "Complex data not supported", file="y"))
    if array.ndim not in (1, 2):
        message = f"targets of shape {list(array.shape)}, expected [rows] or [rows, outputs]"
        raise DataError(Problem("wrong_shape", message, file="y"))
    array = array.reshape(len(array), -1)
    return {name: _coded(array[:, place]) for place, name in enumerate(names)}


def _coded(values: Any) -> tuple[Any, list[str]]:
    """One column of targets: numbers as they are; labels as codes into their names, in order of appearance."""
    if values.dtype.kind in "iuf":
        return values.astype(np.float64), []
    missing = np.array([is_missing(value) for value in values.tolist()], bool)
    if values.dtype.kind == "O" and not missing.all():
        present = [value for value, gone in zip(values.tolist(), missing, strict=True) if not gone]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
            return np.array([np.nan if value is None else value for value in values.tolist()], np.float64), []
    codes: dict[str, int] = {}
    found = np.full(len(values), np.nan)
    for row, value in enumerate(values.tolist()):
        if not missing[row]:
            found[row] = codes.setdefault(label_name(value), len(codes))
    return found, list(codes)


def _numbers_of(weight: Any, name: str) -> tuple[Any, list[str]]:
    """Row weights as a column of numbers."""
    try:
        values = np.asarray(weight, np.float64)
    except (TypeError, ValueError):
        raise DataError(Problem("bad_weight", "weights that are no numbers", file=name)) from None
    if values.ndim != 1:
        raise DataError(Problem("bad_weight", "Sample weights must be 1D array or scalar", file=name))
    return values, []


def _refuse_other_length(name: str, count: int, rows: int, of: str) -> None:
    if count != rows:
        message = f"{count:,} values of {name} for {counted(rows, 'row')} of inputs"
        raise DataError(Problem("rows_differ", message, "give arrays that belong together", file=of))

"""Inputs and targets that come as arrays, with the same face as a table: columns, vocabularies, places."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.open_file import check_growth, check_memory, refusal, shown
from mlp_core.data.readers.source import Source
from mlp_core.errors import Problem, counted

KINDS = "float16/32/64, integers of 8 to 64 bits, or booleans"
KEPT = ("uint8", "float32", "float64")  # types of inputs that stay as they are


@dataclass(frozen=True)
class Arrays(Source):
    """One split's inputs, the cells [rows, inputs], and targets Y float64 [rows, targets], as stored in `x` and `y`.

    The columns are the inputs and behind them the targets. first: the row of the file that is row 0 here.
    """

    Y: npt.NDArray[np.float64]
    x: Path
    y: Path
    first: int = 0

    @property
    def path(self) -> Path:
        return self.x

    @property
    def targets(self) -> range:
        return range(self.cells.shape[1], self.cells.shape[1] + self.Y.shape[1])

    def matrix(self, columns: Sequence[int]) -> npt.NDArray[Any]:
        """The given columns; all inputs in order are not copied."""
        inputs, places = self.cells.shape[1], np.array(columns, np.intp)
        found: npt.NDArray[Any] = self.cells
        if list(columns) == list(range(inputs)):
            return found
        if (places < inputs).all():
            return found[:, places]
        if (places >= inputs).all():
            return self.Y[:, places - inputs]
        return np.stack([found[:, c] if c < inputs else self.Y[:, c - inputs] for c in columns], axis=1)

    def taken(self, rows: npt.NDArray[np.int64]) -> Arrays:
        return replace(self, cells=self.cells[rows], Y=self.Y[rows])

    def with_columns(
        self, cells: Mapping[int, npt.NDArray[np.float64]], words: dict[int, list[str]], plain: Collection[int] = ()
    ) -> Arrays:
        """The same: arrays hold numbers and have no words."""
        return self

    def emptied(self) -> Arrays:
        return replace(self, cells=np.empty((0, self.cells.shape[1])), Y=np.empty((0, self.Y.shape[1])))

    def problem(self, code: str, message: str, row: int | None, column: int | None = None, hint: str = "") -> Problem:
        """A problem placed at a file, and at a row and column of its array (both counted from 0)."""
        inputs = self.cells.shape[1]
        path = self.y if column is not None and column >= inputs else self.x
        places = [] if row is None else [f"row {row + self.first}"]
        if column is not None and (column < inputs or self.Y.shape[1] > 1):
            places.append(f"column {column if column < inputs else column - inputs}")
        where = f" at {', '.join(places)} (from 0)" if places else ""
        return Problem(code, message + where, hint=hint or None, file=shown(path))

    def cell(self, row: int, column: int) -> str:
        inputs = self.cells.shape[1]
        if column in self.words:
            return self.words[column][int(self.Y[row, column - inputs])]
        return str(self.cells[row, column] if column < inputs else self.Y[row, column - inputs])


def array_names(inputs: int, targets: int) -> tuple[str, ...]:
    """What so many columns are called: x0, x1, ... and behind them y, or y0, y1, ..."""
    behind = ("y",) if targets == 1 else tuple(f"y{column}" for column in range(targets))
    return tuple(f"x{column}" for column in range(inputs)) + behind


def pair(x: npt.NDArray[Any], y: npt.NDArray[Any], x_path: Path, y_path: Path, labels: bool = False) -> Arrays:
    """Inputs and targets as one: every row of inputs laid flat, targets as float64 columns.

    uint8, float32 and float64 inputs stay as they are, other types become float64. Raises DataError when the row
    counts differ or there is nothing to learn from.
    """
    if x.ndim < 2 or y.ndim not in (1, 2):
        path, name, shape = (x_path, "inputs", x.shape) if x.ndim < 2 else (y_path, "targets", y.shape)
        wanted = "[rows, columns]" if x.ndim < 2 else "[rows] or [rows, outputs]"
        raise refusal(path, "wrong_shape", f"{name} of shape {list(shape)}, expected {wanted}")
    if len(x) != len(y):
        message = f"{len(y):,} targets for {len(x):,} rows of inputs in {shown(x_path)}"
        raise refusal(y_path, "rows_differ", message, hint="give files that belong together")
    if x.size == 0 or y.size == 0:
        path, shape = (x_path, x.shape) if x.size == 0 else (y_path, y.shape)
        raise refusal(path, "no_rows", f"an empty array (shape {list(shape)})")
    inputs = x.reshape(len(x), -1)
    if inputs.dtype.name not in KEPT:
        inputs = inputs.astype(np.float64)
    targets = y.reshape(len(y), -1).astype(np.float64)
    note = f"arrays: {counted(len(inputs), 'row')} of {counted(inputs.shape[1], 'input')} ({inputs.dtype.name})"
    names = array_names(inputs.shape[1], targets.shape[1])
    return Arrays(targets, x_path, y_path, cells=inputs, names=names, labels=labels, notes=(note,))


def filled(
    stream: BinaryIO,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    bound: int,
    stored: int,
    path: Path,
    hint: str,
    what: str = "",
) -> npt.NDArray[Any]:
    """The array that a header has told, from a stream that holds at most `bound` more bytes, made of `stored`.

    All of its bytes are read and none more; only what really arrives takes memory. hint, what: for a message, what to
    do about a file that is too short, and which array it is. Raises DataError.
    """
    needed = math.prod(shape) * dtype.itemsize
    if needed > bound:
        message = f"{what}the header declares {needed:,} bytes, the file can hold {max(bound, 0):,}"
        raise refusal(path, "truncated", message, hint=hint)
    check_growth(path, stored, needed)
    check_memory(path, needed)
    array = np.empty(shape, dtype)
    view = array.reshape(-1).view(np.uint8)
    at = 0
    while at < len(view):
        data = stream.read(min(1 << 20, len(view) - at))
        if not data:
            message = f"the file ends after {at:,} of {len(view):,} bytes of the array"
            raise refusal(path, "truncated", message, hint="fetch it again")
        view[at : at + len(data)] = np.frombuffer(data, np.uint8)
        at += len(data)
    if stream.read(1):
        raise refusal(path, "damaged", "more bytes than its header declares", hint="fetch it again")
    return array


def alone(x: np.ndarray, path: Path) -> Arrays:
    """Inputs without targets."""
    whole = pair(x, np.zeros(len(x)), path, path)
    return replace(whole, Y=np.empty((len(x), 0)), names=whole.names[:-1], notes=())


def refuse_single(path: Path) -> NoReturn:
    """Raise DataError for a file of one array where inputs and targets are wanted."""
    hint = f"write {{x: {shown(path)}, y: FILE}}"
    raise refusal(path, "not_a_table", "a single array; inputs and targets are two files", hint=hint)

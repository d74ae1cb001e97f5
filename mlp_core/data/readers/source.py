"""What a reader hands over, whatever its format: named columns of cells, each with its place in a file.

There are two, `table.Table` and `arrays.Arrays`; whoever asks a source need not know which of them it is, nor whether
the cells are in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.csv_options import Dialect
from mlp_core.errors import Problem


@dataclass(frozen=True)
class Lines:
    """The line (from 1) on which each row of one file starts, kept in runs of rows that lie one per line."""

    rows: list[int] = field(default_factory=list)  # first row of each run
    lines: list[int] = field(default_factory=list)  # its line

    def add(self, row: int, line: int) -> None:
        """Say that `row` starts on `line`, and the rows after it on the lines after it until told otherwise."""
        if not self.rows or self.lines[-1] + row - self.rows[-1] != line:
            self.rows.append(row)
            self.lines.append(line)

    def __getitem__(self, row: int) -> int:
        run = bisect_right(self.rows, row) - 1
        return self.lines[run] + row - self.rows[run]


@dataclass(frozen=True)
class Piece:
    """One file's share of a table: its path, its first row in the table, and the lines of its rows."""

    path: Path
    first: int
    lines: Lines


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Columns of numbers, and of codes into vocabularies.

    cells: what inputs are taken from [rows, columns]: an array, or `npy_on_disk.OnDisk`, which is read like one. words:
    the vocabulary of every column that holds codes, in the order of first appearance. odd: for a column of
    numbers, the first few cells that are none (their value is NaN): {column: {row: text}}. notes: what was found out
    when it was read, one line each. pieces: the files of a table; none for arrays. header: the line of the column
    names; 0 when there is none. dialect: how a text table is written. twice: names that come more than once, with what
    a further column of such a name is called. labels: whether the format itself marks the targets as class labels.
    base: the number of the first input in a libsvm file. sha256: digest that cells on the disk should have, empty where
    nobody knows.
    """

    cells: Any
    names: tuple[str, ...]
    words: dict[int, list[str]] = field(default_factory=dict)
    odd: dict[int, dict[int, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    header: int = 0
    dialect: Dialect | None = None
    twice: tuple[tuple[str, str], ...] = ()
    labels: bool = False
    base: int | None = None
    sha256: str = ""

    @property
    def rows(self) -> int:
        return len(self.cells)

    @property
    @abstractmethod
    def path(self) -> Path: ...

    def piece(self, row: int) -> Piece:
        """The file of a table that has a row."""
        return self.pieces[bisect_right([piece.first for piece in self.pieces], row) - 1]

    @property
    def named(self) -> bool:
        """Whether the names are the file's own."""
        return False

    @property
    def targets(self) -> range | None:
        """The columns that the format itself says are targets; None for a table, of which somebody has to say it."""
        return None

    @abstractmethod
    def matrix(self, columns: Sequence[int]) -> npt.NDArray[Any]:
        """The given columns, in the given order; not copied where they are most of it and lie side by side."""

    @abstractmethod
    def taken(self, rows: npt.NDArray[np.int64]) -> Source:
        """Some rows, in memory."""

    @abstractmethod
    def with_columns(
        self, cells: Mapping[int, npt.NDArray[np.float64]], words: dict[int, list[str]], plain: Collection[int] = ()
    ) -> Source:
        """The same with other cells [rows] in some columns, and these words behind codes; no cell of the `plain`
        columns is odd any more."""

    @abstractmethod
    def emptied(self) -> Source:
        """The same without its cells, once they have been taken: rows and columns can still be told of."""

    def missing(self, column: int) -> int:
        """How many cells of a column are NaN."""
        return int(np.isnan(self.matrix([column])[:, 0]).sum())

    @abstractmethod
    def cell(self, row: int, column: int) -> str:
        """The text of a cell, numbers in their shortest form."""

    @abstractmethod
    def problem(self, code: str, message: str, row: int | None, column: int | None = None, hint: str = "") -> Problem:
        """A problem placed at the file, and at a row, a column or both."""


def place_of(source: Source, row: int) -> str:
    """Where a row stands: file and line, or its number (from 1) where there are no lines."""
    problem = source.problem("", "", row)
    return f"row {row + 1:,}" if problem.line is None else f"{problem.file}:{problem.line}"


def on_disk(source: Source) -> bool:
    """Whether the cells of a source are read when they are asked for."""
    return not isinstance(source.cells, np.ndarray)

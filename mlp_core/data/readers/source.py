"""What a reader hands over, whatever its format: named columns of cells, each with its place in a file.

`table.Table` and `arrays.Arrays` have this face; whoever asks it need not know which of them it is, nor whether the
cells are in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.csv_dialect import Dialect
from mlp_core.data.readers.table import Piece
from mlp_core.errors import Problem


class Source(Protocol):
    """Columns of numbers, and of codes into vocabularies."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def named(self) -> bool:
        """Whether the names are the file's own."""

    @property
    def rows(self) -> int: ...

    @property
    def cells(self) -> Any:
        """What inputs are taken from [rows, columns]: an array, or `npy_on_disk.OnDisk`, which is read like one."""

    @property
    def targets(self) -> range | None:
        """The columns that the format itself says are targets; None for a table, of which somebody has to say it."""

    @property
    def labels(self) -> bool:
        """Whether the format itself marks the targets as class labels."""

    @property
    def words(self) -> dict[int, list[str]]:
        """The vocabulary of every column that holds codes, in the order of first appearance."""

    @property
    def odd(self) -> dict[int, dict[int, str]]:
        """For a column of numbers, the first few cells that are none (their value is NaN): {column: {row: text}}."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out when it was read, one line each."""

    @property
    def path(self) -> Path: ...

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The files of a table; none for arrays."""

    @property
    def sha256(self) -> str:
        """Digest that cells on the disk should have, empty where nobody knows."""

    @property
    def header(self) -> int:
        """The line of the column names; 0 when there is none."""

    @property
    def dialect(self) -> Dialect | None:
        """How a text table is written."""

    @property
    def twice(self) -> tuple[tuple[str, str], ...]:
        """Names that come more than once, with what a further column of such a name is called."""

    @property
    def base(self) -> int | None:
        """The number of the first input in a libsvm file."""

    def matrix(self, columns: Sequence[int]) -> npt.NDArray[Any]:
        """The given columns, in the given order; not copied where they are most of it and lie side by side."""

    def taken(self, rows: npt.NDArray[np.int64]) -> Source:
        """Some rows, in memory."""

    def with_columns(
        self, cells: Mapping[int, npt.NDArray[np.float64]], words: dict[int, list[str]], plain: Collection[int] = ()
    ) -> Source:
        """The same with other cells [rows] in some columns, and these words behind codes; no cell of the `plain`
        columns is odd any more."""

    def emptied(self) -> Source:
        """The same without its cells, once they have been taken: rows and columns can still be told of."""

    def missing(self, column: int) -> int:
        """How many cells of a column are NaN."""

    def cell(self, row: int, column: int) -> str:
        """The text of a cell, numbers in their shortest form."""

    def problem(self, code: str, message: str, row: int | None, column: int | None = None, hint: str = "") -> Problem:
        """A problem placed at the file, and at a row, a column or both."""


def place_of(source: Source, row: int) -> str:
    """Where a row stands: file and line, or its number (from 1) where there are no lines."""
    problem = source.problem("", "", row)
    return f"row {row + 1:,}" if problem.line is None else f"{problem.file}:{problem.line}"


def on_disk(source: Source) -> bool:
    """Whether the cells of a source are read when they are asked for."""
    return not isinstance(source.cells, np.ndarray)

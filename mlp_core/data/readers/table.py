"""A table of named columns, as a reader hands it over: one matrix, and the words behind its codes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.open_file import shown
from mlp_core.data.readers.source import Source
from mlp_core.errors import DataError, Problem, counted

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table(Source):
    """Columns of numbers and of text, each cell with its place in a file.

    cells: float64 [rows, columns]; a missing cell is NaN; in a text column the cell holds the index of its word.
    keyed: whether the format has names of its own; else names without a header are c0, c1, ... gaps: cells of every
    column that are NaN, where that was counted before.
    """

    keyed: bool = False
    gaps: tuple[int, ...] | None = None

    @property
    def named(self) -> bool:
        return self.header > 0 or self.keyed

    @property
    def path(self) -> Path:
        return self.pieces[0].path

    def problem(self, code: str, message: str, row: int | None, column: int | None = None, hint: str = "") -> Problem:
        """A problem placed at the file, line and column of a cell, at a row, or (row None) at the header."""
        piece = self.pieces[0] if row is None else self.piece(row)
        line = (self.header or None) if row is None else piece.lines[row - piece.first]
        place = None if column is None or line is None else column + 1
        return Problem(code, message, hint=hint or None, file=shown(piece.path), line=line, column=place)

    def matrix(self, columns: Sequence[int]) -> Floats:
        """The given columns, in the given order; a view where they are most of the table and lie side by side."""
        first = min(columns, default=0)
        stop = first + len(columns)
        side_by_side = list(columns) == list(range(first, stop)) and 2 * len(columns) > len(self.names)
        view = side_by_side and isinstance(self.cells, np.ndarray)
        values: Floats = self.cells[:, first:stop] if view else self.cells[:, list(columns)]
        return values

    def taken(self, rows: npt.NDArray[np.int64]) -> Table:
        return replace(self, cells=self.cells[rows], odd={}, gaps=None)

    def part(self, start: int, values: Any) -> Table:
        """The rows that lie side by side from `start` on, with these cells; each keeps its place in its file."""
        mine = range(start, start + len(values))
        odd = {c: {row - start: cell for row, cell in cells.items() if row in mine} for c, cells in self.odd.items()}
        odd = {column: cells for column, cells in odd.items() if cells}
        pieces = tuple(replace(piece, first=piece.first - start) for piece in self.pieces)
        return replace(self, cells=values, odd=odd, pieces=pieces, gaps=None)

    def with_columns(
        self, cells: Mapping[int, Floats], words: dict[int, list[str]], plain: Collection[int] = ()
    ) -> Table:
        if isinstance(self.cells, np.ndarray):
            values = self.cells.copy()
            for column, numbers in cells.items():
                values[:, column] = numbers
        else:
            values = self.cells.replaced(cells)
        gaps = self.gaps
        if gaps is not None:
            found = {column: int(np.isnan(numbers).sum()) for column, numbers in cells.items()}
            gaps = tuple(found.get(column, count) for column, count in enumerate(gaps))
        odd = {column: written for column, written in self.odd.items() if column not in plain}
        return replace(self, cells=values, words=words, odd=odd, gaps=gaps)

    def emptied(self) -> Table:
        return replace(self, cells=np.empty((0, len(self.names))))

    def missing(self, column: int) -> int:
        return super().missing(column) if self.gaps is None else self.gaps[column]

    def cell(self, row: int, column: int) -> str:
        value = self.cells[row, column]
        if np.isnan(value):
            return self.odd.get(column, {}).get(row, "")
        return self.words[column][int(value)] if column in self.words else number_name(float(value))


def number_name(value: float) -> str:
    """A number as a label: `3` for 3.0, the shortest exact decimal otherwise."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def concatenate(tables: Sequence[Table]) -> Table:
    """The rows of several tables with the same columns, in the order of the first, one after another; vocabularies are
    merged."""
    first = tables[0]
    if len(tables) == 1:
        return first
    tables = [first, *(_in_order(table, first) for table in tables[1:])]
    for table in tables[1:]:
        if table.words.keys() != first.words.keys():
            column = min(table.words.keys() ^ first.words.keys())
            message = f'column "{first.names[column]}" is text in one file and numbers in {shown(first.path)}'
            raise DataError(table.problem("columns_differ", message, None, column))
    words = {column: list(vocabulary) for column, vocabulary in first.words.items()}
    odd = {column: dict(cells) for column, cells in first.odd.items()}
    values, pieces, start = [first.cells], list(first.pieces), first.rows
    for table in tables[1:]:
        values.append(_recode(table, words))
        for column, cells in table.odd.items():
            odd.setdefault(column, {}).update({row + start: text for row, text in cells.items()})
        pieces += [replace(piece, first=piece.first + start) for piece in table.pieces]
        start += table.rows
    notes = of_all(first.notes, start, len(tables))
    bare = replace(first, gaps=None, sha256="", twice=())
    return replace(bare, cells=np.concatenate(values), words=words, odd=odd, pieces=tuple(pieces), notes=notes)


def _in_order(table: Table, first: Table) -> Table:
    """A table with its columns in the order of another one. Raises DataError where they are not the same."""
    if table.names == first.names:
        return table
    if not table.named or set(table.names) != set(first.names):
        lacking = [name for name in first.names if name not in table.names]
        message = f"other columns than {shown(first.path)}"
        more = [name for name in table.names if name not in first.names]
        if table.named:
            told = [f"no {', '.join(lacking[:4])}"] * bool(lacking) + [f"{', '.join(more[:4])} beside them"] * bool(
                more
            )
            message += f": {'; '.join(told)}"
        raise DataError(table.problem("columns_differ", message, None, hint="give files with equal columns"))
    place = {table.names.index(name): column for column, name in enumerate(first.names)}
    order = [table.names.index(name) for name in first.names]
    return replace(
        table,
        names=first.names,
        cells=table.cells[:, order],
        words={place[column]: words for column, words in table.words.items()},
        odd={place[column]: cells for column, cells in table.odd.items()},
    )


def of_all(notes: Sequence[str], rows: int, files: int) -> tuple[str, ...]:
    """The notes of the first of several files, with the rows of all."""
    return tuple(
        re.sub(r"[\d,]+ rows?", f"{counted(rows, 'row')} in {counted(files, 'file')}", note, count=1) for note in notes
    )


def _recode(table: Table, words: dict[int, list[str]]) -> Floats:
    """The table's values with its codes replaced by those of `words`, which grows by the new ones."""
    values: Floats = table.cells.copy()
    for column, vocabulary in table.words.items():
        codes = {word: code for code, word in enumerate(words[column])}
        for word in vocabulary:
            if word not in codes:
                codes[word] = len(words[column])
                words[column].append(word)
        lookup = np.array([codes[word] for word in vocabulary], np.float64)
        present = ~np.isnan(values[:, column])
        values[present, column] = lookup[values[present, column].astype(np.intp)]
    return values

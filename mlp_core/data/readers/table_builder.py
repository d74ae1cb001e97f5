"""A table as it grows by rows: numbers, codes of words, and cells that are neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.cells import ODD, Cells, Coded, Floats
from mlp_core.data.readers.open_file import check_memory
from mlp_core.data.readers.source import Lines, Piece
from mlp_core.data.readers.table import Table
from mlp_core.errors import clean, counted

TEXT_SHARE = 0.1  # a column with more odd cells than this holds text
SAMPLE = 100  # lines by which the columns are told
ODD_KEPT, ODD_ALIKE = 20, 2  # odd cells that are kept to be told of; of those that are equal


class Reread(Exception):
    """Columns, `names`, that looked like numbers at first turned out to hold text."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


def empty(path: Path, names: tuple[str, ...], *notes: str) -> Table:
    """A table of a format that has names of its own, before its rows; the first note is told after its size."""
    return Table(
        cells=np.empty((0, len(names))), keyed=True, names=names, pieces=(Piece(path, 0, Lines()),), notes=notes
    )


class Builder:
    """The table so far: one growing matrix, the vocabularies, and the cells that are not numbers.

    start: the table before its rows, as `empty` makes it. is_text: whether a column holds words, by its name. final:
    nothing is asked to be read once more.
    """

    def __init__(self, start: Table, cells: Cells, is_text: Callable[[str], bool], final: bool) -> None:
        self.start, self.path, self.cells, self.final = start, start.path, cells, final
        self.names = start.names
        self.codes: dict[int, dict[str, int]] = {column: {} for column, name in enumerate(self.names) if is_text(name)}
        self.late: dict[str, int] = {}  # names of cells that were left out, with the first line of each
        self.clear()

    def add(self, values: Floats, cells: Mapping[int, Coded], runs: Iterable[tuple[int, int]]) -> None:
        """Take rows [rows, columns] of numbers, NaN where missing, but for the columns in `cells`, which are filled in.

        runs: (row among these, its line) wherever a row does not lie on the line after the one before. Raises Reread.
        """
        for row, line in runs:
            self.lines.add(self.rows + row, line)
        odd = {
            column: self._numbers(values[:, column], column, coded)
            for column, coded in cells.items()
            if column not in self.codes
        }
        text = {column for column, places in odd.items() if places.any() and self._is_text(column, places, values)}
        if text and self.rows and not self.final:
            raise Reread({self.names[column] for column in text})
        if not self.rows:
            self.codes |= {column: {} for column in text}
        for column in self.codes:
            values[:, column] = self._coded(column, cells[column])
        self.present += len(values) - np.isnan(values).sum(axis=0)
        for column, places in odd.items():
            if column not in self.codes:
                self._keep_odd(column, places, cells[column])
        self._append(values)

    def take(self, values: Floats, odd: Mapping[int, dict[int, str]], line: int) -> None:
        """Take rows [rows, columns] whose words are in `codes` already, the first of them on a line. odd: cells among
        them that are no numbers, {column: {row: text}}."""
        self.lines.add(self.rows, line)
        for column, cells in odd.items():
            kept = self.odd.setdefault(column, {})
            kept |= {self.rows + row: text for row, text in [*cells.items()][: ODD_KEPT - len(kept)]}
        self._append(values)

    def add_rows(self, rows: Sequence[Sequence[str]], lines: Iterable[int]) -> None:
        """Take rows that are cut into cells, each with the line it starts on. Raises Reread."""
        columns = [Coded.of(column) for column in zip(*rows, strict=True)]
        self.add(np.empty((len(rows), len(self.names))), dict(enumerate(columns)), enumerate(lines))

    def table(self) -> Table:
        """The table of what was added; of the rows only those that were not given away."""
        self.values.resize((self.rows - self.given, len(self.names)), refcheck=False)
        words = {column: list(codes) for column, codes in self.codes.items()}
        how, *notes = self.start.notes
        notes = [f"table: {counted(self.rows, 'row')} of {counted(len(self.names), 'column')}, {how}", *notes]
        if self.late:
            told = ", ".join(f"{clean(name, 40)} (line {line})" for name, line in list(self.late.items())[:6])
            notes.append(f"note: left out, since no row among the first {SAMPLE} has it: {told}")
        pieces = (Piece(self.path, 0, self.lines),)
        return replace(self.start, cells=self.values, words=words, odd=self.odd, pieces=pieces, notes=tuple(notes))

    def clear(self) -> None:
        """Forget the rows, after `table` gave them away, and go on with new ones."""
        self.values: Floats = np.empty((0, len(self.names)))
        self.rows, self.given, self.lines = 0, 0, Lines()
        self.codes = {column: {} for column in self.codes}
        self.known: dict[int, dict[str, float]] = {}  # the codes of cells, as they are written
        self.odd: dict[int, dict[int, str]] = {}
        self.odd_count, self.present = np.zeros((2, len(self.names)), np.int64)  # present: not missing, odd ones too

    def drain(self) -> Floats:
        """Give away the rows that are held, [rows, columns], and go on as if they were still there."""
        block, self.values = self.values[: self.rows - self.given], np.empty((0, len(self.names)))
        self.given = self.rows
        return block

    def _append(self, values: Floats) -> None:
        """More rows. Growing in place moves pages, not bytes, and untouched pages cost nothing."""
        held = self.rows - self.given
        after = held + len(values)
        if after > len(self.values):
            check_memory(self.path, after * len(self.names) * 8)
            self.values.resize((max(after, int(1.5 * len(self.values))), len(self.names)), refcheck=False)
        self.values[held:after] = values
        self.rows += len(values)

    def _numbers(self, values: Floats, column: int, coded: Coded) -> npt.NDArray[np.bool_]:
        """Fill in a column of numbers, [rows]; where it holds something else."""
        values[:] = self.cells.numbers(coded.cells)[coded.index]
        odd: npt.NDArray[np.bool_] = values == ODD
        values[odd] = nan
        return odd

    def _is_text(self, column: int, odd: npt.NDArray[np.bool_], values: Floats) -> bool:
        """Whether odd cells are too many among those that are there: in the first rows, or at any row after them."""
        odds = self.odd_count[column] + np.cumsum(odd)
        present = self.present[column] + np.cumsum(odd | ~np.isnan(values[:, column]))
        many = odds > TEXT_SHARE * present
        return bool(many.any() if self.rows else many[-1])

    def _keep_odd(self, column: int, odd: npt.NDArray[np.bool_], coded: Coded) -> None:
        """Count odd cells, and keep the first of them: a few of those that are equal."""
        rows = np.flatnonzero(odd)
        self.odd_count[column] += len(rows)
        self.present[column] += len(rows)
        kept = self.odd.setdefault(column, {}) if len(rows) else {}
        alike = Counter(kept.values())
        for row in rows.tolist():
            if len(kept) == ODD_KEPT:
                break
            cell = coded.cells[coded.index[row]].strip()
            if alike[cell] < ODD_ALIKE:
                kept[self.rows + row] = cell
                alike[cell] += 1

    def _coded(self, column: int, coded: Coded) -> Floats:
        """A column of words as their codes, [rows]; missing ones are NaN."""
        codes, known = self.codes[column], self.known.setdefault(column, {})
        if not codes:  # those who took them want none
            known.clear()
        for cell in coded.cells:
            if cell not in known:
                word = self.cells.word(cell)
                known[cell] = nan if word is None else codes.setdefault(word, len(codes))
        return np.array([*map(known.__getitem__, coded.cells)], np.float64)[coded.index]

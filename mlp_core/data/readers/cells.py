"""What a cell of a text table means: a number, a word, or nothing. Every reader of text asks here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.csv_options import CsvOptions, number

Floats = npt.NDArray[np.float64]
ODD = inf
"""Stands for a cell that is no number: numbers are finite."""


class Cells:
    """How the cells of one table are understood: its decimal sign, and its markers of missing values.

    A marker that is a number (-999) is that number however it is written (-999.0).
    """

    def __init__(self, options: CsvOptions, decimal: str) -> None:
        self.na, self.decimal = frozenset(options.na), decimal
        self.marked = np.array([value for marker in self.na if (value := number(marker, decimal)) is not None])

    def numbers(self, cells: Sequence[str]) -> Floats:
        """The cells as numbers: NaN for a missing one, `ODD` for one that is neither."""
        values = self._plain(cells)
        if values is None:
            values = np.array([self._number(cell) for cell in cells], np.float64)
        return self.unmarked(values)

    def unmarked(self, values: Floats) -> Floats:
        """The same array with NaN for the numbers that mark what is missing."""
        if self.marked.size:
            values[np.isin(values, self.marked)] = nan
        return values

    def word(self, cell: str) -> str | None:
        """The word of a cell, None for a missing one."""
        word = cell.strip()
        return None if word in self.na else word

    def _number(self, cell: str) -> float:
        if cell.strip() in self.na:
            return nan
        value = number(cell, self.decimal)
        return ODD if value is None or not isfinite(value) else value

    def _plain(self, cells: Sequence[str]) -> Floats | None:
        """The same for cells that Python's `float` reads as `number` does, ten times as fast; None for any others."""
        text = "".join(cells)
        if self.decimal != "." or not text.isascii() or "_" in text:
            return None
        there = [cell not in self.na for cell in cells]
        try:
            values = np.array([float(cell) if present else nan for cell, present in zip(cells, there, strict=True)])
        except ValueError:
            return None
        return values if np.isfinite(values).sum() == sum(there) else None


@dataclass(frozen=True)
class Coded:
    """A column of cells, [rows]: the different ones in the order of their first appearance, and the index of each."""

    cells: Sequence[str]
    index: npt.NDArray[np.intp]

    @classmethod
    def of(cls, column: Sequence[str]) -> Coded:
        places = {cell: place for place, cell in enumerate(dict.fromkeys(column))}
        return cls(list(places), np.fromiter(map(places.__getitem__, column), np.intp, len(column)))

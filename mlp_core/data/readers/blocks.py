"""Blocks of lines, parsed by pyarrow: numbers at the speed of memory, of all other columns each different cell once.

Only what is plain is taken: one row per line, quotes around whole cells. Everything else, and everything wrong, is left
to the reader that goes cell by cell and knows the place of each.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow
from pyarrow import csv as arrow

from mlp_core.data.readers.cells import Cells, Coded, Floats
from mlp_core.data.readers.csv_options import Dialect
from mlp_core.data.readers.text_stream import count_lines

LONGEST = 131_072
"""Characters of a cell that Python's csv module takes."""

_NO_NUMBER = re.compile(r"In CSV column #(\d+): ")


@dataclass(frozen=True)
class Parsed:
    """What is in a block: numbers [rows, columns], NaN for missing ones, and the columns that hold other cells."""

    values: Floats
    cells: dict[int, Coded]


class Parser:
    """Parses blocks of one table, each on its own, so that several threads may call it."""

    def __init__(self, columns: int, dialect: Dialect, cells: Cells) -> None:
        self.names, self.dialect, self.cells = [str(column) for column in range(columns)], dialect, cells
        self.strange: frozenset[int] = frozenset()  # columns of numbers that hold other cells, too
        ends = (dialect.delimiter, "\n", "\r", dialect.quote or "\n")
        self.borders = np.isin(np.arange(256), [ord(end) for end in ends])

    def parse(self, lines: bytes, text: Collection[int]) -> Parsed | None:
        """The rows of whole lines of UTF-8, `text` being the columns of words; None for what is not plain.

        Raises UnicodeDecodeError for what is not UTF-8.
        """
        if not lines.isascii():
            lines.decode("utf-8")
        if not self._is_plain(lines):
            return None
        rows = count_lines(lines) + (not lines.endswith(b"\n"))
        others = self.strange.union(text)
        while True:
            try:
                table = self._table(lines, others)
            except pyarrow.ArrowInvalid as error:
                found = _NO_NUMBER.match(str(error))
                if found is None or int(found[1]) in others:
                    return None
                strange = {int(found[1])}
            else:
                if table.num_rows != rows:
                    return None
                values, strange = self._numbers(table, others)
                if not strange:
                    return _with_cells(values, table, others)
            others |= strange
            self.strange |= strange

    def _is_plain(self, lines: bytes) -> bool:
        """Whether every line ends with a line feed, and quotes stand at the borders of cells, or are doubled in them:
        then every other one opens, and pyarrow and Python's csv module cut the same cells."""
        if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
            return False
        if self.dialect.quote is None or self.dialect.quote.encode() not in lines:
            return True
        data = np.frombuffer(b"\n" + lines + b"\n", np.uint8)
        quotes = np.flatnonzero(data == ord(self.dialect.quote))
        before, after = self.borders[data[quotes[::2] - 1]], self.borders[data[quotes[1::2] + 1]]
        return len(before) == len(after) and bool(before.all() and after.all())

    def _table(self, lines: bytes, others: Collection[int]) -> Any:
        """The lines as a table of pyarrow. Raises ArrowInvalid."""
        number, words = pyarrow.float64(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        kinds = {name: words if column in others else number for column, name in enumerate(self.names)}
        quote = (
            self.dialect.quote if self.dialect.quote and self.dialect.quote.encode() in lines else False
        )  # is faster
        return arrow.read_csv(
            pyarrow.BufferReader(lines),
            arrow.ReadOptions(use_threads=False, block_size=len(lines) + 1, column_names=self.names),
            arrow.ParseOptions(delimiter=self.dialect.delimiter, quote_char=quote),
            arrow.ConvertOptions(
                check_utf8=False,
                column_types=kinds,
                null_values=list(self.cells.na),
                decimal_point=self.cells.decimal,
            ),
        )

    def _numbers(self, table: Any, others: Collection[int]) -> tuple[Floats, set[int]]:
        """The columns of numbers, and those of them that hold `nan`, `inf`, or more than a float takes."""
        by_column = np.zeros((len(self.names), table.num_rows))
        strange = set()
        for place, column in enumerate(table.columns):
            if place not in others:
                by_column[place] = column.to_numpy()
                if np.count_nonzero(np.isfinite(by_column[place])) != table.num_rows - column.null_count:
                    strange.add(place)
        values = np.ascontiguousarray(by_column.T)
        return self.cells.unmarked(values), strange


def _with_cells(values: Floats, table: Any, others: Collection[int]) -> Parsed | None:
    """The block with its other columns; None where a cell is longer than the csv module takes."""
    cells = {}
    for place in others:
        column = table.column(place).combine_chunks()
        cells[place] = Coded(column.dictionary.to_pylist(), column.indices.to_numpy().astype(np.intp))
        if max(map(len, cells[place].cells)) > LONGEST:
            return None
    return Parsed(values, cells)

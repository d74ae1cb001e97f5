"""Blocks of lines of plain cells, for large tables: what the compiled parser needs, and the words that it has met.

A cell is plain when it lies on one line and its quotes, if any, enclose it whole. Python sees each different word once.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlp_core.backends.cpu.compiled import parsing as its
from mlp_core.backends.cpu.machine_code import machine_code

FUNCTIONS = ("parse", "fill")
"""The compiled functions of a parser."""

LINE_FEED = 10
Parsed: TypeAlias = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


class Parser:
    """A parser of blocks of lines, and the words it has met: `words` counts them, over all columns.

    slots: the hash table of words' numbers, -1 where empty. hashes, owners: of every word, and its column.
    ends: where each ends in `arena`, their bytes, after the 0 in front. codes: what the caller makes of the words.
    """

    def __init__(self, columns: int, text: Collection[int], markers: Collection[str]) -> None:
        """Raises CannotCompile."""
        self._parse, self._fill = machine_code().functions(FUNCTIONS)
        self.text = np.array([column in text for column in range(columns)], np.uint8)
        encoded = [marker.encode("utf-8") for marker in markers]
        self.markers = np.frombuffer(b"".join(encoded) or b" ", np.uint8)
        self.marker_ends = np.cumsum([len(marker) for marker in encoded], dtype=np.int64)
        self.hard = np.empty((1 << 16, 4), np.int64)
        self.values = np.empty((0, columns))
        self.words, self.codes = 0, np.empty(0)
        self.slots = np.full(1 << 10, -1, np.int32)
        self.hashes = np.empty(1 << 8, np.uint64)
        self.owners = np.empty(1 << 8, np.int32)
        self.ends = np.zeros((1 << 8) + 1, np.int64)
        self.arena = np.empty(1 << 12, np.uint8)

    def parse(self, lines: bytes, delimiter: str, quote: str | None) -> Parsed | None:
        """Lines as values [lines, columns]: numbers, NaN for missing ones, the numbers of words; and the count of the
        missing ones [columns]; good until the next call. None for anything but plain cells; then the parser is spent.
        A last line without line feed is complete. Raises UnicodeDecodeError for what is not UTF-8.
        """
        if not lines.isascii():
            lines.decode("utf-8")
        if not lines.endswith(b"\n"):
            lines += b"\n"
        data = np.frombuffer(lines, np.uint8)
        count = int(np.count_nonzero(data == LINE_FEED))
        if count > len(self.values):
            self.values = np.empty((count, len(self.text)))
        values = self.values[:count]
        missing = np.zeros(values.shape[1], np.int64)
        self._reserve(len(values) * int(self.text.sum()), len(data))
        record = self._record(data, delimiter, quote, values, missing)
        self._parse(record.ctypes.data, 0, 1)
        if record[its.ROWS] != count:
            return None
        for row, column, start, end in self.hard[: record[its.FOUND]].tolist():
            values[row, column] = float(data[start:end].tobytes())
            if np.isinf(values[row, column]):
                return None
        self.words = int(record[its.WORDS])
        return values, missing

    def _record(self, data: Any, delimiter: str, quote: str | None, values: Any, missing: Any) -> Any:
        """What the compiled function is told, with the hash table as it is now."""
        record = self._table()
        record[its.LINES], record[its.SIZE] = data.ctypes.data, len(data)
        record[its.DELIMITER], record[its.QUOTE] = ord(delimiter), ord(quote) if quote else its.NO_QUOTE
        record[its.ROOM], record[its.COLUMNS] = values.shape
        record[its.TEXT], record[its.VALUES] = self.text.ctypes.data, values.ctypes.data
        record[its.MISSING] = missing.ctypes.data
        record[its.MARKERS], record[its.MARKER_ENDS] = self.markers.ctypes.data, self.marker_ends.ctypes.data
        record[its.MARKER_COUNT] = len(self.marker_ends)
        record[its.HARD], record[its.HARD_ROOM] = self.hard.ctypes.data, len(self.hard)
        return record

    def _table(self) -> Any:
        """A record of the hash table alone."""
        record = np.zeros(its.LENGTH, np.int64)
        record[its.SLOTS], record[its.MASK] = self.slots.ctypes.data, len(self.slots) - 1
        record[its.HASHES], record[its.OWNERS] = self.hashes.ctypes.data, self.owners.ctypes.data
        record[its.ENDS], record[its.ARENA] = self.ends.ctypes.data, self.arena.ctypes.data
        record[its.WORDS] = self.words
        return record

    def since(self, first: int) -> list[tuple[int, str]]:
        """The words from number `first` on, each with its column, in order of appearance."""
        ends = self.ends[first : self.words + 1].tolist()
        data = self.arena[ends[0] : ends[-1]].tobytes()
        cells = [data[start - ends[0] : end - ends[0]] for start, end in pairwise(ends)]
        return list(
            zip(self.owners[first : self.words].tolist(), (cell.decode("utf-8") for cell in cells), strict=True)
        )

    def _reserve(self, words: int, size: int) -> None:
        """Room for so many more words, of so many bytes together."""
        count, used = self.words + words, int(self.ends[self.words]) + size
        if count > len(self.hashes):
            room = max(count, 2 * len(self.hashes))
            self.hashes, self.owners = _grown(self.hashes, room), _grown(self.owners, room)
            self.ends = _grown(self.ends, room + 1)
        if words and used > len(self.arena):
            self.arena = _grown(self.arena, max(used, 2 * len(self.arena)))
        if 2 * count > len(self.slots):
            self.slots = np.full(1 << (4 * count).bit_length(), -1, np.int32)
            self._fill(self._table().ctypes.data, 0, 1)


def _grown(array: npt.NDArray[Any], room: int) -> npt.NDArray[Any]:
    """The array with room for more at its end."""
    grown = np.empty(room, array.dtype)
    grown[: len(array)] = array
    return grown

"""The record of the compiled parser: where it and the program that calls it find things, in words."""

from __future__ import annotations

LINES, SIZE, DELIMITER, QUOTE = range(4)
"""The address of the lines' bytes, the last of them a line feed, and their count; two characters, or NO_QUOTE."""

COLUMNS, ROOM, TEXT, VALUES, MISSING = range(4, 9)
"""How many columns, and rows there is room for; the addresses of uint8 [columns], which of them hold words, of float64
[rows, columns], where values go, and of int64 [columns], where missing ones are counted."""

MARKERS, MARKER_ENDS, MARKER_COUNT = range(9, 12)
"""The addresses of the bytes of the markers of missing values and of int64, where each ends; their count."""

HARD, HARD_ROOM = range(12, 14)
"""The address of int64 [room, 4] for (row, column, start, end) of numbers that are left to Python, and their room."""

SLOTS, MASK, HASHES, OWNERS, ENDS, ARENA, WORDS = range(14, 21)
"""The addresses of the hash table int32, less than half full, and of the words in it (uint64, int32, int64, uint8, see
`readers.blocks.Parser`); between them the length of the table - 1, behind them the count of words, which grows."""

ROWS, FOUND = range(21, 23)
"""What comes of it: the count of rows, BAD for anything but plain cells, and of the numbers that are left to Python."""

LENGTH = 23
NO_QUOTE = BAD = -1

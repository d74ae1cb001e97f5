"""Whether the first row of a text table names its columns, and what they are called."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from mlp_core.data.readers.csv_options import CsvOptions, number

Twice: TypeAlias = tuple[tuple[str, str], ...]
"""Names that a header has more than once, each with what a further column of that name is called."""

ROW_NAMES = "row"
"""What a column of row names is called, which has no name in the files that R writes."""


def has_header(
    rows: Sequence[Sequence[str]], options: CsvOptions, names: Sequence[str] = (), decimal: str = "."
) -> bool:
    """Whether the first row names the columns.

    Yes when it holds at least half of the `names` looked for (the target, the trained columns), or is 0, 1, 2, ...
    Where a cell of it is a number or missing: only when these cells are whole numbers and a word above numbers shows
    it, or they go up or down in equal steps, as years do, and no other row is like that. Where none is: when some
    column holds numbers below, or its words differ from each other and from everything below.
    """
    if not rows:
        return False
    first = [cell.strip() for cell in rows[0]]
    if _is_counted(first) or _holds(first, names) or (first_counts(rows) and not {*names}.isdisjoint(first)):
        return True
    if options.names and 2 * sum(name in first for name in options.names) >= len(options.names):
        return True
    below = [row for row in rows[1:] if len(row) == len(first)]
    columns = [[cell.strip() for cell in column] for column in zip(*below, strict=True)]
    numbers = [place for place, cell in enumerate(first) if number(cell, decimal) is not None]
    if any(cell and cell in options.na for cell in first) and not numbers:
        return False
    if numbers:
        return _numbers_are_names(first, numbers, columns, decimal, options.na)
    if any(number(cell, decimal) is not None for column in columns for cell in column):
        return True
    alike = any(name in column for name, column in zip(first, columns, strict=False))
    return not options.names and len(set(first)) == len(first) and not alike


def first_counts(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is one of whole numbers next to each other, in some order (3,2,1), and no other one is.

    >>> first_counts([["3", "2", "1"], ["0.5", "7", "1"]])
    True
    """

    def counts(row: Sequence[str]) -> bool:
        cells = [cell.strip() for cell in row]
        if len(cells) < 2 or not all(cell.isdecimal() and len(cell) < 10 for cell in cells):
            return False
        values = sorted(map(int, cells))
        return values == [*range(values[0], values[0] + len(values))]

    return len(rows) > 1 and counts(rows[0]) and not any(map(counts, rows[1:]))


def may_be_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first row that is taken as data may hold names all the same: numbers in order, or nothing but years."""
    return first_counts(rows) or (len(rows) > 1 and len(rows[0]) > 2 and _rising_years([c.strip() for c in rows[0]]))


def titles(first: Sequence[str], given: Sequence[str]) -> tuple[tuple[str, ...], Twice]:
    """The names of the columns from the first row, or those `given` instead, and what came twice and is called so now.

    A column without a name is called by its place, c3; of several with one name the further ones are a.1, a.2, ...
    """
    names: list[str] = []
    twice: list[tuple[str, str]] = []
    for column, cell in enumerate(given or first):
        name = unicodedata.normalize("NFC", cell.strip()) or f"c{column}"
        if name in names:
            count = next(n for n in range(1, len(first) + 2) if f"{name}.{n}" not in (*names, *first))
            twice.append((name, f"{name}.{count}"))
            name = twice[-1][1]
        names.append(name)
    return tuple(names), tuple(twice)


def ends_in_nothing(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is one cell shorter than all others, which end in a delimiter."""
    if len(rows) < 2 or len(rows[1]) < 2:
        return False
    return all(len(row) == len(rows[0]) + 1 and not row[-1].strip() for row in rows[1:])


def lacks_row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is one cell shorter than all others, whose first cells differ: the header of R."""
    if len(rows) < 2 or len(rows[0]) + 1 != len(rows[1]) or len(rows[1]) < 2:
        return False
    firsts = [row[0] for row in rows[1:]]
    return all(len(row) == len(rows[1]) for row in rows[1:]) and len(set(firsts)) == len(firsts)


def _holds(first: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a row holds half of the names. One of digits alone may be a position: it counts beyond the columns."""
    hits = [name in first and not (name.isdigit() and int(name) < len(first)) for name in names]
    return bool(names) and 2 * sum(hits) >= len(names) and any(hits)


def _is_counted(first: Sequence[str]) -> bool:
    """Whether a row is 0, 1, 2, ..., perhaps after an empty cell: what pandas writes above an array."""
    cells = list(first[1:] if first and not first[0] else first)
    return len(cells) > 1 and cells == [str(place) for place in range(len(cells))]


def _numbers_are_names(
    first: Sequence[str], numbers: Sequence[int], columns: Sequence[Sequence[str]], decimal: str, na: Sequence[str]
) -> bool:
    """Whether the numbers of a first row are names such as years."""
    if not columns or not all(first[place].isdigit() for place in numbers):
        return False
    words = [place for place, cell in enumerate(first) if cell and place not in numbers and cell not in na]
    if any(len(columns[place]) > 1 and _all_numbers(columns[place], decimal, na) for place in words):
        return True
    steps = _steps([int(first[place]) for place in numbers])
    if len(numbers) < 2 or len(steps) != 1 or steps == {0}:
        return False
    if any(_goes_on(row, steps) for row in zip(*(columns[place] for place in numbers), strict=True)):
        return False
    new = any(first[place] not in columns[place] for place in words)
    if all(map(_is_year, (first[place] for place in numbers))) and (new or len(numbers) > 2):
        rows = zip(*(columns[place] for place in numbers), strict=True)
        if not any(all(map(_is_year, row)) for row in rows):
            return True
    fractions = sum(any(decimal in cell for cell in columns[place]) for place in numbers)
    return (new or len(numbers) > 2) and 2 * fractions > len(numbers)


def _rising_years(cells: Sequence[str]) -> bool:
    return all(map(_is_year, cells)) and len(steps := _steps([*map(int, cells)])) == 1 and steps != {0}


def _is_year(cell: str) -> bool:
    return cell.isdecimal() and 1800 <= int(cell) <= 2100


def _all_numbers(cells: Sequence[str], decimal: str, na: Sequence[str]) -> bool:
    present = [cell for cell in cells if cell not in na]
    return bool(present) and all(number(cell, decimal) is not None for cell in present)


def _steps(values: Sequence[float]) -> set[float]:
    return {b - a for a, b in pairwise(values)}


def _goes_on(row: Sequence[str], steps: set[float]) -> bool:
    """Whether a row of whole numbers goes up in the same steps as the first one."""
    return all(map(str.isdigit, row)) and _steps([int(cell) for cell in row]) == steps

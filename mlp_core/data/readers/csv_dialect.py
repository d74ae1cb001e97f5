"""How a text table is written: its delimiter and header, given or told from its first lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlp_core.config.data import MARKERS

DELIMITERS = ("\t", ";", "|", ",", " ")  # the rarer in numbers and prose, the earlier
NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "whitespace": " ", "comma": ",", "semicolon": ";"}
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class CsvOptions:
    """What the config says about text tables (section `data.csv`)."""

    delimiter: str = "auto"
    header: bool | Literal["auto"] = "auto"
    names: tuple[str, ...] = ()
    encoding: str = "utf-8"
    decimal: str = "."
    quote: str | None = '"'
    comment: str | None = None
    na: tuple[str, ...] = MARKERS


@dataclass(frozen=True)
class Dialect:
    """The decisions for one file. A blank as delimiter stands for any run of white space."""

    delimiter: str
    quote: str | None
    header: bool
    decimal: str = "."

    @property
    def splits_bytes(self) -> bool:
        """Whether cells end at single bytes of UTF-8."""
        return self.delimiter != " " and self.delimiter.isascii() and (self.quote or "").isascii()


def number(text: str, decimal: str = ".") -> float | None:
    """The number a cell holds, or None. Plain decimal notation only: no `nan`, `inf`, `1_000` or other alphabets."""
    text = text.strip()
    if decimal != ".":
        text = "x" if "." in text else text.replace(decimal, ".")
    return float(text) if NUMBER.fullmatch(text) else None


def records(lines: Iterable[str], dialect: Dialect) -> Iterator[tuple[list[str], int]]:
    """Every record's cells and the count of lines read up to its end. Raises csv.Error for broken quoting."""
    if dialect.delimiter == " ":
        for count, line in enumerate(lines, 1):
            yield line.split(), count
        return
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        skipinitialspace=True,
        strict=True,
    )
    for row in reader:
        yield row, reader.line_num


def detect(
    lines: Sequence[str], options: CsvOptions, delimiter: str | None = None, names: Sequence[str] = ()
) -> tuple[Dialect, list[str]]:
    """The dialect of a table from its first lines (comment lines emptied), and the cells of its first row.

    Delimiter: the first of tab, semicolon, bar, comma, blank that cuts all lines into the same number of cells,
    at least two; failing that, the one that most lines agree on. Header: see `has_header`.
    """
    given = NAMED.get(options.delimiter, options.delimiter)
    if given == "auto":
        candidates = [c for c in DELIMITERS if c != options.decimal] if delimiter is None else [delimiter]
    else:
        candidates = [given]
    best, best_rows, best_share = candidates[0], _sample(lines, Dialect(candidates[0], options.quote, False)), -1.0
    if len(candidates) > 1:
        best = "," if "," in candidates else ";"
        for candidate in candidates:
            rows = _sample(lines, Dialect(candidate, options.quote, False))
            width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
            share = count / len(rows) if width > 1 else 0.0
            if share > best_share and share > 0:
                best, best_rows, best_share = candidate, rows, share
        if best_share < 0:
            best_rows = _sample(lines, Dialect(best, options.quote, False))
    header = has_header(best_rows, options, names) if options.header == "auto" else options.header
    return Dialect(best, options.quote, header, options.decimal), best_rows[0] if best_rows else []


def has_header(rows: Sequence[Sequence[str]], options: CsvOptions, names: Sequence[str] = ()) -> bool:
    """Whether the first row names the columns.

    With `options.names`, only when it holds at least half of those. Yes when it holds at least half of the `names`
    looked for (the target, the trained columns). No when one of its cells is a number or missing. Otherwise yes when
    some column holds numbers below, or when its words differ from each other and from everything below.
    """
    if not rows:
        return False
    first = [cell.strip() for cell in rows[0]]
    if options.names:
        return 2 * sum(name in first for name in options.names) >= len(options.names)
    if names and 2 * sum(name in first for name in names) >= len(names):
        return True
    if any(number(cell, options.decimal) is not None or (cell and cell in options.na) for cell in first):
        return False
    below = [row for row in rows[1:] if len(row) == len(first)]
    columns = list(zip(*below, strict=True))
    if any(number(cell, options.decimal) is not None for column in columns for cell in column):
        return True
    return len(set(first)) == len(first) and not any(
        name in column for name, column in zip(first, columns, strict=False)
    )


def _sample(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The records of the first lines that are not blank; a quoted cell cut off at the end is left out."""
    rows = []
    try:
        for row, _ in records(lines, dialect):
            if any(cell.strip() for cell in row):
                rows.append(row)
    except csv.Error:
        pass
    return rows

"""How a text table is written: its delimiter, decimal sign and header, given, kept or told from its first lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from mlp_core.data.readers.csv_header import ROW_NAMES, ends_in_nothing, has_header, lacks_row_names
from mlp_core.data.readers.csv_options import CsvOptions, Dialect, number

DELIMITERS = ("\t", ";", "|", ",", " ")  # the rarer in numbers and prose, the earlier
NAMED = {"tab": "\t", "\\t": "\t", "space": " ", "whitespace": " ", "comma": ",", "semicolon": ";"}
LONGEST = 16 << 20
"""Characters of a cell, as of a line."""

_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
_THOUSANDS = {sign: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:{re.escape(sign)}[0-9]{{3}})+") for sign in ",."}
_SEPARATOR = re.compile(r"\ufeff?\"?sep=(.)\"?\s*", re.IGNORECASE)

csv.field_size_limit(LONGEST)


def records(lines: Iterable[str], dialect: Dialect) -> Iterator[tuple[list[str], int]]:
    """Every record's cells and the count of lines read up to its end. Raises csv.Error for broken quoting."""
    if dialect.delimiter == " ":
        for count, line in enumerate(lines, 1):
            yield _between_blanks(line, dialect.quote), count
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


def _between_blanks(line: str, quote: str | None) -> list[str]:
    """The cells of a line between runs of white space; quotes hold a cell together."""
    if quote is None or quote not in line:
        return line.split()
    q = re.escape(quote)
    found = re.finditer(rf"{q}((?:[^{q}]|{q}{q})*){q}(?=\s|$)|(\S+)", line)
    return [cell[2] if cell[1] is None else cell[1].replace(2 * quote, quote) for cell in found]


def excel_separator(line: str) -> str | None:
    """The delimiter that a first line `sep=;` tells Excel, which is no row."""
    found = _SEPARATOR.fullmatch(line)
    return None if found is None else found[1]


def detect(
    lines: Sequence[str], options: CsvOptions, delimiter: str | None = None, names: Sequence[str] = ()
) -> tuple[Dialect, list[str]]:
    """The dialect of a table from its first lines (comment lines emptied), and the cells of its first row.

    Delimiter: that of the training file where it cuts the first line into the names looked for; else the first of tab,
    semicolon, bar, comma, blank that cuts all lines into the same number of cells, at least two; failing that, the one
    that most lines agree on. Decimal sign: see `_decimal`. Header: see `has_header`; a file of a model whose training
    file has none has none, either, unless its names stand there.
    """
    best, rows = _delimiter(lines, options, delimiter, names)
    kept, decimal = options.kept, options.decimal
    if decimal == "auto":
        decimal = kept.decimal if kept is not None else _decimal(rows, best, options.na)
    if ends_in_nothing(rows) and options.header is not False:
        rows = [[*rows[0], ""], *rows[1:]]
    first = rows[0] if rows else []
    header = options.header
    short = lacks_row_names(rows) and (len(first) > 1 or best == " ") and not has_header(rows[1:], options, (), decimal)
    if short and header is not False and all(number(cell, decimal) is None for cell in first):
        row_names = ROW_NAMES if ROW_NAMES not in first else f"{ROW_NAMES}.1"
        return Dialect(best, options.quote, True, decimal), [row_names, *first]
    if header == "auto":
        header = has_header(rows, options, names, decimal)
        if kept is not None and not kept.header and names:
            header = 2 * sum(name in [cell.strip() for cell in first] for name in names) >= len(names)
    return Dialect(best, options.quote, header, decimal), first


def _delimiter(
    lines: Sequence[str], options: CsvOptions, delimiter: str | None, names: Sequence[str]
) -> tuple[str, list[list[str]]]:
    """The delimiter, and the records of the first lines that it cuts."""

    def cut(sign: str) -> list[list[str]]:
        return first_rows(lines, Dialect(sign, options.quote, False))

    given = delimiter if options.delimiter == "auto" else NAMED.get(options.delimiter, options.delimiter)
    if given is not None:
        return given, cut(given)
    if options.kept is not None and (rows := cut(options.kept.delimiter)):
        first = [cell.strip() for cell in rows[0]]
        if not options.kept.header or 2 * sum(name in first for name in names) >= len(names):
            return options.kept.delimiter, rows

    def share(rows: list[list[str]]) -> float:
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        return count / len(rows) if width > 1 else 0.0

    tried = {sign: cut(sign) for sign in DELIMITERS if sign != options.decimal}
    best = max(tried, key=lambda sign: share(tried[sign]))
    if not share(tried[best]):
        best = "," if "," in tried else ";"
    return best, tried[best]


def _decimal(rows: Sequence[Sequence[str]], delimiter: str, na: Sequence[str]) -> str:
    """A comma where some column holds nothing but numbers such as 3,5 and no number has a point before its fraction.

    Numbers such as 1,234 decide nothing, unless semicolons stand between the cells, as where commas are decimal signs.
    """
    commas = points = certain = False
    below = [row for row in rows[1:] if len(row) == len(rows[0])]
    for column in zip(*below, strict=True):
        cells = [text for cell in column if (text := cell.strip()) not in na]
        if any(number(cell) is not None and "." in cell and not _THOUSANDS["."].fullmatch(cell) for cell in cells):
            points = True
        found = [cell for cell in cells if _COMMA.fullmatch(cell)]
        if found and all(cell.lstrip("+-").isdigit() or _COMMA.fullmatch(cell) for cell in cells):
            commas = True
            certain |= delimiter == ";" or any(not _THOUSANDS[","].fullmatch(cell) for cell in found)
    return "," if commas and certain and not points else "."


def first_rows(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The records of the first lines that are not blank; a quoted cell cut off at the end is left out."""
    rows = []
    try:
        for row, _ in records(lines, dialect):
            if any(cell.strip() for cell in row):
                rows.append(row)
    except csv.Error:
        pass
    return rows

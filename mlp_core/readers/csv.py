"""Text tables (CSV, TSV, white space): numbers at the speed of numpy, every complaint with its line and column.

The file is read in chunks of lines. A chunk of clean numbers is converted in one piece; when that fails, or meets
anything but finite numbers, the same chunk is read again cell by cell, which is where text, missing values and errors
are sorted out.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import isfinite, nan
from pathlib import Path

import numpy as np

from mlp_core.readers.dialect import CsvOptions, Dialect, detect, number, records
from mlp_core.readers.files import refusal
from mlp_core.readers.memory import check_memory
from mlp_core.readers.table import Floats, Lines, Piece, Table
from mlp_core.readers.text import TextBytes, open_text

CHUNK = 4096
SAMPLE = 100
MAX_COLUMNS = 100_000
TEXT_SHARE = 0.1  # a column with more odd cells than this holds text
ODD_KEPT = 20
WANTED = "a CSV table"


class Reread(Exception):
    """Columns that looked like numbers at first turned out to hold text."""

    def __init__(self, columns: set[int], names: Sequence[str]) -> None:
        self.columns, self.names = columns, {names[column] for column in columns}


def read_csv(
    path: Path,
    options: CsvOptions | None = None,
    delimiter: str | None = None,
    names: Sequence[str] = (),
    words: Sequence[str] = (),
) -> Table:
    """Read a text table, gzip or not. `delimiter` is what the format implies (a tab for TSV), `names` are columns
    that the header, if there is one, should contain, `words` columns that hold text even if it looks like numbers.

    A column holds numbers unless more than a tenth of its cells do not; then it holds text. Cells equal to one of
    `options.na` are missing. Raises DataError with file, line and column for a file that is no such table.
    """
    options = options or CsvOptions()
    text: set[int] = set()
    for attempt in range(4):
        try:
            return _read(path, options, delimiter, names, words, text, final=attempt == 3)
        except Reread as reread:
            text |= reread.columns
    raise AssertionError("the last attempt does not ask for another")


def _read(
    path: Path,
    options: CsvOptions,
    delimiter: str | None,
    names: Sequence[str],
    words: Sequence[str],
    text: Collection[int],
    final: bool,
) -> Table:
    with open_text(path, options.encoding, WANTED) as (watched, stream):
        start = _begin(path, stream, options, delimiter, names)
        text = {*text, *(column for column, title in enumerate(start.names) if title in words)}
        builder = Builder(path, options, watched, start.names, text, final)
        for _ in _read_chunks(start, builder):
            pass
        if builder.rows == 0:
            raise refusal(path, "no_rows", "no rows below the header")
        return _table(builder, start)


def stream_csv(
    path: Path,
    options: CsvOptions | None = None,
    delimiter: str | None = None,
    names: Sequence[str] = (),
    numbers: Collection[str] = (),
    rows: int = 65_536,
) -> Iterator[Table]:
    """Read a text table, or standard input (the path `-`), as tables of at least `rows` rows (the last one: fewer).

    `numbers` are the columns of numbers; all others are read as text, whatever they look like. Otherwise as `read_csv`.
    """
    options = options or CsvOptions()
    with open_text(path, options.encoding, WANTED) as (watched, stream):
        start = _begin(path, stream, options, delimiter, names)
        text = {column for column, title in enumerate(start.names) if title not in numbers}
        builder = Builder(path, options, watched, start.names, text, final=True)
        for _ in _read_chunks(start, builder):
            if builder.rows >= rows:
                yield _table(builder, start)
                builder.clear()
        if builder.rows:
            yield _table(builder, start)


@dataclass(frozen=True)
class _Start:
    """What is known after the header: how the table is written, and its further lines, the first of them `line`."""

    dialect: Dialect
    header: int
    names: tuple[str, ...]
    lines: Iterator[str]
    line: int


def _begin(
    path: Path, stream: Iterator[str], options: CsvOptions, delimiter: str | None, names: Sequence[str]
) -> _Start:
    lines = _uncommented(stream, options.comment)
    blank, start = _skip_blank(lines)
    sample = [*start, *islice(lines, SAMPLE)]
    dialect, first = detect(sample, options, delimiter, names)
    if not first and start:
        hint = "mend the quotes, or set data.csv.quote"
        raise refusal(path, "broken_quotes", "a quote is opened and never closed", hint=hint, line=blank + 1)
    if not first:
        raise refusal(path, "no_rows", "no rows in this file")
    if len(first) > MAX_COLUMNS:
        raise refusal(path, "too_large", f"more than {MAX_COLUMNS:,} columns", hint="check data.csv.delimiter")
    lines = chain(sample, lines)
    header, titles = _header(path, lines, dialect, first, blank, options.names)
    return _Start(dialect, header, titles, lines, max(header, blank) + 1)


def _read_chunks(start: _Start, builder: Builder) -> Iterator[None]:
    """Give the builder all lines, in chunks; after each there is a moment to take what it has."""
    line = start.line
    while chunk := list(islice(start.lines, CHUNK)):
        if builder.add_numbers(chunk, start.dialect, line):
            line += len(chunk)
        else:
            line += builder.add_cells(chunk, start.lines, start.dialect, line)
        yield


def _table(builder: Builder, start: _Start) -> Table:
    dialect = start.dialect
    shown = {"\t": "tab", " ": "white space"}.get(dialect.delimiter, f'"{dialect.delimiter}"')
    note = f"table: {builder.rows:,} rows of {len(builder.names)} columns, delimiter {shown}"
    note += ", names from the first line" if dialect.header else ", no header line"
    return builder.table(note, start.header)


def _uncommented(lines: Iterator[str], comment: str | None) -> Iterator[str]:
    """The lines with comment lines emptied, so that line numbers stay true."""
    if comment is None:
        return lines
    return ("\n" if line.startswith(comment) else line for line in lines)


def _skip_blank(lines: Iterator[str]) -> tuple[int, list[str]]:
    """The count of blank lines at the start, and the line after them, if any."""
    for count, line in enumerate(lines):
        if line.strip(" \r\n"):
            return count, [line]
    return 0, []


def _header(
    path: Path, lines: Iterator[str], dialect: Dialect, first: Sequence[str], blank: int, given: Sequence[str]
) -> tuple[int, tuple[str, ...]]:
    """The last line of the header (0 when there is none), and the column names."""
    if given and not dialect.header and len(given) != len(first):
        message, hint = f"{len(first)} columns, data.csv.names gives {len(given)}", "name every column"
        raise refusal(path, "columns_differ", message, hint=hint, line=blank + 1)
    if not dialect.header:
        return 0, tuple(given) or tuple(f"c{column}" for column in range(len(first)))
    line = blank + next(count for row, count in records(lines, dialect) if any(cell.strip() for cell in row))
    names: dict[str, None] = {}
    for column, cell in enumerate(first):
        name = cell.strip() or f"c{column}"
        if name in names:
            message, hint = f'column name "{name}" given twice', "rename one, or set data.csv.header: false"
            raise refusal(path, "duplicate_column", message, hint=hint, line=line, column=column + 1)
        names[name] = None
    return line, tuple(names)


class Builder:
    """The table so far: one growing matrix, the vocabularies, and the cells that are not numbers."""

    def __init__(
        self,
        path: Path,
        options: CsvOptions,
        watched: TextBytes,
        names: tuple[str, ...],
        text: Collection[int],
        final: bool,
    ) -> None:
        self.path, self.options, self.watched, self.names, self.final = path, options, watched, names, final
        self.values: Floats = np.empty((0, len(names)))
        self.rows = 0
        self.codes: dict[int, dict[str, int]] = {column: {} for column in text if column < len(names)}
        self.odd: dict[int, dict[int, str]] = {}
        self.odd_count: dict[int, int] = {}
        self.missing: dict[int, int] = {}
        self.lines = Lines()
        self.na = frozenset(options.na)
        # markers such as -999 look like numbers, so every cell must be compared with them
        self.bulk = options.decimal == "." and all(number(marker) is None for marker in self.na)

    def add_numbers(self, chunk: list[str], dialect: Dialect, line: int) -> bool:
        """Take a chunk of finite numbers, one row per line; False when it is anything else."""
        quoted = dialect.quote is not None and any(dialect.quote in text for text in chunk)
        if self.codes or quoted or not (self.bulk and self.watched.plain) or not chunk[-1].strip():
            return False
        delimiter = None if dialect.delimiter == " " else dialect.delimiter
        try:
            block = np.loadtxt(chunk, delimiter=delimiter, comments=None, ndmin=2)
        except ValueError:
            return False
        if block.shape != (len(chunk), len(self.names)) or not np.isfinite(block).all():
            return False
        self._reserve(len(block))
        self.values[self.rows : self.rows + len(block)] = block
        self.lines.add(self.rows, line)
        self.rows += len(block)
        return True

    def add_cells(self, chunk: list[str], lines: Iterator[str], dialect: Dialect, line: int) -> int:
        """Take a chunk cell by cell, with the further lines its last quoted cell may need; the count of lines."""
        rows: list[list[str]] = []
        taken = 0
        try:
            for row, count in records(chain(chunk, lines), dialect):
                if row and (len(row) > 1 or row[0] or len(self.names) == 1):
                    if len(row) != len(self.names):
                        raise self._ragged(row, line + taken, dialect)
                    self.lines.add(self.rows + len(rows), line + taken)
                    rows.append(row)
                taken = count
                if count >= len(chunk):
                    break
        except csv.Error as error:
            raise refusal(
                self.path,
                "broken_quotes",
                f"broken quoting ({error})",
                hint="mend the row, or set data.csv.quote",
                line=line + taken,
            ) from None
        if rows:
            self._add(rows)
        return taken

    def add_rows(self, rows: list[list[str]], lines: Sequence[int]) -> None:
        """Take rows that are cut into cells already, each with the line it starts on."""
        for row, line in enumerate(lines, self.rows):
            self.lines.add(row, line)
        self._add(rows)

    def _add(self, rows: list[list[str]]) -> None:
        self._reserve(len(rows))
        self._convert(rows)
        self.rows += len(rows)

    def table(self, note: str, header: int, keyed: bool = False) -> Table:
        """The table of what was added; `header` is the line of the names, 0 for none."""
        self.values.resize((self.rows, len(self.names)), refcheck=False)
        words = {column: list(codes) for column, codes in self.codes.items()}
        lines = (Piece(self.path, 0, self.lines),)
        return Table(self.names, self.values, words, self.odd, lines, header, (note,), keyed)

    def clear(self) -> None:
        """Forget the rows, after `table` gave them away, and go on with new ones."""
        self.values, self.rows, self.lines = np.empty((0, len(self.names))), 0, Lines()
        self.codes = {column: {} for column in self.codes}
        self.odd, self.odd_count, self.missing = {}, {}, {}

    def _reserve(self, count: int) -> None:
        """Room for more rows. Growing in place moves pages, not bytes, and untouched pages cost nothing."""
        if self.rows + count > len(self.values):
            check_memory(self.path, (self.rows + count) * len(self.names) * 8)
            room = max(self.rows + count, int(1.5 * len(self.values)))
            self.values.resize((room, len(self.names)), refcheck=False)

    def _convert(self, rows: list[list[str]]) -> None:
        span = slice(self.rows, self.rows + len(rows))
        late: set[int] = set()
        for column, cells in enumerate(zip(*rows, strict=True)):
            if column not in self.codes:
                self.values[span, column] = self._numbers(column, cells)
                if self._is_text(column, len(rows)):
                    if self.rows and not self.final:
                        late.add(column)
                    elif not self.rows:
                        self.codes[column] = {}
                        self.odd.pop(column)
            if column in self.codes:
                self.values[span, column] = self._codes(column, cells)
        if late:
            raise Reread(late, self.names)

    def _is_text(self, column: int, count: int) -> bool:
        present = self.rows + count - self.missing.get(column, 0)
        return self.odd_count.get(column, 0) > TEXT_SHARE * present

    def _numbers(self, column: int, cells: Sequence[str]) -> Floats:
        """The cells as numbers; missing and odd ones are NaN and counted."""
        if self.bulk and (self.watched.plain or _plain("".join(cells))):
            try:
                values = np.fromiter(map(float, cells), np.float64, len(cells))
                if np.isfinite(values).all():
                    return values
            except ValueError:
                pass
        values = np.empty(len(cells))
        for index, cell in enumerate(cells):
            values[index] = self._number(column, self.rows + index, cell)
        return values

    def _number(self, column: int, row: int, cell: str) -> float:
        if cell.strip() in self.na:
            self.missing[column] = self.missing.get(column, 0) + 1
            return nan
        value = number(cell, self.options.decimal)
        if value is not None and isfinite(value):
            return value
        self.odd_count[column] = self.odd_count.get(column, 0) + 1
        kept = self.odd.setdefault(column, {})
        if len(kept) < ODD_KEPT:
            kept[row] = cell
        return nan

    def _codes(self, column: int, cells: Sequence[str]) -> Floats:
        """The cells as codes of their words; missing ones are NaN."""
        codes = self.codes[column]
        lookup: dict[str, float] = {}
        for cell in dict.fromkeys(cells):
            word = cell.strip()
            lookup[cell] = nan if word in self.na else float(codes.setdefault(word, len(codes)))
        return np.fromiter(map(lookup.__getitem__, cells), np.float64, len(cells))

    def _ragged(self, row: Sequence[str], line: int, dialect: Dialect) -> Exception:
        message = f"{len(row)} cells, expected {len(self.names)} as in the first row"
        hint = f'mend the row, or set data.csv.delimiter (now "{dialect.delimiter}")'
        column = min(len(row), len(self.names)) + 1
        return refusal(self.path, "ragged_row", message, hint=hint.replace("\t", "tab"), line=line, column=column)


def _plain(text: str) -> bool:
    return text.isascii() and "_" not in text

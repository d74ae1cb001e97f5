"""Text tables (CSV, TSV, white space): large ones at the speed of pyarrow, every complaint with its line and column.

There are two ways: blocks of plain lines through pyarrow, and all else cell by cell through Python's csv module. What
the first does not take as it is, it leaves to the second, so both give the same table.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv_dialect import (
    CsvOptions,
    Dialect,
    detect,
    excel_separator,
    first_rows,
    number,
    records,
)
from mlp_core.data.readers.csv_header import Twice, may_be_names, titles
from mlp_core.data.readers.format import Format, Reading
from mlp_core.data.readers.open_file import STDIN, refusal
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder, Drain, Reread
from mlp_core.data.readers.text_stream import TextLines, open_text
from mlp_core.errors import counted

if TYPE_CHECKING:
    from mlp_core.data.readers.blocks import Parsed, Parser

CHUNK = 4096
LARGE = 2 << 20
"""Bytes of a file from which pyarrow gains more time than it takes to load."""

THREADS, AHEAD = 2, 3  # that parse blocks; blocks that are read before they are taken
SAMPLE = 100
MAX_COLUMNS = 100_000
WANTED = "a CSV table"


def read_csv(
    path: Path,
    options: CsvOptions | None = None,
    delimiter: str | None = None,
    names: Sequence[str] = (),
    words: Sequence[str] = (),
    progress: Reading | None = None,
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
            return _read(path, options, delimiter, names, words, text, attempt == 3, progress)
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
    progress: Reading | None,
) -> Table:
    with open_text(path, options.encoding, WANTED) as stream:
        start = _begin(path, stream, options, delimiter, names)
        text = {*text, *(column for column, title in enumerate(start.names) if title in words)}
        builder = Builder(path, start.cells, start.names, text, final)
        for _ in _read_chunks(path, start, builder):
            if progress is not None:
                progress(path, builder.rows)
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
    """Read a text table, or standard input (the path `-`), as tables of `rows` rows (the last one: fewer), whichever
    parser reads them: what is computed part by part must not depend on that.

    `numbers` are the columns of numbers; all others are read as text, whatever they look like. Otherwise as `read_csv`.
    """
    options = options or CsvOptions()
    with open_text(path, options.encoding, WANTED) as stream:
        start = _begin(path, stream, options, delimiter, names)
        text = {column for column, title in enumerate(start.names) if title not in numbers}
        builder = Builder(path, start.cells, start.names, text, final=True)
        for _ in _read_chunks(path, start, builder, rows):
            if builder.rows == rows:
                yield _table(builder, start)
                builder.clear()
        if builder.rows:
            yield _table(builder, start)


def drain_csv(
    path: Path,
    options: CsvOptions,
    delimiter: str | None,
    names: Sequence[str],
    words: Collection[str],
    final: bool,
) -> Drain:
    """Read a text table as `read_csv` does, block by block. Raises Reread where a column turns out to hold text."""
    with open_text(path, options.encoding, WANTED) as stream:
        start = _begin(path, stream, options, delimiter, names)
        text = {column for column, title in enumerate(start.names) if title in words}
        builder = Builder(path, start.cells, start.names, text, final)
        for _ in _read_chunks(path, start, builder):
            yield start.names, builder.drain(), builder.codes
        if builder.rows == 0:
            raise refusal(path, "no_rows", "no rows below the header")
        facts = builder.facts(_note(builder, start), start.header, start.dialect)
        return replace(facts, notes=(*facts.notes, *start.notes))


@dataclass(frozen=True)
class _Start:
    """What is known after the header: how the table is written, and its further lines, the first of them `line`."""

    dialect: Dialect
    cells: Cells
    header: int
    names: tuple[str, ...]
    lines: TextLines
    line: int
    notes: tuple[str, ...]
    twice: Twice


def _begin(
    path: Path, stream: io.TextIOBase, options: CsvOptions, delimiter: str | None, names: Sequence[str]
) -> _Start:
    lines = TextLines(stream, options.comment)
    blank, start = _skip_blank(lines)
    if start and (sign := excel_separator(start[0])) is not None:
        more, start = _skip_blank(lines)
        blank, delimiter = blank + more + 1, sign
    sample = [*start, *islice(lines, SAMPLE)]
    dialect, first = detect(sample, options, delimiter, names)
    if not first and start:
        hint = "mend the quotes, or set data.csv.quote"
        raise refusal(path, "broken_quotes", "a quote is opened and never closed", hint=hint, line=blank + 1)
    if not first:
        raise refusal(path, "no_rows", "no rows in this file")
    if len(first) > MAX_COLUMNS:
        raise refusal(path, "too_large", f"more than {MAX_COLUMNS:,} columns", hint="check data.csv.delimiter")
    lines.give_back(sample)
    header, names, twice = _header(path, lines, dialect, first, blank, options.names)
    notes = _notes(sample, dialect, first, options.names, twice)
    return _Start(dialect, Cells(options, dialect.decimal), header, names, lines, max(header, blank) + 1, notes, twice)


def _read_chunks(path: Path, start: _Start, builder: Builder, most: int = sys.maxsize) -> Iterator[None]:
    """Give the builder all lines, in chunks; after each there is a moment to take what it has, which is to be done when
    it has `most` rows.

    The first chunk, by whose cells columns are told apart, is one of lines; blocks follow where the table is large,
    parsed in threads of their own while further ones are read.
    """
    line, dialect, parser = start.line, start.dialect, _parser(path, start)
    ahead: deque[tuple[bytes, Future[Parsed | None]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            while parser and builder.rows and len(ahead) < AHEAD and (block := start.lines.block()):
                ahead.append((block, pool.submit(parser.parse, block, frozenset(builder.codes))))
            if (
                ahead
                and builder.rows
                and (parsed := ahead[0][1].result())
                and len(parsed.values) <= most - builder.rows
            ):
                builder.add(parsed.values, parsed.cells, [(0, line)])
                ahead.popleft()
                line += len(parsed.values)
                yield
                continue
            while ahead:  # one is not plain or too long, or the builder begins anew
                start.lines.return_block(ahead.pop()[0])
            if not (chunk := list(islice(start.lines, min(CHUNK, most - builder.rows)))):
                return
            if parser and (parsed := parser.parse("".join(chunk).encode(), frozenset(builder.codes))):
                builder.add(parsed.values, parsed.cells, [(0, line)])
                line += len(chunk)
            else:
                line += _add_cells(path, builder, chunk, start.lines, dialect, line)
            yield


def _parser(path: Path, start: _Start) -> Parser | None:
    """What parses blocks, for a table that is large enough and not cut at white space."""
    if path == STDIN or path.stat().st_size < LARGE or not start.dialect.splits_bytes:
        return None
    from mlp_core.data.readers.blocks import Parser

    return Parser(len(start.names), start.dialect, start.cells)


def _add_cells(
    path: Path, builder: Builder, chunk: list[str], lines: Iterator[str], dialect: Dialect, line: int
) -> int:
    """Give the builder a chunk cell by cell, with the lines that its last quoted cell may need; their count."""
    rows: list[list[str]] = []
    places: list[int] = []
    taken, width = 0, len(builder.names)
    try:
        for row, count in records(chain(chunk, lines), dialect):
            if row and (len(row) > 1 or row[0] or width == 1):
                if len(row) != width:
                    raise _ragged(path, builder, row, line + taken, dialect)
                places.append(line + taken)
                rows.append(row)
            taken = count
            if count >= len(chunk):
                break
    except csv.Error as error:
        message, hint = f"broken quoting ({error})", "mend the row, or set data.csv.quote"
        raise refusal(path, "broken_quotes", message, hint=hint, line=line + taken) from None
    if rows:
        builder.add_rows(rows, places)
    return taken


def _ragged(path: Path, builder: Builder, row: Sequence[str], line: int, dialect: Dialect) -> Exception:
    width = len(builder.names)
    message = f"{len(row)} cells, expected {width} as in the first row"
    hint = f'mend the row, or set data.csv.delimiter (now "{dialect.delimiter}")'
    if width == 1 and builder.rows == 0:
        first = builder.names[0][:1]
        hint = f'delete the lines above the names of the columns, or set data.csv.delimiter (now "{dialect.delimiter}")'
        if first and not first.isalnum():
            hint = f'if the first line is no data, set data.csv.comment: "{first}"'
    column = min(len(row), width) + 1
    return refusal(path, "ragged_row", message, hint=hint.replace("\t", "tab"), line=line, column=column)


def _table(builder: Builder, start: _Start) -> Table:
    table = builder.table(_note(builder, start), start.header, start.dialect)
    return replace(table, notes=(*table.notes, *start.notes), twice=start.twice)


def _note(builder: Builder, start: _Start) -> str:
    dialect = start.dialect
    shown = {"\t": "tab", " ": "white space"}.get(dialect.delimiter, f'"{dialect.delimiter}"')
    note = f"table: {counted(builder.rows, 'row')} of {counted(len(builder.names), 'column')}, delimiter {shown}"
    note += ", decimal comma" if dialect.decimal == "," else ""
    return note + (", names from the first line" if dialect.header else ", no header line")


def _skip_blank(lines: Iterator[str]) -> tuple[int, list[str]]:
    """The count of blank lines at the start, and the line after them, if any."""
    for count, line in enumerate(lines):
        if line.strip(" \r\n"):
            return count, [line]
    return 0, []


def _header(
    path: Path, lines: Iterator[str], dialect: Dialect, first: Sequence[str], blank: int, given: Sequence[str]
) -> tuple[int, tuple[str, ...], Twice]:
    """The last line of the header (0 when there is none), the column names, and what comes twice."""
    if given and len(given) != len(first):
        message, hint = f"{len(first)} columns, data.csv.names gives {len(given)}", "name every column"
        raise refusal(path, "columns_differ", message, hint=hint, line=blank + 1)
    if not dialect.header:
        return 0, tuple(given) or tuple(f"c{column}" for column in range(len(first))), ()
    line = blank + next(count for row, count in records(lines, dialect) if any(cell.strip() for cell in row))
    return line, *titles(first, given)


def _notes(
    sample: Sequence[str], dialect: Dialect, first: Sequence[str], given: Sequence[str], twice: Twice
) -> tuple[str, ...]:
    """What is to be said of the first line: names that come twice, or that it may hold names and is taken as data."""
    if twice:
        shown = ", ".join(name for _, name in twice[:6]) + (", ..." if len(twice) > 6 else "")
        return (f"note: column names given twice; the further ones are {shown}",)
    if dialect.header or given:
        return ()
    numbers = [number(cell, dialect.decimal) is not None for cell in first]
    words = any(not plain and len(cell.strip()) > 1 for plain, cell in zip(numbers, first, strict=True))
    if (words and any(numbers)) or may_be_names(first_rows(sample, dialect)):
        return ("note: the first line is taken as data; data.csv.header: true takes it as names",)
    return ()


def _format(name: str, ends: tuple[str, ...], delimiter: str | None) -> Format:
    return Format(
        name,
        told=lambda start, file: file.endswith(ends),
        read=lambda path, options, names: read_csv(path, options.csv, delimiter, names, options.text, options.progress),
        parts=lambda path, options, names, numbers: stream_csv(path, options.csv, delimiter, names, numbers),
        drain=lambda path, options, names, words, final: drain_csv(path, options.csv, delimiter, names, words, final),
        piped=True,
    )


TSV = _format("tsv", (".tsv", ".tab"), "\t")
CSV = _format("csv", ("",), None)

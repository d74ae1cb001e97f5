"""Text tables (CSV, TSV, white space): large ones at the speed of pyarrow, every complaint with its line and column.

There are two ways: blocks of plain lines through pyarrow, and all else cell by cell through Python's csv module. What
the first does not take as it is, it leaves to the second, so both give the same table.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mlp_core.data.readers.by_blocks import table_format
from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv_dialect import detect, excel_separator, first_rows, records
from mlp_core.data.readers.csv_header import Twice, may_be_names, titles
from mlp_core.data.readers.csv_options import Dialect, number
from mlp_core.data.readers.format import Asked
from mlp_core.data.readers.open_file import MOST_COLUMNS, STDIN, refusal
from mlp_core.data.readers.table_builder import SAMPLE, Builder, empty
from mlp_core.data.readers.text_stream import TextLines, open_text

if TYPE_CHECKING:
    from mlp_core.data.readers.blocks import Parsed, Parser

CHUNK = 4096
LARGE = 2 << 20
"""Bytes of a file from which pyarrow gains more time than it takes to load."""

THREADS, AHEAD = 2, 3  # that parse blocks; blocks that are read before they are taken
WANTED = "a CSV table"


def _blocks(delimiter: str | None, asked: Asked) -> Iterator[Builder]:
    """The blocks of a text table, packed or not.

    A column holds numbers unless more than a tenth of its cells do not; then it holds text. Cells equal to one of
    `options.csv.na` are missing. Raises DataError with file, line and column for a file that is no such table.
    """
    with open_text(asked.path, asked.options.csv.encoding, WANTED) as stream:
        start = begin(stream, asked, delimiter)
        yield from _read_chunks(start, asked.part or sys.maxsize)
        if asked.part is None and not start.builder.rows:
            raise refusal(asked.path, "no_rows", "no rows below the header")


@dataclass(frozen=True)
class Begun:
    """A text table behind its header: what takes its rows, how it is written, its further lines, the first of them
    `line`."""

    builder: Builder
    dialect: Dialect
    lines: TextLines
    line: int


def begin(stream: io.TextIOBase, asked: Asked, delimiter: str | None) -> Begun:
    """Read a table up to its rows. delimiter: what the format implies (a tab for TSV)."""
    path, options = asked.path, asked.options.csv
    lines = TextLines(stream, options.comment)
    blank, start = _skip_blank(lines)
    if start and (sign := excel_separator(start[0])) is not None:
        more, start = _skip_blank(lines)
        blank, delimiter = blank + more + 1, sign
    sample = [*start, *islice(lines, SAMPLE)]
    dialect, first = detect(sample, options, delimiter, asked.names)
    if not first and start:
        hint = "mend the quotes, or set data.csv.quote"
        raise refusal(path, "broken_quotes", "a quote is opened and never closed", hint=hint, line=blank + 1)
    if not first:
        raise refusal(path, "no_rows", "no rows in this file")
    if len(first) > MOST_COLUMNS:
        raise refusal(path, "too_large", f"more than {MOST_COLUMNS:,} columns", hint="check data.csv.delimiter")
    lines.give_back(sample)
    header, names, twice = _header(path, lines, dialect, first, blank, options.names)
    table = empty(path, names, _how(dialect), *_notes(sample, dialect, first, options.names, twice))
    table = replace(table, header=header, keyed=False, dialect=dialect, twice=twice)
    builder = Builder(table, Cells(options, dialect.decimal), asked.is_text, asked.final)
    return Begun(builder, dialect, lines, max(header, blank) + 1)


def _read_chunks(start: Begun, most: int) -> Iterator[Builder]:
    """Give the builder all lines, in chunks; after each there is a moment to take what it has, which is to be done when
    it has `most` rows.

    The first chunk, by whose cells columns are told apart, is one of lines; blocks follow where the table is large,
    parsed in threads of their own while further ones are read.
    """
    builder, line, parser = start.builder, start.line, _parser(start)
    ahead: deque[tuple[bytes, Future[Parsed | None]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            while parser and builder.rows and len(ahead) < AHEAD and (block := start.lines.block()):
                ahead.append((block, pool.submit(parser.parse, block, frozenset(builder.codes))))
            parsed = ahead[0][1].result() if ahead and builder.rows else None
            if parsed and len(parsed.values) <= most - builder.rows:
                ahead.popleft()
            else:
                while ahead:  # one is not plain or too long, or the builder begins anew
                    start.lines.return_block(ahead.pop()[0])
                if not (chunk := list(islice(start.lines, min(CHUNK, most - builder.rows)))):
                    return
                parsed = parser.parse("".join(chunk).encode(), frozenset(builder.codes)) if parser else None
                if not parsed:
                    line += add_cells(builder, chunk, start.lines, start.dialect, line)
            if parsed:
                builder.add(parsed.values, parsed.cells, [(0, line)])
                line += len(parsed.values)
            yield builder


def _parser(start: Begun) -> Parser | None:
    """What parses blocks, for a table that is large enough and not cut at white space, but at single bytes of UTF-8."""
    builder, dialect = start.builder, start.dialect
    if dialect.delimiter == " " or not (dialect.delimiter + (dialect.quote or "")).isascii():
        return None
    if builder.path == STDIN or builder.path.stat().st_size < LARGE:
        return None
    from mlp_core.data.readers.blocks import Parser

    return Parser(len(builder.names), dialect, builder.cells)


def add_cells(builder: Builder, chunk: list[str], lines: Iterator[str], dialect: Dialect, line: int) -> int:
    """Give the builder a chunk cell by cell, with the lines that its last quoted cell may need; their count."""
    rows: list[list[str]] = []
    places: list[int] = []
    taken, width = 0, len(builder.names)
    try:
        for row, count in records(chain(chunk, lines), dialect):
            if row and (len(row) > 1 or row[0] or width == 1):
                if len(row) != width:
                    raise _ragged(builder, row, line + taken, dialect)
                places.append(line + taken)
                rows.append(row)
            taken = count
            if count >= len(chunk):
                break
    except csv.Error as error:
        message, hint = f"broken quoting ({error})", "mend the row, or set data.csv.quote"
        raise refusal(builder.path, "broken_quotes", message, hint=hint, line=line + taken) from None
    if rows:
        builder.add_rows(rows, places)
    return taken


def _ragged(builder: Builder, row: Sequence[str], line: int, dialect: Dialect) -> Exception:
    width = len(builder.names)
    message = f"{len(row)} cells, expected {width} as in the first row"
    hint = f'mend the row, or set data.csv.delimiter (now "{dialect.delimiter}")'
    if width == 1 and builder.rows == 0:
        first = builder.names[0][:1]
        hint = f'delete the lines above the names of the columns, or set data.csv.delimiter (now "{dialect.delimiter}")'
        if first and not first.isalnum():
            hint = f'if the first line is no data, set data.csv.comment: "{first}"'
    column = min(len(row), width) + 1
    return refusal(builder.path, "ragged_row", message, hint=hint.replace("\t", "tab"), line=line, column=column)


def _how(dialect: Dialect) -> str:
    """How a table is written, for people."""
    shown = {"\t": "tab", " ": "white space"}.get(dialect.delimiter, f'"{dialect.delimiter}"')
    how = f"delimiter {shown}" + (", decimal comma" if dialect.decimal == "," else "")
    return how + (", names from the first line" if dialect.header else ", no header line")


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


TSV = table_format("tsv", lambda start, file: file.endswith((".tsv", ".tab")), partial(_blocks, "\t"))
CSV = table_format("csv", lambda start, file: True, partial(_blocks, None))

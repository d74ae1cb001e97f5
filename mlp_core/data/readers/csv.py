"""Text tables (CSV, TSV, white space): numbers at the speed of numpy, every complaint with its line and column.

The file is read in chunks of lines, which a `Builder` converts in one piece where they are plain, else cell by cell.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from mlp_core.data.readers.csv_dialect import CsvOptions, Dialect, detect, records
from mlp_core.data.readers.open_file import refusal
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Block, Builder, Drain, Reread
from mlp_core.data.readers.text_stream import TextLines, open_text

CHUNK = 4096
THREADS, AHEAD = 2, 3  # that parse blocks; blocks that are read before they are taken
SAMPLE = 100
MAX_COLUMNS = 100_000
WANTED = "a CSV table"
Reading: TypeAlias = Callable[[Path, int], None]
"""Called now and then while a file is read, with its path and the count of rows so far."""


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
        builder = Builder(path, options, start.names, text, final)
        for _ in _read_chunks(start, builder):
            builder.foresee()
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
        builder = Builder(path, options, start.names, text, final=True)
        for _ in _read_chunks(start, builder, rows):
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
        builder = Builder(path, options, start.names, text, final)
        for _ in _read_chunks(start, builder):
            yield start.names, builder.drain(), builder.codes
        if builder.rows == 0:
            raise refusal(path, "no_rows", "no rows below the header")
        return builder.facts(_note(builder, start), start.header)


@dataclass(frozen=True)
class _Start:
    """What is known after the header: how the table is written, and its further lines, the first of them `line`."""

    dialect: Dialect
    header: int
    names: tuple[str, ...]
    lines: TextLines
    line: int


def _begin(
    path: Path, stream: io.TextIOBase, options: CsvOptions, delimiter: str | None, names: Sequence[str]
) -> _Start:
    lines = TextLines(stream, options.comment)
    blank, start = _skip_blank(lines)
    sample = [*start, *islice(lines, SAMPLE)]
    dialect, first = detect(sample, options, delimiter, names)
    limit = csv.field_size_limit()
    if not first and start and max(map(len, sample)) > limit:
        message, hint = f"a line of more than {limit:,} characters in one cell", "this is not a table of rows"
        raise refusal(path, "line_too_long", message, hint=hint, line=blank + 1)
    if not first and start:
        hint = "mend the quotes, or set data.csv.quote"
        raise refusal(path, "broken_quotes", "a quote is opened and never closed", hint=hint, line=blank + 1)
    if not first:
        raise refusal(path, "no_rows", "no rows in this file")
    if len(first) > MAX_COLUMNS:
        raise refusal(path, "too_large", f"more than {MAX_COLUMNS:,} columns", hint="check data.csv.delimiter")
    lines.give_back(sample)
    header, titles = _header(path, lines, dialect, first, blank, options.names)
    return _Start(dialect, header, titles, lines, max(header, blank) + 1)


def _read_chunks(start: _Start, builder: Builder, most: int = sys.maxsize) -> Iterator[None]:
    """Give the builder all lines, in chunks; after each there is a moment to take what it has, which is to be done when
    it has `most` rows.

    The first chunk, by whose cells columns are told apart, is one of lines; blocks follow where the builder takes them,
    parsed in threads of their own while further ones are read.
    """
    line, dialect = start.line, start.dialect
    ahead: deque[Block] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            while builder.takes_blocks and len(ahead) < AHEAD and (lines := start.lines.block()):
                ahead.append(builder.begin_block(lines, dialect, pool.submit))
            if ahead and builder.takes_blocks and (rows := builder.end_block(ahead[0], line, most - builder.rows)):
                ahead.popleft()
                line += rows
                yield
                continue
            while ahead:  # one is not plain or too long, or the builder begins anew
                start.lines.return_block(ahead.pop().lines)
            if not (chunk := list(islice(start.lines, min(CHUNK, most - builder.rows)))):
                return
            if builder.add_plain(chunk, dialect, line):
                line += len(chunk)
            else:
                line += builder.add_cells(chunk, start.lines, dialect, line)
            yield


def _table(builder: Builder, start: _Start) -> Table:
    return builder.table(_note(builder, start), start.header)


def _note(builder: Builder, start: _Start) -> str:
    dialect = start.dialect
    shown = {"\t": "tab", " ": "white space"}.get(dialect.delimiter, f'"{dialect.delimiter}"')
    note = f"table: {builder.rows:,} rows of {len(builder.names)} columns, delimiter {shown}"
    return note + (", names from the first line" if dialect.header else ", no header line")


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

"""Standard input as it comes: rows are given as soon as their lines are whole, so that a pipe can be a conversation."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import BinaryIO, cast

from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv import _add_cells, _begin, _table
from mlp_core.data.readers.csv_dialect import CsvOptions, Dialect
from mlp_core.data.readers.jsonl import _object
from mlp_core.data.readers.open_file import GZIP_MAGIC, STDIN, refusal, refuse_html
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder
from mlp_core.data.readers.text_stream import UTF8, WIDE, TextBytes, TextLines, peek_stdin

PIECE = 1 << 16
_BLANK = re.compile(r"[ \t\r\n,]*")


def is_live(options: CsvOptions) -> bool:
    """Whether standard input is a pipe or a terminal that has given plain text, and not much of it yet."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    start = b"" if stat.S_ISREG(mode) else peek_stdin(io.DEFAULT_BUFFER_SIZE)
    plain = options.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    packed = start.startswith((GZIP_MAGIC, *(mark for marks in WIDE.values() for mark in marks)))
    return bool(start) and len(start) < io.DEFAULT_BUFFER_SIZE and plain and not packed


def stream_live(
    kind: str, options: CsvOptions, names: Sequence[str] = (), numbers: Collection[str] = ()
) -> Iterator[Table]:
    """Tables of the rows that are there at once. kind: csv, tsv or jsonl, which may also be one array of objects.

    names, numbers: as for `stream_csv`. Raises DataError.
    """
    refuse_html(STDIN, peek_stdin(512), "a CSV table")
    if kind == "jsonl" or peek_stdin(512).lstrip()[:1] == b"[":
        return _objects(options, numbers)
    return _rows(options, "\t" if kind == "tsv" else None, names, numbers)


def _arrivals(comment: str | None = None) -> Iterator[list[str]]:
    """Whole lines, those that are there at once; the last one may lack its end."""
    inner = cast(io.BufferedReader, sys.stdin.buffer)
    watched, kept, encoding = TextBytes(cast(BinaryIO, inner), STDIN, None, zeros=False), b"", UTF8
    while data := inner.read1(PIECE):
        watched.watch(data)
        whole, end, kept = (kept + data).rpartition(b"\n")
        if end:
            yield _lines(whole + end, encoding, comment)
            encoding = "utf-8"
    if kept:
        yield _lines(kept, encoding, comment)


def _lines(data: bytes, encoding: str, comment: str | None) -> list[str]:
    try:
        return list(TextLines(io.StringIO(data.decode(encoding), newline=""), comment))
    except UnicodeDecodeError as error:
        why = f"byte 0x{error.object[error.start : error.start + 1].hex()}"
        raise refusal(STDIN, "not_text", f"not utf-8 text ({why})", hint="set data.csv.encoding") from None


def _rows(
    options: CsvOptions, delimiter: str | None, names: Sequence[str], numbers: Collection[str]
) -> Iterator[Table]:
    """A text table whose header comes first."""
    arrivals, first = _arrivals(options.comment), list[str]()
    for lines in arrivals:
        first += lines
        if any(line.strip() for line in first):
            break
    start = _begin(STDIN, io.StringIO("".join(first), newline=""), options, delimiter, names)
    text = {column for column, title in enumerate(start.names) if title not in numbers}
    builder = Builder(STDIN, start.cells, start.names, text, final=True)
    line, pending = start.line, list[str]()
    for lines in chain([list(start.lines)], arrivals):
        pending += lines
        if pending and not _inside_quotes(pending, start.dialect):
            line += _add_cells(STDIN, builder, pending, iter(()), start.dialect, line)
            pending = []
        if builder.rows and not pending:
            yield _table(builder, start)
            builder.clear()
    if pending:
        _add_cells(STDIN, builder, pending, iter(()), start.dialect, line)  # which says what is wrong with its quotes


def _inside_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether a quoted cell is still open after these lines."""
    return dialect.quote is not None and sum(line.count(dialect.quote) for line in lines) % 2 == 1


def _objects(options: CsvOptions, numbers: Collection[str]) -> Iterator[Table]:
    """Objects, one a line, or all of them in one array, which is then read to its end."""
    arrivals = _arrivals()
    first = next(arrivals, [])
    array = "".join(first).lstrip()[:1] == "["
    parts = iter([_of_array("".join(chain(first, *arrivals)))]) if array else _numbered(chain([first], arrivals))
    builder: Builder | None = None
    for part in parts:
        if not part:
            continue
        if builder is None:
            names = tuple(dict.fromkeys(name for _, row in part for name in row))
            text = {column for column, name in enumerate(names) if name not in numbers}
            builder = Builder(STDIN, Cells(options, options.decimal), names, text, final=True)
        builder.add_rows([[row.get(name, "") for name in builder.names] for _, row in part], [at for at, _ in part])
        yield builder.table("", 0)
        builder.clear()


def _numbered(arrivals: Iterator[list[str]]) -> Iterator[list[tuple[int, dict[str, str]]]]:
    """The objects of the lines that are there at once, each with its line's number."""
    line = 1
    for lines in arrivals:
        yield [(line + k, _object(STDIN, line + k, text)) for k, text in enumerate(lines) if text.strip()]
        line += len(lines)


def _of_array(text: str) -> list[tuple[int, dict[str, str]]]:
    """The objects of an array, each with the number of the line it begins on."""
    decoder, rows, at = json.JSONDecoder(), list[tuple[int, dict[str, str]]](), text.index("[") + 1
    line = text.count("\n", 0, at) + 1
    while True:
        start, at = at, _BLANK.match(text, at).end()  # type: ignore[union-attr]
        line += text.count("\n", start, at)
        if text[at : at + 1] in ("]", ""):
            break
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise refusal(STDIN, "bad_json", f"not JSON ({error})", line=line) from None
        rows.append((line, _object(STDIN, line, text[at:end])))
        line, at = line + text.count("\n", at, end), end
    if text[at : at + 1] != "]":
        raise refusal(STDIN, "bad_json", "the array is not closed", hint="end it with ]", line=line)
    return rows

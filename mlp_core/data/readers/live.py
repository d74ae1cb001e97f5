"""Standard input as it comes: rows are given as soon as their lines are whole, so that a pipe can be a conversation."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import BinaryIO, cast

from mlp_core.data.readers import csv, jsonl
from mlp_core.data.readers.by_blocks import in_parts
from mlp_core.data.readers.csv_options import CsvOptions, Dialect
from mlp_core.data.readers.format import Asked, ReadOptions
from mlp_core.data.readers.open_file import GZIP_MAGIC, STDIN, refusal, refuse_html
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder
from mlp_core.data.readers.text_stream import UTF8, WIDE, TextBytes, TextLines, peek_stdin

PIECE = 1 << 16


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


def stream_live(kind: str, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Table]:
    """Tables of the rows that are there at once. kind: csv, tsv or jsonl, which may also be one array of objects.

    names: columns that a header should contain; all columns but `numbers` are words. Raises DataError.
    """
    refuse_html(STDIN, peek_stdin(512), "a CSV table")
    objects = kind == "jsonl" or peek_stdin(512).lstrip()[:1] == b"["
    blocks = _objects if objects else partial(_rows, "\t" if kind == "tsv" else None)
    return in_parts(blocks, 1, STDIN, options, names, numbers)


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


def _rows(delimiter: str | None, asked: Asked) -> Iterator[Builder]:
    """A text table whose header comes first."""
    arrivals, first = _arrivals(asked.options.csv.comment), list[str]()
    for lines in arrivals:
        first += lines
        if any(line.strip() for line in first):
            break
    start = csv.begin(io.StringIO("".join(first), newline=""), asked, delimiter)
    builder, line, pending = start.builder, start.line, list[str]()
    for lines in chain([list(start.lines)], arrivals):
        pending += lines
        if pending and not _inside_quotes(pending, start.dialect):
            line += csv.add_cells(builder, pending, iter(()), start.dialect, line)
            pending = []
            yield builder
    if pending:
        csv.add_cells(builder, pending, iter(()), start.dialect, line)  # which says what is wrong with its quotes
        yield builder


def _inside_quotes(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether a quoted cell is still open after these lines."""
    return dialect.quote is not None and sum(line.count(dialect.quote) for line in lines) % 2 == 1


def _objects(asked: Asked) -> Iterator[Builder]:
    """Objects, one a line, or all of them in one array, which is then read to its end."""
    arrivals = _arrivals()
    first = next(arrivals, [])
    array = "".join(first).lstrip()[:1] == "["
    builder: Builder | None = None
    line = 1
    for lines in [list(chain(first, *arrivals))] if array else chain([first], arrivals):
        rows = list(jsonl.objects_in(STDIN, enumerate(lines, line), array))
        line += len(lines)
        if rows:
            builder = builder or jsonl.begin(asked, rows)
            jsonl.add(builder, rows)
            yield builder

"""JSON: one object per line, or an array of them; keys are columns, values numbers, words, true, false or null."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv import CHUNK, SAMPLE
from mlp_core.data.readers.csv_dialect import CsvOptions
from mlp_core.data.readers.format import WHITE, Format
from mlp_core.data.readers.open_file import refusal, refuse_width
from mlp_core.data.readers.table import Table
from mlp_core.data.readers.table_builder import Builder, Drain, Reread
from mlp_core.data.readers.text_stream import open_text
from mlp_core.errors import clean, counted

WANTED = "JSON Lines"
HINT = 'write one object per line, such as {"age": 39, "job": "clerk"}'
MOST_CELLS = 200_000  # that are held as objects at once
_LITERALS = {True: "true", False: "false", None: ""}


def read_jsonl(path: Path, options: CsvOptions, words: Collection[str] = ()) -> Table:
    """Read JSON Lines, gzip or not, as one table; `words` are columns that hold text even if it looks like numbers.

    Columns are the keys of the first hundred lines in order; a key that comes later is left out, one that is missing
    is a missing cell. Raises DataError with file and line for what is no object of plain values.
    """
    text: set[str] = set(words)
    for attempt in range(4):
        try:
            *_, table = _tables(path, options, lambda name, text=text: name in text, attempt == 3, None)
        except Reread as reread:
            text |= reread.names
        else:
            return table
    raise AssertionError("the last attempt does not ask for another")


def stream_jsonl(path: Path, options: CsvOptions, numbers: Collection[str], rows: int = 65_536) -> Iterator[Table]:
    """The same as tables of about `rows` rows; all columns but `numbers` are text."""
    return _tables(path, options, lambda name: name not in numbers, True, rows)


def drain_jsonl(path: Path, options: CsvOptions, words: Collection[str], final: bool) -> Drain:
    """The same as `read_jsonl`, block by block. Raises Reread where a column turns out to hold text."""
    for builder in _chunks(path, options, lambda name: name in words, final):
        yield builder.names, builder.drain(), builder.codes
    return builder.facts(_note(builder), 0)


def _tables(path: Path, options: CsvOptions, is_text: Any, final: bool, rows: int | None) -> Iterator[Table]:
    for builder in _chunks(path, options, is_text, final):
        if rows is not None and builder.rows >= rows:
            yield _table(builder)
            builder.clear()
    if builder.rows:
        yield _table(builder)


def _chunks(path: Path, options: CsvOptions, is_text: Any, final: bool) -> Iterator[Builder]:
    """One builder again and again, each time with some more rows."""
    with open_text(path, "utf-8", WANTED) as stream:
        numbered = _texts(path, ((number, line) for number, line in enumerate(stream, 1) if line.strip()))
        sample = list(_at_most(((number, _object(path, number, line)) for number, line in numbered), SAMPLE))
        if not sample:
            raise refusal(path, "no_rows", "no rows in this file")
        names = tuple(dict.fromkeys(name for _, row in sample for name in row))
        refuse_width(path, len(names))
        if not names:
            raise refusal(path, "no_rows", "objects without keys", hint=HINT, line=sample[0][0])
        text = {column for column, name in enumerate(names) if is_text(name)}
        builder = Builder(path, Cells(options, options.point), names, text, final)
        known, late = set(names), builder.late
        rest = ((number, _object(path, number, line)) for number, line in numbered)
        parsed = chain(sample, rest)
        while chunk := list(_at_most(parsed, CHUNK)):
            if any(row.keys() - known for _, row in chunk):
                late.update(
                    {name: at for at, row in reversed(chunk) for name in row if name not in known and name not in late}
                )
            builder.add_rows([[row.get(name, "") for name in names] for _, row in chunk], [n for n, _ in chunk])
            yield builder


def _at_most(rows: Iterator[tuple[int, dict[str, str]]], count: int) -> Iterator[tuple[int, dict[str, str]]]:
    """So many of the next rows, fewer where they have many keys: objects take many times their text."""
    cells = 0
    for number, row in islice(rows, count):
        yield number, row
        cells += len(row)
        if cells > MOST_CELLS:
            return


def _texts(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The objects of a file as text, each with the line that it starts on: one on every line, or all in one array."""
    first = next(lines, None)
    if first is None:
        return
    if not first[1].lstrip("\ufeff \t").startswith("["):
        yield first
        yield from lines
        return
    number, text = first[0], first[1].lstrip("\ufeff \t")[1:]
    while True:
        stripped = text.lstrip(" \t\r\n,")
        if stripped.startswith("]"):
            if stripped[1:].strip():
                raise refusal(path, "bad_json", "not JSON (something behind the array)", hint=HINT, line=number)
            return
        if stripped.startswith("["):
            hint = "write an object for every row, with a key for every value (pandas: orient='records')"
            raise refusal(path, "bad_json", "an array of arrays, which have no names", hint=hint, line=number)
        end = _end_of_object(stripped)
        if end is not None:
            yield number, stripped[:end]
            text = stripped[end:]
            continue
        further = next(lines, None)
        if further is None:
            if stripped.strip():
                yield number, stripped  # which says what is wrong with it
            raise refusal(path, "bad_json", "not JSON (the array does not end)", hint="fetch it again", line=number)
        number = number if stripped else further[0]
        text = stripped + further[1]


def _end_of_object(text: str) -> int | None:
    """Where the JSON value ends with which a text begins; None where it does not."""
    if "}" not in text:
        return None
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except (ValueError, RecursionError):
        return None


def _table(builder: Builder) -> Table:
    table = builder.table(_note(builder), 0)
    if not builder.late:
        return table
    told = ", ".join(f"{clean(name, 40)} (line {line})" for name, line in list(builder.late.items())[:6])
    return replace(table, notes=(*table.notes, f"note: left out, since no row among the first {SAMPLE} has it: {told}"))


def _note(builder: Builder) -> str:
    return f"table: {counted(builder.rows, 'row')} of {counted(len(builder.names), 'column')}, JSON"


def _object(path: Path, number: int, line: str) -> dict[str, str]:
    """The cells of one line by their keys, numbers with the digits they were written with."""
    try:
        row = json.loads(line, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_pairs)
    except RecursionError:
        raise refusal(path, "bad_json", "nested too deeply", hint=HINT, line=number) from None
    except ValueError as error:
        column = getattr(error, "colno", None)
        raise refusal(path, "bad_json", f"not JSON ({error})", hint=HINT, line=number, column=column) from None
    if not isinstance(row, dict):
        raise refusal(path, "bad_json", "not an object", hint=HINT, line=number)
    for name, value in row.items():
        if isinstance(value, dict | list):
            message = f'"{name}" holds {"an object" if isinstance(value, dict) else "a list"}'
            hint = "write an object for every row, with a key for every value (pandas: orient='records')"
            raise refusal(path, "bad_json", message, hint=hint, line=number)
        if not isinstance(value, str):
            row[name] = _LITERALS[value]
    return row


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice")
    return row


JSON_LINES = Format(
    "jsonl",
    told=lambda start, file: (
        file.endswith((".jsonl", ".ndjson", ".json"))
        or start.lstrip(WHITE).startswith((b"{", b"[{", b"[\n", b"[\r", b"[ "))
    ),
    read=lambda path, options, names: read_jsonl(path, options.csv, options.text),
    parts=lambda path, options, names, numbers: stream_jsonl(path, options.csv, numbers),
    drain=lambda path, options, names, words, final: drain_jsonl(path, options.csv, words, final),
    piped=True,
)

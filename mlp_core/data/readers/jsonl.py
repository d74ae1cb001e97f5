"""JSON: one object per line, or an array of them; keys are columns, values numbers, words, true, false or null."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from mlp_core.data.readers.by_blocks import table_format
from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv import CHUNK
from mlp_core.data.readers.format import WHITE, Asked
from mlp_core.data.readers.open_file import refusal, refuse_width
from mlp_core.data.readers.table_builder import SAMPLE, Builder, empty
from mlp_core.data.readers.text_stream import open_text

WANTED = "JSON Lines"
Row: TypeAlias = tuple[int, dict[str, str]]
"""An object, its cells by their keys, with the line that it starts on."""

HINT = 'write one object per line, such as {"age": 39, "job": "clerk"}'
RECORDS = "write an object for every row, with a key for every value (pandas: orient='records')"
MOST_CELLS = 200_000  # that are held as objects at once
_LITERALS = {True: "true", False: "false", None: ""}
_BETWEEN = re.compile(r"[ \t\r\n,]*")


def _blocks(asked: Asked) -> Iterator[Builder]:
    """The blocks of a file of objects, packed or not.

    Columns are the keys of the first hundred of them in order; a key that comes later is left out, one that is missing
    is a missing cell. Raises DataError with file and line for what is no object of plain values.
    """
    path = asked.path
    with open_text(path, "utf-8", WANTED) as stream:
        objects = objects_in(path, enumerate(stream, 1))
        sample = list(_at_most(objects, SAMPLE))
        if not sample:
            raise refusal(path, "no_rows", "no rows in this file")
        builder = begin(asked, sample)
        refuse_width(path, len(builder.names))
        if not builder.names:
            raise refusal(path, "no_rows", "objects without keys", hint=HINT, line=sample[0][0])
        known, late = set(builder.names), builder.late
        parsed = chain(sample, objects)
        while chunk := list(_at_most(parsed, CHUNK)):
            if any(row.keys() - known for _, row in chunk):
                late.update(
                    {name: at for at, row in reversed(chunk) for name in row if name not in known and name not in late}
                )
            add(builder, chunk)
            yield builder


def begin(asked: Asked, first: Sequence[Row]) -> Builder:
    """What takes rows of which these are the first."""
    names, options = tuple(dict.fromkeys(name for _, row in first for name in row)), asked.options.csv
    return Builder(empty(asked.path, names, "JSON"), Cells(options, options.point), asked.is_text, asked.final)


def add(builder: Builder, rows: Sequence[Row]) -> None:
    """Give further rows to a builder."""
    builder.add_rows([[row.get(name, "") for name in builder.names] for _, row in rows], [at for at, _ in rows])


def _at_most(rows: Iterator[Row], count: int) -> Iterator[Row]:
    """So many of the next rows, fewer where they have many keys: objects take many times their text."""
    cells = 0
    for number, row in islice(rows, count):
        yield number, row
        cells += len(row)
        if cells > MOST_CELLS:
            return


def objects_in(path: Path, lines: Iterable[tuple[int, str]], array: bool = True) -> Iterator[Row]:
    """The objects in lines with their numbers: one on every line, or, where that may be, all in one `array`."""
    filled = ((number, line) for number, line in lines if line.strip())
    first = next(filled, None)
    if first is None:
        return iter(())
    begins = first[1].lstrip("\ufeff \t").startswith("[")
    texts = _in_array(path, first, filled) if array and begins else chain([first], filled)
    return ((number, _object(path, number, text)) for number, text in texts)


def _in_array(path: Path, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The objects of an array as text, each with the line that it starts on. They are taken out by their places: a
    whole array may be one line."""
    number, text, at = first[0], first[1], first[1].index("[") + 1
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        if text.startswith("]", at):
            if text[at + 1 :].strip():
                raise refusal(path, "bad_json", "not JSON (something behind the array)", hint=HINT, line=number)
            return
        if text.startswith("[", at):
            raise refusal(path, "bad_json", "an array of arrays, which have no names", hint=RECORDS, line=number)
        end = _end_of_object(text, at)
        if end is not None:
            yield number, text[at:end]
            at = end
            continue
        further, rest = next(lines, None), text[at:]
        if further is None:
            if rest:
                yield number, rest  # which says what is wrong with it
            raise refusal(path, "bad_json", "not JSON (the array does not end)", hint="fetch it again", line=number)
        number, text, at = number if rest else further[0], rest + further[1], 0


def _end_of_object(text: str, at: int) -> int | None:
    """Where the JSON value ends that begins at a place of a text; None where it does not."""
    if text.find("}", at) < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


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
            raise refusal(path, "bad_json", message, hint=RECORDS, line=number)
        if not isinstance(value, str):
            row[name] = _LITERALS[value]
    return row


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice")
    return row


def _told(start: bytes, file: str) -> bool:
    begins = start.lstrip(WHITE).startswith((b"{", b"[{", b"[\n", b"[\r", b"[ "))
    return begins or file.endswith((".jsonl", ".ndjson", ".json"))


JSON_LINES = table_format("jsonl", _told, _blocks)

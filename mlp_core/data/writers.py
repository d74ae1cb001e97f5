"""Columns written as CSV, JSON Lines, Parquet or npz, part by part, into a file that appears when it is whole."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from mlp_core.errors import Problem, UsageError

FORMATS = ("csv", "jsonl", "parquet", "npz")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".npz": "npz"}
Columns = Mapping[str, Any]
Write = Callable[[Columns], None]


def format_of(path: Path | None, asked: str | None) -> str:
    """The format to write: the one asked for, else by the file's name, else CSV. Raises UsageError."""
    if asked is not None:
        if asked not in FORMATS:
            hint = "choose from " + ", ".join(FORMATS)
            raise UsageError(Problem("usage", "--format: unknown format", hint, got=asked))
        if path is None and asked in ("parquet", "npz"):
            raise UsageError(Problem("usage", f"{asked} is not written to the screen", "name a file with -o"))
        return asked
    if path is None:
        return "csv"
    if path.suffix.lower() not in SUFFIXES:
        hint = "end it in " + ", ".join(SUFFIXES) + ", or use --format"
        raise UsageError(Problem("usage", "--output: the name tells no format", hint, got=path.name))
    return SUFFIXES[path.suffix.lower()]


def refuse(path: Path, force: bool) -> None:
    """Raise UsageError for a file that exists, unless `force`, and for one that cannot be made there."""
    if os.path.lexists(path) and not force:
        hint = "choose another, or --force"
        raise UsageError(Problem("exists", "there is such a file already", hint, file=str(path)))
    if path.is_dir() or not path.parent.is_dir():
        message = "this is a folder" if path.is_dir() else "there is no such folder"
        raise UsageError(Problem("no_folder", message, file=str(path if path.is_dir() else path.parent)))


@contextmanager
def writing(path: Path, kind: str, force: bool, digits: int) -> Iterator[Write]:
    """A function that writes parts to the file; the file is there, whole, when the block ends without an error.

    digits: significant digits of numbers in text formats. Raises UsageError as `refuse` does.
    """
    refuse(path, force)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            with {"parquet": _parquet, "npz": _npz}.get(kind, _text)(file, kind, digits) as write:
                yield write
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _text(file: BinaryIO, kind: str, digits: int) -> Iterator[Write]:
    text = TextIOWrapper(file, encoding="utf-8", newline="")
    yield text_writer(text, kind, digits)
    text.detach()  # after a flush; the file stays open


def text_writer(file: TextIO, kind: str, digits: int) -> Write:
    """A function that writes parts as CSV (RFC 4180 quoting, a header first) or JSON Lines."""
    return _csv(file, digits) if kind == "csv" else _jsonl(file, digits)


def _csv(file: TextIO, digits: int) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    header: list[str] = []

    def write(columns: Columns) -> None:
        if not header:
            header.extend(columns)
            writer.writerow(header)
        writer.writerows(zip(*(_cells(values, digits) for values in columns.values()), strict=True))

    return write


def _cells(values: Any, digits: int) -> Any:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return [repr(value) if digits > 16 else f"{value:.{digits}g}" for value in values.tolist()]
    return values


def _jsonl(file: TextIO, digits: int) -> Write:
    def write(columns: Columns) -> None:
        for row in rows(columns, digits):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    return write


def rows(columns: Columns, digits: int) -> Iterator[dict[str, Any]]:
    """The rows of a part as plain objects; what is not finite is null."""
    plain = {name: _plain(values, digits) for name, values in columns.items()}
    return (dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True))


def _plain(values: Any, digits: int) -> list[Any]:
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype.kind != "f":
        return list(values.tolist())
    numbers = values.tolist() if digits > 16 else [float(f"{value:.{digits}g}") for value in values.tolist()]
    return [value if math.isfinite(value) else None for value in numbers]


@contextmanager
def _npz(file: BinaryIO, kind: str, digits: int) -> Iterator[Write]:
    """One array per column; text as fixed-width strings, so that no reader has to unpickle."""
    parts: list[Columns] = []
    yield parts.append
    names = list(parts[0]) if parts else []
    arrays = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in names}
    np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def _parquet(file: BinaryIO, kind: str, digits: int) -> Iterator[Write]:
    from mlp_core.data.readers.parquet import parquet_module

    parquet = parquet_module()
    import pyarrow

    opened: list[Any] = []

    def write(columns: Columns) -> None:
        table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
        if not opened:
            opened.append(parquet.ParquetWriter(file, table.schema))
        opened[0].write_table(table)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()

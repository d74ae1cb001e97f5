"""Parquet files, read by pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.readers.arrow import ODD_KEPT, fill, taken_out
from mlp_core.data.readers.csv_dialect import CsvOptions
from mlp_core.data.readers.format import Format
from mlp_core.data.readers.open_file import (
    check_file,
    check_growth,
    check_memory,
    reading,
    refusal,
    refuse_width,
)
from mlp_core.data.readers.table import Floats, Lines, Piece, Table
from mlp_core.data.readers.table_builder import Drain
from mlp_core.errors import DataError, Problem, counted

ROWS = 65_536


def read_parquet(path: Path, options: CsvOptions, words: Collection[str] = ()) -> Table:
    """Read a Parquet file as one table; columns of numbers in `words` become words.

    Raises DataError when pyarrow is not installed, for damage, and for columns of lists or structures.
    """
    tables = list(_tables(path, options, lambda name: name in words, whole=True))
    if not tables:
        raise refusal(path, "no_rows", "no rows in this file")
    values = np.concatenate([values for values, _, _ in tables])
    _, names, vocabularies = tables[-1]
    note = f"table: {counted(len(values), 'row')} of {counted(len(names), 'column')}, Parquet"
    return _table(path, values, names, vocabularies, 0, (note,))


def stream_parquet(path: Path, options: CsvOptions, numbers: Collection[str]) -> Iterator[Table]:
    """The same as tables of at most 65,536 rows; all columns but `numbers` become words."""
    first = 0
    for values, names, vocabularies in _tables(path, options, lambda name: name not in numbers):
        yield _table(path, values, names, {c: dict(v) for c, v in vocabularies.items()}, first, ())
        first += len(values)


def drain_parquet(path: Path, options: CsvOptions, words: Collection[str]) -> Drain:
    """The same as `read_parquet`, block by block."""
    rows, odd, names, vocabularies = 0, dict[int, dict[int, str]](), tuple[str, ...](), dict[int, dict[str, int]]()
    for values, names, vocabularies in _tables(path, options, lambda name: name in words):
        part = _table(path, values, names, vocabularies, rows, ())
        for column, cells in part.odd.items():
            kept = odd.setdefault(column, {})
            kept |= {row + rows: text for row, text in [*cells.items()][: ODD_KEPT - len(kept)]}
        rows += len(values)
        yield names, values, vocabularies
    if not rows:
        raise refusal(path, "no_rows", "no rows in this file")
    note = f"table: {counted(rows, 'row')} of {counted(len(names), 'column')}, Parquet"
    facts = _table(path, np.empty((0, len(names))), names, vocabularies, 0, (note,))
    return replace(facts, odd=odd)


def parquet_module() -> Any:
    """The module pyarrow.parquet. Raises DataError with what to install."""
    try:
        import pyarrow.parquet
    except ImportError:
        hint = "pip install pyarrow, or convert the file to CSV"
        raise DataError(Problem("no_pyarrow", "Parquet needs the package pyarrow", hint=hint)) from None
    return pyarrow.parquet


def _table(
    path: Path, values: Floats, names: tuple[str, ...], vocabularies: dict[int, dict[str, int]], first: int, notes: Any
) -> Table:
    words = {column: list(vocabulary) for column, vocabulary in vocabularies.items()}
    odd = taken_out(values, words)
    return Table(names, values, words, odd, (Piece(path, 0, Lines([0], [first + 1])),), 0, notes, keyed=True)


def _tables(
    path: Path, options: CsvOptions, is_text: Any, whole: bool = False
) -> Iterator[tuple[Floats, tuple[str, ...], dict[int, dict[str, int]]]]:
    """Batches of rows, with vocabularies that grow from one to the next."""
    check_file(path)
    parquet = parquet_module()
    import pyarrow

    with reading(path):
        try:
            file = parquet.ParquetFile(path)
            names = tuple(file.schema_arrow.names)
            if len(set(names)) < len(names):
                raise refusal(path, "duplicate_column", "a column name given twice", hint="rename one")
            refuse_width(path, len(names))
            if whole:
                check_growth(path, check_file(path), file.metadata.num_rows * len(names) * 8)
                check_memory(path, file.metadata.num_rows * len(names) * 8)
            vocabularies: dict[int, dict[str, int]] = {}
            for batch in file.iter_batches(ROWS):
                values = np.empty((batch.num_rows, len(names)))
                for column, name in enumerate(names):
                    fill(path, batch.column(column), name, column, values, vocabularies, is_text(name), options)
                yield values, names, vocabularies
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise refusal(path, "damaged", f"damaged or not a Parquet file ({text})", hint="fetch it again") from None


PARQUET = Format(
    "parquet",
    told=lambda start, file: start.startswith(b"PAR1"),
    read=lambda path, options, names: read_parquet(path, options.csv, options.text),
    parts=lambda path, options, names, numbers: stream_parquet(path, options.csv, numbers),
    drain=lambda path, options, names, words, final: drain_parquet(path, options.csv, words),
)

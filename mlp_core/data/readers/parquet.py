"""Parquet files, read by pyarrow."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.readers.csv_dialect import CsvOptions, number
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
ODD_KEPT = 20


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
    odd: dict[int, dict[int, str]] = {}
    for column in range(len(names)):
        if column not in words and (bad := np.flatnonzero(np.isinf(values[:, column]))).size:
            odd[column] = {int(row): str(values[row, column]) for row in bad[:ODD_KEPT]}
            values[bad, column] = np.nan
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
                    _fill(path, batch.column(column), name, column, values, vocabularies, is_text(name), options)
                yield values, names, vocabularies
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise refusal(path, "damaged", f"damaged or not a Parquet file ({text})", hint="fetch it again") from None


def _fill(
    path: Path,
    array: Any,
    name: str,
    column: int,
    values: Floats,
    vocabularies: dict[int, dict[str, int]],
    as_text: bool,
    options: CsvOptions,
) -> None:
    """One column of a batch into `values`: numbers, or codes into its vocabulary."""
    import pyarrow
    from pyarrow import types

    kind = array.type
    numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    if types.is_nested(kind):
        message, hint = f'column "{name}" holds {kind}', "write every value in a column of its own"
        raise refusal(path, "nested_column", message, hint=hint)
    if numeric and not as_text:
        values[:, column] = array.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
        return
    vocabulary = vocabularies.setdefault(column, {})
    coded = array if types.is_dictionary(kind) else array.dictionary_encode()
    lookup = [_code(cell, vocabulary, options) for cell in coded.dictionary.to_pylist()] + [np.nan]
    indices = coded.indices.fill_null(len(lookup) - 1).to_numpy(zero_copy_only=False)
    values[:, column] = np.array(lookup)[indices.astype(np.int64)]


def _code(cell: Any, vocabulary: dict[str, int], options: CsvOptions) -> float:
    if cell is None or cell != cell:
        return float("nan")
    word = str(cell).lower() if isinstance(cell, bool) else str(cell).strip()
    if isinstance(cell, float) and (value := number(repr(cell))) is not None and value.is_integer():
        word = str(int(value))
    return float("nan") if word in options.na else float(vocabulary.setdefault(word, len(vocabulary)))


PARQUET = Format(
    "parquet",
    told=lambda start, file: start.startswith(b"PAR1"),
    read=lambda path, options, names: read_parquet(path, options.csv, options.text),
    parts=lambda path, options, names, numbers: stream_parquet(path, options.csv, numbers),
    drain=lambda path, options, names, words, final: drain_parquet(path, options.csv, words),
)

"""Columns of Arrow, and lists, as numbers and codes: what a Parquet file and a frame in memory have in common."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.readers.csv_options import CsvOptions, number
from mlp_core.data.readers.open_file import refusal
from mlp_core.data.readers.table import Floats
from mlp_core.data.readers.table_builder import ODD_KEPT


def fill(
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


def fill_plainly(
    cells: list[Any],
    column: int,
    values: Floats,
    vocabularies: dict[int, dict[str, int]],
    as_text: bool,
    options: CsvOptions,
) -> bool:
    """The same for a list of numbers, of words, or of truths, and of None; whether it is one.

    Arrow would take it as well, but imports pandas for any list, where that is installed: half a second.
    """
    kinds = {type(cell) for cell in cells} - {type(None)}
    numbers = kinds <= {int, float}
    if not (numbers or kinds in ({str}, {bool})) or any(type(cell) is int and abs(cell) >= 2**53 for cell in cells):
        return False
    if kinds and numbers and not as_text:
        values[:, column] = [np.nan if cell is None else cell for cell in cells]
        return True
    vocabulary = vocabularies.setdefault(column, {})
    codes = {cell: _code(cell, vocabulary, options) for cell in dict.fromkeys(cells)}
    values[:, column] = [codes[cell] for cell in cells]
    return True


def _code(cell: Any, vocabulary: dict[str, int], options: CsvOptions) -> float:
    if cell is None or cell != cell:
        return float("nan")
    word = str(cell).lower() if isinstance(cell, bool) else str(cell).strip()
    if isinstance(cell, float) and (value := number(repr(cell))) is not None and value.is_integer():
        word = str(int(value))
    return float("nan") if word in options.na else float(vocabulary.setdefault(word, len(vocabulary)))


def taken_out(values: Floats, words: Collection[int]) -> dict[int, dict[int, str]]:
    """The first infinite cells of the columns of numbers, which are no numbers; all of them become missing."""
    odd: dict[int, dict[int, str]] = {}
    for column in range(values.shape[1]):
        if column not in words and (bad := np.flatnonzero(np.isinf(values[:, column]))).size:
            odd[column] = {int(row): str(values[row, column]) for row in bad[:ODD_KEPT]}
            values[bad, column] = np.nan
    return odd

"""Parquet files, read by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlp_core.data.readers.arrow import fill, taken_out
from mlp_core.data.readers.by_blocks import PART, table_format
from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.format import Asked
from mlp_core.data.readers.open_file import (
    check_file,
    check_growth,
    check_memory,
    reading,
    refusal,
    refuse_width,
)
from mlp_core.data.readers.table_builder import Builder, empty
from mlp_core.errors import DataError, Problem


def parquet_module() -> Any:
    """The module pyarrow.parquet. Raises DataError with what to install."""
    try:
        import pyarrow.parquet
    except ImportError:
        hint = "pip install pyarrow, or convert the file to CSV"
        raise DataError(Problem("no_pyarrow", "Parquet needs the package pyarrow", hint=hint)) from None
    return pyarrow.parquet


def _blocks(asked: Asked) -> Iterator[Builder]:
    """Batches of rows. Raises DataError for damage, and for columns of lists or structures."""
    path, options = asked.path, asked.options.csv
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
            rows, line = file.metadata.num_rows, 1
            if asked.whole:
                check_growth(path, check_file(path), rows * len(names) * 8)
                check_memory(path, rows * len(names) * 8)
            builder = Builder(empty(path, names, "Parquet"), Cells(options, options.point), asked.is_text, final=True)
            for batch in file.iter_batches(PART):
                values = np.empty((batch.num_rows, len(names)))
                for column, name in enumerate(names):
                    words = asked.is_text(name)
                    fill(path, batch.column(column), name, column, values, builder.codes, words, options)
                builder.take(values, taken_out(values, builder.codes), line)
                line += len(values)
                yield builder
            if asked.part is None and not builder.rows:
                raise refusal(path, "no_rows", "no rows in this file")
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise refusal(path, "damaged", f"damaged or not a Parquet file ({text})", hint="fetch it again") from None


PARQUET = table_format("parquet", lambda start, file: start.startswith(b"PAR1"), _blocks, part=1, piped=False)
"""Each batch of rows is a part."""

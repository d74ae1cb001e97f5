"""A CSV file as a table, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlp_core.data.readers.csv import CSV
from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.table import Table


def read_csv(
    path: Path, options: CsvOptions | None = None, names: Sequence[str] = (), words: Sequence[str] = ()
) -> Table:
    """The table; `names` are columns that the header, if there is one, should contain, `words` columns that hold text
    even if it looks like numbers."""
    table = CSV.read(path, ReadOptions(csv=options or CsvOptions(), text=tuple(words)), names)
    assert isinstance(table, Table)
    return table

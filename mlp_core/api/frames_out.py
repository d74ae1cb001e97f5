"""Columns as a frame of the kind that somebody gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def like(given: Any, columns: Mapping[str, Any]) -> Any:
    """Columns as pandas, polars or Arrow where `given` is one of these (with its index), else as they are."""
    home = type(given).__module__.partition(".")[0]
    if home == "pandas":
        import pandas

        return pandas.DataFrame(dict(columns), index=given.index)
    if home == "polars":
        import polars

        return polars.DataFrame(dict(columns))
    if home == "pyarrow":
        import pyarrow

        return pyarrow.table(dict(columns))
    return dict(columns)

"""The data sets that travel with the program (`data.name`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from mlp_core.data.readers.csv import CSV
from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.source import Source
from mlp_core.errors import counted


@dataclass(frozen=True)
class Embedded:
    """One embedded set: its file, its target column, and the column names where the file has no header."""

    file: str
    target: str
    names: tuple[str, ...] = ()


SETS = {
    "digits": Embedded(
        "digits.csv.gz", "digit", (*(f"pixel_{row}_{column}" for row in range(8) for column in range(8)), "digit")
    ),
    "diabetes": Embedded("diabetes.csv.gz", "progression"),
}


def read_embedded(name: str) -> Source:
    """The table of an embedded set. Raises KeyError for a name that is not in `SETS`."""
    entry = SETS[name]
    with as_file(_folder() / entry.file) as path:
        table = CSV.read(path, ReadOptions(csv=CsvOptions(delimiter=",", header=not entry.names)), ())
    return replace(
        table, names=entry.names or table.names, notes=(f"data: embedded {name}, {counted(table.rows, 'row')}",)
    )


def _folder() -> Traversable:
    """Where the files are: in the installed package, or beside `mlp_core` where that is run from its source."""
    try:
        return files("mlp_core.datasets")
    except ModuleNotFoundError:
        return Path(__file__).parents[3] / "data"

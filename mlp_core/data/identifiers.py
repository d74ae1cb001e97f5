"""Columns that are called like identifiers and hold such: they name rows, or whatever rows are about, and no other row
has them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mlp_core.data.column_types import Column
from mlp_core.data.readers.source import Source
from mlp_core.data.warnings import rises

SURELY = {"id", "ids", "uuid", "guid"}
PERHAPS = {"index", "row", "rownum", "rownumber", "unnamed", "nr", "no", "number", "num", "key"}
_OF = """
    account card case client contract customer employee invoice loan member order passenger patient person policy record
    row serial student ticket transaction user
"""
OF = frozenset(_OF.split())
"""Words after which one that may mean something else is an identifier: `customer_number`."""
FEW = 20  # different values, which may be codes
SHARE, MOST, NEARLY_ALL = 0.1, 0.5, 0.9  # of the rows, that have a value of their own
ROWS = 100_000  # looked at
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def named(name: str) -> bool | None:
    """Whether the last word of a name says that it is an identifier's, as in customer_id, CustomerId, Customer-ID,
    "Row Id.", ID2; None where it may be."""
    words = [part.lower() for part in _PARTS.findall(name) if not part.isdigit()]
    if not words or words[-1] not in SURELY | PERHAPS:
        return False
    return True if words[-1] in SURELY or OF & {*words[:-1]} else None


def names_rows(source: Source, place: int, column: Column, share: float) -> int:
    """How many different values an identifier has; 0 for a column that is none.

    share: of the rows that must have a value of their own where the name leaves no doubt, or the column holds words;
    where it leaves some, nearly all must.
    """
    known = named(column.name)
    if known is False or column.why == "as data.types says":
        return 0
    if column.kind == "categorical":
        rows, count = source.rows - column.missing, column.distinct or 0
        return count if count > max(FEW, share * rows) else 0
    if column.kind != "numeric":
        return 0
    values = np.asarray(source.cells[:ROWS, place], np.float64)
    values = values[~np.isnan(values)]
    count = len(np.unique(values))
    least = share if known else NEARLY_ALL
    return count if count > least * len(values) and bool((values == np.floor(values)).all()) else 0


def identifier_notes(source: Source, columns: Sequence[Column], places: Sequence[int]) -> list[str]:
    """A line for each input that is called like an identifier and has many values, unless it counts the rows, of which
    another line tells."""
    notes = []
    for column, place in zip(columns, places, strict=True):
        count = names_rows(source, place, column, SHARE)
        if count <= FEW or (place not in source.words and rises(np.asarray(source.cells[:ROWS, place], np.float64))):
            continue
        name, rows = column.name, min(source.rows, ROWS)
        told = f"note: {name} is an input though it looks like an identifier ({count:,} values in {rows:,} rows)"
        together = f", data.split: {{method: group, column: {name}}} keeps rows of one together, too"
        notes.append(f"{told}: data.drop: [{name}] leaves it out{together if count < NEARLY_ALL * rows else ''}")
    return notes

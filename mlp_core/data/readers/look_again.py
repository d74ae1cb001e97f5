"""The text of cells, looked up once more in the file that a table was read from."""

from __future__ import annotations

import csv
from itertools import islice

from mlp_core.data.readers.csv_dialect import records
from mlp_core.data.readers.open_file import STDIN
from mlp_core.data.readers.source import Source
from mlp_core.data.readers.text_stream import open_text
from mlp_core.errors import DataError


def rows_from(source: Source, row: int, count: int, encoding: str) -> list[list[str]]:
    """The cells of some rows of a text table as they are written, from a row on; none where that cannot be told."""
    if source.dialect is None:
        return []
    piece = source.piece(row)
    if piece.path == STDIN or not piece.path.is_file():
        return []
    try:
        with open_text(piece.path, encoding, "a text table") as stream:
            lines = islice(stream, piece.lines[row - piece.first] - 1, None)
            found = islice((cells for cells, _ in records(lines, source.dialect) if any(map(str.strip, cells))), count)
            return [cells for cells in found if len(cells) == len(source.names)]
    except (DataError, csv.Error):
        return []

"""A table made ready to stay on the disk: a folder with its cells (`values.npy`) and all else there is (`table.json`).

What is read from it is the table that the original files give: names, words, missing and odd cells, places for error
messages. The digest of the cells is in the JSON file, and the digest of that file in its last entry.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.readers.csv_options import Dialect
from mlp_core.data.readers.npy_on_disk import Array, Change, File, Floats, OnDisk
from mlp_core.data.readers.open_file import check_file, check_memory, reading, refusal, shown
from mlp_core.data.readers.source import Lines, Piece, Source
from mlp_core.data.readers.table import Table
from mlp_core.documents import parsed
from mlp_core.errors import DataError

VALUES, TABLE = "values.npy", "table.json"
FORMAT = "mlpbp table 1"
REMEDY = "delete the folder, and make it again with mlpbp convert"


class DamagedTable(DataError):
    """A converted table that is not as it was written; `folder` is the place."""

    def __init__(self, folder: Path, error: DataError) -> None:
        super().__init__(error.problems)
        self.folder = folder


def is_folder(path: Path) -> bool:
    """Whether a path is a converted table: the folder, or its JSON file."""
    return (path / TABLE).is_file() or (path.name == TABLE and path.is_file())


def folder_of(path: Path) -> Path:
    """The folder of a converted table that may be named by its JSON file."""
    return path.parent if path.name == TABLE and path.is_file() else path


def cells_digest(dtype: np.dtype[Any], shape: tuple[int, ...]) -> hashlib._Hash:
    """The digest of an array in a file, before its bytes are added."""
    return hashlib.sha256(f"{dtype.str} {tuple(shape)};".encode())


def text_of(document: Mapping[str, Any]) -> str:
    """The document as it is written, its own digest last."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return json.dumps({**document, "digest": hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()})


def read_folder(path: Path, on_disk: bool) -> Table:
    """The table in a folder (or named by its JSON file), its cells in memory, or on the disk.

    Raises DamagedTable for what is not as it was written. Cells on the disk are compared with their digest where all
    of them are read (`survey`), those in memory here.
    """
    folder = folder_of(path)
    try:
        document = _document(folder / TABLE)
        values = _values(folder / VALUES, document)
        table = _table(folder, document, values)
        return table if on_disk else _loaded(table)
    except DataError as error:
        raise DamagedTable(folder, error) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError) as error:
        told = refusal(folder / TABLE, "damaged", f"not what mlpbp convert writes ({error})", hint=REMEDY)
        raise DamagedTable(folder, told) from None


def check_digest(folder: Path, digest: str, table: Source) -> None:
    """Raise DamagedTable unless the cells of a table that were read have the digest they should have."""
    if digest != table.sha256:
        told = refusal(folder / VALUES, "damaged", "digest mismatch, the file is damaged", hint=REMEDY)
        raise DamagedTable(folder, told)


def checked_blocks(table: Table) -> Iterator[tuple[int, Array]]:
    """All rows of a table on the disk in blocks: (the first row, [rows, columns] as stored). Raises DamagedTable behind
    the last one unless they have the digest they should have."""
    values: OnDisk = table.cells
    sha = cells_digest(values.file.dtype, values.file.shape)
    for start, stored in values.stored_blocks():
        sha.update(stored.reshape(-1).view(np.uint8).data)
        yield start, stored
    check_digest(values.file.path.parent, sha.hexdigest(), table)


def is_sound(folder: Path) -> bool:
    """Whether a converted table is as it was written, to the last bit; reads all of it."""
    try:
        for _ in checked_blocks(read_folder(folder, on_disk=True)):
            pass
    except DamagedTable:
        return False
    return True


def table_size(path: Path) -> int:
    """How many cells a converted table has. Raises DamagedTable where its array cannot be opened."""
    folder = folder_of(path)
    try:
        return math.prod(File(folder / VALUES).shape)
    except DataError as error:
        raise DamagedTable(folder, error) from None


def _document(path: Path) -> dict[str, Any]:
    check_memory(path, 8 * check_file(path))
    with reading(path):
        content = path.read_bytes()
    document = parsed(content)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise refusal(path, "damaged", "not what this version of mlpbp convert writes", hint=REMEDY)
    digest = document.pop("digest", None)
    if json.loads(text_of(document))["digest"] != digest:
        raise refusal(path, "damaged", "digest mismatch, the file is damaged", hint=REMEDY)
    return document


def _values(path: Path, document: Mapping[str, Any]) -> OnDisk:
    """The cells, each column of words with a look at its codes."""
    values = OnDisk(File(path), np.float64)
    if values.file.shape != (document["rows"], len(document["names"])):
        raise refusal(path, "damaged", f"an array of shape {list(values.file.shape)}", hint=REMEDY)
    codes = {int(column): _codes(path, len(words)) for column, words in document["words"].items()}
    return values.select(range(len(document["names"])), codes)


def _codes(path: Path, count: int) -> Change:
    def check(block: Floats) -> Floats:
        present = block[~np.isnan(block)]
        if present.size and not (
            present.min() >= 0 and present.max() < count and (present == present.astype(int)).all()
        ):
            told = refusal(path, "damaged", "a cell holds no word of its column", hint=REMEDY)
            raise DamagedTable(path.parent, told)
        return block

    return check


def _table(folder: Path, document: Mapping[str, Any], values: OnDisk) -> Table:
    names = tuple(document["names"])
    words = {int(column): list(mine) for column, mine in document["words"].items()}
    odd = {int(column): {int(row): str(cell) for row, cell in mine.items()} for column, mine in document["odd"].items()}
    pieces = tuple(
        Piece(Path(one["path"]), int(one["first"]), Lines([*map(int, one["rows"])], [*map(int, one["lines"])]))
        for one in document["pieces"]
    )
    gaps = tuple(int(count) for count in document["gaps"])
    strings = [*names, *document["notes"], *(word for mine in words.values() for word in mine)]
    if not all(isinstance(text, str) for text in strings) or len(set(names)) < len(names) or not pieces:
        raise ValueError("names and words do not fit together")
    if not all(0 <= column < len(names) for column in (*words, *odd)) or len(gaps) != len(names) or not values.size:
        raise ValueError("columns do not fit together")
    if any(piece.lines.rows[:1] != [0] or len(piece.lines.rows) != len(piece.lines.lines) for piece in pieces):
        raise ValueError("lines do not fit together")
    note = f"converted table {shown(folder)}, made of {', '.join(shown(piece.path) for piece in pieces[:4])}"
    note += ", ..." if len(pieces) > 4 else ""
    header, keyed = int(document["header"]), bool(document["keyed"])
    notes = (*document["notes"], note)
    dialect = None if document.get("dialect") is None else Dialect(**document["dialect"])
    table = Table(keyed, gaps, cells=values, names=names, words=words, odd=odd, pieces=pieces, header=header)
    return replace(table, notes=notes, dialect=dialect, sha256=str(document["sha256"]))


def _loaded(table: Table) -> Table:
    """The table with its cells in memory, after a comparison with their digest."""
    disk: OnDisk = table.cells
    check_memory(disk.file.path, 8 * disk.size)
    values = np.empty(disk.shape)
    for start, stored in checked_blocks(table):
        values[start : start + len(stored)] = disk.made(stored)
    if np.isinf(values).any():
        raise refusal(disk.file.path, "damaged", "digest mismatch, the file is damaged", hint=REMEDY)
    return replace(table, cells=values)

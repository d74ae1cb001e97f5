"""A source in parts, so that what is larger than memory can be predicted: text tables, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlp_core.data.readers.arrays import Arrays, pair
from mlp_core.data.readers.converted_table import cells_digest, check_digest, folder_of, is_folder, read_folder
from mlp_core.data.readers.csv import WANTED, stream_csv
from mlp_core.data.readers.formats import ReadOptions, Source, detect, read
from mlp_core.data.readers.idx import read_idx
from mlp_core.data.readers.jsonl import stream_jsonl
from mlp_core.data.readers.live import is_live, stream_live
from mlp_core.data.readers.npy import array_names, read_npy, read_npz
from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.data.readers.open_file import STDIN, refusal
from mlp_core.data.readers.parquet import stream_parquet
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError


def stream(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Source]:
    """The source at `path`, or on standard input for `-`, in parts of bounded size; only packed arrays in one part.

    names: columns that a header line should contain. numbers: the columns of numbers; all others are words. Arrays
    may come without targets. Raises DataError.
    """
    if is_folder(path):
        yield from _table_in_parts(path)
        return
    kind = detect(path) if options.format == "auto" else options.format
    if path == STDIN and kind in ("csv", "tsv", "jsonl") and is_live(options.csv):
        yield from stream_live(kind, options.csv, names, numbers)
    elif kind in ("csv", "tsv"):
        yield from stream_csv(path, options.csv, "\t" if kind == "tsv" else None, names, numbers)
    elif kind == "jsonl":
        yield from stream_jsonl(path, options.csv, numbers)
    elif path == STDIN:
        raise refusal(
            path, "not_a_table", f"standard input holds {kind}, not {WANTED}", hint="write it to a file first"
        )
    elif kind == "parquet":
        yield from stream_parquet(path, options.csv, numbers)
    elif kind == "npy" and (disk := _unpacked(path)) is not None:
        for rows, block in disk.blocks():
            yield replace(_alone(block, path), first=rows.start)
    elif kind in ("npy", "idx"):
        yield _alone(read_npy(path) if kind == "npy" else read_idx(path), path)
    elif kind == "npz" and options.y not in array_names(path):
        yield _alone(read_npz(path, (options.x,))[0], path)
    else:
        yield read(path, options, names)


def _unpacked(path: Path) -> OnDisk | None:
    """An array that can be read in pieces, None for any other; what is wrong with it says who reads it whole."""
    try:
        disk = OnDisk.open(path)
    except DataError:
        return None
    return disk if len(disk.file.shape) > 1 and disk.size else None


def _table_in_parts(path: Path) -> Iterator[Table]:
    """A converted table block by block, its places in the original files kept. Raises DamagedTable at its end."""
    table = read_folder(path, on_disk=True)
    values: OnDisk = table.values
    sha = cells_digest(values.file.dtype, values.file.shape)
    for start, stored in values.stored_blocks():
        stop = start + len(stored)
        sha.update(stored.reshape(-1).view(np.uint8).data)
        odd = {
            column: {row - start: cell for row, cell in cells.items() if start <= row < stop}
            for column, cells in table.odd.items()
        }
        pieces = tuple(replace(piece, first=piece.first - start) for piece in table.pieces)
        kept = {column: cells for column, cells in odd.items() if cells}
        yield replace(table, values=values.made(stored), odd=kept, pieces=pieces, gaps=None)
    check_digest(folder_of(path), sha.hexdigest(), table)


def _alone(x: np.ndarray, path: Path) -> Arrays:
    """Inputs without targets."""
    whole = pair(x, np.zeros(len(x)), path, path)
    return Arrays(whole.X, np.empty((len(x), 0)), path, path)

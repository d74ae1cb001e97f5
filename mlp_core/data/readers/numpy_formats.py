"""The formats of numpy's files: one array (.npy), which may be read in pieces from the disk, or several (.npz)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlp_core.data.readers.arrays import Arrays, alone, pair, refuse_single
from mlp_core.data.readers.format import Format, ReadOptions
from mlp_core.data.readers.npy import MAGIC, array_names, read_npy, read_npz
from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.errors import DataError


def _read_npz(path: Path, options: ReadOptions, names: Sequence[str]) -> Arrays:
    inputs, targets = read_npz(path, (options.x, options.y))
    return pair(inputs, targets, path, path)


def _npz_at_once(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Arrays]:
    """With targets, where they are there."""
    if options.y in array_names(path):
        yield _read_npz(path, options, names)
    else:
        yield alone(read_npz(path, (options.x,))[0], path)


def _npy_in_parts(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Arrays]:
    if (disk := _unpacked(path)) is None:
        yield alone(read_npy(path), path)
        return
    for rows, block in disk.blocks():
        yield replace(alone(block, path), first=rows.start)


def _unpacked(path: Path) -> OnDisk | None:
    """An array that can be read in pieces, None for any other; what is wrong with it says who reads it whole."""
    try:
        disk = OnDisk.open(path)
    except DataError:
        return None
    return disk if len(disk.file.shape) > 1 and disk.size else None


NPY = Format(
    "npy",
    told=lambda start, file: start.startswith(MAGIC),
    read=lambda path, options, names: refuse_single(path),
    parts=_npy_in_parts,
    array=read_npy,
)
NPZ = Format(
    "npz",
    told=lambda start, file: file.endswith(".npz") and start.startswith(b"PK"),  # others by what is inside
    read=_read_npz,
    parts=_npz_at_once,
)

"""An array in a .npy file that stays on the disk: what is asked for is read, and nothing else takes memory.

Pieces are read at their place in the file rather than through a mapping of its pages. Both are served by the system's
cache; but a file that is cut or changed under way ends in a message, where a mapping ends the process (SIGBUS), and
what was read once does not count as memory of this process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.arrays import KEPT, Arrays, alone, pair, refuse_single
from mlp_core.data.readers.format import Format, ReadOptions
from mlp_core.data.readers.npy import MAGIC, read_header, read_npy
from mlp_core.data.readers.open_file import SMALL, check_file, packing, reading, refusal, shown
from mlp_core.descriptors import READ, read_all
from mlp_core.errors import DataError, Failed, Problem, counted
from mlp_core.machine import free_memory

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Change = Callable[[Floats], Floats]

PIECE = 8 << 20  # bytes read at once
SPARSE = 16  # rows further apart than this, on average, are read one by one


class File:
    """The rows of one .npy file [count, width] as stored, read at their place. The descriptor lives as long as this."""

    def __init__(self, path: Path) -> None:
        """Open and check: a plain .npy file in C order whose header tells its size to the byte. Raises DataError."""
        self.path = path
        check_file(path)
        if packing(path, "a .npy file") is not None:
            raise refusal(path, "compressed", "gzip cannot be read in pieces", hint="unpack it first: gunzip")
        with reading(path):
            self.descriptor = os.open(path, READ)
            with open(self.descriptor, "rb", closefd=False) as stream:
                shape, dtype, fortran, self.offset = read_header(stream, path, "")
            self._stamp = self._status()
        if fortran and sum(size > 1 for size in shape) > 1:
            hint = "write it again with numpy.save(file, numpy.ascontiguousarray(x))"
            raise refusal(
                path, "fortran_order", "stored column by column, its rows cannot be read in pieces", hint=hint
            )
        needed, there = math.prod(shape) * dtype.itemsize, self._stamp[0] - self.offset
        if needed != there:
            code, what = ("truncated", "ends too early") if needed > there else ("damaged", "goes on after its end")
            message = f"the header declares {needed:,} bytes, the file {what} ({there:,})"
            raise refusal(path, code, message, hint="write it again")
        self.shape = shape
        self.dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
        self.boolean = dtype.kind == "b"
        self.count, self.width = (shape[0] if shape else 0), math.prod(shape[1:])

    def __del__(self) -> None:
        if (descriptor := getattr(self, "descriptor", None)) is not None:
            os.close(descriptor)

    def _status(self) -> tuple[int, int, int]:
        status = os.fstat(self.descriptor)
        return status.st_size, status.st_mtime_ns, status.st_ino

    def read(self, start: int, stop: int, out: Array | None = None) -> Array:
        """Rows start..stop as stored [stop - start, width]. Raises Failed where the file is no longer what it was."""
        block = np.empty((stop - start, self.width), self.dtype) if out is None else out
        view = block.reshape(-1).view(np.uint8).data
        try:
            done = read_all(self.descriptor, view, self.offset + start * self.width * self.dtype.itemsize)
            same = self._status() == self._stamp
        except OSError as error:
            problem = Problem("unreadable_file", f"cannot be read ({error.strerror})", file=shown(self.path))
            raise Failed(problem) from None
        if done < len(view) or not same:
            message = "was changed while it was being read"
            raise Failed(Problem("file_changed", message, "leave it alone while it is used", file=shown(self.path)))
        return block


@dataclass(eq=False)
class OnDisk:
    """Rows and columns of a file, read when asked for; otherwise read like an array [rows, columns].

    dtype: what a cell is given as (uint8 and floats as they are, anything else as float64). rows: the row numbers in
    the file, ascending, None for all of it. columns: the columns of the file, None for all. changes: what is done to
    the numbers of single columns, by their place here. pulled: whole columns that are in memory, by their place.
    """

    file: File
    dtype: Any = None
    rows: Rows | None = None
    columns: list[int] | None = None
    changes: Mapping[int, Change] = field(default_factory=dict)
    pulled: dict[int, Floats] = field(default_factory=dict)
    ndim: ClassVar[int] = 2

    def __post_init__(self) -> None:
        name = "float64" if self.file.boolean else self.file.dtype.newbyteorder("=").name
        self.dtype = np.dtype(self.dtype or (name if name in KEPT else np.float64))

    @property
    def shape(self) -> tuple[int, int]:
        rows = self.file.count if self.rows is None else len(self.rows)
        return rows, self.file.width if self.columns is None else len(self.columns)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stored_bytes(self) -> int:
        """Bytes of one row as it lies in the file."""
        return self.file.width * self.file.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: Rows, axis: int = 0) -> OnDisk:
        """The given rows (ascending), not read."""
        assert axis == 0
        return replace(self, rows=np.asarray(rows, np.int64) if self.rows is None else self.rows[rows], pulled={})

    def select(self, columns: Sequence[int], changes: Mapping[int, Change] | None = None) -> OnDisk:
        """The given columns in the given order, not read."""
        every = list(columns) == list(range(self.shape[1]))
        mine = self.columns if every else [c if self.columns is None else self.columns[c] for c in columns]
        done = {place: self.changes[column] for place, column in enumerate(columns) if column in self.changes}
        done |= {place: _after(done.get(place), change) for place, change in (changes or {}).items()}
        return replace(self, columns=mine, changes=done, pulled={})

    def as_type(self, dtype: Any) -> OnDisk:
        """The same with cells of another type."""
        return replace(self, dtype=dtype)

    def replaced(self, columns: Mapping[int, Floats]) -> OnDisk:
        """The same with other values [rows] in single columns, as far as these are asked for as columns."""
        return replace(self, pulled={**self.pulled, **columns})

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return self._cells(*key)
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self.made(self.stored(start, max(start, stop)))
            key = np.arange(start, stop, step)
        wanted = np.asarray(key)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        if wanted.size and not -len(self) <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"a row of {len(self):,} is asked for that is not there")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        if wanted.ndim == 0:
            return self.made(self.stored(int(wanted), int(wanted) + 1))[0]
        distinct, places = np.unique(wanted, return_inverse=True)
        numbers = distinct if self.rows is None else self.rows[distinct]
        return self.made(self._numbered(numbers)[places.reshape(-1)])

    def _cells(self, rows: Any, columns: Any) -> Any:
        if isinstance(rows, slice) and rows == slice(None):
            return self.pull(columns)
        if np.ndim(rows) == 0 and np.ndim(columns) == 0 and int(columns) in self.pulled:
            return self.pulled[int(columns)][int(rows)]
        return self[rows][..., columns]

    def pull(self, columns: Any) -> Any:
        """Whole columns [rows] or [rows, columns] in memory: one pass over the file for those not pulled before."""
        wanted = [int(columns)] if np.ndim(columns) == 0 else [int(column) for column in columns]
        if missing := [column for column in dict.fromkeys(wanted) if column not in self.pulled]:
            part, found = self.select(missing), np.empty((len(missing), len(self)), np.float64)
            for start, stored in part.stored_blocks():
                found[:, start : start + len(stored)] = part.made(stored).T
            self.pulled |= dict(zip(missing, found, strict=True))
        if np.ndim(columns) == 0:
            return self.pulled[wanted[0]]
        return np.stack([self.pulled[column] for column in wanted], axis=1)

    def stored_blocks(self) -> Iterator[tuple[int, Array]]:
        """All rows as stored, in blocks of about `PIECE` bytes: (the first row, [rows, columns in the file])."""
        step = max(1, PIECE // max(1, self.stored_bytes))
        for start in range(0, len(self), step):
            yield start, self.stored(start, min(start + step, len(self)))

    def stored(self, start: int, stop: int, out: Array | None = None) -> Array:
        """Rows start..stop with all columns of the file, as stored; `made` gives what they mean."""
        if self.rows is None:
            return self.file.read(start, stop, out)
        return self._numbered(self.rows[start:stop], out)

    def made(self, stored: Array) -> Array:
        """Rows as stored [b, columns of the file] as they are given out [b, columns]."""
        block = stored if self.columns is None else stored[:, self.columns]
        if block.dtype != self.dtype:
            block = block.astype(self.dtype)
        for place, change in self.changes.items():
            block[:, place] = change(block[:, place])
        return block

    def _numbered(self, numbers: Rows, out: Array | None = None) -> Array:
        """The rows of the file with these ascending numbers, as stored."""
        file = self.file
        found = np.empty((len(numbers), file.width), file.dtype) if out is None else out
        if not len(numbers):
            return found
        first, last = int(numbers[0]), int(numbers[-1])
        if last - first + 1 == len(numbers):
            return file.read(first, last + 1, found)
        if last - first >= SPARSE * len(numbers):
            for place, number in enumerate(numbers.tolist()):
                file.read(number, number + 1, found[place : place + 1])
            return found
        step = max(1, PIECE // max(1, self.stored_bytes))
        for start in range(first, last + 1, step):
            stop = min(start + step, last + 1)
            low, high = np.searchsorted(numbers, (start, stop)).tolist()
            np.take(file.read(start, stop), numbers[low:high] - start, axis=0, out=found[low:high], mode="clip")
        return found


def _in_parts(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Arrays]:
    if (disk := _unpacked(path)) is None:
        yield alone(read_npy(path), path)
        return
    for start, stored in disk.stored_blocks():
        yield replace(alone(disk.made(stored), path), first=start)


def _unpacked(path: Path) -> OnDisk | None:
    """An array that can be read in pieces, None for any other; what is wrong with it says who reads it whole."""
    try:
        disk = OnDisk(File(path))
    except DataError:
        return None
    return disk if len(disk.file.shape) > 1 and disk.size else None


def _after(first: Change | None, then: Change) -> Change:
    return then if first is None else lambda block: then(first(block))


def fits(stored: int, made: int) -> bool:
    """Whether arrays of so many bytes, as read and as the network gets them, take at most half of the free memory.

    Where nobody tells how much that is, only small ones do.
    """
    free = free_memory()
    return stored + made <= (SMALL if free is None else free // 2)


def disk_pair(x: OnDisk, y: Array, y_path: Path, labels: bool = False) -> Arrays:
    """Inputs that stay on the disk and targets in memory as one. Raises DataError as `pair` does."""
    file = x.file
    blank = np.broadcast_to(np.uint8(0), file.shape)  # in their place, without memory of its own
    note = f"arrays: {counted(file.count, 'row')} of {counted(file.width, 'input')} ({x.dtype.name}), on the disk"
    return replace(pair(blank, y, file.path, y_path, labels), cells=x, notes=(note,))


NPY = Format(
    "npy",
    told=lambda start, file: start.startswith(MAGIC),
    read=lambda path, options, names: refuse_single(path),
    parts=_in_parts,
    array=read_npy,
)

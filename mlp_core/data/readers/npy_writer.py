"""A .npy file that grows by blocks of rows, its numbers as narrow as hold them exactly: uint8, float32, float64."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.converted_table import cells_digest
from mlp_core.data.readers.npy import MAGIC
from mlp_core.descriptors import CREATE, read_all, write_all, write_at

HEADER = 128
WIDTHS = (np.dtype("u1"), np.dtype("<f4"), np.dtype("<f8"))
_ROWS = 4096  # converted at once where what is written turns out to be too narrow


class Growing:
    """Rows [n, columns] of float64 numbers, NaN among them, written to `path` (which must not exist) as they come."""

    def __init__(self, path: Path, columns: int) -> None:
        self.path, self.columns, self.rows, self.dtype = path, columns, 0, WIDTHS[0]
        self._descriptor = os.open(path, CREATE, 0o666)

    def add(self, block: npt.NDArray[np.float64]) -> None:
        """Write rows after those that are there. Raises OSError when the disk does not take them."""
        wanted = next(dtype for dtype in WIDTHS if dtype.itemsize >= self.dtype.itemsize and _holds(dtype, block))
        if wanted != self.dtype:
            self._widen(wanted)
        self._write(block.astype(self.dtype), HEADER + self.rows * self.columns * self.dtype.itemsize)
        self.rows += len(block)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Write what is there again, with more room for each number; from the end, so that all is read before."""
        old, self.dtype = self.dtype, dtype
        for start in reversed(range(0, self.rows, _ROWS)):
            count = min(_ROWS, self.rows - start)
            block = self._read(start, count, old)
            self._write(block.astype(dtype), HEADER + start * self.columns * dtype.itemsize)

    def _read(self, start: int, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        block = np.empty((count, self.columns), dtype)
        view = block.reshape(-1).view(np.uint8).data
        if read_all(self._descriptor, view, HEADER + start * self.columns * dtype.itemsize) < len(view):
            raise OSError("what was written cannot be read back")
        return block

    def _write(self, block: npt.NDArray[Any], offset: int) -> None:
        write_all(self._descriptor, np.ascontiguousarray(block).reshape(-1).view(np.uint8).data, offset)

    def finish(self) -> str:
        """Write the header, bring all to the disk, read it back; the digest of the array. Raises OSError."""
        text = f"{{'descr': '{self.dtype.str}', 'fortran_order': False, 'shape': ({self.rows}, {self.columns}), }}"
        header = MAGIC + bytes([1, 0]) + (HEADER - 10).to_bytes(2, "little") + text.encode().ljust(HEADER - 11) + b"\n"
        write_at(self._descriptor, header, 0)
        os.ftruncate(self._descriptor, HEADER + self.rows * self.columns * self.dtype.itemsize)
        os.fsync(self._descriptor)
        sha, step = cells_digest(self.dtype, (self.rows, self.columns)), max(1, (8 << 20) // (8 * self.columns))
        for start in range(0, self.rows, step):
            block = self._read(start, min(step, self.rows - start), self.dtype)
            sha.update(block.reshape(-1).view(np.uint8).data)
        self.close()
        return sha.hexdigest()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holds(dtype: np.dtype[Any], block: npt.NDArray[np.float64]) -> bool:
    """Whether numbers are the same in this type; minus zero is not zero."""
    if dtype.itemsize == 8:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind == "u":
            made = block.astype(dtype)
            return bool((made == block).all() and not np.signbit(block).any())
        return bool(np.array_equal(block.astype(dtype).astype(np.float64), block, equal_nan=True))

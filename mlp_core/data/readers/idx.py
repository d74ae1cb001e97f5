"""IDX files, the format of MNIST: a magic number, the sizes, then the values, all big endian.

Bytes: 0, 0, type, dimensions, then one unsigned 32-bit size per dimension (http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.arrays import alone, filled, refuse_single
from mlp_core.data.readers.format import Format
from mlp_core.data.readers.open_file import check_file, open_binary, refusal

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def looks_like_idx(start: bytes) -> bool:
    """Whether a file that starts so is IDX."""
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] in TYPES and 1 <= start[3] <= 4


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in an IDX file, gzip or not, in the machine's byte order.

    Raises DataError when the file is not IDX, or holds fewer or more bytes than its sizes say; that is checked before
    memory is taken.
    """
    with open_binary(path, "IDX") as (stream, bound):
        start = stream.read(4)
        if not looks_like_idx(start):
            message = f"not an IDX file (starts {start.hex(' ')})"
            raise refusal(path, "not_idx", message, hint="an IDX file starts 00 00, a type, a number of sizes 1 to 4")
        sizes = stream.read(4 * start[3])
        if len(sizes) < 4 * start[3]:
            raise refusal(path, "truncated", "the file ends in its header", hint="fetch it again")
        shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
        dtype, there = np.dtype(TYPES[start[2]]), bound - 4 - len(sizes)
        array = filled(stream, shape, dtype, there, check_file(path), path, "fetch it again")
    return array.astype(dtype.newbyteorder("="), copy=False)


IDX = Format(
    "idx",
    told=lambda start, file: looks_like_idx(start),
    read=lambda path, options, names: refuse_single(path),
    parts=lambda path, options, names, numbers: iter([alone(read_idx(path), path)]),
    array=read_idx,
    labels=True,
)

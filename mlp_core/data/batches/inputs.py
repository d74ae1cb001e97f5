"""The inputs of a split, wherever they lie: an array made at once, or rows kept as stored and made when asked for.

What measures or trains asks a split's X for `len`, `shape`, `dtype` and `X[rows]` (a slice, or row numbers), and gets
inputs of the network on the backend. A plain array does that; so does everything here. Batches further need
`gather(rows, out)`: for an array it is the backend's primitive, for `Rows` their own. Another place for rows to lie is
another class of `Rows`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import gather_scaled, parts
from mlp_core.nn.backend import Array, Backend


class Rows(ABC):
    """Inputs [n, inputs] of a split that are not simply an array.

    shape, dtype: of the inputs as the network gets them. Rows asked for are new arrays on the backend.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> Array:
        """The inputs of a slice of rows, or of given row numbers."""

    @abstractmethod
    def gather(self, rows: Array, out: Array) -> None:
        """out[i] = inputs of row rows[i]; `rows` and `out` [b, inputs] lie on the backend."""


class Stored(Rows):
    """Rows kept as they were stored; each batch is preprocessed by itself, in place of the whole split at once.

    X: [n, columns] as stored, an array or anything that is read like one (`readers.on_disk`). words: the vocabularies
    of its columns of words.
    """

    def __init__(
        self,
        backend: Backend,
        X: Any,
        inputs: Preprocessor,
        dtype: Any,
        words: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        self.backend, self.X, self.inputs, self.words = backend, X, inputs, dict(words or {})
        self.shape, self.dtype = (len(X), inputs.inputs), np.dtype(dtype)

    def take(self, rows: Any) -> Stored:
        """The given rows (ascending) of data on the disk, not read."""
        return Stored(self.backend, self.X.take(rows), self.inputs, self.dtype, self.words)

    def __getitem__(self, rows: Any) -> Array:
        return self.backend.asarray(self.made(self.X[rows if isinstance(rows, slice) else self.backend.to_host(rows)]))

    def gather(self, rows: Array, out: Array) -> None:
        self.write(self.X[self.backend.to_host(rows)], out)

    def made(self, block: Any) -> Any:
        """The inputs of rows as stored [b, columns], on the host."""
        return self.inputs.transform(block, self.words, dtype=self.dtype)

    def write(self, block: Any, out: Array) -> None:
        """The same, into an array on the backend."""
        if self.backend.remote:
            out[...] = self.backend.asarray(self.made(block))
        else:
            self.inputs.transform(block, self.words, out=out)


def smaller_as_stored(X: Any, inputs: Preprocessor, dtype: Any) -> bool:
    """Whether rows [n, columns] take less memory as stored than as inputs, and a kernel can make the one of the other:
    bytes and float32 of which no cell is missing, and which are only shifted and scaled."""
    known = (
        isinstance(X, np.ndarray) and X.dtype in (np.uint8, np.float32) and X.dtype.itemsize < np.dtype(dtype).itemsize
    )
    return bool(known and inputs.linear is not None and not (X.dtype.kind == "f" and _gaps(X)))


def _gaps(X: np.ndarray) -> bool:
    return any(np.isnan(X[part]).any() for part in parts(X))


class Scaled(Rows):
    """Rows on the backend as stored, smaller than the inputs they become: X [n, columns] uint8 or float32, on the host
    the data set's own array. Inputs are (X - shift) * scale, computed in float64 and rounded when they are gathered:
    bit for bit those made at once.

    scales: shift and scale, each float64 [columns], on the backend.
    """

    def __init__(self, backend: Backend, X: np.ndarray, inputs: Preprocessor, dtype: Any) -> None:
        linear = inputs.linear
        assert linear is not None
        self.backend, self.shape, self.dtype = backend, (len(X), inputs.inputs), np.dtype(dtype)
        self.X = backend.asarray(np.ascontiguousarray(X))
        shift, scale = (backend.asarray(np.ascontiguousarray(part, np.float64)) for part in linear)
        self.scales: tuple[Array, Array] = (shift, scale)
        self._gather = backend.primitive(gather_scaled)

    def __getitem__(self, rows: Any) -> Array:
        return self.made(rows)

    def made(self, rows: Any, room: Array | None = None) -> Array:
        """The inputs of a slice of rows, or of given row numbers: new, or in the first rows of `room`."""
        xp = self.backend.xp
        numbers = xp.arange(*rows.indices(len(self)), dtype=np.int64) if isinstance(rows, slice) else rows
        out = self.backend.empty((len(numbers), self.shape[1]), self.dtype) if room is None else room[: len(numbers)]
        self.gather(numbers, out)
        return out

    def gather(self, rows: Array, out: Array) -> None:
        self._gather(self.X, rows, *self.scales, out)

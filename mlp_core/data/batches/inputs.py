"""The inputs of a split, wherever they lie: an array made at once, or rows kept as stored and made when asked for.

Who measures or trains gets inputs of the network on the backend, and need not know where they come from. Another place
for rows to lie is another class of `Rows`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import gather_scaled, parts
from mlp_core.nn.backend import Array, Backend


def gather(xp: Any, X: Array, rows: Array, out: Array) -> None:
    """out[i] = X[rows[i]]; mode="clip" because numpy's default makes a copy to be able to raise."""
    xp.take(X, rows, axis=0, out=out, mode="clip")


class Rows(ABC):
    """Inputs [n, inputs] of a split.

    shape, dtype: of the inputs as the network gets them. resident: what a kernel may gather rows from on the backend,
    None where they lie elsewhere; of it, inputs are (rows - shift) * scale where there are `scales`. made: whether
    inputs come to be when they are asked for.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    resident: Array | None = None
    scales: tuple[Array, Array] | None = None
    made = True

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> Array:
        """The inputs of a slice of rows, or of given row numbers, on the backend."""

    def gather(self, rows: Any, out: Array) -> None:
        """out[i] = inputs of row rows[i]; `rows` and `out` [b, inputs] lie on the backend."""
        out[...] = self[rows]

    def view(self, part: slice, room: Array) -> Array:
        """The inputs of rows side by side: themselves, or where they are `made` in the first rows of `room`."""
        self.gather(part, out := room[: part.stop - part.start])
        return out


class Held(Rows):
    """Inputs [n, ...] that are an array on the backend."""

    made = False
    resident: Array

    def __init__(self, backend: Backend, X: Array) -> None:
        self.resident, self.shape, self.dtype = X, X.shape, X.dtype
        self._gather = backend.primitive(gather)

    def __getitem__(self, rows: Any) -> Array:
        return self.resident[rows]

    def gather(self, rows: Array, out: Array) -> None:
        self._gather(self.resident, rows, out)

    def view(self, part: slice, room: Array) -> Array:
        return self.resident[part]


class OnHost(Rows):
    """Inputs [n, inputs] that are made of rows on the host when they are asked for; here they are those rows, for which
    the device has no room."""

    def __init__(self, backend: Backend, X: np.ndarray) -> None:
        self.backend, self.X, self.shape, self.dtype = backend, X, (len(X), X.shape[1]), X.dtype

    def __getitem__(self, rows: Any) -> Array:
        block = self.X[rows if isinstance(rows, slice) else self.backend.to_host(rows)]
        return self.backend.asarray(self.transformed(block))

    def gather(self, rows: Array, out: Array) -> None:
        self.write(self.X[self.backend.to_host(rows)], out)

    def view(self, part: slice, room: Array) -> Array:
        block = self.X[part]
        self.write(block, out := room[: len(block)])
        return out

    def transformed(self, block: Any) -> Any:
        """The inputs of rows as they lie [b, columns], on the host."""
        return block

    def write(self, block: Any, out: Array) -> None:
        """The same, into an array on the backend."""
        out[...] = self.backend.asarray(self.transformed(block))


class Stored(OnHost):
    """Rows kept as they were stored; each batch is preprocessed by itself, in place of the whole split at once.

    X: [n, columns] as stored, an array or anything that is read like one (`readers.npy_on_disk`). words: the
    vocabularies of its columns of words.
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

    def transformed(self, block: Any) -> Any:
        return self.inputs.transform(block, self.words, dtype=self.dtype)

    def write(self, block: Any, out: Array) -> None:
        if self.backend.remote:
            super().write(block, out)
        else:
            self.inputs.transform(block, self.words, out=out)


def smaller_as_stored(X: Any, inputs: Preprocessor, dtype: Any) -> bool:
    """Whether rows [n, columns] take less memory as stored than as inputs, and a kernel can make the one of the other:
    bytes and float32 of which no cell is missing, and which are only shifted and scaled."""
    known = (
        isinstance(X, np.ndarray) and X.dtype in (np.uint8, np.float32) and X.dtype.itemsize < np.dtype(dtype).itemsize
    )
    if not known or inputs.linear is None:
        return False
    return X.dtype.kind != "f" or not any(np.isnan(X[part]).any() for part in parts(X))


class Scaled(Rows):
    """Rows on the backend as stored, smaller than the inputs they become: X [n, columns] uint8 or float32, on the host
    the data set's own array. Inputs are (X - shift) * scale, computed in float64 and rounded when they are gathered:
    bit for bit those made at once.

    scales: shift and scale, each float64 [columns], on the backend.
    """

    scales: tuple[Array, Array]

    def __init__(self, backend: Backend, X: np.ndarray, inputs: Preprocessor, dtype: Any) -> None:
        linear = inputs.linear
        assert linear is not None
        self.backend, self.shape, self.dtype = backend, (len(X), inputs.inputs), np.dtype(dtype)
        self.resident = backend.asarray(np.ascontiguousarray(X))
        shift, scale = (backend.asarray(np.ascontiguousarray(part, np.float64)) for part in linear)
        self.scales = (shift, scale)
        self._gather = backend.primitive(gather_scaled)

    def __getitem__(self, rows: Any) -> Array:
        numbers = self._numbers(rows) if isinstance(rows, slice) else rows
        self.gather(numbers, out := self.backend.empty((len(numbers), self.shape[1]), self.dtype))
        return out

    def _numbers(self, part: slice) -> Array:
        return self.backend.xp.arange(*part.indices(len(self)), dtype=np.int64)

    def gather(self, rows: Array, out: Array) -> None:
        self._gather(self.resident, rows, *self.scales, out)

    def view(self, part: slice, room: Array) -> Array:
        numbers = self._numbers(part)
        self.gather(numbers, out := room[: len(numbers)])
        return out

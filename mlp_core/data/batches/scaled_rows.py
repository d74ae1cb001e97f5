"""Rows held as stored, smaller than the inputs they become: these are made when they are gathered."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Rows
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import gather_scaled, parts
from mlp_core.nn.backend import Array, Backend


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
    """Rows on the backend as stored, X [n, columns] uint8 or float32, on the host the data set's own array; inputs are
    (X - shift) * scale, computed in float64 and rounded when they are gathered: bit for bit those made at once.

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

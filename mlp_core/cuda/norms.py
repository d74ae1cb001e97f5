"""Fused normalisation and prelu for a GPU: the forward and backward pass of these layers as a few launches each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.backend import Array
from mlp_core.cuda.kernels import MOST_PARTS, MOST_SUMMED, PART, Kernels


class Norms:
    """What replaces the passes of `Norm` and `PRelu` in training; each gets the layer and its arrays without gaps."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def passes(self) -> dict[str, Callable[..., Any]]:
        """Every pass by its name."""
        own = (self.norm_forward, self.norm_backward, self.prelu_forward, self.prelu_backward)
        return {method.__name__: method for method in own}

    def _parts(self, rows: int, columns: int, dtype: Any, sums: int = 1) -> tuple[int, tuple[Array, Array]]:
        """In how many parts columns are summed up, with room and counters for that."""
        parts, room = min(MOST_PARTS, -(-rows // PART)), self.kernels.room
        return parts, (room("columns", sums * parts * columns, dtype), room("columns", columns, np.uint32))

    def norm_forward(self, layer: Any, X: Array, H: Array, A: Array, inverse: Array, record: bool) -> None:
        """H = (X - mean) / sqrt(variance + eps), A = gain H + shift; X, H, A [b, m], inverse [m] or [b].

        Batch norm puts the mean beside `inverse` [2, m] and moves its running statistics where `record`.
        """
        (rows, columns), launch, real = X.shape, self.kernels.launch, X.dtype
        by_row, centred = int(layer.kind != "batch"), int(layer.centred)
        if by_row:
            launch("row_spread", real, rows, X, H, inverse, rows, columns, centred, float(layer.eps))
        else:
            parts, room = self._parts(rows, columns, real)
            mean, threads = layer.moments[1], parts * columns
            launch("column_mean", real, threads, X, mean, *room, rows, columns, parts)
            arrays = (X, mean, H, inverse, layer.mean, layer.var, *room)
            numbers = (float(layer.eps), float(layer.momentum), rows / max(1, rows - 1))
            moved = int(record and rows > 1)
            launch("column_spread", real, threads, *arrays, rows, columns, parts, moved, *numbers)
        shift = layer.shift if centred else layer.gain
        launch("normalized", real, X.size, H, inverse, layer.gain, shift, A, X.size, columns, by_row, centred)

    def norm_backward(self, layer: Any, Delta: Array) -> None:
        """From dLoss/dA to dLoss/dX in place, and the gradients of gain and shift."""
        (rows, columns), launch, real = Delta.shape, self.kernels.launch, Delta.dtype
        parts, room = self._parts(rows, columns, real, sums=2)
        centred, dshift = int(layer.centred), layer.dshift if layer.centred else layer.dgain
        sums = (layer.dgain, dshift, *room, rows, columns, parts, centred)
        launch("norm_sums", real, parts * columns, Delta, layer.H, *sums)
        if layer.kind == "batch":
            arrays = (Delta, layer.H, layer.gain, layer.inverse, layer.dgain, layer.dshift)
            launch("norm_columns", real, Delta.size, *arrays, Delta.size, rows, columns)
        else:
            launch("norm_rows", real, rows, Delta, layer.H, layer.gain, layer.inverse, rows, columns, centred)

    def prelu_forward(self, layer: Any, Z: Array, A: Array) -> None:
        self.kernels.launch("prelu", Z.dtype, Z.size, Z, layer.a, A, Z.size)

    def prelu_backward(self, layer: Any, Delta: Array) -> None:
        count = min(Delta.size, MOST_SUMMED)
        room = self.kernels.for_sum(count)
        self.kernels.launch(
            "prelu_gradient", Delta.dtype, count, Delta, layer.Z, layer.a, layer.da, *room, Delta.size, count
        )

"""Fused passes for a GPU: normalisation, prelu and learned embeddings, each way as a few launches.

Each replaces the methods `forward` and `backward` of one layer, and gives back to them what it has no kernels for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends.cuda.kernels import MOST_SUMMED, Kernels
from mlp_core.nn.backend import Array

Pair = tuple[Callable[..., Array], Callable[..., Array | None]]


class Passes:
    """The passes that there are kernels for, by the kind of layer they belong to."""

    def __init__(self, kernels: Kernels) -> None:
        self.kernels = kernels

    def by_name(self) -> dict[str, Callable[..., Pair]]:
        """For each kind of layer what makes its passes, from the layer, its dtype, and the most rows it will get."""
        own: list[Callable[..., Pair]] = [self.norm_passes, self.prelu_passes, self.embedding_passes]
        return {method.__name__: method for method in own}

    def norm_passes(self, layer: Any, dtype: Any, rows: int) -> Pair:
        moments = self.kernels.xp.empty((2, layer.units if layer.kind == "batch" else rows), dtype=dtype)
        return partial(self._norm, layer, moments), partial(self._norm_back, layer)

    def prelu_passes(self, layer: Any, dtype: Any, rows: int) -> Pair:
        return partial(self._prelu, layer), partial(self._prelu_back, layer)

    def embedding_passes(self, layer: Any, dtype: Any, rows: int) -> Pair:
        codes = self.kernels.xp.zeros((len(layer.tables), rows), dtype=np.int64)
        return partial(self._embed, layer, codes), partial(self._embed_back, layer)

    def _norm(self, layer: Any, moments: Array, X: Array, mode: Any) -> Array:
        """H = (X - mean) / sqrt(variance + eps), A = gain H + shift; moments [2, m] or [2, b]: inverse, mean.

        Batch norm moves its running statistics where `mode.record`; in evaluation it uses them by the layer's own pass.
        """
        if layer.kind == "batch" and not mode.training:
            return type(layer).forward(layer, X, mode)
        (rows, columns), launch, real = X.shape, self.kernels.launch, X.dtype
        by_row, centred = int(layer.kind != "batch"), int(layer.centred)
        layer.constant, layer.H, A = False, layer._H[:rows], layer._A[:rows]
        layer.inverse = moments[0, :rows] if by_row else moments[0]
        if by_row:
            launch("row_spread", real, rows, X, layer.H, layer.inverse, rows, columns, centred, float(layer.eps))
        else:
            parts, room = self.kernels.for_columns(rows, columns, real)
            mean, threads = moments[1], parts * columns
            launch("column_mean", real, threads, X, mean, *room, rows, columns, parts)
            arrays = (X, mean, layer.H, layer.inverse, layer.mean, layer.var, *room)
            numbers = (float(layer.eps), float(layer.momentum), rows / max(1, rows - 1))
            moved = int(mode.record and rows > 1)
            launch("column_spread", real, threads, *arrays, rows, columns, parts, moved, *numbers)
        affine = (layer.gain, layer.shift if centred else layer.gain)
        launch("normalized", real, X.size, layer.H, layer.inverse, *affine, A, X.size, columns, by_row, centred)
        return A

    def _norm_back(self, layer: Any, Delta: Array, input_gradient: bool = True) -> Array:
        """From dLoss/dA to dLoss/dX in place, and the gradients of gain and shift."""
        if layer.constant:
            return type(layer).backward(layer, Delta, input_gradient)
        (rows, columns), launch, real = Delta.shape, self.kernels.launch, Delta.dtype
        parts, room = self.kernels.for_columns(rows, columns, real, sums=2)
        centred, dshift = int(layer.centred), layer.dshift if layer.centred else layer.dgain
        sums = (layer.dgain, dshift, *room, rows, columns, parts, centred)
        launch("norm_sums", real, parts * columns, Delta, layer.H, *sums)
        if layer.kind == "batch":
            arrays = (Delta, layer.H, layer.gain, layer.inverse, layer.dgain, layer.dshift)
            launch("norm_columns", real, Delta.size, *arrays, Delta.size, rows, columns)
        else:
            launch("norm_rows", real, rows, Delta, layer.H, layer.gain, layer.inverse, rows, columns, centred)
        return Delta

    def _prelu(self, layer: Any, Z: Array, mode: Any) -> Array:
        layer.Z, A = Z, layer._A[: len(Z)]
        self.kernels.launch("prelu", Z.dtype, Z.size, Z, layer.a, A, Z.size)
        return A

    def _prelu_back(self, layer: Any, Delta: Array, input_gradient: bool = True) -> Array:
        count = min(Delta.size, MOST_SUMMED)
        arrays = (Delta, layer.Z, layer.a, layer.da, *self.kernels.for_sum(count))
        self.kernels.launch("prelu_gradient", Delta.dtype, count, *arrays, Delta.size, count)
        return Delta

    def _embed(self, layer: Any, codes: Array, X: Array, mode: Any) -> Array:
        """The numbers as they are, and for each code its row; codes are kept as whole numbers [tables, b]."""
        (rows, inputs), launch, real, numbers = X.shape, self.kernels.launch, X.dtype, layer.numbers
        layer.codes, A = [codes[k, :rows] for k in range(len(layer.tables))], layer._A[:rows]
        if numbers:
            launch("left_columns", real, rows * numbers, X, A, rows * numbers, numbers, inputs, layer.units)
        for k, (E, part) in enumerate(zip(layer.E, layer.parts, strict=True)):
            words, dim = E.shape
            sizes = (rows, words, dim, inputs, numbers + k, layer.units, part.start)
            launch("look_up", real, rows * dim, X, E, layer.codes[k], A, *sizes)
        return A

    def _embed_back(self, layer: Any, Delta: Array, input_gradient: bool = True) -> Array | None:
        for codes, dE, part in zip(layer.codes, layer.dE, layer.parts, strict=True):
            self.kernels.add_rows(dE, codes, Delta[:, part])
        if not input_gradient:
            return None
        dX = layer._dX[: len(Delta)]
        dX[:, : layer.numbers] = Delta[:, : layer.numbers]
        return dX

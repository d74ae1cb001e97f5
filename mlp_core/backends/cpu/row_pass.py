"""The instructions on the rows of one batch: forward through the layers, backward through them, each thread its rows.

What a layer computes is the layer's own matter (`nn/layers.py`), and the memory is the layer's; here it is written down
which kernels do it. Threads meet only where a sum over all rows is needed (batch norm), or where a product is shared
out by columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.nn.activations import Activation, Identity
from mlp_core.nn.backend import Array
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, Norm, PRelu, Residual

CACHE = 1 << 20
"""Bytes of a matrix from which reading it twice is waiting for memory."""

Labelled = tuple[str, do.Record]
MEET: Labelled = ("meet", do.meet())


class Kept:
    """Numbers and arrays that instructions know by their address, for as long as this lives."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def array(self, array: np.ndarray) -> np.ndarray:
        self._arrays.append(array)
        return array

    def numbers(self, *given: float) -> int:
        """Where the numbers are."""
        return do.at(self.array(np.array([*given, 0.0])))


@dataclass(frozen=True)
class Tensor:
    """What the gradient of a tensor is made of, after the backward pass: `kind` says how.

    weight: Delta^T X. bias: the sum of Delta's rows. gain: that of Delta X. table: see Embedding, `column` and `start`.
    slope: the total of X. done: it was needed before, and is there.
    """

    name: str
    kind: str
    Delta: Array
    X: Array | None = None
    column: int = 0
    start: int = 0


@dataclass
class RowPass:
    """Writes down the passes of one batch; `records` are its instructions, `tensors` what gradients are made of.

    gradients: where those go that are needed on the way. step: where the number of the step is; `draw` is added to it
    for the dropout masks. `record`: running statistics are moved.
    """

    crew: Crew
    kept: Kept
    seed: int
    gradients: Mapping[str, Array]
    step: int
    draw: int = 0
    record: bool = True
    records: list[Labelled] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    _inputs: dict[int, Array] = field(default_factory=dict)
    _inverse: dict[int, np.ndarray] = field(default_factory=dict)

    def _do(self, label: str, record: do.Record) -> None:
        self.records.append((label, record))

    def forward(self, layers: Sequence[Layer], X: Array) -> Array:
        """From inputs X [b, n] to the outputs of the last layer."""
        for layer in layers:
            self._inputs[id(layer)] = X
            X = _FORWARD[type(layer)](self, layer, X)
        return X

    def backward(self, layers: Sequence[Layer], Delta: Array, first: Layer | None) -> Array:
        """From Delta to that of the inputs, or no further than the layer `first`, before which nothing is learned."""
        for layer in reversed(layers):
            Delta = _BACKWARD[type(layer)](self, layer, Delta, layer is not first)
            if layer is first:
                break
        return Delta

    # --- products, bias, activation ---

    def _product(self, label: str, A: Array, B: Array, out: Array, by_columns: bool) -> None:
        """out = A B, by rows or by columns. By columns each thread reads its share of B only; but then all must meet,
        because it reads rows that others have made, and makes parts of theirs."""
        product = label, do.product(A, B, out, self.crew.scratch, by_columns)
        self.records += [MEET, product, MEET] if by_columns else [product]

    def _activate(self, f: Activation, Z: Array, b: Array | None, A: Array) -> None:
        if b is not None or A is not Z or not isinstance(f, Identity):
            parameter = self.kept.numbers(numbers.of_activation(f))
            self._do("bias, activation", do.activation(f.name, Z, b, A, parameter))

    def _differentiate(self, f: Activation, Delta: Array, Z: Array, A: Array) -> None:
        if not isinstance(f, Identity):
            parameter = self.kept.numbers(numbers.of_activation(f))
            self._do("activation gradient", do.slope(f.name, Delta, Z, A, parameter))

    def _dense(self, layer: Dense, X: Array) -> Array:
        Z, A = layer._Z[: len(X)], layer._A[: len(X)]
        few = 2 * len(X) <= layer.units  # fewer numbers of rows than of W come from another core's cache
        self._product(f"product {layer.index} forward", X, layer.W.T, Z, few)
        self._activate(layer._f, Z, layer.b, Z if layer._A is layer._Z else A)
        return A

    def _dense_gradient(self, layer: Dense, Delta: Array, needed: bool) -> Array:
        rows, X = len(Delta), self._inputs[id(layer)]
        self._differentiate(layer._f, Delta, layer._Z[:rows], layer._A[:rows])
        self.tensors.append(Tensor(f"{layer.index}.weight", "weight", Delta, X))
        if layer.b is not None:
            self.tensors.append(Tensor(f"{layer.index}.bias", "bias", Delta))
        if not needed:
            return Delta
        assert layer._dX is not None
        dX = layer._dX[:rows]
        long = 2 * rows <= layer.inputs and layer.W.nbytes > CACHE
        self._product(f"product {layer.index} input gradient", Delta, layer.W, dX, long)
        return dX

    def _activation(self, layer: Activate, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._activate(layer.f, X, None, A)
        return A

    def _activation_gradient(self, layer: Activate, Delta: Array, needed: bool) -> Array:
        self._differentiate(layer.f, Delta, self._inputs[id(layer)], layer._A[: len(Delta)])
        return Delta

    def _prelu(self, layer: PRelu, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("bias, activation", do.prelu(X, A, layer.a))
        return A

    def _prelu_gradient(self, layer: PRelu, Delta: Array, needed: bool) -> Array:
        sums = self.kept.array(np.empty(len(Delta)))
        self._do("activation gradient", do.prelu_gradient(Delta, self._inputs[id(layer)], layer.a, sums))
        self.tensors.append(Tensor(f"{layer.index}.weight", "slope", Delta, sums))
        return Delta

    # --- dropout, skips, embeddings ---

    def _dropout(self, layer: Dropout, X: Array) -> Array:
        mask, A, scale = layer._mask[: len(X)], layer._A[: len(X)], self.kept.numbers(1 / (1 - layer.p))
        drawn = do.dropout_mask(mask, layer.p, self.seed, layer.index, self.step, self.draw, scale)
        self._do("dropout mask", drawn)
        self._do("dropout", do.multiply(X, mask, A))
        return A

    def _dropout_gradient(self, layer: Dropout, Delta: Array, needed: bool) -> Array:
        self._do("dropout gradient", do.multiply(Delta, layer._mask[: len(Delta)], Delta))
        return Delta

    def _residual(self, layer: Residual, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("skip", do.add(X, self.forward(layer.inner, X), A))
        return A

    def _residual_gradient(self, layer: Residual, Delta: Array, needed: bool) -> Array:
        assert layer._skip is not None
        skip = layer._skip[: len(Delta)]
        self._do("skip", do.copy_columns(Delta, skip, Delta.shape[1]))
        dX = self.backward(layer.inner, Delta, None)
        self._do("skip", do.add(dX, skip, dX))
        return dX

    def _embedding(self, layer: Embedding, X: Array) -> Array:
        A = layer._A[: len(X)]
        if layer.numbers:
            self._do("embedding", do.copy_columns(X, A, layer.numbers))
        for k, (start, E) in enumerate(zip(_starts(layer), layer.E, strict=True)):
            self._do("embedding", do.embedding(X, layer.numbers + k, A, start, E))
        return A

    def _embedding_gradient(self, layer: Embedding, Delta: Array, needed: bool) -> Array:
        X = self._inputs[id(layer)]
        for k, start in enumerate(_starts(layer)):
            tensor = Tensor(f"{layer.index}.{k}.weight", "table", Delta, X, layer.numbers + k, start)
            self.tensors.append(tensor)
        return Delta

    # --- norms ---

    def _norm(self, layer: Norm, X: Array) -> Array:
        rows = len(X)
        H, A, eps = layer._H[:rows], layer._A[:rows], self.kept.numbers(layer.eps, layer.momentum)
        if layer.kind != "batch":
            inverse = self._inverse[id(layer)] = self.kept.array(np.empty(rows, X.dtype))
            self._do("norm", do.norm(X, H, A, layer.gain, layer.shift if layer.centred else None, inverse, eps))
            return A
        mean, inverse = (self.kept.array(np.empty(layer.units, X.dtype)) for _ in range(2))
        self._inverse[id(layer)] = inverse
        running = (layer.mean, layer.var) if self.record else (None, None)
        self.records += [MEET, ("norm", do.batch_statistics(X, mean, inverse, running, eps)), MEET]
        self._do("norm", do.batch_norm(X, H, A, layer.gain, layer.shift, mean, inverse))
        return A

    def _norm_gradient(self, layer: Norm, Delta: Array, needed: bool) -> Array:
        rows, inverse = len(Delta), self._inverse[id(layer)]
        H, gain, shift = layer._H[:rows], f"{layer.index}.weight", f"{layer.index}.bias"
        if layer.kind != "batch":
            assert layer._T is not None
            dX = layer._T[:rows]
            means = layer.shift if layer.centred else None
            self._do("norm gradient", do.norm_gradient(Delta, H, dX, layer.gain, means, inverse))
            self.tensors.append(Tensor(gain, "gain", Delta, H))
            self.tensors += [Tensor(shift, "bias", Delta)] if layer.centred else []
            return dX
        dgain, dshift = self.gradients[gain], self.gradients[shift]
        sums = do.sum_row_products(Delta, H, dgain), do.sum_rows(Delta, dshift)
        self.records += [MEET, *(("norm gradient", record) for record in sums), MEET]
        self._do("norm gradient", do.batch_norm_gradient(Delta, H, inverse, layer.gain, dgain, dshift))
        self.tensors += [Tensor(gain, "done", Delta), Tensor(shift, "done", Delta)]
        return Delta


def _starts(layer: Embedding) -> list[int]:
    """Where the numbers of each table begin among the outputs."""
    dims = [dim for _, dim in layer.tables]
    return [layer.numbers + sum(dims[:k]) for k in range(len(dims))]


_FORWARD: dict[type[Layer], Callable[[RowPass, Any, Array], Array]] = {
    Dense: RowPass._dense,
    Activate: RowPass._activation,
    PRelu: RowPass._prelu,
    Dropout: RowPass._dropout,
    Residual: RowPass._residual,
    Embedding: RowPass._embedding,
    Norm: RowPass._norm,
}
_BACKWARD: dict[type[Layer], Callable[[RowPass, Any, Array, bool], Array]] = {
    Dense: RowPass._dense_gradient,
    Activate: RowPass._activation_gradient,
    PRelu: RowPass._prelu_gradient,
    Dropout: RowPass._dropout_gradient,
    Residual: RowPass._residual_gradient,
    Embedding: RowPass._embedding_gradient,
    Norm: RowPass._norm_gradient,
}

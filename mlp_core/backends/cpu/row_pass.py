"""The instructions on the rows of one batch: forward through the layers, backward through them, each thread its rows.

What a layer computes is the layer's own matter (`nn/layers.py`), and the memory is the layer's; here it is written down
which kernels do it. Threads meet only where a sum over all rows is needed (batch norm), or where a product is shared
out by columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.fused_layers import Unit, units
from mlp_core.nn.activations import Identity
from mlp_core.nn.backend import Array
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Dropout, Layer, PRelu, Residual
from mlp_core.nn.loss import Loss
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric

CACHE = 1 << 20
"""Bytes of a matrix from which reading it twice is waiting for memory."""

Labelled = tuple[str, do.Record]
MEET: Labelled = ("meet", (do.MEET,))


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

    weight: Delta^T X. bias: `factor` times the sum of Delta's rows. gain: that of Delta X. table: see Embedding,
    `column` and `start`. slope: the total of X. waves: see NumericEmbedding; those of the three tensors behind it are
    made with it. done: it is there already. `after`: the instruction from which on it can be made, and nothing in the
    pass needs the tensor any more.
    """

    name: str
    kind: str
    Delta: Array
    X: Array | None = None
    column: int = 0
    start: int = 0
    factor: float = 1.0
    waves: NumericEmbedding | None = None
    after: int = 0


@dataclass
class RowPass:
    """Writes down the passes of one batch; `records` are its instructions, `tensors` what gradients are made of.

    gradients: where those go that are needed on the way. step: where the number of the step is; `draw` is added to it
    for the dropout masks. share: where the share of every dropout is. `record`: running statistics are moved. The rows
    may be a part of a batch of `whole` rows, from its row `first` on: each of them is then, bit for bit, what it is in
    a pass of the whole batch. `turn`: how many instructions there are before the way back.
    """

    crew: Crew
    kept: Kept
    seed: int
    gradients: Mapping[str, Array]
    step: int
    share: int
    draw: int = 0
    record: bool = True
    first: int = 0
    whole: int | None = None
    turn: int = 0
    records: list[Labelled] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    _inputs: dict[int, Array] = field(default_factory=dict)
    _inverse: dict[int, np.ndarray] = field(default_factory=dict)
    _left: dict[int, np.ndarray] = field(default_factory=dict)
    _units: dict[int, list[Unit | Layer]] = field(default_factory=dict)

    def _do(self, label: str, record: do.Record) -> None:
        self.records.append((label, record))

    def forward(self, layers: Sequence[Layer], X: Array) -> Array:
        """From inputs X [b, n] to the outputs of the last layer."""
        for one in self._grouped(layers):
            self._inputs[id(one)] = X
            X = _PASSES[type(one)][0](self, one, X)
        return X

    def backward(self, layers: Sequence[Layer], Delta: Array, first: Layer | None) -> Array:
        """From Delta to that of the inputs, or no further than the layer `first`, before which nothing is learned."""
        self.turn = self.turn or len(self.records)
        for one in reversed(self._grouped(layers)):
            last = first is not None and (one.dense if isinstance(one, Unit) else one) is first
            known = len(self.tensors)
            Delta = _PASSES[type(one)][1](self, one, Delta, not last)
            for k, tensor in enumerate(self.tensors[known:], known):
                self.tensors[k] = tensor if tensor.after else replace(tensor, after=len(self.records))
            if last:
                break
        return Delta

    def loss(self, loss: Loss, Z: Array, Y: Array, w: Array | None, Delta: Array, total: int, losses: int) -> None:
        """The loss of each row over the weight at `total`, into `losses`, and Delta = dLoss/dZ."""
        parameters = self.kept.numbers(*numbers.of_loss(loss))
        self._do("loss", do.loss(loss.name, Z, Y, w, Delta, parameters, total, losses))

    def _grouped(self, layers: Sequence[Layer]) -> list[Unit | Layer]:
        """The same units on the way there and on the way back."""
        return self._units.setdefault(id(layers), units(layers))

    # --- products, bias, activation ---

    def _product(self, label: str, A: Array, B: Array, out: Array, by_columns: bool) -> None:
        """out = A B, by rows or by columns. By columns each thread reads its share of B only; but then all must meet,
        because it reads rows that others have made, and makes parts of theirs."""
        product = label, do.product(A, B, out, self.crew.scratch, by_columns, self.whole)
        self.records += [MEET, product, MEET] if by_columns else [product]

    def _unit(self, unit: Unit, X: Array) -> Array:
        Z, dense, f = X, unit.dense, unit.f
        if dense is not None:
            Z = dense._Z[: len(X)]
            few = 2 * len(X) <= dense.units  # fewer numbers of rows than of W come from elsewhere
            self._product(f"product {dense.index} forward", X, dense.W.T, Z, few)
        (F, A), b = unit.places(Z), None if dense is None else dense.b
        if unit.dropout is not None:
            self._draw(unit.dropout, len(X))
        if b is not None or F is not Z or A is not Z or unit.factor != 1 or not isinstance(f, Identity):
            given = self.kept.numbers(numbers.of_activation(f), unit.factor, unit.p)
            record = do.activation(f.name, Z, b, F, given, unit.learned, self._drop(unit, A))
            self._do("bias, activation, dropout", record)
        return A

    def _unit_gradient(self, unit: Unit, Delta: Array, needed: bool) -> Array:
        rows, dense, X = len(Delta), unit.dense, self._inputs[id(unit)]
        Z, learned = X if dense is None else dense._Z[:rows], unit.learned
        (F, A), f = unit.places(Z), unit.f
        drop = self._drop(unit, A)
        if drop or unit.factor != 1 or not isinstance(f, Identity):
            given = self.kept.numbers(numbers.of_activation(f), unit.factor, unit.p)
            self._do("activation gradient", do.slope(f.name, Delta, Z, F, given, learned, drop))
        if isinstance(unit.active, Parametric):
            self.tensors.append(Tensor(f"{unit.active.index}.alpha", "bias", Z))
        if dense is None:
            return Delta
        self.tensors.append(Tensor(f"{dense.index}.weight", "weight", Delta, X))
        if dense.b is not None:
            self.tensors.append(Tensor(f"{dense.index}.bias", "bias", Delta, factor=1 / dense.scale))
        if not needed:
            return Delta
        dX, long = dense._dX[:rows], 2 * rows <= dense.inputs and dense.W.nbytes > CACHE
        self._product(f"product {dense.index} input gradient", Delta, dense.W, dX, long)
        return dX

    def _draw(self, dropout: Dropout, rows: int) -> None:
        left = self._left[id(dropout)] = self.kept.array(np.empty((rows, dropout.units), np.uint8))
        p, first = self.kept.numbers(dropout.p), self.first * dropout.units
        record = do.dropout(left, self.seed, dropout.index, self.step, self.draw, p, self.share, first)
        self._do("dropout mask", record)

    def _drop(self, unit: Unit, A: Array) -> do.Drop | None:
        return None if unit.dropout is None else (self._left[id(unit.dropout)], self.share, A)

    def _prelu(self, layer: PRelu, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("bias, activation", do.over(A, "prelu_forward", X, 0, A, layer.a))
        return A

    def _prelu_gradient(self, layer: PRelu, Delta: Array, needed: bool) -> Array:
        sums = self.kept.array(np.empty(len(Delta)))
        record = do.over(Delta, "prelu_backward", Delta, self._inputs[id(layer)], 0, layer.a, sums)
        self._do("activation gradient", record)
        self.tensors.append(Tensor(f"{layer.index}.weight", "slope", Delta, sums))
        return Delta

    # --- skips, embeddings, inputs ---

    def _residual(self, layer: Residual, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("skip", do.over(A, "add", X, self.forward(layer.inner, X), A))
        return A

    def _residual_gradient(self, layer: Residual, Delta: Array, needed: bool) -> Array:
        skip = layer._skip[: len(Delta)]
        self._do("skip", do.over(skip, "copy_columns", Delta, Delta.shape[1], skip, Delta.shape[1]))
        dX = self.backward(layer.inner, Delta, None)
        self._do("skip", do.over(dX, "add", dX, skip, dX))
        return dX

    def _embedding(self, layer: Embedding, X: Array) -> Array:
        A = layer._A[: len(X)]
        if layer.numbers:
            self._do("embedding", do.over(A, "copy_columns", X, X.shape[1], A, layer.numbers))
        for k, (part, E) in enumerate(zip(layer.parts, layer.E, strict=True)):
            codes, behind = X[:, layer.numbers + k :], A[:, part]
            self._do("embedding", do.over(A, "embedding_forward", codes, X.shape[1], behind, E, *E.shape))
        return A

    def _embedding_gradient(self, layer: Embedding, Delta: Array, needed: bool) -> Array:
        X = self._inputs[id(layer)]
        for k, part in enumerate(layer.parts):
            tensor = Tensor(f"{layer.index}.{k}.weight", "table", Delta, X, layer.numbers + k, part.start)
            self.tensors.append(tensor)
        return Delta

    def _waves(self, layer: NumericEmbedding, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("waves", do.over(A, "waves", X, X.shape[1], A, layer.u, *layer.u.shape, layer.learned))
        return A

    def _waves_gradient(self, layer: NumericEmbedding, Delta: Array, needed: bool) -> Array:
        """Delta as it is: its first columns go on to tables of words, which take nothing from those of numbers."""
        first, *others = (spec.name for spec in layer.specs())
        self.tensors.append(Tensor(first, "waves", Delta, self._inputs[id(layer)], waves=layer))
        self.tensors += [Tensor(name, "done", Delta) for name in others]
        return Delta

    def _input_scale(self, layer: InputScale, X: Array) -> Array:
        A = layer._A[: len(X)]
        self._do("input scale", do.over(A, "scale_columns", X, layer.s, A))
        return A

    def _input_scale_gradient(self, layer: InputScale, Delta: Array, needed: bool) -> Array:
        self.tensors.append(Tensor(layer.specs()[0].name, "gain", Delta, self._inputs[id(layer)]))
        if not needed:
            return Delta
        dX = layer._T[: len(Delta)]
        self._do("input scale", do.over(dX, "scale_columns", Delta, layer.s, dX))
        return dX

    # --- norms ---

    def _norm(self, layer: Norm, X: Array) -> Array:
        rows = len(X)
        H, A, eps = layer._H[:rows], layer._A[:rows], self.kept.numbers(layer.eps, layer.momentum)
        if layer.kind != "batch":
            inverse = self._inverse[id(layer)] = self.kept.array(np.empty(rows, X.dtype))
            shift = layer.shift if layer.centred else None
            self._do("norm", do.over(A, "norm_forward", X, H, A, layer.gain, shift, inverse, eps))
            return A
        mean, inverse = (self.kept.array(np.empty(layer.units, X.dtype)) for _ in range(2))
        self._inverse[id(layer)] = inverse
        running = (layer.mean, layer.var) if self.record else (None, None)
        self.records += [MEET, ("norm", do.over(X, "batch_statistics", X, mean, inverse, *running, eps)), MEET]
        self._do("norm", do.over(A, "batch_norm_forward", X, H, A, layer.gain, layer.shift, mean, inverse))
        return A

    def _norm_gradient(self, layer: Norm, Delta: Array, needed: bool) -> Array:
        rows, inverse = len(Delta), self._inverse[id(layer)]
        H, gain, shift = layer._H[:rows], f"{layer.index}.weight", f"{layer.index}.bias"
        if layer.kind != "batch":
            dX = layer._T[:rows]
            means = layer.shift if layer.centred else None
            self._do("norm gradient", do.over(Delta, "norm_backward", Delta, H, dX, layer.gain, means, inverse))
            self.tensors.append(Tensor(gain, "gain", Delta, H))
            self.tensors += [Tensor(shift, "bias", Delta)] if layer.centred else []
            return dX
        dgain, dshift = self.gradients[gain], self.gradients[shift]
        sums = do.over(Delta, "sum_row_products", Delta, dgain, H), do.over(Delta, "sum_rows", Delta, dshift, 0)
        self.records += [MEET, *(("norm gradient", record) for record in sums), MEET]
        record = do.over(Delta, "batch_norm_backward", Delta, H, inverse, layer.gain, dgain, dshift)
        self._do("norm gradient", record)
        self.tensors += [Tensor(gain, "done", Delta), Tensor(shift, "done", Delta)]
        return Delta


_PASSES: dict[type, tuple[Callable[[RowPass, Any, Array], Array], Callable[[RowPass, Any, Array, bool], Array]]] = {
    Unit: (RowPass._unit, RowPass._unit_gradient),
    PRelu: (RowPass._prelu, RowPass._prelu_gradient),
    Residual: (RowPass._residual, RowPass._residual_gradient),
    Embedding: (RowPass._embedding, RowPass._embedding_gradient),
    NumericEmbedding: (RowPass._waves, RowPass._waves_gradient),
    InputScale: (RowPass._input_scale, RowPass._input_scale_gradient),
    Norm: (RowPass._norm, RowPass._norm_gradient),
}
"""What writes down the way there and the way back of each kind of layer."""

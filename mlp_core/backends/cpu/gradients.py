"""The gradient of a tensor from what the passes of a batch leave, as instructions: of all rows at once, or of shards of
them, added in an order that is theirs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu import row_pass
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.row_pass import MEET, Kept, Labelled, Tensor
from mlp_core.nn.backend import Array
from mlp_core.nn.parameters import Parameters

FEW = 32
"""Units from which each thread has enough of its own in the gradient of a weight."""


class Gradients:
    """Writes down gradients of the tensors of `parameters`."""

    def __init__(self, crew: Crew, kept: Kept, parameters: Parameters) -> None:
        self._crew, self._kept, self._parameters = crew, kept, parameters
        self._rooms: list[Array] = []

    def of(self, tensor: Tensor, grad: Array, part: int = 0, ends: np.ndarray | None = None) -> list[Labelled]:
        """The gradient of (some units of) a tensor, [units, entries]; that of a weight over shards that end at `ends`,
        where these are given."""
        index, Delta = tensor.name.partition(".")[0], tensor.Delta
        X: Array = tensor.X
        if tensor.kind == "weight":
            few, scratch = self._few(tensor.name, X), self._crew.scratch + self._crew.library.scratch * part
            record = do.product(Delta.T, X, grad, scratch, few, ends=ends)
            product = f"product {index} weight gradient", record
            return [product, MEET] if few else [product]
        if tensor.kind == "bias":
            factor = 0 if tensor.factor == 1 else self._kept.numbers(tensor.factor)
            return [("bias gradient", do.over(Delta, "sum_rows", Delta, grad, factor))]
        if tensor.kind == "gain":
            return [("norm gradient", do.over(Delta, "sum_row_products", Delta, grad, X))]
        if tensor.kind == "slope":
            return [("activation gradient", do.record("total", grad, do.at(X), do.at(grad), len(X)))]
        if tensor.kind == "table":
            codes, behind = X[:, tensor.column :], Delta[:, tensor.start :]
            return [("embedding", do.over(Delta, "embedding_gradient", codes, X.shape[1], behind, grad, *grad.shape))]
        if (waves := tensor.waves) is not None:
            words = X, X.shape[1], Delta, waves.u, *waves.u.shape, waves.learned, grad
            return [("waves gradient", do.over(Delta, "waves_gradient", *words))]
        return []

    def _few(self, name: str, X: Array) -> bool:
        """Whether a weight has so few units that its gradient is shared out by columns: each thread then reads its
        share of X, which is what such a product takes its time for."""
        return len(self._parameters.values[name]) < FEW and X.nbytes > row_pass.CACHE

    def over(self, tensor: Tensor, shards: Sequence[slice]) -> list[Labelled]:
        """The gradient of a tensor in its place, as the sum of those of 2^k shards of the rows: those of neighbours are
        added, then those of pairs, and so on."""
        return [] if tensor.kind == "done" else self._half(tensor, shards, self._parameters.grad, 0)

    def _half(self, tensor: Tensor, shards: Sequence[slice], vector: Array, floor: int) -> list[Labelled]:
        """The sum over a subtree of shards, into a vector [parameters]."""
        rows, grad = slice(shards[0].start, shards[-1].stop), self._piece(vector, tensor)
        here = replace(tensor, Delta=tensor.Delta[rows], X=None if tensor.X is None else tensor.X[rows])
        if len(shards) == 1:
            return self.of(here, grad)
        if tensor.kind == "weight" and max(len(here.Delta), len(shards)) <= do.BLOCK:
            ends = np.array([shard.stop - rows.start for shard in shards])
            return self.of(here, grad, ends=self._kept.array(ends))
        middle, room = len(shards) // 2, self._room(floor)
        found = self._half(tensor, shards[:middle], vector, floor + 1)
        found += self._half(tensor, shards[middle:], room, floor + 1)
        other, meet = self._piece(room, tensor), self._meets(tensor)
        return [*found, *meet, ("sum of shards", do.over(grad, "add", grad, other, grad)), *meet]

    def _piece(self, vector: Array, tensor: Tensor) -> Array:
        """What the gradient of a tensor is written to, [units, entries]; with it all that it is made together with."""
        slices, names = self._parameters.slices, [tensor.name]
        if tensor.waves is not None:
            names = [spec.name for spec in tensor.waves.specs()]
        piece = vector[slices[names[0]].start : slices[names[-1]].stop]
        return piece.reshape(len(self._parameters.values[tensor.name]), -1) if len(names) == 1 else piece[:, None]

    def _meets(self, tensor: Tensor) -> list[Labelled]:
        """Where sums are shared out among the threads in another way than what is added: all must wait for it."""
        few = tensor.kind == "weight" and tensor.X is not None and self._few(tensor.name, tensor.X)
        return [MEET] if few or tensor.waves is not None else []

    def _room(self, floor: int) -> Array:
        """Memory for the right one of two sums."""
        while len(self._rooms) <= floor:
            self._rooms.append(np.zeros_like(self._parameters.grad))
        return self._rooms[floor]


def floors(rows: int, shards: int) -> int:
    """On how many floors of the tree of so many shards of so many rows together the gradients of weights are added in
    memory, each of which takes as much as a gradient."""
    found = 0
    while shards > 1 and max(rows, shards) > do.BLOCK:
        rows, shards, found = -(-rows // 2), shards // 2, found + 1
    return found

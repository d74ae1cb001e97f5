"""A learned factor for every input: the network finds out which columns matter, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Layer, Pass, head
from mlp_core.nn.parameters import Spec
from mlp_core.nn.primitives import multiply


class InputScale(Layer):
    """A = X s, column by column; s [inputs] is learned, 1 at first (Holzmueller et al., NeurIPS 2024).

    ds = sum over rows of Delta X; dLoss/dX = Delta s.
    """

    def __init__(self, index: int, inputs: int) -> None:
        super().__init__(index, inputs)
        self.inputs = inputs

    def specs(self) -> list[Spec]:
        return [Spec(f"{self.index}.scale", (self.units,), is_weight=False, kind="input_scale")]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        self.s, self.ds = values[f"{self.index}.scale"], gradients[f"{self.index}.scale"]

    def initialize(self, seed: int) -> None:
        self.s[...] = 1

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        super().allocate(backend, dtype, rows, training)
        self._multiply = backend.primitive(multiply)

    def forward(self, X: Array, mode: Pass) -> Array:
        self.X = X
        return self._multiply(X, self.s, head(self._A, len(X)))

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        T = self._multiply(Delta, self.X, head(self._T, len(Delta)))
        self.xp.add.reduce(T, axis=0, out=self.ds)  # [n]
        if not input_gradient:
            return None
        Delta *= self.s
        return Delta

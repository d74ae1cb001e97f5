"""Parametric activations: how much of f each unit takes is learned with the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp_core.nn.activations import Activation, activation_gradient, bias_activation
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Layer, Pass, head
from mlp_core.nn.parameters import Spec


class Parametric(Layer):
    """A = Z + alpha (f(Z) - Z): one learned alpha per unit, 1 at first, which is f itself; at 0 the unit is linear.

    dalpha = sum over rows of Delta (f(Z) - Z); dLoss/dZ = Delta ((1 - alpha) + alpha f'(Z)). Of Holzmueller,
    Grinsztajn, Steinwart (NeurIPS 2024), after prelu, which is this with f = leaky relu. alpha, dalpha [units].
    """

    def __init__(self, index: int, units: int, f: Activation) -> None:
        super().__init__(index, units)
        self.f = f

    def specs(self) -> list[Spec]:
        return [Spec(f"{self.index}.alpha", (self.units,), is_weight=False, kind="alpha")]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        self.alpha, self.dalpha = values[f"{self.index}.alpha"], gradients[f"{self.index}.alpha"]

    def initialize(self, seed: int) -> None:
        self.alpha[...] = 1

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        super().allocate(backend, dtype, rows, training)
        self._activate = backend.primitive(bias_activation)
        self._differentiate = backend.primitive(activation_gradient)
        self._F = backend.empty((rows, self.units), dtype)

    def forward(self, X: Array, mode: Pass) -> Array:
        self.Z, self.F, A = X, head(self._F, len(X)), head(self._A, len(X))
        self._activate(self.Z, None, self.f, self.F)  # f(Z) [b, m]
        self.xp.subtract(self.F, self.Z, out=A)
        A *= self.alpha
        A += self.Z
        return A

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        T = head(self._T, len(Delta))
        self.xp.subtract(self.F, self.Z, out=T)
        T *= Delta
        self.xp.add.reduce(T, axis=0, out=self.dalpha)  # [m]
        self.xp.multiply(Delta, self.alpha, out=T)
        self._differentiate(T, self.f, self.Z, self.F)  # Delta alpha f'(Z)
        Delta *= 1 - self.alpha
        Delta += T
        return Delta

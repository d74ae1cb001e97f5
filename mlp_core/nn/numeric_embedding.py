"""Periodic embeddings of numbers: beside every number stand a few learned waves of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Layer, Pass, as_device, head
from mlp_core.nn.parameters import Spec
from mlp_core.rng import generator


@dataclass(frozen=True)
class Periodic:
    """What is asked for: the first `numbers` inputs become `size` numbers each, themselves among them, made of
    `frequencies` cosines whose frequencies are drawn with the deviation `sigma`."""

    numbers: int
    frequencies: int = 16
    size: int = 4
    sigma: float = 0.1


class NumericEmbedding(Layer):
    """A = [X, V1 cos(2 pi u1 x1 + c1) + d1, V2 cos(2 pi u2 x2 + c2) + d2, ...] for the first k columns x of X [b, n].

    The inputs stand where they stood, and behind them m - 1 numbers of each of the k (m is `size`): u, c [k, f],
    V [k, m - 1, f], d [k, m - 1], all learned. With P = 2 pi u x + c, C = cos(P), D the part of Delta behind the
    inputs: dV = D^T C and dd = sum over rows of D, dP = -sin(P) (D V), dc = sum over rows of dP, du = 2 pi times the
    sum over rows of dP x; dLoss/dx is Delta's own column + 2 pi times the sum over f of dP u. "PBLD" of Holzmueller et
    al. (NeurIPS 2024), after Gorishniy, Rubachev, Babenko, "On embeddings for numerical features" (NeurIPS 2022).
    """

    def __init__(self, index: int, inputs: int, plan: Periodic) -> None:
        super().__init__(index, inputs + plan.numbers * (plan.size - 1))
        self.inputs, self.plan = inputs, plan
        self.numbers, self.frequencies, self.learned = plan.numbers, plan.frequencies, plan.size - 1

    def specs(self) -> list[Spec]:
        k, f, m = self.numbers, self.frequencies, self.learned
        shapes = {"frequency": (k, f), "phase": (k, f), "weight": (k, m, f), "bias": (k, m)}
        return [
            Spec(f"{self.index}.{name}", shape, is_weight=False, kind="numeric_embedding")
            for name, shape in shapes.items()
        ]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        names = [spec.name for spec in self.specs()]
        self.u, self.c, self.V, self.d = (values[name] for name in names)
        self.du, self.dc, self.dV, self.dd = (gradients[name] for name in names)

    def initialize(self, seed: int) -> None:
        """u ~ N(0, sigma^2), c ~ U(-pi, pi), V and d ~ U(-1/sqrt(f), 1/sqrt(f))."""
        draw, radius = generator(seed, "init", self.index), 1 / math.sqrt(self.frequencies)
        self.u[...] = self._asarray(self.plan.sigma * draw.standard_normal(self.u.shape))
        for vector, reach in ((self.c, math.pi), (self.V, radius), (self.d, radius)):
            vector[...] = self._asarray(reach * (2 * draw.random(vector.shape) - 1))

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self.xp, self._asarray = backend.xp, partial(as_device, backend, dtype)
        k, f, m = self.numbers, self.frequencies, self.learned
        self._A = backend.empty((rows, self.units), dtype)
        self._P, self._C = (backend.empty((k, rows, f), dtype) for _ in range(2))
        self._L = backend.empty((k, rows, m), dtype)
        self._T: Array = backend.empty((k, rows, f), dtype) if training else None
        self._use_passes(backend, dtype, rows)

    def forward(self, X: Array, mode: Pass) -> Array:
        b = len(X)
        A, self.P, self.C, L = head(self._A, b), self._P[:, :b], self._C[:, :b], self._L[:, :b]
        xp, self.x = self.xp, X.T[: self.numbers, :, None]  # [k, b, 1]
        xp.multiply(self.x, (2 * math.pi) * self.u[:, None], out=self.P)
        self.P += self.c[:, None]  # [k, b, f]
        xp.cos(self.P, out=self.C)
        xp.matmul(self.C, self.V.transpose(0, 2, 1), out=L)  # [k, b, m] = [k, b, f] @ [k, f, m]
        L += self.d[:, None]
        A[:, : self.inputs] = X
        self._behind(A)[...] = L
        return A

    def _behind(self, A: Array) -> Array:
        """What stands behind the inputs in A [b, units], as [k, b, m]."""
        parts = A[:, self.inputs :].reshape(len(A), self.numbers, self.learned)
        return parts.transpose(1, 0, 2)

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        xp, b = self.xp, len(Delta)
        D, T = self._L[:, :b], self._T[:, :b]
        D[...] = self._behind(Delta)
        xp.matmul(D.transpose(0, 2, 1), self.C, out=self.dV)  # [k, m, f] = [k, m, b] @ [k, b, f]
        xp.add.reduce(D, axis=1, out=self.dd)
        xp.matmul(D, self.V, out=T)  # dLoss/dC [k, b, f] = [k, b, m] @ [k, m, f]
        T *= -xp.sin(self.P)
        xp.add.reduce(T, axis=1, out=self.dc)
        self.du[...] = (2 * math.pi) * xp.matmul(self.x.transpose(0, 2, 1), T)[:, 0]  # [k, f] = [k, 1, b] @ [k, b, f]
        if not input_gradient:
            return None
        Delta[:, : self.numbers] += (2 * math.pi) * xp.matmul(T, self.u[:, :, None])[:, :, 0].T
        return Delta[:, : self.inputs]

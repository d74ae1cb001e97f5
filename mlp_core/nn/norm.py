"""Normalisation over the batch or over each row, with its backward pass under its forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Layer, Pass, head
from mlp_core.nn.parameters import Spec


class Norm(Layer):
    """A = gain * (X - mean) / sqrt(variance + eps) + shift, in one of three ways.

    - batch: mean and variance of each column over the batch; running averages of them when evaluating
      (Ioffe and Szegedy, ICML 2015; the running variance is the unbiased one, as in PyTorch)
    - layer: of each row over its columns (Ba, Kiros, Hinton 2016)
    - rms: of each row, with no mean and no shift (Zhang and Sennrich, NeurIPS 2019)
    """

    def __init__(self, index: int, units: int, kind: str, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(index, units)
        self.kind, self.eps, self.momentum = kind, eps, momentum
        self.axis = 0 if kind == "batch" else 1
        self.centred = kind != "rms"
        self._sum_products = "ij,ij->j" if kind == "batch" else "ij,ij->i"

    def specs(self) -> list[Spec]:
        names = ("weight", "bias") if self.centred else ("weight",)
        return [Spec(f"{self.index}.{name}", (self.units,), is_weight=False) for name in names]

    def statistics(self) -> list[Spec]:
        names = ("running_mean", "running_var") if self.kind == "batch" else ()
        return [Spec(f"{self.index}.{name}", (self.units,), is_weight=False) for name in names]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        self.gain, self.dgain = values[f"{self.index}.weight"], gradients[f"{self.index}.weight"]
        if self.centred:
            self.shift, self.dshift = values[f"{self.index}.bias"], gradients[f"{self.index}.bias"]
        if self.kind == "batch":
            self.mean, self.var = kept[f"{self.index}.running_mean"], kept[f"{self.index}.running_var"]

    def initialize(self, seed: int) -> None:
        self.gain[...] = 1
        if self.kind == "batch":
            self.var[...] = 1

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        super().allocate(backend, dtype, rows, training)
        self._H = backend.empty((rows, self.units), dtype)

    def forward(self, X: Array, mode: Pass) -> Array:
        H, A = head(self._H, len(X)), head(self._A, len(X))
        self.H = H  # X, normalised
        self.constant = self.kind == "batch" and not mode.training  # statistics that do not depend on X
        if self.constant:
            mean, variance = self.mean, self.var
            self.xp.subtract(X, mean, out=H)
        else:
            if self.centred:
                mean = X.mean(axis=self.axis, keepdims=True)
                self.xp.subtract(X, mean, out=H)
            else:
                self.xp.copyto(H, X)
            square = self.xp.einsum(self._sum_products, H, H) / H.shape[self.axis]
            variance = self.xp.expand_dims(square, self.axis)
            if self.kind == "batch" and mode.record:
                self._record(mean[0], square, len(X))
        self.inverse = (variance + self.eps) ** -0.5
        H *= self.inverse
        self.xp.multiply(H, self.gain, out=A)
        if self.centred:
            A += self.shift
        return A

    def _record(self, mean: Array, variance: Array, rows: int) -> None:
        """Move the running statistics by `momentum` towards those of this batch; one row has no variance."""
        if rows > 1:
            self.mean += self.momentum * (mean - self.mean)
            self.var += self.momentum * (variance * (rows / (rows - 1)) - self.var)

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        T = head(self._T, len(Delta))
        self.dgain[...] = self.xp.einsum("ij,ij->j", Delta, self.H)
        if self.centred:
            Delta.sum(axis=0, out=self.dshift)
        Delta *= self.gain  # dLoss/dH
        if not self.constant:
            n = Delta.shape[self.axis]
            along = self.xp.einsum(self._sum_products, Delta, self.H) / n  # the variance depends on X
            self.xp.multiply(self.H, self.xp.expand_dims(along, self.axis), out=T)
            if self.centred:
                Delta -= Delta.mean(axis=self.axis, keepdims=True)  # and so does the mean
            Delta -= T
        Delta *= self.inverse
        return Delta

"""Networks for the parts of one batch, led through it together, layer by layer.

They share their parameters, and each leaves the gradient of its own rows. A layer works on every row by itself, so a
part of a batch is gone through like a batch; only batch norm asks for sums over all rows, which are put together of the
sums over the parts. What is put together how, and by whom, is a function `total`: it knows of other workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Layer, Pass, Residual, head
from mlp_core.nn.network import Network
from mlp_core.nn.norm import Norm

Parts = Sequence[Array | None]
"""Something of every part; None of a part without rows."""
Total = Callable[[list[Array]], Array]


class Lockstep:
    """`networks`, one for each part; `total` makes of sums over the rows of each part the sum over all rows of the
    batch, of other workers' parts, too."""

    def __init__(self, networks: Sequence[Network], total: Total) -> None:
        self.networks, self._total = list(networks), total
        self._rows, self._record = 0, False

    def forward(self, X: Parts, modes: Sequence[Pass], rows: int) -> list[Array | None]:
        """Logits of every part X [b, n], of a batch of `rows` rows."""
        self._rows, self._record = rows, modes[0].record
        return self._forward([network.layers for network in self.networks], X, modes)

    def backward(self, Delta: Parts) -> None:
        """From dLoss/dZ[L] of every part to the gradient of every part, that of no rows being 0."""
        for network, part in zip(self.networks, Delta, strict=True):
            if part is None:
                network.parameters.grad[:] = 0
        self._backward([network.layers for network in self.networks], Delta, self.networks[0].first.index)

    def _forward(self, stacks: Sequence[Sequence[Layer]], X: Parts, modes: Sequence[Pass]) -> list[Array | None]:
        A = list(X)
        for layers in zip(*stacks, strict=True):
            kind = layers[0]
            if isinstance(kind, Residual):
                inner = self._forward([layer.inner for layer in layers], A, modes)
                A = _each(lambda one, X, Y: one._add(X, Y, head(one._A, len(X))), layers, A, inner)
            elif isinstance(kind, Norm) and kind.kind == "batch":
                A = self._normalise(layers, A)
            else:
                A = _each(lambda one, X, mode: one.forward(X, mode), layers, A, modes)
        return A

    def _backward(self, stacks: Sequence[Sequence[Layer]], Delta: Parts, last: int | None = None) -> list[Array | None]:
        D = list(Delta)
        for layers in reversed(list(zip(*stacks, strict=True))):
            kind = layers[0]
            needed = kind.index != last
            if isinstance(kind, Residual):
                _each(lambda one, D: one._copy(D, head(one._skip, len(D))), layers, D)
                inner = self._backward([layer.inner for layer in layers], D)
                D = _each(lambda one, D: one._add(D, head(one._skip, len(D)), D), layers, inner)
            elif isinstance(kind, Norm) and kind.kind == "batch":
                D = self._normalise_backward(layers, D)
            else:
                D = _each(lambda one, D: one.backward(D, needed), layers, D)  # noqa: B023
            if not needed:
                break
        return D

    def _sum(self, layers: Sequence[Any], function: Callable[..., Array], *arrays: Parts) -> Array:
        """The sum over all rows of the batch of what a function makes of the rows of a part, [m]."""
        found = _each(function, layers, *arrays)
        return self._total(
            [one.xp.zeros_like(one.gain) if s is None else s for one, s in zip(layers, found, strict=True)]
        )

    def _normalise(self, layers: Sequence[Any], X: Parts) -> list[Array | None]:
        """`Norm.forward` of kind batch, with the mean and the variance of the whole batch."""
        norm = layers[0]
        mean = self._sum(layers, lambda one, X: X.sum(axis=0), X) / self._rows

        def centre(one: Any, X: Array) -> Array:
            one.H, one.constant = head(one._H, len(X)), False
            one.xp.subtract(X, mean, out=one.H)
            return one.H

        H = _each(centre, layers, X)
        variance = self._sum(layers, lambda one, H: one.xp.einsum("ij,ij->j", H, H), H) / self._rows
        if self._record:
            norm._record(mean, variance, self._rows)  # of statistics that all parts share
        inverse = (variance + norm.eps) ** -0.5

        def scale(one: Any, H: Array) -> Array:
            one.inverse, A = inverse, head(one._A, len(H))
            H *= inverse
            one.xp.multiply(H, one.gain, out=A)
            A += one.shift
            return A

        return _each(scale, layers, H)

    def _normalise_backward(self, layers: Sequence[Any], Delta: Parts) -> list[Array | None]:
        """`Norm.backward` of kind batch: dLoss/dX of a row depends on all rows, by the mean and the variance."""

        def gains(one: Any, D: Array) -> Array:
            one.dgain[...] = one.xp.einsum("ij,ij->j", D, one.H)
            D.sum(axis=0, out=one.dshift)
            D *= one.gain  # dLoss/dH
            return D

        D = _each(gains, layers, Delta)
        along = self._sum(layers, lambda one, D: one.xp.einsum("ij,ij->j", D, one.H), D) / self._rows
        mean = self._sum(layers, lambda one, D: D.sum(axis=0), D) / self._rows

        def through(one: Any, D: Array) -> Array:
            T = head(one._T, len(D))
            one.xp.multiply(one.H, along, out=T)
            D -= mean
            D -= T
            D *= one.inverse
            return D

        return _each(through, layers, D)


def _each(function: Callable[..., Any], layers: Sequence[Any], *arguments: Sequence[Any]) -> list[Any]:
    """What a function makes of the same layer of every part, where the part has rows."""
    rows = zip(layers, *arguments, strict=True)
    return [None if given[0] is None else function(layer, *given) for layer, *given in rows]

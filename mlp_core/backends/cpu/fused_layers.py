"""Layers that one instruction goes through together: what stands behind a matrix product and works entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlp_core.nn.activations import Activation, Identity
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer
from mlp_core.nn.parametric import Parametric


@dataclass(frozen=True)
class Unit:
    """Layers that are one instruction behind their matrix product, if they have one: what happens to each entry of it,
    an activation of which each unit may take a learned share, and dropout."""

    dense: Dense | None = None
    active: Dense | Activate | Parametric | None = None
    dropout: Dropout | None = None

    @property
    def f(self) -> Activation:
        return (self.active and self.active.f) or Identity()

    @property
    def learned(self) -> Array | None:
        """The share of the activation that each unit takes."""
        return self.active.alpha if isinstance(self.active, Parametric) else None

    @property
    def factor(self) -> float:
        """Of the product."""
        return self.dense.scale if self.dense is not None else 1.0

    @property
    def p(self) -> float:
        """The probability of dropout."""
        return self.dropout.p if self.dropout is not None else 0.0

    def places(self, Z: Array) -> tuple[Array, Array]:
        """Where f(Z) goes, which must stay for the way back if its derivative is made of it, and where the output."""
        rows, stays = len(Z), self.active is None or (self.active.f or Identity()).from_output
        out = self.dropout and self.dropout._A[:rows]
        if isinstance(self.active, Parametric):
            A = self.active._A[:rows] if out is None else out
            return A, A
        if self.dense is not None and (self.active is None or self.dense._A is self.dense._Z):
            F = Z
        elif out is not None and (self.active is None or not stays):
            F = out
        else:
            assert self.active is not None
            F = self.active._A[:rows]
        return F, F if out is None else out

    def with_(self, layer: Layer) -> Unit | None:
        """This with the next layer, if there is room for it."""
        if self.dropout is not None or not isinstance(layer, Activate | Parametric | Dropout):
            return None
        if isinstance(layer, Dropout):
            return replace(self, dropout=layer)
        return replace(self, active=layer) if self.active is None else None


def units(layers: Sequence[Layer]) -> list[Unit | Layer]:
    """The layers in their order, as many of them as possible as units."""
    found: list[Unit | Layer] = []
    for layer in layers:
        last = found[-1] if found else None
        if isinstance(last, Unit) and (more := last.with_(layer)):
            found[-1] = more
        elif isinstance(layer, Dense):
            found.append(Unit(layer, layer if layer.f else None))
        else:
            found.append(Unit().with_(layer) or layer)
    return found

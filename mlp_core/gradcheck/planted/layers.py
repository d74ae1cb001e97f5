"""Planted bugs: reductions, layout, dropout and skip connections, the slips of the article among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.nn.layers import Dense, Dropout, PRelu, Residual
from mlp_core.nn.network import Network


def after(change: Callable[[Any, Any, Any], Any]) -> Callable[[Wrong], Wrong]:
    """A backward pass with something done to its results: change(layer, Delta, dX) may return another dX.

    Delta is then dLoss/dZ, because the layer works on it in place.
    """

    def make(original: Wrong) -> Wrong:
        def wrong(self: Any, Delta: Any, input_gradient: bool = True) -> Any:
            dX = original(self, Delta, input_gradient)
            changed = change(self, Delta, dX)
            return dX if changed is None or dX is None else changed

        return wrong

    return make


def before(change: Callable[[Any, Any], Any]) -> Callable[[Wrong], Wrong]:
    """A backward pass with something done to its layer or its error first; change may return another error."""

    def make(original: Wrong) -> Wrong:
        def wrong(self: Any, Delta: Any, input_gradient: bool = True) -> Any:
            changed = change(self, Delta)
            return original(self, Delta if changed is None else changed, input_gradient)

        return wrong

    return make


def write(array: Any, values: Any) -> None:
    array[...] = values


def _dense(name: str, change: Callable[[Any, Any, Any], Any], family: str = "layout", **more: Any) -> Bug:
    return Bug(family, name, Dense, "backward", after(change), **more)


def _bias(factor: Callable[[Any, Any], float]) -> Callable[[Any, Any, Any], None]:
    return lambda layer, Delta, dX: None if layer.db is None else write(layer.db, layer.db * factor(layer, Delta))


def _square(layer: Any, Delta: Any, wrong: Any) -> Any:
    """`wrong()` where all sizes are equal, so that it has the right shape."""
    return wrong() if layer.units == layer.inputs == len(Delta) else None


def _shifted_slopes(original: Wrong) -> Wrong:
    """f' of layer l taken at the pre-activation of layer l - 1, as the index in the article's forward pass says."""

    def wrong(self: Network, Delta: Any, input_gradient: bool = False) -> Any:
        dense = [layer for layer in self.layers if isinstance(layer, Dense)]
        kept = [(layer.Z, layer.A) for layer in dense]
        for layer, (Z, A) in zip(dense[1:], kept, strict=False):
            layer.Z, layer.A = Z, A
        result = original(self, Delta, input_gradient)
        for layer, (Z, A) in zip(dense, kept, strict=True):
            layer.Z, layer.A = Z, A
        return result

    return wrong


def _left_out(which: int) -> Callable[[Wrong], Wrong]:
    """The gradient of one layer's weights is never written."""

    def make(original: Wrong) -> Wrong:
        def wrong(self: Network, Delta: Any, input_gradient: bool = False) -> Any:
            result = original(self, Delta, input_gradient)
            [layer for layer in self.layers if isinstance(layer, Dense)][which].dW[...] = 0
            return result

        return wrong

    return make


def _input_of_last(original: Wrong) -> Wrong:
    """Layer 0 reads A[-1], the last activation, where the input belongs."""

    def wrong(self: Network, Delta: Any, input_gradient: bool = False) -> Any:
        dense = [layer for layer in self.layers if isinstance(layer, Dense)]
        first, kept = dense[0], dense[0].X
        first.X = dense[-1].X
        result = original(self, Delta, input_gradient)
        first.X = kept
        return result

    return wrong


def _redrawn(original: Wrong) -> Wrong:
    def wrong(self: Dropout, Delta: Any, input_gradient: bool = True) -> Any:
        if self.active:
            self.mask[...] = np.roll(self.mask, 1, axis=0)
        return original(self, Delta, input_gradient)

    return wrong


def _stateful_mask(original: Wrong) -> Wrong:
    """Dropout that draws from a generator with a memory: two passes get two masks."""
    state = {"step": 0}

    def wrong(self: Dropout, X: Any, mode: Any) -> Any:
        state["step"] += 1
        return original(self, X, replace(mode, step=mode.step + state["step"]))

    return wrong


def _unmasked(self: Any, Delta: Any, input_gradient: bool = True) -> Any:
    return Delta


REDUCTIONS = "reductions"
LAYER_BUGS = (
    _dense("bias gradient is a mean", _bias(lambda layer, Delta: 1 / len(Delta)), REDUCTIONS),
    _dense("weight gradient is a mean", lambda s, D, dX: write(s.dW, s.dW / len(D)), REDUCTIONS),
    _dense("last row dropped", lambda s, D, dX: write(s.dW, D[:-1].T @ s.X[:-1]), REDUCTIONS),
    _dense("bias gradient counts the first row twice", lambda s, D, dX: write(s.db, s.db + D[0]), REDUCTIONS),
    _dense("input gradient over units", lambda s, D, dX: None if dX is None else dX / s.units, REDUCTIONS),
    _dense(
        "delta not transposed",
        lambda s, D, dX: _square(s, D, lambda: write(s.dW, D @ s.X)),
        model="square",
        slip=4,
    ),
    _dense("missing transpose of W", lambda s, D, dX: _square(s, D, lambda: D @ s.W.T), model="square", slip=5),
    _dense("dW transposed", lambda s, D, dX: _square(s, D, lambda: write(s.dW, s.X.T @ D)), model="square"),
    _dense(
        "one partial derivative for all inputs",
        lambda s, D, dX: _square(s, D, lambda: D * np.diag(s.W)),
        model="square",
        slip=3,
    ),
    _dense(
        "delta paired with the next activation",
        lambda s, D, dX: _square(s, D, lambda: write(s.dW, D.T @ s.A)),
        model="square",
        slip=8,
    ),
    _dense("rows of the input swapped", lambda s, D, dX: write(s.dW, D.T @ np.roll(s.X, 1, axis=0))),
    _dense("units reversed in the bias gradient", lambda s, D, dX: write(s.db, s.db[::-1].copy())),
    _dense("biases left out", lambda s, D, dX: write(s.db, 0 * s.db), slip=10),
    Bug("layout", "last layer's weights left out", Network, "backward", _left_out(-1), slip=8),
    Bug("layout", "first layer's weights left out", Network, "backward", _left_out(0), slip=8),
    Bug("layout", "slope at the layer below", Network, "backward", _shifted_slopes, "square", slip=1),
    Bug("layout", "layer 0 reads the last activation", Network, "backward", _input_of_last, "square", slip=6),
    Bug("layout", "skip connection without gradient", Residual, "backward",
        after(lambda s, D, dX: dX - s._skip[: len(dX)]), "residual"),
    Bug("layout", "skip connection counted twice", Residual, "backward",
        after(lambda s, D, dX: dX + s._skip[: len(dX)]), "residual"),
    Bug("dropout", "no mask in the backward pass", Dropout, "backward", lambda original: _unmasked, "dropout"),
    Bug("dropout", "no 1/(1-p) in the backward pass", Dropout, "backward",
        after(lambda s, D, dX: dX * (1 - s.p) if s.active else None), "dropout"),
    Bug("dropout", "mask drawn again for the backward pass", Dropout, "backward", _redrawn, "dropout"),
    Bug("dropout", "mask depends on earlier draws", Dropout, "forward", _stateful_mask, "dropout"),
    Bug("activations", "prelu: slope gradient over all units", PRelu, "backward",
        after(lambda s, D, dX: write(s.da, (D * s.Z).sum())), "prelu"),
    Bug("activations", "prelu: slope gradient is a mean", PRelu, "backward",
        after(lambda s, D, dX: write(s.da, s.da / s.Z.size)), "prelu"),
)  # fmt: skip

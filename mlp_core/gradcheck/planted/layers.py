"""Planted bugs: reductions, layout, dropout and skip connections, the slips of the article among them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.nn.layers import Dense, Dropout, PRelu, Residual
from mlp_core.nn.network import Network


def backward_bug(family: str, owner: Any, name: str, change: Callable[[Any, Any, Any], Any], **more: Any) -> Bug:
    """A backward pass with something done to its results: change(layer, Delta, dX) may return another dX.

    Delta is then dLoss/dZ, because the layer works on it in place.
    """

    def wrong(backward: Wrong, layer: Any, Delta: Any, input_gradient: bool = True) -> Any:
        dX = backward(layer, Delta, input_gradient)
        changed = change(layer, Delta, dX)
        return dX if changed is None or dX is None else changed

    return Bug(family, name, owner, "backward", wrong, **more)


def write(array: Any, values: Any) -> None:
    array[...] = values


_reduced = partial(backward_bug, "reductions", Dense)
_laid_out = partial(backward_bug, "layout", Dense)
_skip = partial(backward_bug, "layout", Residual, model="residual")
_prelu = partial(backward_bug, "activations", PRelu, model="prelu")


def _square(name: str, change: Callable[[Any, Any], Any], slip: int | None = None) -> Bug:
    """A bug where all sizes are equal, so that what change(layer, Delta) does has the right shape."""

    def where_square(layer: Any, Delta: Any, dX: Any) -> Any:
        return change(layer, Delta) if layer.units == layer.inputs == len(Delta) else None

    return _laid_out(name, where_square, model="square", slip=slip)


def _shifted_slopes(backward: Wrong, network: Network, Delta: Any, input_gradient: bool = False) -> Any:
    """f' of layer l taken at the pre-activation of layer l - 1, as the index in the article's forward pass says."""
    dense = network._dense_layers()
    kept = [(layer.Z, layer.A) for layer in dense]
    for layer, (Z, A) in zip(dense[1:], kept, strict=False):
        layer.Z, layer.A = Z, A
    dX = backward(network, Delta, input_gradient)
    for layer, (Z, A) in zip(dense, kept, strict=True):
        layer.Z, layer.A = Z, A
    return dX


def _left_out(which: int) -> Wrong:
    """The gradient of one layer's weights is never written."""

    def wrong(backward: Wrong, network: Network, Delta: Any, input_gradient: bool = False) -> Any:
        dX = backward(network, Delta, input_gradient)
        network._dense_layers()[which].dW[...] = 0
        return dX

    return wrong


def _input_of_last(backward: Wrong, network: Network, Delta: Any, input_gradient: bool = False) -> Any:
    """Layer 0 reads A[-1], the last activation, where the input belongs."""
    dense = network._dense_layers()
    first, kept = dense[0], dense[0].X
    first.X = dense[-1].X
    dX = backward(network, Delta, input_gradient)
    first.X = kept
    return dX


def _redrawn(backward: Wrong, layer: Dropout, Delta: Any, input_gradient: bool = True) -> Any:
    if layer.active:
        layer.mask[...] = np.roll(layer.mask, 1, axis=0)
    return backward(layer, Delta, input_gradient)


def _unmasked(backward: Wrong, layer: Dropout, Delta: Any, input_gradient: bool = True) -> Any:
    return Delta


_draws = itertools.count(1)


def _stateful_mask(forward: Wrong, layer: Dropout, X: Any, mode: Any) -> Any:
    """Dropout that draws from a generator with a memory: two passes get two masks."""
    return forward(layer, X, replace(mode, step=mode.step + next(_draws)))


LAYER_BUGS = (
    _reduced("bias gradient is a mean", lambda s, D, dX: write(s.db, s.db / len(D))),
    _reduced("weight gradient is a mean", lambda s, D, dX: write(s.dW, s.dW / len(D))),
    _reduced("last row dropped", lambda s, D, dX: write(s.dW, D[:-1].T @ s.X[:-1])),
    _reduced("bias gradient counts the first row twice", lambda s, D, dX: write(s.db, s.db + D[0])),
    _reduced("input gradient over units", lambda s, D, dX: None if dX is None else dX / s.units),
    _square("delta not transposed", lambda s, D: write(s.dW, D @ s.X), 4),
    _square("missing transpose of W", lambda s, D: D @ s.W.T, 5),
    _square("dW transposed", lambda s, D: write(s.dW, s.X.T @ D)),
    _square("one partial derivative for all inputs", lambda s, D: D * np.diag(s.W), 3),
    _square("delta paired with the next activation", lambda s, D: write(s.dW, D.T @ s.A), 8),
    _laid_out("rows of the input swapped", lambda s, D, dX: write(s.dW, D.T @ np.roll(s.X, 1, axis=0))),
    _laid_out("units reversed in the bias gradient", lambda s, D, dX: write(s.db, s.db[::-1].copy())),
    _laid_out("biases left out", lambda s, D, dX: write(s.db, 0 * s.db), slip=10),
    Bug("layout", "last layer's weights left out", Network, "backward", _left_out(-1), slip=8),
    Bug("layout", "first layer's weights left out", Network, "backward", _left_out(0), slip=8),
    Bug("layout", "slope at the layer below", Network, "backward", _shifted_slopes, "square", slip=1),
    Bug("layout", "layer 0 reads the last activation", Network, "backward", _input_of_last, "square", slip=6),
    _skip("skip connection without gradient", lambda s, D, dX: dX - s._skip[: len(dX)]),
    _skip("skip connection counted twice", lambda s, D, dX: dX + s._skip[: len(dX)]),
    Bug("dropout", "no mask in the backward pass", Dropout, "backward", _unmasked, "dropout"),
    backward_bug("dropout", Dropout, "no 1/(1-p) in the backward pass",
                 lambda s, D, dX: dX * (1 - s.p) if s.active else None, model="dropout"),
    Bug("dropout", "mask drawn again for the backward pass", Dropout, "backward", _redrawn, "dropout"),
    Bug("dropout", "mask depends on earlier draws", Dropout, "forward", _stateful_mask, "dropout"),
    _prelu("prelu: slope gradient over all units", lambda s, D, dX: write(s.da, (D * s.Z).sum())),
    _prelu("prelu: slope gradient is a mean", lambda s, D, dX: write(s.da, s.da / s.Z.size)),
)  # fmt: skip

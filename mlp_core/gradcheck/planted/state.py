"""Planted bugs: penalties, precision, and state that leaks from one pass into another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import backward_bug, write
from mlp_core.nn.layers import Dense, Dropout
from mlp_core.nn.norm import Norm
from mlp_core.nn.objective import Objective, Penalty


def _penalty(name: str, wrong: Wrong) -> Bug:
    """The gradient of the penalty replaced by wrong(add_gradient, penalty, network)."""
    return Bug("penalties", name, Penalty, "add_gradient", wrong, "penalties")


def _before(family: str, owner: Any, name: str, change: Callable[[Any, Any], None], model: str = "plain") -> Bug:
    """A backward pass with something done to its layer or its error first."""

    def wrong(backward: Wrong, layer: Any, Delta: Any, input_gradient: bool = True) -> Any:
        change(layer, Delta)
        return backward(layer, Delta, input_gradient)

    return Bug(family, name, owner, "backward", wrong, model)


def _doubled(add_gradient: Wrong, penalty: Penalty, network: Any) -> None:
    add_gradient(penalty, network)
    add_gradient(penalty, network)


def _l1_as_l2(add_gradient: Wrong, penalty: Penalty, network: Any) -> None:
    part = network.parameters.weights
    network.parameters.grad[part] += (penalty.l2 + penalty.l1) * network.parameters.theta[part]


def _on_everything(add_gradient: Wrong, penalty: Penalty, network: Any) -> None:
    theta, grad = network.parameters.theta, network.parameters.grad
    grad += penalty.l2 * theta + penalty.l1 * np.sign(theta)


def _unreported(value_and_gradient: Wrong, objective: Objective, *args: Any, **more: Any) -> Any:
    """A gradient with the penalty beside a loss without it."""
    value, dX = value_and_gradient(objective, *args, **more)
    return value - objective.penalty.value(objective.network), dX


def _accumulates(backward: Wrong, layer: Dense, Delta: Any, input_gradient: bool = True) -> Any:
    stale = layer.dW.copy()
    dX = backward(layer, Delta, input_gradient)
    layer.dW += stale
    return dX


def _bfloat16(layer: Dense, Delta: Any) -> None:
    """Cut a float32 error to the upper 16 of its bits."""
    if Delta.dtype == np.float32:
        Delta[...] = (np.ascontiguousarray(Delta).view(np.uint32) & 0xFFFF0000).view(np.float32)


def _one_entry(layer: Dense, Delta: Any, dX: Any) -> None:
    layer.dW[0, -1] += 5e-8 * np.abs(layer.dW).max()


def _records(layer: Norm, Delta: Any) -> None:
    if layer.kind == "batch":
        layer.mean += 0.1 * layer.H.mean(axis=0) + 1e-3


def _in_place(forward: Wrong, layer: Dropout, X: Any, mode: Any) -> Any:
    """Dropout that masks the caller's array."""
    A = forward(layer, X, mode)
    if layer.active:
        X[...] = A
    return A


def _moves_weights(layer: Dense, Delta: Any) -> None:
    layer.W *= 1 + 1e-15


_imprecise = partial(backward_bug, "precision", Dense)
STATE_BUGS = (
    _penalty("doubled", _doubled),
    _penalty("missing", lambda add_gradient, penalty, network: None),
    _penalty("l1 with the gradient of l2", _l1_as_l2),
    _penalty("applied to biases", _on_everything),
    Bug("penalties", "not in the reported loss", Objective, "value_and_gradient", _unreported, "penalties"),
    _before("precision", Dense, "float32 cast in the backward pass", lambda s, D: write(D, D.astype(np.float32))),
    _imprecise("weight gradient times 1 + 1e-4", lambda s, D, dX: write(s.dW, s.dW * (1 + 1e-4))),
    _imprecise("one entry off by 5e-8", _one_entry),
    _imprecise("NaN in one entry", lambda s, D, dX: write(s.dW[:1, :1], np.nan)),
    _before("precision", Dense, "bfloat16 in float32 training only", _bfloat16, "float32"),
    Bug("state", "gradient added to the last one", Dense, "backward", _accumulates),
    backward_bug("state", Norm, "a cache changed in place", lambda s, D, dX: write(s.H, 0.5 * s.H), model="layer"),
    _before("state", Norm, "running statistics moved by the backward pass", _records, "batch"),
    Bug("state", "input masked in place", Dropout, "forward", _in_place, "dropout"),
    _before("state", Dense, "weights moved by the backward pass", _moves_weights),
)

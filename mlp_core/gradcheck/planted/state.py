"""Planted bugs: penalties, precision, and state that leaks from one pass into another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import after, before, write
from mlp_core.nn.layers import Dense, Dropout
from mlp_core.nn.norm import Norm
from mlp_core.nn.objective import Objective, Penalty


def _penalty(name: str, change: Callable[[Any, Any], None], model: str = "penalties") -> Bug:
    """The gradient of the penalty replaced by change(penalty, network)."""
    return Bug("penalties", name, Penalty, "add_gradient", lambda original: change, model)


def _doubled(original: Wrong) -> Wrong:
    def wrong(self: Penalty, network: Any) -> None:
        original(self, network)
        original(self, network)

    return wrong


def _l1_as_l2(self: Penalty, network: Any) -> None:
    part = network.parameters.weights
    network.parameters.grad[part] += (self.l2 + self.l1) * network.parameters.theta[part]


def _on_everything(self: Penalty, network: Any) -> None:
    theta, grad = network.parameters.theta, network.parameters.grad
    grad += self.l2 * theta + self.l1 * np.sign(theta)


def _unreported(original: Wrong) -> Wrong:
    """A gradient with the penalty beside a loss without it."""

    def wrong(self: Objective, *args: Any, **more: Any) -> Any:
        value, dX = original(self, *args, **more)
        return value - self.penalty.value(self.network), dX

    return wrong


def _accumulates(original: Wrong) -> Wrong:
    def wrong(self: Dense, Delta: Any, input_gradient: bool = True) -> Any:
        stale = self.dW.copy()
        result = original(self, Delta, input_gradient)
        self.dW += stale
        return result

    return wrong


def _bfloat16(layer: Dense, Delta: Any) -> None:
    """Cut a float32 error to the upper 16 of its bits."""
    if Delta.dtype == np.float32:
        Delta[...] = (np.ascontiguousarray(Delta).view(np.uint32) & 0xFFFF0000).view(np.float32)


def _one_entry(layer: Dense, Delta: Any, dX: Any) -> None:
    layer.dW[0, -1] += 5e-8 * np.abs(layer.dW).max()


def _records(layer: Norm, Delta: Any) -> None:
    if layer.kind == "batch":
        layer.mean += 0.1 * layer.H.mean(axis=0) + 1e-3


def _in_place(original: Wrong) -> Wrong:
    """Dropout that masks the caller's array."""

    def wrong(self: Dropout, X: Any, mode: Any) -> Any:
        A = original(self, X, mode)
        if self.active:
            X[...] = A
        return A

    return wrong


def _moves_weights(layer: Dense, Delta: Any) -> None:
    layer.W *= 1 + 1e-15


STATE_BUGS = (
    Bug("penalties", "doubled", Penalty, "add_gradient", _doubled, "penalties"),
    _penalty("missing", lambda self, network: None),
    _penalty("l1 with the gradient of l2", _l1_as_l2),
    _penalty("applied to biases", _on_everything),
    Bug("penalties", "not in the reported loss", Objective, "value_and_gradient", _unreported, "penalties"),
    Bug("precision", "float32 cast in the backward pass", Dense, "backward",
        before(lambda s, D: write(D, D.astype(np.float32)))),
    Bug("precision", "weight gradient times 1 + 1e-4", Dense, "backward",
        after(lambda s, D, dX: write(s.dW, s.dW * (1 + 1e-4)))),
    Bug("precision", "one entry off by 5e-8", Dense, "backward", after(_one_entry)),
    Bug("precision", "NaN in one entry", Dense, "backward", after(lambda s, D, dX: write(s.dW[:1, :1], np.nan))),
    Bug("precision", "bfloat16 in float32 training only", Dense, "backward", before(_bfloat16), "float32"),
    Bug("state", "gradient added to the last one", Dense, "backward", _accumulates),
    Bug("state", "a cache changed in place", Norm, "backward",
        after(lambda s, D, dX: write(s.H, 0.5 * s.H)), "layer"),
    Bug("state", "running statistics moved by the backward pass", Norm, "backward", before(_records), "batch"),
    Bug("state", "input masked in place", Dropout, "forward", _in_place, "dropout"),
    Bug("state", "weights moved by the backward pass", Dense, "backward", before(_moves_weights)),
)  # fmt: skip

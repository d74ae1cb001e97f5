"""Planted bugs: derivatives of activations, and of those next to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.nn import activations as a
from mlp_core.nn.complex_math import erf
from mlp_core.nn.layers import PRelu


def _slope(name: str, kind: type[a.Activation], formula: Callable[[Any, Any, Any], Any]) -> Bug:
    """f' replaced by formula(f, z, a)."""
    return Bug("activations", name, kind, "slope", lambda slope, f, xp, z, y: formula(f, z, y), kind.name)


def _prelu_at_zero(backward: Wrong, layer: PRelu, Delta: Any, input_gradient: bool = True) -> Any:
    """The derivative from the right at 0 where the forward pass takes the left."""
    right = Delta * (layer.Z == 0)
    return backward(layer, Delta, input_gradient) + right * (1 - layer.a)


ACTIVATION_BUGS = (
    _slope("tanh: factor missing", a.Tanh, lambda f, z, y: np.ones_like(y)),
    _slope("tanh: 1 - a", a.Tanh, lambda f, z, y: 1 - y),
    _slope("tanh: 1 - z^2 of the overwritten z, squared", a.Tanh, lambda f, z, y: 1 - (y * y) ** 2),
    _slope("sigmoid: a instead of a (1 - a)", a.Sigmoid, lambda f, z, y: y),
    _slope("relu: >= for >", a.Relu, lambda f, z, y: y >= 0),
    Bug("activations", "prelu: >= for > at the kink", PRelu, "backward", _prelu_at_zero, "prelu at zero"),
    _slope("leaky_relu: slope 0 below", a.LeakyRelu, lambda f, z, y: (y > 0) * 1.0),
    _slope("leaky_relu: another alpha", a.LeakyRelu, lambda f, z, y: np.where(y > 0, 1, 0.011)),
    _slope("elu: without alpha", a.Elu, lambda f, z, y: np.where(y > 0, 1, y + 1)),
    _slope("selu: without scale", a.Selu, lambda f, z, y: np.where(y > 0, 1.0, y + a._SELU_ALPHA)),
    _slope("gelu: tanh forward, erf backward", a.GeluTanh, lambda f, z, y: a.Gelu().slope(np, z, y)),
    _slope("gelu: erf forward, tanh backward", a.Gelu, lambda f, z, y: a.GeluTanh().slope(np, z, y)),
    _slope("gelu: density term missing", a.Gelu, lambda f, z, y: 0.5 * (1 + erf(np, z * np.sqrt(0.5)))),
    _slope("silu: second term missing", a.Silu, lambda f, z, y: a._sigmoid(np, z)),
    _slope(
        "mish: sigmoid factor missing", a.Mish, lambda f, z, y: (t := np.tanh(np.logaddexp(0, z))) + z * (1 - t * t)
    ),
    _slope("softplus: exp(-a)", a.Softplus, lambda f, z, y: np.exp(-y)),
    _slope("softsign: not squared", a.Softsign, lambda f, z, y: 1 - np.abs(y)),
    _slope("hard_tanh: not cut", a.HardTanh, lambda f, z, y: np.ones_like(y)),
    _slope("hard_sigmoid: 1/5", a.HardSigmoid, lambda f, z, y: ((z > -3) & (z < 3)) * 0.2),
    _slope(
        "hard_swish: (z + 3) / 6", a.HardSwish, lambda f, z, y: np.where(z >= 3, 1, np.where(z <= -3, 0, (z + 3) / 6))
    ),
    _slope("sin: sign of cos", a.Sin, lambda f, z, y: -np.cos(z)),
)

"""Fused primitives for the CPU: compiled loops where they are faster, behind the faces of the generic primitives.

Each entry has the name and the remaining arguments of the generic primitive that it replaces, and hands over to that
one where it has nothing faster: for other losses and activations, other dtypes, arrays that are not contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mlp_core import instructions, loops
from mlp_core.activations import (
    _SELU_ALPHA,
    _SELU_SCALE,
    Activation,
    Elu,
    Identity,
    LeakyRelu,
    Relu,
    Selu,
    Sigmoid,
    Tanh,
    activation_gradient,
    bias_activation,
)
from mlp_core.backend import BLOCK, Array
from mlp_core.crew import Crew
from mlp_core.losses import Bce, CrossEntropy, Loss, Mse, loss_and_gradient
from mlp_core.optimizers import nadam_rates, radam_rate


def _real(array: Array) -> bool:
    """Whether the loops are meant for this array: they are not for complex numbers, nor for long doubles."""
    return array.dtype.char in "fd"


_FORWARD: dict[type[Activation], tuple[Any, Callable[[Any], float]]] = {
    Relu: (loops.relu, lambda f: 0.0),
    LeakyRelu: (loops.leaky_relu, lambda f: f.alpha),
}
_BACKWARD: dict[type[Activation], tuple[Any, Callable[[Any], tuple[float, float]]]] = {
    Relu: (loops.relu_gradient, lambda f: (0.0, 0.0)),
    LeakyRelu: (loops.two_slopes_gradient, lambda f: (1.0, f.alpha)),
    Elu: (loops.elu_gradient, lambda f: (1.0, f.alpha)),
    Selu: (loops.elu_gradient, lambda f: (_SELU_SCALE, _SELU_SCALE * _SELU_ALPHA)),
    Tanh: (loops.parabola_gradient, lambda f: (1.0, 1.0)),
    Sigmoid: (loops.parabola_gradient, lambda f: (0.0, 1.0)),
}


def _bias_activation(Z: Array, b: Array | None, f: Activation, A: Array, block: int = BLOCK) -> None:
    kind = type(f)
    if kind in _FORWARD and _real(Z):
        loop, parameter = _FORWARD[kind]
        loop(Z, b, A, parameter(f))
    elif kind is Identity and A is Z and b is not None and _real(Z):
        loops.bias(Z, b, A, 0.0)
    else:
        bias_activation(np, Z, b, f, A, block)


def _activation_gradient(
    Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None, block: int = BLOCK
) -> None:
    kind = type(f)
    if kind in _BACKWARD and _real(Delta):
        loop, parameters = _BACKWARD[kind]
        loop(Delta, A, db, *parameters(f))
    elif kind is Identity and db is not None and _real(Delta):
        loops.sum_rows(Delta, A, db, 0.0, 0.0)
    else:
        activation_gradient(np, Delta, f, Z, A, db, block)


def _loss_and_gradient(
    loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None, block: int = BLOCK
) -> Any:
    kind = type(loss)
    if Delta is None or not _real(Z):
        return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)
    if isinstance(loss, CrossEntropy) and Y.ndim == 1 and Y.dtype.kind == "i":
        value = loops.cross_entropy(Z, Y, w, total, Delta, loss.label_smoothing)
        if math.isnan(value) and not (Y.min() >= 0 and Y.max() < Z.shape[1]):
            raise IndexError("a target is not the number of a class")
        return value / total
    if isinstance(loss, Bce) and Y.size == Z.size and Y.dtype.kind in "if":
        return loops.bce(Z, Y.reshape(Z.shape), w, total, Delta, loss.pos_weight) / total
    if kind is Mse and Y.shape == Z.shape and Y.dtype == Z.dtype:
        return loops.mse(Z, Y, w, total, Delta) / total
    return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)


def _adam_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    return lr / (1 - beta1**t), 0.0, 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _nadam_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    ahead, here = nadam_rates(lr, beta1, t)
    return ahead, here, 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _amsgrad_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    return lr / (1 - beta1**t), 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _plain_numbers(lr: float, decay: float, *constants: float, **settings: float) -> tuple[float, ...]:
    return lr, 1 - lr * decay, *constants, *settings.values()


Numbers = Callable[..., tuple[float, ...]]
RULES: dict[str, tuple[Any, Numbers]] = {
    "sgd": (loops.sgd, _plain_numbers),
    "momentum": (loops.momentum, _plain_numbers),
    "nesterov": (loops.nesterov, _plain_numbers),
    "adagrad": (loops.adagrad, _plain_numbers),
    "rmsprop": (loops.rmsprop, _plain_numbers),
    "adadelta": (loops.adadelta, _plain_numbers),
    "adam": (loops.adam, _adam_numbers),
    "nadam": (loops.adam, _nadam_numbers),
    "amsgrad": (loops.amsgrad, _amsgrad_numbers),
    "lion": (loops.lion, _plain_numbers),
}
"""The loop of an update rule, and the numbers it takes after its vectors, as a function of the learning rate, the
weight decay and the settings of the optimizer in their order."""


def _rule(name: str, vectors: int) -> Callable[..., None]:
    """The update rule with the arguments of the generic one."""
    loop, numbers = RULES[name]

    def step(*arguments: Any, **settings: Any) -> None:
        loop(*arguments[:vectors], *numbers(*arguments[vectors:], **settings))

    return step


def _radam_step(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> None:
    rate, rectified = radam_rate(lr, beta1, beta2, t)
    if rectified:
        loops.adam(theta, grad, m, v, rate, 0.0, 1 - lr * decay, beta1, beta2, eps, 1.0)
    else:
        loops.momentum_and_square(theta, grad, m, v, rate, 1 - lr * decay, beta1, beta2)


def _gather(X: Array, rows: Array, out: Array) -> None:
    X.take(rows, 0, out, "clip")


VECTORS = {
    **{"sgd": 2, "momentum": 3, "nesterov": 3, "adagrad": 3, "adadelta": 4, "rmsprop": 3},
    **{"adam": 4, "amsgrad": 5, "nadam": 4, "radam": 4, "lion": 3},
}
"""How many vectors, theta and its gradient among them, each update rule goes through."""

KERNELS: dict[str, Callable[..., Any]] = {
    "gather": _gather,
    "bias_activation": _bias_activation,
    "activation_gradient": _activation_gradient,
    "loss_and_gradient": _loss_and_gradient,
    **{name: _rule(name, VECTORS[name]) for name in RULES},
    "radam": _radam_step,
}


LEAST_FLOPS = 1e6
"""Floating-point operations of a product that repay the some microseconds it takes to describe it: ten of them."""

LEAST_ENTRIES = 30_000
"""Length of a parameter vector from which an update is shared out."""


def _product(crew: Crew, A: Array, B: Array, out: Array) -> Array:
    """out = A @ B by our own tiles, shared out among the crew, where that is faster than to ask numpy."""
    lies_well = 1 in (B.strides[1] // B.itemsize, B.strides[0] // B.itemsize if A.strides[1] == A.itemsize else 0)
    if not _real(out) or not lies_well or 2.0 * out.size * A.shape[1] < LEAST_FLOPS:
        return np.matmul(A, B, out=out)
    crew.run(np.array([instructions.product(A, B, out, crew.scratch)]))
    return out


def _shared(crew: Crew, name: str) -> Callable[..., None]:
    """An update rule that is shared out among the crew where its vectors are long."""
    vectors, numbers, alone = VECTORS[name], RULES[name][1], KERNELS[name]

    def step(*arguments: Any, **settings: Any) -> None:
        arrays, size = arguments[:vectors], len(arguments[0])
        if size < LEAST_ENTRIES:
            alone(*arguments, **settings)
            return
        values = np.array(numbers(*arguments[vectors:], **settings))
        crew.run(np.array([instructions.update(name, arrays, values.ctypes.data, size, 1)]))

    return step


def kernels(threads: int) -> dict[str, Callable[..., Any]]:
    """The fused primitives by the names of the generic ones; products and long updates are shared among `threads`."""
    crew = Crew(threads)
    shared = {name: _shared(crew, name) for name in RULES} if threads > 1 else {}
    return {**KERNELS, **shared, "product": partial(_product, crew)}

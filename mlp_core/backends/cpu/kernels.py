"""Fused primitives for the CPU: compiled loops where they are faster, behind the faces of the generic primitives.

Each has the name and the arguments of the generic primitive that it replaces, and hands over to that one where it has
nothing faster: for other losses and activations, other dtypes, arrays that are not contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.compiled.layout import WIDTH
from mlp_core.backends.cpu.crew import LEAD, OTHERS, Crew
from mlp_core.backends.cpu.machine_code import Function, machine_code
from mlp_core.data.preprocess.scaling import gather_scaled
from mlp_core.nn.activations import (
    _GELU_A,
    _GELU_B,
    _SELU_ALPHA,
    _SELU_SCALE,
    Activation,
    Elu,
    GeluTanh,
    Identity,
    LeakyRelu,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Tanh,
    activation_gradient,
    bias_activation,
)
from mlp_core.nn.backend import BLOCK, Array
from mlp_core.nn.losses import Bce, CrossEntropy, Loss, Mse, loss_and_gradient
from mlp_core.nn.optimizers import nadam_rates, radam_rate
from mlp_core.nn.primitives import dropout_mask

Numbers = Callable[[Any], tuple[float, ...]]

FORWARD: dict[type[Activation], tuple[str, Numbers]] = {
    Identity: ("bias", lambda f: ()),
    Relu: ("relu", lambda f: ()),
    LeakyRelu: ("leaky_relu", lambda f: (f.alpha,)),
    Elu: ("elu", lambda f: (1.0, f.alpha)),
    Selu: ("elu", lambda f: (_SELU_SCALE, _SELU_SCALE * _SELU_ALPHA)),
    Tanh: ("tanh", lambda f: ()),
    Sigmoid: ("sigmoid", lambda f: ()),
    Silu: ("silu", lambda f: ()),
    GeluTanh: ("gelu_tanh", lambda f: (_GELU_A, _GELU_B)),
}
BACKWARD: dict[type[Activation], tuple[str, Numbers]] = {
    Relu: ("relu_gradient", lambda f: ()),
    LeakyRelu: ("two_slopes_gradient", lambda f: (1.0, f.alpha)),
    Elu: ("elu_gradient", lambda f: (1.0, f.alpha)),
    Selu: ("elu_gradient", lambda f: (_SELU_SCALE, _SELU_SCALE * _SELU_ALPHA)),
    Tanh: ("parabola_gradient", lambda f: (1.0, 1.0)),
    Sigmoid: ("parabola_gradient", lambda f: (0.0, 1.0)),
    Silu: ("silu_gradient", lambda f: ()),
    GeluTanh: ("gelu_tanh_gradient", lambda f: (_GELU_A, _GELU_B)),
}
LOSS: dict[type[Loss], tuple[str, Callable[[Any], float]]] = {
    CrossEntropy: ("cross_entropy", lambda loss: loss.label_smoothing),
    Bce: ("bce", lambda loss: loss.pos_weight),
    Mse: ("mse", lambda loss: 0.0),
}
"""The instruction of each function, and the numbers it takes."""


def _adam_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    return lr / (1 - beta1**t), 0.0, 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _nadam_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    ahead, here = nadam_rates(lr, beta1, t)
    return ahead, here, 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _amsgrad_numbers(lr: float, decay: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    return lr / (1 - beta1**t), 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t)


def _plain_numbers(lr: float, decay: float, *constants: float, **settings: float) -> tuple[float, ...]:
    return lr, 1 - lr * decay, *constants, *settings.values()


RULES: dict[str, Callable[..., tuple[float, ...]]] = {
    **dict.fromkeys(("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "lion"), _plain_numbers),
    **{"adam": _adam_numbers, "nadam": _nadam_numbers, "amsgrad": _amsgrad_numbers},
}
"""The numbers that the loop of an update rule takes after its vectors, as a function of the learning rate, the weight
decay and the settings of the optimizer in their order."""

VECTORS = {
    **{"sgd": 2, "momentum": 3, "nesterov": 3, "adagrad": 3, "adadelta": 4, "rmsprop": 3},
    **{"adam": 4, "amsgrad": 5, "nadam": 4, "lion": 3},
}
"""How many vectors, theta and its gradient among them, each update rule goes through."""

LEAST_FLOPS = 1e6
"""Floating-point operations of a product that repay the some microseconds it takes to describe it: ten of them."""

LEAST_ENTRIES = 30_000
"""Length of a parameter vector from which an update is shared out: it waits for memory."""

LEAST_NUMBERS = 250_000
"""Numbers of other arrays from which their threads gain more than it costs them to meet, on a busy machine, too."""


DROPOUT = ("dropout_mask", "multiply")
PENALTY = ("penalty", "penalty_gradient")
"""Instructions of training with dropout, and with a penalty on weights."""


def needed(
    dtype: Any,
    activations: Iterable[type[Activation]],
    loss: type[Loss],
    rule: str,
    extras: Iterable[str] = (),
) -> list[str]:
    """The names of the functions that training such a network calls; `extras` are further instructions."""
    rules = {**{name: [update] for name, update in do.UPDATES.items()}, "radam": ["adam", "momentum_and_square"]}
    names = [*rules.get(rule, [])]
    names += ["gather", "gather_uint8", *(["gather_float32"] if np.dtype(dtype) == np.float64 else [])]
    names += ["sum_rows", *extras, "outer", "outer_by_columns", "dot", "dot_by_columns"]
    names += [table[kind][0] for kind in activations for table in (FORWARD, BACKWARD) if kind in table]
    names += [LOSS[loss][0]] if loss in LOSS else []
    return [
        LEAD,
        *OTHERS,
        *(do.named(name, np.int64) for name in ("gather", "in_strips")),
        *(do.named(name, dtype) for name in dict.fromkeys(names)),
    ]


def _real(*arrays: Array | None) -> bool:
    """Whether the loops are meant for these arrays: floats of one size without gaps; not complex, no long doubles."""
    there = [array for array in arrays if array is not None]
    return there[0].dtype.char in "fd" and all(
        array.dtype == there[0].dtype and array.flags.c_contiguous for array in there
    )


class Kernels:
    """The fused primitives; what is large is shared out among `threads`."""

    def __init__(self, threads: int) -> None:
        """Raises CannotCompile."""
        self._crew = Crew(threads)
        self._rows: dict[str, tuple[Function, Array, int]] = {}
        self._numbers, self._losses = np.empty(8), np.empty(0)

    def table(self) -> dict[str, Callable[..., Any]]:
        """All of them by the names of the generic ones."""
        return {
            "gather": _gather,
            "gather_scaled": self.gather_scaled,
            "product": self.product,
            "bias_activation": self.bias_activation,
            "activation_gradient": self.activation_gradient,
            "loss_and_gradient": self.loss_and_gradient,
            "dropout_mask": self.dropout_mask,
            **{rule: partial(self.move, rule) for rule in RULES},
            "radam": self.radam,
        }

    def _do(self, record: do.Record, share: bool) -> None:
        """Carry out one instruction, alone or sharing it out."""
        name, *arguments = record
        if name not in self._rows:
            (function,), row = machine_code().functions([str(name)]), np.zeros((1, WIDTH), np.int64)
            row[0, 0] = function.address
            self._rows[str(name)] = function, row, row.ctypes.data
        function, row, place = self._rows[str(name)]
        row[0, 1 : len(arguments) + 1] = arguments
        if share and self._crew.threads > 1:
            self._crew.run(row)
        else:
            function(place, 0, 1)

    def _keep(self, numbers: Iterable[float]) -> int:
        """Where the numbers are, until the next ones."""
        for place, number in enumerate(numbers):
            self._numbers[place] = number
        return int(self._numbers.ctypes.data)

    def gather_scaled(self, X: Array, rows: Array, shift: Array, scale: Array, out: Array) -> None:
        if X.dtype in do.STORED and rows.dtype == np.int64 and rows.flags.c_contiguous and _real(out):
            where = np.array([rows.ctypes.data])
            self._do(do.gather_scaled(X, where.ctypes.data, shift, scale, out), out.size >= LEAST_NUMBERS)
        else:
            gather_scaled(np, X, rows, shift, scale, out)

    def product(self, A: Array, B: Array, out: Array) -> Array:
        """out = A @ B by our own tiles where that is faster than to ask numpy."""
        lies_well = 1 in (B.strides[1] // B.itemsize, B.strides[0] // B.itemsize if A.strides[1] == A.itemsize else 0)
        if out.dtype.char not in "fd" or not lies_well or 2.0 * out.size * A.shape[1] < LEAST_FLOPS:
            return np.matmul(A, B, out=out)
        self._do(do.product(A, B, out, self._crew.scratch), share=True)
        return out

    def bias_activation(self, Z: Array, b: Array | None, f: Activation, A: Array, block: int = BLOCK) -> None:
        kind = type(f)
        if kind in FORWARD and _real(Z, A, b) and (kind is not Identity or (A is Z and b is not None)):
            name, numbers = FORWARD[kind]
            where = 0 if b is None else b.ctypes.data
            arguments = (Z.ctypes.data, where, A.ctypes.data, *Z.shape, self._keep(numbers(f)))
            self._do(do.record(name, Z.dtype, *arguments), Z.size >= LEAST_NUMBERS)
        else:
            bias_activation(np, Z, b, f, A, block)

    def activation_gradient(
        self, Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None, block: int = BLOCK
    ) -> None:
        kind = type(f)
        if not (kind in BACKWARD or kind is Identity) or not _real(Delta, A if f.from_output else Z, db):
            activation_gradient(np, Delta, f, Z, A, db, block)
            return
        if kind in BACKWARD:
            name, numbers = BACKWARD[kind]
            known = A if f.from_output else Z
            arguments = (Delta.ctypes.data, 0, known.ctypes.data, *A.shape, self._keep(numbers(f)))
            self._do(do.record(name, Delta.dtype, *arguments), Delta.size >= LEAST_NUMBERS)
        if db is not None:
            arguments = (Delta.ctypes.data, db.ctypes.data, 0, *Delta.shape)
            self._do(do.record("sum_rows", Delta.dtype, *arguments), Delta.size >= LEAST_NUMBERS)

    def loss_and_gradient(
        self, loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None, block: int = BLOCK
    ) -> Any:
        if Delta is None or not _fits(loss, Z, Y, w, Delta):
            return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)
        rows, (name, number) = len(Z), LOSS[type(loss)]
        if len(self._losses) < rows:
            self._losses = np.empty(rows)
        numbers = self._keep((number(loss), total))
        weights = 0 if w is None else w.ctypes.data
        arguments = (Z.ctypes.data, weights, Delta.ctypes.data, *Z.shape, Y.ctypes.data, numbers, numbers + 8)
        self._do(do.record(name, Z.dtype, *arguments, self._losses.ctypes.data), Z.size >= LEAST_NUMBERS)
        value = float(self._losses[:rows].sum())
        if math.isnan(value) and Y.ndim == 1 and not (Y.min() >= 0 and Y.max() < Z.shape[1]):
            raise IndexError("a target is not the number of a class")
        return value

    def dropout_mask(self, mask: Array, uniform: Any, p: float, seed: int, step: int, index: int) -> None:
        if _real(mask):
            numbers = self._keep((step, 1 / (1 - p)))
            self._do(do.dropout_mask(mask, p, seed, index, numbers, numbers + 8), mask.size >= LEAST_NUMBERS)
        else:
            dropout_mask(np, mask, uniform, p, seed, step, index)

    def move(self, rule: str, *arguments: Any, **settings: Any) -> None:
        """The update rule with the arguments of the generic one."""
        count = VECTORS[rule]
        self._move(rule, arguments[:count], RULES[rule](*arguments[count:], **settings))

    def radam(
        self,
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
            self._move("adam", (theta, grad, m, v), (rate, 0.0, 1 - lr * decay, beta1, beta2, eps, 1.0))
        else:
            self._move("momentum_and_square", (theta, grad, m, v), (rate, 1 - lr * decay, beta1, beta2))

    def _move(self, rule: str, vectors: tuple[Array, ...], numbers: tuple[float, ...]) -> None:
        size = len(vectors[0])
        self._do(do.update(rule, vectors, self._keep(numbers), size, 1), size >= LEAST_ENTRIES)


def _fits(loss: Loss, Z: Array, Y: Array, w: Array | None, Delta: Array) -> bool:
    """Whether there is a loop for this loss with such targets."""
    if type(loss) not in LOSS or not _real(Z, Delta, w) or not Y.flags.c_contiguous:
        return False
    if isinstance(loss, CrossEntropy):
        return bool(Y.ndim == 1 and Y.dtype == np.int64)
    return bool(Y.size == Z.size and Y.dtype == Z.dtype)


def _gather(X: Array, rows: Array, out: Array) -> None:
    X.take(rows, 0, out, "clip")


def kernels(threads: int) -> dict[str, Callable[..., Any]]:
    """The fused primitives by the names of the generic ones. Raises CannotCompile."""
    return Kernels(threads).table()

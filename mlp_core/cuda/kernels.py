"""Fused primitives for a GPU: one launch where the generic form makes three to fourteen calls.

Each has the name and the remaining arguments of the generic primitive that it replaces, and hands over to that one for
what it has no kernel for: other losses, complex numbers, arrays with gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mlp_core.activations import Activation, activation_gradient, bias_activation
from mlp_core.backend import Array
from mlp_core.cuda.source import ACTIVATION, source
from mlp_core.losses import CrossEntropy, Loss, loss_and_gradient
from mlp_core.optimizers import nadam_rates, radam_rate
from mlp_core.random import stream

THREADS = 256
MOST_BLOCKS = 8192
C_TYPE = {"f": "float", "d": "double"}
WHOLE = 1 << 62
"""Elements per block of a generic primitive: a GPU has no cache that a block should fit into, and every further call
costs as much again."""


class Kernels:
    """The kernels of one device, each compiled for a dtype when it is first needed; `xp` is cupy."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._functions: dict[tuple[str, str], Any] = {}

    def launch(self, name: str, dtype: Any, threads: int, *arguments: Any) -> None:
        """Run a kernel with at least one thread; floats become numbers of the dtype, integers 64 bits wide."""
        function, real = self._functions.get((name, dtype.char)), dtype.type
        if function is None:
            options = ("--std=c++17", f"-DREAL={C_TYPE[dtype.char]}")
            function = self.xp.RawModule(code=source(name), options=options).get_function(name)
            self._functions[name, dtype.char] = function
        fitting = [real(a) if type(a) is float else np.int64(a) if type(a) is int else a for a in arguments]
        function((min(MOST_BLOCKS, -(-threads // THREADS)),), (THREADS,), tuple(fitting))

    def primitives(self) -> dict[str, Callable[..., Any]]:
        """Every fused primitive by the name of the generic one."""
        rules = {name: partial(self._update, name, numbers) for name, numbers in _NUMBERS.items()}
        adams = {name: partial(self._adam, name) for name in ("adam", "nadam", "radam")}
        own = (self.bias_activation, self.activation_gradient, self.loss_and_gradient, self.dropout_mask)
        return {**{method.__name__: method for method in own}, **rules, **adams}

    def bias_activation(self, Z: Array, b: Array | None, f: Activation, A: Array) -> None:
        if not _plain(Z, A) or type(f).name not in ACTIVATION:
            bias_activation(self.xp, Z, b, f, A, WHOLE)
        elif b is not None or f.name != "identity" or A is not Z:
            bias, p = Z if b is None else b, float(getattr(f, "alpha", 0.0))
            self.launch(f"forward_{f.name}", Z.dtype, Z.size, Z, bias, A, Z.size, Z.shape[1], int(b is not None), p)

    def activation_gradient(self, Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None) -> None:
        if not _plain(Delta, Z, A) or type(f).name not in ACTIVATION:
            activation_gradient(self.xp, Delta, f, Z, A, db, WHOLE)
            return
        if f.name != "identity":
            p = float(getattr(f, "alpha", 0.0))
            self.launch(f"gradient_{f.name}", Delta.dtype, Delta.size, Delta, Z, A, Delta.size, p)
        if db is not None:
            self.xp.add.reduce(Delta, axis=0, out=db)

    def loss_and_gradient(
        self, loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None
    ) -> Any:
        known = isinstance(loss, CrossEntropy) and Y.ndim == 1 and Y.dtype.char in "lq"
        if not known or not _plain(Z, *([] if Delta is None else [Delta])) or not Y.flags.c_contiguous:
            return loss_and_gradient(self.xp, loss, Z, Y, w, total, Delta, WHOLE)
        assert isinstance(loss, CrossEntropy)
        (rows, classes), losses = Z.shape, self.xp.empty((len(Z),), dtype=Z.dtype)
        arrays = (Z, Y, Z if w is None else w, losses, Z if Delta is None else Delta)
        flags = (rows, classes, int(w is not None), int(Delta is not None))
        self.launch("cross_entropy", Z.dtype, rows, *arrays, *flags, float(total), float(loss.label_smoothing))
        return losses.sum() / total

    def dropout_mask(self, mask: Array, uniform: np.ndarray, p: float, seed: int, step: int, index: int) -> None:
        key, counter = stream(seed, "dropout", step, index)
        words = [np.uint64(word) for word in (*key, *counter[1:3])]
        blocks = -(-mask.size // 8)
        self.launch("dropout_mask", mask.dtype, blocks, mask, mask.size, *words, np.float32(p), 1 / (1 - p))

    def _update(
        self,
        kernel: str,
        numbers: Callable[..., tuple[float, ...]],
        theta: Array,
        grad: Array,
        *rest: Any,
        **settings: Any,
    ) -> None:
        """One update rule: `rest` are the vectors of the state, the learning rate, and the weight decay."""
        *slots, lr, decay = rest
        values = [float(value) for value in (1 - lr * decay, *numbers(lr, **settings))]
        self.launch(kernel, theta.dtype, theta.size, theta, grad, *slots, theta.size, *values)

    def _adam(
        self, name: str, theta: Array, grad: Array, m: Array, v: Array, lr: float, decay: float, **settings: Any
    ) -> None:
        kernel, numbers = _adam_numbers(name, lr, **settings)
        self._update(kernel, lambda lr: numbers, theta, grad, m, v, lr, decay)


def _plain(*arrays: Array) -> bool:
    """Whether all arrays are without gaps and of one dtype that there are kernels for."""
    kind = arrays[0].dtype.char
    return kind in C_TYPE and all(a.dtype.char == kind and a.flags.c_contiguous for a in arrays)


def _amsgrad(lr: float, beta1: float, beta2: float, eps: float, t: int) -> tuple[float, ...]:
    return lr / (1 - beta1**t), beta1, 1 - beta1, beta2, 1 - beta2, eps, math.sqrt(1 - beta2**t)


# what the kernel of a rule takes beside its vectors, from the learning rate and the settings
_NUMBERS: dict[str, Callable[..., tuple[float, ...]]] = {
    "sgd": lambda lr: (lr,),
    "momentum": lambda lr, mu: (lr, mu),
    "nesterov": lambda lr, mu: (lr, mu),
    "adagrad": lambda lr, eps: (lr, eps),
    "rmsprop": lambda lr, rho, eps: (lr, rho, 1 - rho, eps),
    "adadelta": lambda lr, rho, eps: (lr, rho, 1 - rho, eps),
    "amsgrad": _amsgrad,
    "lion": lambda lr, beta1, beta2: (lr, beta1, 1 - beta1, beta2, 1 - beta2),
}


def _adam_numbers(
    name: str, lr: float, beta1: float, beta2: float, eps: float, t: int
) -> tuple[str, tuple[float, ...]]:
    """The kernel for a step of the family of Adam, and its numbers in order."""
    moments, root = (beta1, 1 - beta1, beta2, 1 - beta2), math.sqrt(1 - beta2**t)
    if name == "nadam":
        return "adam", (*nadam_rates(lr, beta1, t), *moments, eps, root)
    if name == "radam":
        rate, rectified = radam_rate(lr, beta1, beta2, t)
        return ("adam", (rate, 0.0, *moments, eps, 1.0)) if rectified else ("warm_adam", (rate, *moments))
    return "adam", (lr / (1 - beta1**t), 0.0, *moments, eps, root)

"""Fused primitives for the CPU: kernels in C where they are faster, behind the faces of the generic primitives.

Each has the name and the arguments of the generic primitive that it replaces, and hands over to that one where it has
nothing faster: for other targets, other dtypes, arrays that are not contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.library import Library
from mlp_core.data.preprocess.scaling import gather_scaled
from mlp_core.nn.activations import Activation, Identity, activation_gradient, bias_activation
from mlp_core.nn.backend import BLOCK, Array
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Focal, loss_and_gradient
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.primitives import dropout_mask

LEAST_FLOPS = 1e6
"""Floating-point operations of a product that repay the some microseconds it takes to describe it: ten of them."""

LEAST_ENTRIES = 30_000
"""Length of a parameter vector from which an update is shared out: it waits for memory."""

LEAST_NUMBERS = 250_000
"""Numbers of other arrays from which their threads gain more than it costs them to meet, on a busy machine, too."""

VECTORS = {kind.rule.__name__: 2 + len(kind.slots) for kind in OPTIMIZERS.values()}
"""How many vectors, theta and its gradient among them, each update rule goes through."""


class Kernels:
    """The fused primitives; what is large is shared out among `threads`."""

    def __init__(self, threads: int, library: Library | None = None) -> None:
        """library: the kernels to use, by default the best for this processor. Raises NoKernels."""
        self._crew = Crew(threads, kernels=library)
        self._losses = np.empty(0)
        self._row, self._numbers, self._where = np.zeros((1, do.WIDTH), np.int64), np.empty(0), np.empty(1, np.int64)

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
            **{rule: partial(self.move, rule) for rule in numbers.RULES},
        }

    def _do(self, record: do.Record, share: bool) -> None:
        """Carry out one instruction, alone or sharing it out."""
        function, *arguments = record
        self._row[0, 0] = self._crew.library.address(str(function))
        self._row[0, 1 : len(arguments) + 1] = arguments
        if share and self._crew.threads > 1:
            self._crew.run(self._row)
        else:
            self._crew.library.call(self._row.ctypes.data)

    def _keep(self, given: Iterable[float]) -> int:
        """Where the numbers are, until the next ones."""
        self._numbers = np.array([*given, 0.0])
        return do.at(self._numbers)

    def gather_scaled(self, X: Array, rows: Array, shift: Array, scale: Array, out: Array) -> None:
        if X.dtype.name in do.STORED and rows.dtype == np.int64 and rows.flags.c_contiguous and numbers.fit(out):
            self._where[0] = do.at(rows)
            record = do.gather_scaled(X, do.at(self._where), 0, shift, scale, out)
            self._do(record, out.size >= LEAST_NUMBERS)
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
        if not numbers.known(f) or not numbers.fit(Z, A, b):
            bias_activation(np, Z, b, f, A, block)
        elif b is not None or A is not Z or not isinstance(f, Identity):
            record = do.activation(f.name, Z, b, A, self._keep([numbers.of_activation(f), 1.0]))
            self._do(record, Z.size >= LEAST_NUMBERS)

    def activation_gradient(
        self, Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None, block: int = BLOCK
    ) -> None:
        if not numbers.known(f) or not numbers.fit(Delta, Z, A, db):
            activation_gradient(np, Delta, f, Z, A, db, block)
            return
        share = Delta.size >= LEAST_NUMBERS
        if not isinstance(f, Identity):
            self._do(do.slope(f.name, Delta, Z, A, self._keep([numbers.of_activation(f), 1.0])), share)
        if db is not None:
            self._do(do.over(Delta, "sum_rows", Delta, db, 0), share)

    def loss_and_gradient(
        self, loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None, block: int = BLOCK
    ) -> Any:
        if Delta is None or not fits(loss, Z, Y) or not numbers.fit(Z, Delta, w) or not Y.flags.c_contiguous:
            return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)
        if len(self._losses) < len(Z):
            self._losses = np.empty(len(Z))
        weight = self._keep([total, *numbers.of_loss(loss)])
        record = do.loss(loss.name, Z, Y, w, Delta, weight + 8, weight, do.at(self._losses))
        self._do(record, Z.size >= LEAST_NUMBERS)
        value = float(self._losses[: len(Z)].sum())
        if math.isnan(value) and Y.ndim == 1 and not (Y.min() >= 0 and Y.max() < max(2, Z.shape[1])):
            raise IndexError("a target is not the number of a class")
        return value

    def dropout_mask(
        self, mask: Array, uniform: Any, p: float, seed: int, step: int, index: int, first: int = 0
    ) -> None:
        if numbers.fit(mask):
            given, left = self._keep((step, p, 1.0)), np.empty(mask.shape, np.uint8)
            self._do(do.dropout(left, seed, index, given, 0, given + 8, given + 16, first), mask.size >= LEAST_NUMBERS)
            np.multiply(left, 1 / (1 - p), out=mask, casting="same_kind")
        else:
            dropout_mask(np, mask, uniform, p, seed, step, index, first)

    def move(self, rule: str, *arguments: Any, **settings: Any) -> None:
        """The update rule with the arguments of the generic one."""
        count = VECTORS[rule]
        vectors, given = arguments[:count], numbers.of_rule(rule, *arguments[count:], **settings)
        size = len(vectors[0])
        self._do(do.update(rule, vectors, self._keep(given), size, 1), size >= LEAST_ENTRIES)


def fits(loss: Loss, Z: Array, Y: Array) -> bool:
    """Whether there is a kernel for this loss with such targets: classes int64 [b], or numbers of the logits' dtype."""
    if type(loss) is not LOSSES.get(loss.name):
        return False
    if Y.ndim == 1:
        return bool(loss.classifies and Y.dtype == np.int64)
    targets = Y.shape[1]
    suits = targets == 1 if isinstance(loss, Focal) else loss.outputs(targets) == Z.shape[1]
    return bool(Y.ndim == 2 and Y.dtype == Z.dtype and suits)


def _gather(X: Array, rows: Array, out: Array) -> None:
    X.take(rows, 0, out, "clip")

"""Fused primitives for a GPU: one launch where the generic form makes three to fourteen calls.

Each has the name and the remaining arguments of the generic primitive that it replaces, and hands over to that one for
what it has no kernel for: other losses, complex numbers, arrays with gaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cuda.launches import Launch, Launches
from mlp_core.backends.cuda.source import LOSSES, parameters, source
from mlp_core.nn.activations import Activation, activation_gradient, bias_activation
from mlp_core.nn.backend import Array
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import CrossEntropy, loss_and_gradient
from mlp_core.nn.primitives import (
    add,
    add_rows,
    clip_norm,
    clip_value,
    copy,
    dropout_mask,
    follow,
    multiply,
    shorten_rows,
)
from mlp_core.rng import stream

THREADS = 256
MOST_BLOCKS = 8192
MOST_SUMMED = 1 << 16
"""Threads that share in a sum: enough to keep a GPU's memory busy."""
MOST_PARTS, PART = 128, 8
"""A column is summed up in parts of at least so many rows, and in at most so many parts."""
C_TYPE = {"f": "float", "d": "double", "q": "Int", "l": "Int", "B": "Byte"}
WHOLE = 1 << 62
"""Elements per block of a generic primitive: a GPU has no cache that a block should fit into, and every further call
costs as much again."""

FIRST, DRAW, SLOT, TOTAL, SHARE, NUMBERS = range(6)
"""Where the numbers of a step stand in its row of `given`: first row in the order of the epoch, draw, slot in the
ledger, weight of the batch, share of the average, and from NUMBERS on those of the update rule."""
NULL = np.int64(0)


class Kernels:
    """The kernels of one device, each compiled for a dtype when it is first needed; `xp` is cupy.

    `given` is the row of numbers [NUMBERS + ...] on the device that a step which is being written down will find there
    each time it is carried out; None while numbers are those of the arguments.
    """

    def __init__(self, xp: Any, launches: Launches | None = None) -> None:
        self.xp, self.launches = xp, launches or Launches()
        self.given: Array | None = None
        self._functions: dict[tuple[str, str], Any] = {}
        self._rooms: dict[tuple[str, str], Array] = {}
        self._copies: dict[Any, Array] = {}

    @contextmanager
    def writing_down(self, given: Array) -> Iterator[list[Launch]]:
        """A step's launches are put into the list; numbers that change from step to step are read from `given`."""
        self.given, self._copies = given, {}
        try:
            with self.launches.writing_down() as launches:
                yield launches
        finally:
            self.given, self._copies = None, {}

    def launch(self, name: str, dtype: Any, threads: int, *arguments: Any) -> None:
        """Run a kernel with at least one thread; floats become numbers of the dtype, integers 64 bits wide."""
        function, real = self._function(name, dtype), dtype.type
        fitting = [real(a) if type(a) is float else np.int64(a) if type(a) is int else a for a in arguments]
        shape = (min(MOST_BLOCKS, -(-threads // THREADS)),), (THREADS,)
        reads: list[Array] = []
        writes: list[Array] = []
        for (_, pointer, constant), argument in zip(parameters(name), fitting, strict=True):
            if pointer and argument is not NULL:
                (reads if constant else writes).append(argument)
        self.launches.give(Launch(name, function, (*shape, tuple(fitting)), tuple(reads), tuple(writes)))

    def _function(self, name: str, dtype: Any) -> Any:
        function = self._functions.get((name, dtype.char))
        if function is None:
            options = ("--std=c++17", f"-DREAL={C_TYPE[dtype.char]}")
            function = self.xp.RawModule(code=source(name), options=options).get_function(name)
            self._functions[name, dtype.char] = function
        return function

    def _at(self, place: int) -> Any:
        """Where a number of the step is given, null where its argument counts."""
        return NULL if self.given is None else self.given[place:]

    def room(self, use: str, size: int, dtype: Any) -> Array:
        """Memory that a kernel leaves as it found it, of at least this size; counters in it are zero."""
        dtype = np.dtype(dtype)
        known = self._rooms.get((use, dtype.char))
        if known is None or known.size < size:
            known = self._rooms[use, dtype.char] = self.xp.zeros((size,), dtype=dtype)
        return known

    def for_sum(self, count: int) -> tuple[Array, Array]:
        """Room and counters for a sum over `count` threads."""
        return self.room("sum", 2 * count + 8, np.float64), self.room("sum", count // 16 + 8, np.uint32)

    def for_columns(self, rows: int, columns: int, dtype: Any, sums: int = 1) -> tuple[int, tuple[Array, Array]]:
        """In how many parts columns are summed up, with room and counters for that."""
        parts = min(MOST_PARTS, -(-rows // PART))
        return parts, (self.room("columns", sums * parts * columns, dtype), self.room("columns", columns, np.uint32))

    def primitives(self) -> dict[str, Callable[..., Any]]:
        """Every fused primitive by the name of the generic one."""
        rules = {name: partial(self._update, name) for name in numbers.RULES}
        own: list[Callable[..., Any]] = [self.bias_activation, self.activation_gradient, self.loss_and_gradient]
        own += [self.dropout_mask, self.gather, self.gather_scaled, self.add_rows]
        own += [self.clip_norm, self.clip_value, self.shorten_rows, self.follow]
        entries: dict[str, Callable[..., Array]] = {"hadamard": multiply, "plus": add, "duplicate": copy}
        alike = {generic.__name__: partial(self._by_entries, name, generic) for name, generic in entries.items()}
        return {**{method.__name__: method for method in own}, **alike, **rules}

    def bias_activation(self, Z: Array, b: Array | None, f: Activation, A: Array) -> None:
        if not numbers.fit(Z, A) or not numbers.known(f):
            bias_activation(self.xp, Z, b, f, A, WHOLE)
        elif b is not None or f.name != "identity" or A is not Z:
            bias, p = Z if b is None else b, numbers.of_activation(f)
            self.launch(f"forward_{f.name}", Z.dtype, Z.size, Z, bias, A, Z.size, Z.shape[1], int(b is not None), p)

    def activation_gradient(self, Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None) -> None:
        if not numbers.fit(Delta, Z, A) or not numbers.known(f):
            activation_gradient(self.xp, Delta, f, Z, A, db, WHOLE)
        elif f.name != "identity" or db is not None:
            rows, columns = Delta.shape
            parts, room = self.for_columns(rows, columns, Delta.dtype)
            sums = (Delta if db is None else db, *room, rows, columns, parts, int(db is not None))
            threads, p = parts * columns, numbers.of_activation(f)
            self.launch(f"gradient_{f.name}", Delta.dtype, threads, Delta, Z, A, *sums, p)

    def loss_and_gradient(
        self, loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None
    ) -> Any:
        if not self.knows_loss(loss, Z, Y, Delta):
            return loss_and_gradient(self.xp, loss, Z, Y, w, total, Delta, WHOLE)
        ledger = self.xp.empty((1,), dtype=np.float64)
        self.loss_into(ledger, loss, Z, Y, w, total, Delta)
        return ledger[0]

    def knows_loss(self, loss: Loss, Z: Array, Y: Array, Delta: Array | None) -> bool:
        """Whether there is a kernel for this loss of such arrays."""
        fits = numbers.fit(Z, Delta) and Y.flags.c_contiguous
        if isinstance(loss, CrossEntropy):
            return fits and Y.ndim == 1 and Y.dtype.char in "lq"
        return fits and loss.name in LOSSES and Y.shape == Z.shape and Y.dtype == Z.dtype

    def loss_into(
        self, ledger: Array, loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None
    ) -> None:
        """The mean loss into the first place of `ledger`, or into the place that is given; the gradient into Delta."""
        rows, columns = Z.shape
        losses = self.room("losses", rows, Z.dtype)
        arrays = (Z, Y, Z if w is None else w, losses, Z if Delta is None else Delta)
        flags = (rows, columns, int(w is not None), int(Delta is not None), float(total))
        if isinstance(loss, CrossEntropy):
            name, p = "cross_entropy", loss.label_smoothing
        else:
            name = f"loss_{loss.name}"
            *_, p = numbers.of_loss(loss)
        self.launch(name, Z.dtype, rows, *arrays, *flags, float(p), self._at(TOTAL))
        count = min(rows, MOST_SUMMED)
        given = (np.float64(total), self._at(TOTAL), self._at(SLOT))
        self.launch("mean_loss", Z.dtype, count, losses, ledger, *self.for_sum(count), rows, count, *given)

    def dropout_mask(
        self, mask: Array, uniform: np.ndarray, p: float, seed: int, step: int, index: int, first: int = 0
    ) -> None:
        if first:  # rows of a shard, which are drawn on the host
            dropout_mask(self.xp, mask, uniform, p, seed, step, index, first)
            return
        key, counter = stream(seed, "dropout", step, index)
        words = [np.uint64(word) for word in (*key, *counter[1:3])]
        numbers = (mask.size, *words, np.float32(p), 1 / (1 - p), self._at(DRAW))
        self.launch("dropout_mask", mask.dtype, -(-mask.size // 8), mask, *numbers)

    def gather(self, X: Array, rows: Array, out: Array) -> None:
        if X.dtype == out.dtype and X.dtype.char in "fdql" and all(a.flags.c_contiguous for a in (X, rows, out)):
            self.gather_from(X, rows, 0, out)
        else:
            X.take(rows, axis=0, out=out)  # cupy's take knows no mode, and never raises

    def gather_scaled(self, X: Array, rows: Array, shift: Array, scale: Array, out: Array) -> None:
        self.scale_from(X, rows, 0, (shift, scale), out)

    def gather_from(self, X: Array, order: Array, first: int, out: Array) -> None:
        """out[i] = X[order[first + i]]."""
        name, columns = f"gather_{C_TYPE[X.dtype.char]}", math.prod(X.shape[1:])
        real = np.dtype(np.float64 if X.dtype.kind == "i" else X.dtype)
        self.launch(name, real, out.size, X, order, out, out.size, columns, first, self._at(FIRST))

    def scale_from(self, X: Array, order: Array, first: int, scales: tuple[Array, Array], out: Array) -> None:
        """out[i] = (X[order[first + i]] - shift) * scale, computed in float64; X uint8, float32 or float64."""
        name, columns = f"scaled_{C_TYPE[X.dtype.char]}", X.shape[1]
        self.launch(name, out.dtype, out.size, X, order, *scales, out, out.size, columns, first, self._at(FIRST))

    def _by_entries(self, name: str, generic: Callable[..., Array], *arrays: Array) -> Array:
        """A primitive whose result is the last of some arrays alike."""
        (*_, out), size = arrays, arrays[0].size
        if not numbers.fit(*arrays) or any(array.shape != out.shape for array in arrays):
            return generic(self.xp, *arrays)
        self.launch(name, out.dtype, size, *arrays, size)
        return out

    def add_rows(self, table: Array, codes: Array, rows: Array) -> None:
        whole = rows.strides[1] == rows.dtype.itemsize or rows.shape[1] == 1
        if not numbers.fit(table) or rows.dtype != table.dtype or not whole or codes.dtype.char not in "lq":
            add_rows(self.xp, table, codes, rows)
            return
        self.launch("clear", table.dtype, table.size, table, table.size)
        (count, columns), distance = rows.shape, rows.strides[0] // rows.dtype.itemsize
        sizes = (count, columns, distance if count > 1 else columns)
        self.launch("add_rows", table.dtype, rows.size, table, codes, rows, *sizes)

    def clip_norm(self, grad: Array, longest: float) -> None:
        if not numbers.fit(grad):
            clip_norm(self.xp, grad, longest)
            return
        count, square = min(grad.size, MOST_SUMMED), self.room("square", 1, np.float64)
        self.launch("square_sum", grad.dtype, count, grad, square, *self.for_sum(count), grad.size, count)
        self.launch("shorten", grad.dtype, grad.size, grad, square, grad.size, np.float64(longest))

    def clip_value(self, grad: Array, largest: float) -> None:
        if not numbers.fit(grad):
            clip_value(self.xp, grad, largest)
        else:
            self.launch("clip_value", grad.dtype, grad.size, grad, grad.size, float(largest))

    def shorten_rows(self, W: Array, longest: float) -> None:
        if not numbers.fit(W):
            shorten_rows(self.xp, W, longest)
        else:
            self.launch("shorten_rows", W.dtype, len(W), W, *W.shape, float(longest))

    def penalty(self, ledger: Array, theta: Array, grad: Array, l2: float, l1: float) -> None:
        """The penalty of `theta` added to the loss in the first place of `ledger`, or in the place that is given, and
        its derivative added to `grad`."""
        count = min(theta.size, MOST_SUMMED)
        numbers = (theta.size, count, np.float64(l2), np.float64(l1), self._at(SLOT))
        self.launch("penalty", theta.dtype, count, theta, grad, ledger, *self.for_sum(count), *numbers)

    def follow(self, average: Array, theta: Array, share: float) -> None:
        if not numbers.fit(average, theta):
            follow(self.xp, average, theta, share, WHOLE)
        else:
            self.launch("follow", theta.dtype, theta.size, average, theta, theta.size, float(share), self._at(SHARE))

    def narrow(self, X: Array, side: str) -> Array:
        """The matrix as bfloat16 without gaps, its bits as integers; X [rows, columns] with rows that lie whole."""
        (rows, columns), distance = X.shape, X.strides[0] // X.dtype.itemsize
        key = side if self.given is None else (int(X.data.ptr), X.shape, distance)
        out = self._copies.get(key)
        if out is None or out.shape != X.shape:
            out = self._copies[key] = self.xp.empty(X.shape, dtype=np.uint16)
        self.launch("narrow", X.dtype, X.size, X, out, X.size, columns, distance if rows > 1 else columns)
        return out

    def _update(self, name: str, theta: Array, grad: Array, *rest: Any, **settings: Any) -> None:
        """One update rule: `rest` are the vectors of the state, the learning rate, and the weight decay."""
        *slots, lr, decay = rest
        self.update(name, theta, grad, slots, padded(numbers.of_rule(name, lr, decay, **settings)), NULL)

    def update(
        self, name: str, theta: Array, grad: Array, slots: list[Array], values: tuple[float, ...], given: Any
    ) -> None:
        """One update by the numbers of its rule, or those `given` on the device in the same order."""
        self.launch(numbers.RULES[name], theta.dtype, theta.size, theta, grad, *slots, theta.size, given, *values)


def padded(found: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of an update rule, as many as every kernel of one takes."""
    return *found, *(0.0,) * (numbers.RULE_NUMBERS - len(found))

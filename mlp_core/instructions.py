"""The instructions of a compiled training step: each does its share of one primitive on memory given by addresses.

An instruction is a function of a record, `a` (its address, then its arguments: addresses and sizes), and of which of
how many parts it is to do. `like` is a null pointer whose type is that of the numbers. The arithmetic is that of
`loops` and `gemm`. What two threads do never overlaps: rows of the batch
are shared out in forward and backward passes, units of a layer in its gradients and updates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numba import carray, types

from mlp_core import loops
from mlp_core.crew import WIDTH
from mlp_core.gemm import SCRATCH, dot_product, outer_product
from mlp_core.loops import compiled
from mlp_core.native import WORDS, float64s, pointer, words

_TYPES = {"f": types.float32, "d": types.float64, "l": types.int64, "q": types.int64}


class Instruction:
    """A function on records, compiled for a type of numbers when it is first asked for."""

    def __init__(self, function: Callable[..., None]) -> None:
        self._function, self._compiled = function, dict[str, Any]()
        self.__doc__ = function.__doc__

    def record(self, dtype: Any, *arguments: int) -> list[int]:
        """The instruction for numbers of a dtype, with its arguments, as a row of a list."""
        kind = np.dtype(dtype).char
        if kind not in self._compiled:
            signature = types.void(WORDS, types.CPointer(_TYPES[kind]), types.int64, types.int64)
            compiler = partial(numba.cfunc, signature)
            self._compiled[kind] = compiled(self._function, compiler, nogil=False, fastmath={"contract"})
        row = [self._compiled[kind].address, *map(int, arguments)]
        return row + [0] * (WIDTH - len(row))


@compiled
def _share(count: int, part: int, parts: int) -> tuple[int, int]:
    """First and last of the things that one part of them has to do; shares begin at multiples of 16 where they can."""
    if parts == 1:
        return 0, count
    grain = 16 if count >= 16 * parts else 1
    whole = count // grain
    first, last = whole * part // parts * grain, whole * (part + 1) // parts * grain
    return first, count if part == parts - 1 else last


@Instruction
def gather(a: Any, like: Any, part: int, parts: int) -> None:
    """out[i] = X[rows[i]]: X, columns, where the address of rows is, out, count."""
    columns, rows = a[2], words(words(a[3])[0])
    first, last = _share(a[5], part, parts)
    X, out = pointer(a[1], like), carray(pointer(a[4], like), (a[5], columns))
    for i in range(first, last):
        source = rows[i] * columns
        for j in range(columns):
            out[i, j] = X[source + j]


@Instruction
def outer(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B, rows of C shared out: A, its steps to a row and a column, B, its stride, C, its stride, m, n, k, size of
    a number, scratch."""
    first, last = _share(a[8], part, parts)
    if last > first:
        A, C = a[1] + a[11] * a[2] * first, a[6] + a[11] * a[7] * first
        outer_product(
            like, a[11], A, a[2], a[3], a[4], a[5], C, a[7], last - first, a[9], a[10], a[12] + SCRATCH * part
        )


@Instruction
def dot(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B^T, rows of C shared out: A, its stride, -, B, its stride, C, its stride, m, n, k, size of a
    number, scratch."""
    first, last = _share(a[8], part, parts)
    if last > first:
        A, C = a[1] + a[11] * a[2] * first, a[6] + a[11] * a[7] * first
        dot_product(like, a[11], A, a[2], a[4], a[5], C, a[7], last - first, a[9], a[10], a[12] + SCRATCH * part)


@Instruction
def dot_by_columns(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B^T as `dot` does it, but columns of C are shared out: a thread then reads its own rows of B only."""
    first, last = _share(a[9], part, parts)
    if last > first:
        B, C = a[4] + a[11] * a[5] * first, a[6] + a[11] * first
        dot_product(like, a[11], a[1], a[2], B, a[5], C, a[7], a[8], last - first, a[10], a[12] + SCRATCH * part)


def product(A: Any, B: Any, out: Any, scratch: int, by_columns: bool = False) -> list[int]:
    """The instruction out = A @ B. Rows of `out` and rows of B, or rows of A and columns of B, lie without gaps.

    `scratch` is the address of memory of the threads that carry it out (Crew.scratch).
    `by_columns`, for columns of B without gaps: share out columns of the result, not rows.
    """
    size = out.itemsize
    (row, step), (ldb, along), (ldc, _) = ([stride // size for stride in array.strides] for array in (A, B, out))
    sizes = (*out.shape, A.shape[1], size, scratch)
    if along == 1:
        return outer.record(out.dtype, A.ctypes.data, row, step, B.ctypes.data, ldb, out.ctypes.data, ldc, *sizes)
    how = dot_by_columns if by_columns else dot
    return how.record(out.dtype, A.ctypes.data, row, 0, B.ctypes.data, along, out.ctypes.data, ldc, *sizes)


# --- rows of the batch: Z, A, Delta [rows, m] ---


@compiled
def _rows(a: Any, k: int, like: Any, first: int, last: int) -> Any:
    """Rows first to last of the matrix whose address is word k; rows and columns are words 4 and 5."""
    return carray(pointer(a[k], like), (a[4], a[5]))[first:last]


@Instruction
def relu(a: Any, like: Any, part: int, parts: int) -> None:
    """A = relu(Z + b): Z, b or 0, A, rows, m."""
    first, last = _share(a[4], part, parts)
    Z, A = _rows(a, 1, like, first, last), _rows(a, 3, like, first, last)
    if a[2] != 0:
        loops.relu(Z, carray(pointer(a[2], like), (a[5],)), A, 0.0)
    else:
        loops.relu(Z, None, A, 0.0)


@Instruction
def leaky_relu(a: Any, like: Any, part: int, parts: int) -> None:
    """A = leaky relu(Z + b): Z, b or 0, A, rows, m, where alpha is."""
    first, last = _share(a[4], part, parts)
    Z, A = _rows(a, 1, like, first, last), _rows(a, 3, like, first, last)
    if a[2] != 0:
        loops.leaky_relu(Z, carray(pointer(a[2], like), (a[5],)), A, float64s(a[6])[0])
    else:
        loops.leaky_relu(Z, None, A, float64s(a[6])[0])


@Instruction
def bias(a: Any, like: Any, part: int, parts: int) -> None:
    """Z += b: Z, b, Z, rows, m."""
    first, last = _share(a[4], part, parts)
    loops.bias(
        _rows(a, 1, like, first, last), carray(pointer(a[2], like), (a[5],)), _rows(a, 3, like, first, last), 0.0
    )


@Instruction
def relu_gradient(a: Any, like: Any, part: int, parts: int) -> None:
    """Delta *= relu': Delta, -, A, rows, m."""
    first, last = _share(a[4], part, parts)
    loops.relu_gradient(_rows(a, 1, like, first, last), _rows(a, 3, like, first, last), None, 0.0, 0.0)


@Instruction
def two_slopes_gradient(a: Any, like: Any, part: int, parts: int) -> None:
    """Delta *= (p for a > 0, else q): Delta, -, A, rows, m, where p and q are."""
    first, last = _share(a[4], part, parts)
    p = float64s(a[6])
    loops.two_slopes_gradient(_rows(a, 1, like, first, last), _rows(a, 3, like, first, last), None, p[0], p[1])


# --- losses: Z, Delta [rows, c]; the loss of each row, divided by the total weight, goes to its own place ---


@Instruction
def cross_entropy(a: Any, like: Any, part: int, parts: int) -> None:
    """Z, w or 0, Delta, rows, c, Y, where smoothing is, where the total weight is, where the losses go."""
    first, last = _share(a[4], part, parts)
    Z, Delta, Y = _rows(a, 1, like, 0, a[4]), _rows(a, 3, like, 0, a[4]), carray(words(a[6]), (a[4],))
    number, total, losses = float64s(a[7])[0], float64s(a[8])[0], float64s(a[9])
    for i in range(first, last):
        z, y, d = Z[i : i + 1], Y[i : i + 1], Delta[i : i + 1]
        if a[2] != 0:
            w = carray(pointer(a[2], like), (a[4],))[i : i + 1]
            losses[i] = loops.cross_entropy(z, y, w, total, d, number) / total
        else:
            losses[i] = loops.cross_entropy(z, y, None, total, d, number) / total


@Instruction
def bce(a: Any, like: Any, part: int, parts: int) -> None:
    """Z, w or 0, Delta, rows, c, Y [rows, c], where pos_weight is, where the total weight is, where the losses go."""
    first, last = _share(a[4], part, parts)
    Z, Delta, Y = _rows(a, 1, like, 0, a[4]), _rows(a, 3, like, 0, a[4]), _rows(a, 6, like, 0, a[4])
    number, total, losses = float64s(a[7])[0], float64s(a[8])[0], float64s(a[9])
    for i in range(first, last):
        z, y, d = Z[i : i + 1], Y[i : i + 1], Delta[i : i + 1]
        if a[2] != 0:
            w = carray(pointer(a[2], like), (a[4],))[i : i + 1]
            losses[i] = loops.bce(z, y, w, total, d, number) / total
        else:
            losses[i] = loops.bce(z, y, None, total, d, number) / total


@Instruction
def mse(a: Any, like: Any, part: int, parts: int) -> None:
    """Z, w or 0, Delta, rows, c, Y [rows, c], -, where the total weight is, where the losses go."""
    first, last = _share(a[4], part, parts)
    Z, Delta, Y = _rows(a, 1, like, 0, a[4]), _rows(a, 3, like, 0, a[4]), _rows(a, 6, like, 0, a[4])
    total, losses = float64s(a[8])[0], float64s(a[9])
    for i in range(first, last):
        z, y, d = Z[i : i + 1], Y[i : i + 1], Delta[i : i + 1]
        if a[2] != 0:
            w = carray(pointer(a[2], like), (a[4],))[i : i + 1]
            losses[i] = loops.mse(z, y, w, total, d) / total
        else:
            losses[i] = loops.mse(z, y, None, total, d) / total


# --- units of a layer ---


@Instruction
def sum_rows(a: Any, like: Any, part: int, parts: int) -> None:
    """db[j] = sum over the rows of Delta[:, j]: Delta, db, -, rows, m."""
    first, last = _share(a[5], part, parts)
    Delta, db = carray(pointer(a[1], like), (a[4], a[5])), carray(pointer(a[2], like), (a[5],))
    for j in range(first, last):
        db[j] = 0
    whole = a[4] - a[4] % 4
    for i in range(0, whole, 4):  # so that db is read and written but once for four rows
        for j in range(first, last):
            db[j] += (Delta[i, j] + Delta[i + 1, j]) + (Delta[i + 2, j] + Delta[i + 3, j])
    for i in range(whole, a[4]):
        for j in range(first, last):
            db[j] += Delta[i, j]


@Instruction
def penalty(a: Any, like: Any, part: int, parts: int) -> None:
    """l2/2 theta^2 + l1 |theta|, summed up over each unit: theta, -, where l2 and l1 are, units, entries, the sums."""
    first, last = _share(a[4], part, parts)
    theta, p, sums = carray(pointer(a[1], like), (a[4], a[5])), float64s(a[3]), float64s(a[6])
    for i in range(first, last):
        square = absolute = 0.0
        for j in range(a[5]):
            square += theta[i, j] * theta[i, j]
            absolute += abs(theta[i, j])
        sums[i] = 0.5 * p[0] * square + p[1] * absolute


@Instruction
def penalty_gradient(a: Any, like: Any, part: int, parts: int) -> None:
    """grad += l2 theta + l1 sign(theta): theta, grad, where l2 and l1 are, units, entries."""
    first, last = _share(a[4], part, parts)
    theta, grad = carray(pointer(a[1], like), (a[4], a[5])), carray(pointer(a[2], like), (a[4], a[5]))
    l2, l1 = theta.dtype.type(float64s(a[3])[0]), theta.dtype.type(float64s(a[3])[1])
    for i in range(first, last):
        for j in range(a[5]):
            grad[i, j] += l2 * theta[i, j] + l1 * np.sign(theta[i, j])


@compiled
def _stretch(a: Any, k: int, like: Any, part: int, parts: int) -> Any:
    """This part's own entries of the vector whose address is word k; units and entries of each are words 7 and 8."""
    first, last = _share(a[7], part, parts)
    return carray(pointer(a[k], like), (a[7] * a[8],))[first * a[8] : last * a[8]]


@Instruction
def sgd(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad; where the 2 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    loops.sgd(theta, grad, p[0], p[1])


@Instruction
def momentum(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, m; where the 3 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    m = _stretch(a, 3, like, part, parts)
    loops.momentum(theta, grad, m, p[0], p[1], p[2])


@Instruction
def nesterov(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, m; where the 3 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    m = _stretch(a, 3, like, part, parts)
    loops.nesterov(theta, grad, m, p[0], p[1], p[2])


@Instruction
def adagrad(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, v; where the 3 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    v = _stretch(a, 3, like, part, parts)
    loops.adagrad(theta, grad, v, p[0], p[1], p[2])


@Instruction
def rmsprop(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, v; where the 4 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    v = _stretch(a, 3, like, part, parts)
    loops.rmsprop(theta, grad, v, p[0], p[1], p[2], p[3])


@Instruction
def adadelta(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, v, u; where the 4 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    v = _stretch(a, 3, like, part, parts)
    u = _stretch(a, 4, like, part, parts)
    loops.adadelta(theta, grad, v, u, p[0], p[1], p[2], p[3])


@Instruction
def adam(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, m, v; where the 7 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    m = _stretch(a, 3, like, part, parts)
    v = _stretch(a, 4, like, part, parts)
    loops.adam(theta, grad, m, v, p[0], p[1], p[2], p[3], p[4], p[5], p[6])


@Instruction
def amsgrad(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, m, v, top; where the 6 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    m = _stretch(a, 3, like, part, parts)
    v = _stretch(a, 4, like, part, parts)
    top = _stretch(a, 5, like, part, parts)
    loops.amsgrad(theta, grad, m, v, top, p[0], p[1], p[2], p[3], p[4], p[5])


@Instruction
def lion(a: Any, like: Any, part: int, parts: int) -> None:
    """theta, grad, m; where the 4 numbers of the rule are."""
    p = float64s(a[6])
    theta = _stretch(a, 1, like, part, parts)
    grad = _stretch(a, 2, like, part, parts)
    m = _stretch(a, 3, like, part, parts)
    loops.lion(theta, grad, m, p[0], p[1], p[2], p[3])


UPDATES: dict[str, Instruction] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adadelta": adadelta,
    "adam": adam,
    "nadam": adam,
    "amsgrad": amsgrad,
    "lion": lion,
}
"""The instruction of each update rule: words 1 to 5 are the vectors, word 6 where the rule's numbers are, words 7 and 8
the units of the tensor and the entries of each."""


def update(rule: str, vectors: Any, numbers: int, units: int, entries: int) -> list[int]:
    """The instruction that moves one tensor: its stretches of theta, the gradient and the state."""
    places = [vector.ctypes.data for vector in vectors] + [0] * (5 - len(vectors))
    return UPDATES[rule].record(vectors[0].dtype, *places, numbers, units, entries)

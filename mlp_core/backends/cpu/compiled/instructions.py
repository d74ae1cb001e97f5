"""The instructions of a training step: each does its share of one primitive on memory given by addresses.

An instruction is a function of a record, `a` (its address, then its arguments: addresses and sizes), and of which of
how many parts it is to do. The arithmetic is that of `loops` and `gemm`. What two threads do never overlaps: rows of
the batch are shared out in forward and backward passes, units of a layer in its gradients and updates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray
from numba.np.unsafe.ndarray import to_fixed_tuple

from mlp_core.backends.cpu.compiled import loops
from mlp_core.backends.cpu.compiled.gemm import dot_product, outer_product
from mlp_core.backends.cpu.compiled.layout import SCRATCH, WIDTH
from mlp_core.backends.cpu.compiled.loops import compiled
from mlp_core.backends.cpu.compiled.native import call, fetch, float32s, float64s, pointer, uint8s, words

Instruction = Callable[[Any, Any, int, int], None]


@compiled
def _share(count: int, part: int, parts: int) -> tuple[int, int]:
    """First and last of the things that one part of them has to do; shares begin at multiples of 16 where they can."""
    if parts == 1:
        return 0, count
    grain = 16 if count >= 16 * parts else 1
    whole = count // grain
    first, last = whole * part // parts * grain, whole * (part + 1) // parts * grain
    return first, count if part == parts - 1 else last


def gather(a: Any, like: Any, part: int, parts: int) -> None:
    """out[i] = X[rows[i]]: X, columns, where the address of rows is, out, count."""
    columns, rows = a[2], words(words(a[3])[0])
    first, last = _share(a[5], part, parts)
    X, out = pointer(a[1], like), carray(pointer(a[4], like), (a[5], columns))
    for i in range(first, last):
        source = rows[i] * columns
        for j in range(columns):
            out[i, j] = X[source + j]


AHEAD = 4
"""Rows of bytes that are fetched from memory before they are needed. They lie anywhere, and reading them is nothing but
waiting; rows of floats are so long that memory has no more to give."""


@compiled
def _fetch_row(X: int, width: int, rows: Any, i: int, last: int) -> None:
    """Begin to fetch the row, `width` bytes, that comes some after row number i."""
    if i + AHEAD < last:
        place = X + width * rows[i + AHEAD]
        for line in range(0, width, 64):
            fetch(place + line)


def _gather_scaled(stored: Any, size: int) -> Instruction:
    """out[i] = (X[rows[i]] - shift) * scale, in float64 and then rounded: X, columns, where the address of rows is,
    out, count, shift, scale. `stored` makes an address a pointer to numbers as X has them, of `size` bytes."""

    def gather(a: Any, like: Any, part: int, parts: int) -> None:
        columns, rows = a[2], words(words(a[3])[0])
        first, last = _share(a[5], part, parts)
        X, out = stored(a[1]), carray(pointer(a[4], like), (a[5], columns))
        shift, scale = float64s(a[6]), float64s(a[7])
        for i in range(first, last):
            _fetch_row(a[1], size * columns, rows, i, last)
            source = rows[i] * columns
            for j in range(columns):
                out[i, j] = (np.float64(X[source + j]) - shift[j]) * scale[j]

    return gather


gather_uint8, gather_float32 = _gather_scaled(uint8s, 1), _gather_scaled(float32s, 4)


# --- products ---


def outer(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B, rows of C shared out: A, its steps to a row and a column, B, its stride, C, its stride, m, n, k, size of
    a number, scratch."""
    first, last = _share(a[8], part, parts)
    if last > first:
        A, C = a[1] + a[11] * a[2] * first, a[6] + a[11] * a[7] * first
        outer_product(
            like, a[11], A, a[2], a[3], a[4], a[5], C, a[7], last - first, a[9], a[10], a[12] + SCRATCH * part
        )


def outer_by_columns(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B as `outer` does it, but columns of C are shared out: a thread then reads its own columns of B only."""
    first, last = _share(a[9], part, parts)
    if last > first:
        B, C = a[4] + a[11] * first, a[6] + a[11] * first
        outer_product(
            like, a[11], a[1], a[2], a[3], B, a[5], C, a[7], a[8], last - first, a[10], a[12] + SCRATCH * part
        )


def dot(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B^T, rows of C shared out: A, its stride, -, B, its stride, C, its stride, m, n, k, size of a
    number, scratch."""
    first, last = _share(a[8], part, parts)
    if last > first:
        A, C = a[1] + a[11] * a[2] * first, a[6] + a[11] * a[7] * first
        dot_product(like, a[11], A, a[2], a[4], a[5], C, a[7], last - first, a[9], a[10], a[12] + SCRATCH * part)


def dot_by_columns(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B^T as `dot` does it, but columns of C are shared out: a thread then reads its own rows of B only."""
    first, last = _share(a[9], part, parts)
    if last > first:
        B, C = a[4] + a[11] * a[5] * first, a[6] + a[11] * first
        dot_product(like, a[11], a[1], a[2], B, a[5], C, a[7], a[8], last - first, a[10], a[12] + SCRATCH * part)


# --- rows of the batch: Z, A, Delta [rows, m] ---


@compiled
def _rows(a: Any, k: int, like: Any, first: int, last: int) -> Any:
    """Rows first to last of the matrix whose address is word k; rows and columns are words 4 and 5."""
    return carray(pointer(a[k], like), (a[4], a[5]))[first:last]


def _activation(loop: Any) -> Instruction:
    """A = f(Z + b): Z, b or 0, A, rows, m, where the two numbers of f are."""

    def activation(a: Any, like: Any, part: int, parts: int) -> None:
        first, last = _share(a[4], part, parts)
        Z, A, p = _rows(a, 1, like, first, last), _rows(a, 3, like, first, last), float64s(a[6])
        if a[2] != 0:
            loop(Z, carray(pointer(a[2], like), (a[5],)), A, p[0], p[1])
        else:
            loop(Z, None, A, p[0], p[1])

    return activation


relu, leaky_relu, elu = _activation(loops.relu), _activation(loops.leaky_relu), _activation(loops.elu)
tanh, sigmoid = _activation(loops.tanh), _activation(loops.sigmoid)
silu, gelu_tanh = _activation(loops.silu), _activation(loops.gelu_tanh)


def bias(a: Any, like: Any, part: int, parts: int) -> None:
    """Z += b: Z, b, -, rows, m."""
    first, last = _share(a[4], part, parts)
    loops.bias(_rows(a, 1, like, first, last), carray(pointer(a[2], like), (a[5],)))


def _slope(loop: Any) -> Instruction:
    """Delta *= f': Delta, -, A (or Z), rows, m, where the two numbers of f' are."""

    def slope(a: Any, like: Any, part: int, parts: int) -> None:
        first, last = _share(a[4], part, parts)
        p = float64s(a[6])
        loop(_rows(a, 1, like, first, last), _rows(a, 3, like, first, last), p[0], p[1])

    return slope


relu_gradient, two_slopes_gradient = _slope(loops.relu_gradient), _slope(loops.two_slopes_gradient)
elu_gradient, parabola_gradient = _slope(loops.elu_gradient), _slope(loops.parabola_gradient)
silu_gradient, gelu_tanh_gradient = _slope(loops.silu_gradient), _slope(loops.gelu_tanh_gradient)


def dropout_mask(a: Any, like: Any, part: int, parts: int) -> None:
    """mask = 0 or a scale: mask, where the step is, where the scale is, rows, m, layer, two words of the key, and what
    24 random bits must reach."""
    first, last = _share(a[4], part, parts)
    mask = carray(pointer(a[1], like), (a[4] * a[5],))[first * a[5] : last * a[5]]
    step, scale = np.int64(float64s(a[2])[0]), float64s(a[3])[0]
    loops.dropout_mask(mask, first * a[5], step, a[6], a[7], a[8], a[9], scale)


def multiply(a: Any, like: Any, part: int, parts: int) -> None:
    """C = A B, entry by entry: A, B, C, rows, m."""
    first, last = _share(a[4], part, parts)
    size = a[4] * a[5]
    A, B, C = (
        carray(pointer(a[1], like), (size,)),
        carray(pointer(a[2], like), (size,)),
        carray(pointer(a[3], like), (size,)),
    )
    here = slice(first * a[5], last * a[5])
    loops.multiply(A[here], B[here], C[here])


# --- losses: Z, Delta [rows, c]; the loss of each row, divided by the total weight, goes to its own place ---


def _loss(loop: Any, classes: bool) -> Instruction:
    """Z, w or 0, Delta, rows, c, Y ([rows] of class numbers or [rows, c]), where the loss's own number is, where the
    total weight is, where the losses go."""

    def loss(a: Any, like: Any, part: int, parts: int) -> None:
        first, last = _share(a[4], part, parts)
        Z, Delta = _rows(a, 1, like, 0, a[4]), _rows(a, 3, like, 0, a[4])
        Y = carray(words(a[6]), (a[4],)) if classes else _rows(a, 6, like, 0, a[4])
        number, total, losses = float64s(a[7])[0], float64s(a[8])[0], float64s(a[9])
        for i in range(first, last):
            z, y, d = Z[i : i + 1], Y[i : i + 1], Delta[i : i + 1]
            if a[2] != 0:
                w = carray(pointer(a[2], like), (a[4],))[i : i + 1]
                losses[i] = loop(z, y, w, total, d, number) / total
            else:
                losses[i] = loop(z, y, None, total, d, number) / total

    return loss


cross_entropy = _loss(loops.cross_entropy, classes=True)
bce = _loss(loops.bce, classes=False)
mse = _loss(loops.mse, classes=False)


# --- units of a layer ---


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


def penalty_gradient(a: Any, like: Any, part: int, parts: int) -> None:
    """grad += l2 theta + l1 sign(theta): theta, grad, where l2 and l1 are, units, entries."""
    first, last = _share(a[4], part, parts)
    theta, grad = carray(pointer(a[1], like), (a[4], a[5])), carray(pointer(a[2], like), (a[4], a[5]))
    l2, l1 = theta.dtype.type(float64s(a[3])[0]), theta.dtype.type(float64s(a[3])[1])
    for i in range(first, last):
        for j in range(a[5]):
            grad[i, j] += l2 * theta[i, j] + l1 * np.sign(theta[i, j])


# --- updates: theta, grad, up to three vectors of the state; where the rule's numbers are; units, entries of each ---


@compiled
def _stretch(a: Any, k: int, like: Any, part: int, parts: int) -> Any:
    """This part's own entries of the vector whose address is word k; units and entries of each are words 7 and 8."""
    first, last = _share(a[7], part, parts)
    return carray(pointer(a[k], like), (a[7] * a[8],))[first * a[8] : last * a[8]]


def _update(loop: Any, vectors: int, numbers: int) -> Instruction:
    """The rule of a loop that takes so many vectors, theta and its gradient among them, and so many numbers."""

    def update(a: Any, like: Any, part: int, parts: int) -> None:
        p = to_fixed_tuple(carray(float64s(a[6]), (numbers,)), numbers)
        theta, grad = _stretch(a, 1, like, part, parts), _stretch(a, 2, like, part, parts)
        if vectors == 2:
            loop(theta, grad, *p)
        elif vectors == 3:
            loop(theta, grad, _stretch(a, 3, like, part, parts), *p)
        elif vectors == 4:
            loop(theta, grad, _stretch(a, 3, like, part, parts), _stretch(a, 4, like, part, parts), *p)
        else:
            first, second = _stretch(a, 3, like, part, parts), _stretch(a, 4, like, part, parts)
            loop(theta, grad, first, second, _stretch(a, 5, like, part, parts), *p)

    return update


sgd = _update(loops.sgd, 2, 2)
momentum = _update(loops.momentum, 3, 3)
nesterov = _update(loops.nesterov, 3, 3)
adagrad = _update(loops.adagrad, 3, 3)
rmsprop = _update(loops.rmsprop, 3, 4)
adadelta = _update(loops.adadelta, 4, 4)
adam = _update(loops.adam, 4, 7)
amsgrad = _update(loops.amsgrad, 5, 6)
lion = _update(loops.lion, 3, 4)
momentum_and_square = _update(loops.momentum_and_square, 4, 4)


# --- several instructions, strip by strip ---


def in_strips(a: Any, like: Any, part: int, parts: int) -> None:
    """Carry out some records for some units after others, so that the next record finds in the cache what the last one
    wrote: how many records, where they are, units, units to a strip, memory for a record of each part.

    Every word of a record is linear in the first unit of a strip, in its units beyond 1, and in the part: there are
    four rows for each.
    """
    first, last = _share(a[3], part, parts)
    place = a[5] + 8 * WIDTH * part
    record, forms = words(place), carray(words(a[2]), (a[1], 4, WIDTH))
    for start in range(first, last, a[4]):
        more = min(a[4], last - start) - 1
        for k in range(a[1]):
            for w in range(WIDTH):
                record[w] = forms[k, 0, w] + start * forms[k, 1, w] + more * forms[k, 2, w] + part * forms[k, 3, w]
            call(record[0], record, 0, 1)

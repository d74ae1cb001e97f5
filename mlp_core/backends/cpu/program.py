"""Programs of the kernels: lists of what is to be done, with the addresses of what it is done to.

An instruction is written down as (function, arguments...); the C files beside this one say what its words are.
`assemble` makes a list of them ready to be carried out by a `Crew`. Arrays are named by their addresses, so they must
outlive the program. A number that changes from step to step is named by the address that it is found at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu.library import Library
from mlp_core.nn.backend import Array
from mlp_core.rng import stream

Record = tuple[str | int, *tuple[int, ...]]
Drop = tuple[Array, int, Array]
"""What dropout leaves, where the share of its probability is, and where the result goes."""

WIDTH, MEET, CHECK = 16, 0, 1
"""Words of an instruction, and what stands in place of an address, as in program.h."""

LINE = 16
"""Words between things that different threads write: two cache lines."""


def at(array: Array | None) -> int:
    """Where an array begins; 0 for none."""
    return 0 if array is None else int(array.ctypes.data)


def record(function: str, like: Array, *arguments: int) -> Record:
    """An instruction for numbers of the dtype of an array."""
    return f"{function}_{like.dtype.char}", *arguments


def meet() -> Record:
    """All threads wait here for each other."""
    return (MEET,)


def check(terms: int) -> Record:
    """Sum up the first so many terms, and go no further unless the sum is finite."""
    return CHECK, terms


def assemble(library: Library, records: Sequence[Record]) -> np.ndarray:
    """The program int64 [instructions, WIDTH] that a crew goes through."""
    program = np.zeros((len(records), WIDTH), np.int64)
    for row, (function, *arguments) in zip(program, records, strict=True):
        row[0] = library.address(function) if isinstance(function, str) else function
        row[1 : len(arguments) + 1] = arguments
    return program


# --- products.c ---

MANY = 32
"""Rows and columns of A B^T from which B is turned, piece by piece, before it is multiplied."""

BLOCK = 256
"""Rows, and shards, that a product over shards takes at most, as in products.c."""


def product(
    A: Array,
    B: Array,
    out: Array,
    scratch: int,
    by_columns: bool = False,
    rows: int | None = None,
    ends: Array | None = None,
) -> Record:
    """out = A @ B. Rows of `out` and rows of B, or rows of A and columns of B, lie without gaps.

    `scratch` is the address of memory of the threads that carry it out (Crew.scratch).
    `by_columns`: share out columns of the result, not rows. rows: as many as A is to be taken to have, where it is a
    part of a matrix, and its bits are to be those that it has as a part. ends: int64 [2^k], where shards of the rows of
    B end, at most BLOCK of either: the product is the sum of those of the shards, added in pairs, then pairs of pairs.
    """
    size = out.itemsize
    (row, step), (ldb, along), (ldc, _) = ([stride // size for stride in array.strides] for array in (A, B, out))
    if along == 1:
        function = "outer"
    else:
        many = min(rows or len(out), out.shape[1]) >= MANY
        function, step, ldb = "turned" if many else "dot", 0, along
    function += "_by_columns" if by_columns else ""
    shards = (0, 0) if ends is None else (at(ends), len(ends))
    return record(function, out, at(A), row, step, at(B), ldb, at(out), ldc, *out.shape, A.shape[1], scratch, *shards)


# --- rows.c, plain.c, activations.c, waves.c ---

STORED = ("uint8", "float32")
"""The dtypes of rows that can be scaled while they are gathered."""


def gather(X: Array, rows: int, first: int, out: Array) -> Record:
    """out[i] = X[rows[first + i]]; `rows` is where the address of the row numbers is."""
    return "gather", at(X), X.nbytes // len(X), rows, first, at(out), len(out)


def gather_scaled(X: Array, rows: int, first: int, shift: Array, scale: Array, out: Array) -> Record:
    """out[i] = (X[rows[first + i]] - shift) * scale, computed in float64; X without gaps."""
    arguments = at(X), X.shape[1], rows, first, at(out), len(out), at(shift), at(scale)
    return record(f"gather_{X.dtype.name}", out, *arguments)


def mix(X: Array, cursor: int, other: int, share: int, out: Array) -> Record:
    """out = lambda X + (1 - lambda) X[other], all [rows, m]; the numbers `other` and lambda are so many bytes behind
    the row numbers of the step."""
    return record("mix", out, at(X), cursor, other, *X.shape, at(out), share)


def one_hot(classes: Array, Y: Array) -> Record:
    """Y [rows, c] = 1 for the class of each row, else 0."""
    return record("one_hot", Y, at(classes), 0, 0, *Y.shape, at(Y))


def add_noise(X: Array, cursor: int, normal: int, sigma: int) -> Record:
    """X += sigma N, N float32 [rows, m] so many bytes behind the row numbers of the step."""
    return record("add_noise", X, at(X), cursor, normal, *X.shape, sigma)


def activation(
    name: str, Z: Array, b: Array | None, F: Array, given: int, learned: Array | None = None, drop: Drop | None = None
) -> Record:
    """Z = factor Z + b, F = f(Z), both [rows, m]; F may be Z. `given`: the number of f, the factor, and the probability
    of dropout. With `learned` alpha [m] F becomes Z + alpha (F - Z); `drop` says what comes after."""
    left, share, A = drop or (None, 0, F)
    return record(
        f"{name}_forward", Z, at(Z), at(b), at(F), *Z.shape, given, at(learned), at(left), at(A), share
    )  # fmt: skip


def slope(
    name: str, Delta: Array, Z: Array, F: Array, given: int, learned: Array | None = None, drop: Drop | None = None
) -> Record:
    """Delta becomes dLoss/d(product) from dLoss/dA, all [rows, m]. With `learned` alpha, Z becomes Delta (f - Z)."""
    left, share, _ = drop or (None, 0, F)
    return record(
        f"{name}_backward", Delta, at(Delta), at(Z), at(F), *Delta.shape, given, at(learned), at(left), 0, share
    )


def dropout(left: Array, seed: int, index: int, step: int, after: int, p: int, share: int, first: int = 0) -> Record:
    """What the dropout of a layer with this index leaves, uint8 [rows, m], `after` steps after the one found at `step`.
    `p` is where the probability is, `share` where the share of it is that the step has. first: which entry of the whole
    batch is the first."""
    (key0, key1), _ = stream(seed, "dropout")
    signed = [key - (key >> 63 << 64) for key in (key0, key1)]
    return "dropout", at(left), step, after, *left.shape, index, *signed, p, share, first


def add(A: Array, B: Array, out: Array) -> Record:
    """out = A + B, all [rows, m]."""
    return record("add", out, at(A), at(B), at(out), *out.shape)


def copy_columns(X: Array, A: Array, columns: int) -> Record:
    """The first columns of X [rows, n] to those of A [rows, m]."""
    return record("copy_columns", A, at(X), X.shape[1], at(A), *A.shape, columns)


def scale_columns(X: Array, s: Array, A: Array) -> Record:
    """A = X s, both [rows, m], s [m]; A may be X."""
    return record("scale_columns", A, at(X), at(s), at(A), *A.shape)


def prelu(X: Array, A: Array, slope: Array) -> Record:
    """A = X, times the slope [1] where X is not above 0."""
    return record("prelu_forward", A, at(X), 0, at(A), *A.shape, at(slope))


def prelu_gradient(Delta: Array, X: Array, slope: Array, sums: Array) -> Record:
    """Delta times the derivative, and sums [rows] whose total is the gradient of the slope."""
    return record("prelu_backward", Delta, at(Delta), at(X), 0, *Delta.shape, at(slope), at(sums))


def norm(X: Array, H: Array, A: Array, gain: Array, shift: Array | None, inverse: Array, eps: int) -> Record:
    """H = X normalised row by row, A = gain H + shift; without a shift the mean stays, too."""
    return record("norm_forward", A, at(X), at(H), at(A), *A.shape, at(gain), at(shift), at(inverse), eps)


def norm_gradient(Delta: Array, H: Array, dX: Array, gain: Array, shift: Array | None, inverse: Array) -> Record:
    """dX of that; Delta stays."""
    arguments = at(Delta), at(H), at(dX), *Delta.shape, at(gain), at(shift), at(inverse)
    return record("norm_backward", Delta, *arguments)


def batch_statistics(
    X: Array, mean: Array, inverse: Array, running: tuple[Array, Array] | tuple[None, None], given: int
) -> Record:
    """Mean and 1 / sqrt(variance + eps) of columns, and running ones moved towards them; `given`: eps, momentum."""
    return record("batch_statistics", X, at(X), at(mean), at(inverse), *X.shape, *map(at, running), given)


def batch_norm(X: Array, H: Array, A: Array, gain: Array, shift: Array, mean: Array, inverse: Array) -> Record:
    """H = (X - mean) inverse, A = gain H + shift; mean, inverse, gain, shift [m]."""
    arguments = at(X), at(H), at(A), *A.shape, at(gain), at(shift), at(mean), at(inverse)
    return record("batch_norm_forward", A, *arguments)


def batch_norm_gradient(Delta: Array, H: Array, inverse: Array, gain: Array, dgain: Array, dshift: Array) -> Record:
    """Delta becomes dX, from the gradients of gain and shift."""
    arguments = at(Delta), at(H), at(inverse), *Delta.shape, at(gain), at(dgain), at(dshift)
    return record("batch_norm_backward", Delta, *arguments)


def embedding(X: Array, column: int, A: Array, start: int, E: Array) -> Record:
    """A[:, start:start + dim] = the rows of E [words, dim] whose codes are in a column of X."""
    places = at(X) + X.itemsize * column, X.shape[1], at(A) + A.itemsize * start
    return record("embedding_forward", A, *places, *A.shape, at(E), *E.shape)


def embedding_gradient(X: Array, column: int, Delta: Array, start: int, dE: Array) -> Record:
    """dE[w] = the sum of Delta[:, start:start + dim] over the rows with this word."""
    places = at(X) + X.itemsize * column, X.shape[1], at(Delta) + Delta.itemsize * start
    return record("embedding_gradient", Delta, *places, *Delta.shape, at(dE), *dE.shape)


def waves(X: Array, A: Array, u: Array, V: Array) -> Record:
    """A [rows, m] is X [rows, n] and waves of its first columns: u [k, f], V [k, s, f], and c and d beside them in the
    parameter vector."""
    return record("waves", A, at(X), X.shape[1], at(A), *A.shape, at(u), *u.shape, V.shape[1])


def waves_gradient(X: Array, Delta: Array, u: Array, V: Array, du: Array) -> Record:
    """The gradients of u, c, V and d, which lie behind each other from du on, too."""
    shapes = *Delta.shape, at(u), *u.shape, V.shape[1]
    return record("waves_gradient", Delta, at(X), X.shape[1], at(Delta), *shapes, at(du))


# --- losses.c ---


def loss(
    name: str, Z: Array, Y: Array, w: Array | None, Delta: Array, parameters: int, total: int, losses: int
) -> Record:
    """The loss of each row over the total weight, into `losses`, and its gradient into Delta; Z, Delta [rows, c]."""
    function = f"{name}_of_classes" if Y.ndim == 1 else name
    return record(function, Z, at(Z), at(w), at(Delta), *Z.shape, at(Y), parameters, total, losses)


# --- units.c: theta and gradient are [units, entries] ---


def sum_rows(Delta: Array, db: Array, factor: int = 0) -> Record:
    """db = the sum of the rows of Delta, times the factor found there."""
    return record("sum_rows", Delta, at(Delta), at(db), factor, *Delta.shape)


def sum_row_products(Delta: Array, H: Array, dg: Array) -> Record:
    """dg = the sum of the rows of Delta H."""
    return record("sum_row_products", Delta, at(Delta), at(dg), at(H), *Delta.shape)


def total(terms: Array, x: Array) -> Record:
    """x [1] = the sum of terms, float64."""
    return record("total", x, at(terms), at(x), len(terms))


def penalty(theta: Array, strengths: int, sums: int) -> Record:
    """The penalty of each unit into `sums`."""
    return record("penalty", theta, at(theta), 0, strengths, *theta.shape, sums)


def penalty_gradient(theta: Array, grad: Array, strengths: int) -> Record:
    return record("penalty_gradient", theta, at(theta), at(grad), strengths, *theta.shape)


def clip_value(grad: Array, largest: int) -> Record:
    """Entries cut to [-largest, largest]."""
    return record("clip_value", grad, at(grad), largest, 0, *grad.shape)


def squares(grad: Array, sums: int) -> Record:
    """The sum of the squares of each unit into `sums`."""
    return record("squares", grad, at(grad), sums, 0, *grad.shape)


def shortening(like: Array, sums: int, count: int, longest: int, factors: Array) -> Record:
    """What cuts a gradient to a length, from its `count` sums of squares, into factors [parts, LINE]."""
    return record("shortening", like, sums, count, longest, at(factors))


def shorten(grad: Array, factors: Array) -> Record:
    """grad times this part's factor."""
    return record("shorten", grad, at(grad), at(factors), 0, *grad.shape)


def shorten_rows(W: Array, longest: int) -> Record:
    """Rows of W cut to a length."""
    return record("shorten_rows", W, at(W), longest, 0, *W.shape)


def follow(average: Array, theta: Array, share: int) -> Record:
    """average += share (theta - average), both [units, entries]."""
    return record("follow", average, at(average), at(theta), share, *average.shape)


def update(rule: str, vectors: Sequence[Array], given: int, units: int, entries: int) -> Record:
    """What moves one tensor: its stretches of theta, the gradient and the state; `given` is where the numbers of the
    rule are."""
    places = [at(vector) for vector in vectors] + [0] * (5 - len(vectors))
    return record(f"{numbers.RULES[rule]}_update", vectors[0], *places, given, units, entries)


# --- strips ---


def linear(library: Library, records: Callable[[int, int, int], Sequence[Record]], parts: int) -> np.ndarray:
    """Records that are linear functions of (first unit, number of units, part), as `in_strips` wants them, int64
    [records, 4, WIDTH]: those of one unit, and by how much more of each changes them."""
    one = assemble(library, records(0, 1, 0))
    changes = [assemble(library, records(1, 1, 0)) - one, assemble(library, records(0, 2, 0)) - one]
    changes.append(assemble(library, records(0, 1, 1)) - one if parts > 1 else np.zeros_like(one))
    return np.stack([one, *changes], axis=1)


def in_strips(forms: np.ndarray, units: int, rows: int, room: np.ndarray) -> Record:
    """The records of `forms` for `rows` units after others; `room` [parts, WIDTH] is memory for a record of each
    part."""
    return "in_strips", len(forms), at(forms), units, rows, at(room)

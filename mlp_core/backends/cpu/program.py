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
"""Words of an instruction, and what stands in place of an address, as in program.h: all threads wait for each other;
the first so many terms are summed up, and it goes no further unless the sum is finite."""

LINE = 16
"""Words between things that different threads write: two cache lines."""


def at(array: Array | None) -> int:
    """Where an array begins; 0 for none."""
    return 0 if array is None else int(array.ctypes.data)


def record(function: str, like: Array, *arguments: int) -> Record:
    """An instruction for numbers of the dtype of an array."""
    return f"{function}_{like.dtype.char}", *arguments


def over(matrix: Array, function: str, *words: int | Array | None) -> Record:
    """An instruction that goes over the rows, or the units, of a matrix, by the name that it has in rows.c,
    activations.c, waves.c, losses.c or units.c: three words, the shape of the matrix, and further ones, as is said
    there. Arrays stand for where they begin, None for 0."""
    places = [word if isinstance(word, int) else at(word) for word in words]
    return record(function, matrix, *places[:3], *matrix.shape, *places[3:])


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
    shapes = *out.shape, A.shape[1]
    how = at(ends), 0 if ends is None else len(ends), int(by_columns)
    return record(function, out, at(A), row, step, at(B), ldb, at(out), ldc, *shapes, scratch, *how)


# --- rows, activations, losses, updates ---

STORED = ("uint8", "float32")
"""The dtypes of rows that can be scaled while they are gathered."""


def gather(X: Array, rows: int, first: int, out: Array) -> Record:
    """out[i] = X[rows[first + i]]; `rows` is where the address of the row numbers is."""
    return "gather", at(X), X.nbytes // len(X), rows, first, at(out), len(out)


def gather_scaled(X: Array, rows: int, first: int, shift: Array, scale: Array, out: Array) -> Record:
    """out[i] = (X[rows[first + i]] - shift) * scale, computed in float64; X without gaps."""
    arguments = at(X), X.shape[1], rows, first, at(out), len(out), at(shift), at(scale)
    return record(f"gather_{X.dtype.name}", out, *arguments)


def activation(
    name: str, Z: Array, b: Array | None, F: Array, given: int, learned: Array | None = None, drop: Drop | None = None
) -> Record:
    """Z = factor Z + b, F = f(Z), both [rows, m]; F may be Z. `given`: the number of f, the factor, and the probability
    of dropout. With `learned` alpha [m] F becomes Z + alpha (F - Z); `drop` says what comes after."""
    left, share, A = drop or (None, 0, F)
    return over(Z, f"{name}_forward", Z, b, F, given, learned, left, A, share)


def slope(
    name: str, Delta: Array, Z: Array, F: Array, given: int, learned: Array | None = None, drop: Drop | None = None
) -> Record:
    """Delta becomes dLoss/d(product) from dLoss/dA, all [rows, m]. With `learned` alpha, Z becomes Delta (f - Z)."""
    left, share, _ = drop or (None, 0, F)
    return over(Delta, f"{name}_backward", Delta, Z, F, given, learned, left, 0, share)


def dropout(left: Array, seed: int, index: int, step: int, after: int, p: int, share: int, first: int = 0) -> Record:
    """What the dropout of a layer with this index leaves, uint8 [rows, m], `after` steps after the one found at `step`.
    `p` is where the probability is, `share` where the share of it is that the step has. first: which entry of the whole
    batch is the first."""
    (key0, key1), _ = stream(seed, "dropout")
    signed = [key - (key >> 63 << 64) for key in (key0, key1)]
    return "dropout", at(left), step, after, *left.shape, index, *signed, p, share, first


def loss(
    name: str, Z: Array, Y: Array, w: Array | None, Delta: Array, parameters: int, total: int, losses: int
) -> Record:
    """The loss of each row over the total weight, into `losses`, and its gradient into Delta; Z, Delta [rows, c]."""
    function = f"{name}_of_classes" if Y.ndim == 1 else name
    return over(Z, function, Z, w, Delta, Y, parameters, total, losses)


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

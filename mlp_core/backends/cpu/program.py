"""Instructions for compiled code: lists of what is to be done, with the addresses of what it is done to.

An instruction is written down as (name, arguments...), where the name is that of a function in `compiled.instructions`
and the dtype it works on. `assemble` makes a list of them ready to be carried out by a `Crew`: the names become the
addresses of machine code. Arrays are named by their addresses, so they must outlive the list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlp_core.backends.cpu.compiled.layout import CHECK, MEET, WIDTH
from mlp_core.backends.cpu.machine_code import machine_code
from mlp_core.rng import stream

Array = Any  # numpy.ndarray
Record = tuple[str | int, *tuple[int, ...]]

KINDS = {"f": "f", "d": "d", "l": "l", "q": "l"}
"""The dtypes that there are functions for, by their characters; int64 has two."""

UPDATES: dict[str, str] = {
    **{name: name for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta")},
    **{"adam": "adam", "nadam": "adam", "amsgrad": "amsgrad", "lion": "lion"},
    "momentum_and_square": "momentum_and_square",
}
"""The instruction of each update rule."""


def named(name: str, dtype: Any) -> str:
    """What the function of this name for numbers of a dtype is called."""
    return f"{name}.{KINDS[np.dtype(dtype).char]}"


def record(name: str, dtype: Any, *arguments: int) -> Record:
    """An instruction for numbers of a dtype."""
    return named(name, dtype), *arguments


def meet() -> Record:
    """All threads wait here for each other."""
    return (MEET,)


def check(terms: int) -> Record:
    """Sum up the first so many terms, and go no further unless the sum is finite."""
    return CHECK, terms


def assemble(records: Sequence[Record]) -> Any:
    """The list [instructions, WIDTH] of int64 that a crew goes through. Raises CannotCompile."""
    program = np.zeros((len(records), WIDTH), np.int64)
    names = [one[0] for one in records if isinstance(one[0], str)]
    addresses = dict(zip(names, (each.address for each in machine_code().functions(names)), strict=True))
    for row, (name, *arguments) in zip(program, records, strict=True):
        row[: len(arguments) + 1] = addresses[name] if isinstance(name, str) else name, *arguments
    return program


def product(A: Array, B: Array, out: Array, scratch: int, by_columns: bool = False) -> Record:
    """The instruction out = A @ B. Rows of `out` and rows of B, or rows of A and columns of B, lie without gaps.

    `scratch` is the address of memory of the threads that carry it out (Crew.scratch).
    `by_columns`: share out columns of the result, not rows.
    """
    size = out.itemsize
    (row, step), (ldb, along), (ldc, _) = ([stride // size for stride in array.strides] for array in (A, B, out))
    sizes = (*out.shape, A.shape[1], size, scratch)
    if along == 1:
        how = "outer_by_columns" if by_columns else "outer"
        return record(how, out.dtype, A.ctypes.data, row, step, B.ctypes.data, ldb, out.ctypes.data, ldc, *sizes)
    how = "dot_by_columns" if by_columns else "dot"
    return record(how, out.dtype, A.ctypes.data, row, 0, B.ctypes.data, along, out.ctypes.data, ldc, *sizes)


def update(rule: str, vectors: Sequence[Array], numbers: int, units: int, entries: int) -> Record:
    """The instruction that moves one tensor: its stretches of theta, the gradient and the state; `numbers` is where
    the rule's numbers are."""
    places = [vector.ctypes.data for vector in vectors] + [0] * (5 - len(vectors))
    return record(UPDATES[rule], vectors[0].dtype, *places, numbers, units, entries)


STORED = {np.dtype(np.uint8): "gather_uint8", np.dtype(np.float32): "gather_float32"}
"""The instruction that scales the rows it gathers, by the type of what is stored."""


def gather(X: Array, rows: int, out: Array) -> Record:
    """The instruction out[i] = X[rows[i]]; `rows` is where the address of the row numbers is."""
    columns = X.size // len(X)
    return record("gather", X.dtype, X.ctypes.data, columns, rows, out.ctypes.data, len(out))


def gather_scaled(X: Array, rows: int, shift: Array, scale: Array, out: Array) -> Record:
    """The instruction out[i] = (X[rows[i]] - shift) * scale, computed in float64; X without gaps."""
    scales = shift.ctypes.data, scale.ctypes.data
    return record(STORED[X.dtype], out.dtype, X.ctypes.data, X.shape[1], rows, out.ctypes.data, len(out), *scales)


def dropout_mask(mask: Array, p: float, seed: int, index: int, step: int, scale: int) -> Record:
    """The instruction that draws the mask [rows, m] of a layer with this index; `step` and `scale` are where the step
    and 1 / (1 - p) are.

    numpy compares 24 random bits, over 2^24, with p as float32.
    """
    (key0, key1), _ = stream(seed, "dropout")
    signed = [key - (key >> 63 << 64) for key in (key0, key1)]
    least = math.ceil(float(np.float32(p)) * 2**24)
    return record("dropout_mask", mask.dtype, mask.ctypes.data, step, scale, *mask.shape, index, *signed, least)


def multiply(A: Array, B: Array, out: Array) -> Record:
    """The instruction out = A B, entry by entry, all [rows, m]."""
    return record("multiply", out.dtype, A.ctypes.data, B.ctypes.data, out.ctypes.data, *out.shape)


def linear(records: Callable[[int, int, int], Sequence[Record]], parts: int) -> Any:
    """Records that are linear functions of (first unit, number of units, part), as `in_strips` wants them, int64
    [records, 4, WIDTH]: those of one unit, and by how much more of each changes them. Raises CannotCompile."""
    one = assemble(records(0, 1, 0))
    changes = [assemble(records(1, 1, 0)) - one, assemble(records(0, 2, 0)) - one]
    changes.append(assemble(records(0, 1, 1)) - one if parts > 1 else np.zeros_like(one))
    return np.stack([one, *changes], axis=1)


def in_strips(forms: Array, units: int, rows: int, room: Array) -> Record:
    """The instruction to carry out the records of `forms` for `rows` units after others; `room` [parts, WIDTH] is
    memory for a record of each part."""
    return record("in_strips", np.int64, len(forms), forms.ctypes.data, units, rows, room.ctypes.data)

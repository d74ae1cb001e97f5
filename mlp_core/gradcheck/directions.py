"""Which directions a check takes through a tensor: every entry, every row and column, or a few through the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlp_core.gradcheck.complex_step import Direction
from mlp_core.gradcheck.half_matrices import LARGE
from mlp_core.nn.backend import blocks
from mlp_core.rng import generator

FULL_LIMIT = 20_000
FAST_DIRECTIONS = 4


@dataclass(frozen=True)
class Coverage:
    """The directions through one tensor of this shape, and how an analytic gradient is projected onto them.

    `project` gives what the numeric derivatives are compared with; `locate` the entry that a disagreement at position
    k of them points to; `checked` how many entries are compared.
    """

    shape: tuple[int, ...]
    directions: Sequence[Direction]
    project: Callable[[np.ndarray], np.ndarray]
    locate: Callable[[np.ndarray], tuple[int, ...] | None]
    checked: int
    entrywise: bool


def choose(method: str, parameters: int, inputs: int) -> str:
    """The method that `auto` stands for: every entry up to 20,000 of them, above that rows and columns."""
    if method == "auto":
        return "full" if max(parameters, inputs) <= FULL_LIMIT else "sweep"
    return method


def cover(method: str, shape: tuple[int, ...], rng: np.random.Generator) -> Coverage:
    """The directions through a tensor of this shape."""
    if method == "full" or (method == "sweep" and len(shape) == 1):
        return _entries(shape)
    if method == "sweep":
        return _rows_and_columns(shape, rng)
    return _gaussian(shape, rng)


def _entries(shape: tuple[int, ...]) -> Coverage:
    """One direction per entry."""

    def locate(error: np.ndarray) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), shape))

    size = math.prod(shape)
    return Coverage(shape, [((k, 1.0),) for k in range(size)], lambda g: g.flatten(), locate, size, entrywise=True)


def _rows_and_columns(shape: tuple[int, ...], rng: np.random.Generator) -> Coverage:
    """One random direction of length 1 within each row, and one within each column: every entry is met twice.

    A stack of matrices [..., n] is taken as one with as many rows as they have together.
    """
    m, n = math.prod(shape[:-1]), shape[-1]
    U, V = rng.standard_normal((m, n)), rng.standard_normal((m, n))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    V /= np.linalg.norm(V, axis=0, keepdims=True)
    rows = [((slice(i * n, (i + 1) * n), U[i]),) for i in range(m)]
    columns = [((slice(j, None, n), V[:, j]),) for j in range(n)]

    def locate(error: np.ndarray) -> tuple[int, ...]:
        row = np.unravel_index(int(np.argmax(error[:m])), shape[:-1])
        return *(int(i) for i in row), int(np.argmax(error[m:]))

    def project(g: np.ndarray) -> np.ndarray:
        G = g.reshape(m, n)
        return np.concatenate([(G * U).sum(axis=1), (G * V).sum(axis=0)])

    return Coverage(shape, rows + columns, project, locate, m * n, entrywise=False)


@dataclass(frozen=True)
class _Gaussian:
    """A Gaussian direction through a whole tensor, drawn anew block by block wherever it is needed."""

    size: int
    key: int

    def __iter__(self) -> Iterator[tuple[slice, np.ndarray]]:
        rng = generator(self.key, "gradcheck")
        for part in blocks(self.size):
            yield part, rng.standard_normal(part.stop - part.start, np.float32)


def _direction(size: int, rng: np.random.Generator) -> Direction:
    """A Gaussian direction, kept where it takes little memory."""
    if size <= LARGE:
        return ((slice(0, size), rng.standard_normal(size, np.float32)),)
    return _Gaussian(size, int(rng.integers(1 << 63)))


def _gaussian(shape: tuple[int, ...], rng: np.random.Generator) -> Coverage:
    """Four Gaussian directions through the whole tensor."""
    size = math.prod(shape)
    directions = [_direction(size, rng) for _ in range(FAST_DIRECTIONS)]

    def project(g: np.ndarray) -> np.ndarray:
        flat = g.reshape(-1)
        return np.array([sum(u.astype(np.float64) @ flat[part] for part, u in one) for one in directions])

    return Coverage(shape, directions, project, lambda error: None, FAST_DIRECTIONS, entrywise=False)


def miss_probability(tolerance: float, relative: float) -> float:
    """How likely fast mode misses an error whose length is `relative` to the tensor's gradient.

    A Gaussian direction sees the error e as N(0, |e|^2); it is missed where that falls below the tolerance in all four.
    """
    return float(min(1.0, tolerance / relative * np.sqrt(2 / np.pi)) ** FAST_DIRECTIONS)

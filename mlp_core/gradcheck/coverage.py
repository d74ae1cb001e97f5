"""Which directions a check takes through a tensor: every entry, every row and column, or a few through the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.gradcheck.reference import Direction

FULL_LIMIT = 20_000
FAST_DIRECTIONS = 4

Place = Callable[[Any], Any]
"""From an index into a tensor to an index into the vector (or array) that is perturbed."""


@dataclass(frozen=True)
class Coverage:
    """The directions through one tensor, and how an analytic gradient is projected onto them.

    `project` gives what the numeric derivatives are compared with; `locate` the entry that a disagreement at position
    k of them points to; `checked` how many entries are compared.
    """

    directions: list[Direction]
    project: Callable[[np.ndarray], np.ndarray]
    locate: Callable[[np.ndarray], tuple[int, ...] | None]
    checked: int
    entrywise: bool


def choose(method: str, parameters: int, inputs: int) -> str:
    """The method that `auto` stands for: every entry up to 20,000 of them, above that rows and columns."""
    if method == "auto":
        return "full" if max(parameters, inputs) <= FULL_LIMIT else "sweep"
    return method


def cover(method: str, shape: tuple[int, ...], base: np.ndarray, rng: np.random.Generator) -> Coverage:
    """The directions through a tensor of this shape; `base` [shape] holds the flat index of each of its entries."""
    if method == "full" or (method == "sweep" and len(shape) == 1):
        return _entries(shape, base)
    if method == "sweep":
        return _rows_and_columns(shape, base, rng)
    return _gaussian(shape, base, rng)


def _entries(shape: tuple[int, ...], base: np.ndarray) -> Coverage:
    """One direction per entry."""

    def locate(error: np.ndarray) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), shape))

    return Coverage([(k, 1.0) for k in base.ravel()], lambda g: g.ravel(), locate, base.size, entrywise=True)


def _rows_and_columns(shape: tuple[int, ...], base: np.ndarray, rng: np.random.Generator) -> Coverage:
    """One random direction of length 1 within each row, and one within each column: every entry is met twice."""
    m, n = shape
    U, V = rng.standard_normal(shape), rng.standard_normal(shape)
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    V /= np.linalg.norm(V, axis=0, keepdims=True)
    directions = [(base[i], U[i]) for i in range(m)] + [(base[:, j], V[:, j]) for j in range(n)]

    def locate(error: np.ndarray) -> tuple[int, ...]:
        return int(np.argmax(error[:m])), int(np.argmax(error[m:]))

    def project(g: np.ndarray) -> np.ndarray:
        return np.concatenate([(g * U).sum(axis=1), (g * V).sum(axis=0)])

    return Coverage(directions, project, locate, base.size, entrywise=False)


def _gaussian(shape: tuple[int, ...], base: np.ndarray, rng: np.random.Generator) -> Coverage:
    """Four Gaussian directions through the whole tensor."""
    U = [rng.standard_normal(base.size, np.float32) for _ in range(FAST_DIRECTIONS)]
    flat = base.ravel()
    where: Any = slice(int(flat[0]), int(flat[-1]) + 1)  # entries of a tensor lie side by side

    def project(g: np.ndarray) -> np.ndarray:
        return np.array([u.astype(np.float64) @ g.ravel() for u in U])

    return Coverage([(where, u) for u in U], project, lambda error: None, FAST_DIRECTIONS, entrywise=False)


def miss_probability(tolerance: float, relative: float) -> float:
    """How likely fast mode misses an error whose length is `relative` to the tensor's gradient.

    A Gaussian direction sees the error e as N(0, |e|^2); it is missed where that falls below the tolerance in all four.
    """
    return float(min(1.0, tolerance / relative * np.sqrt(2 / np.pi)) ** FAST_DIRECTIONS)

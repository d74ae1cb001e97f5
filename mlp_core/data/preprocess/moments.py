"""Sums over rows that come block by block: counts, means, deviations and ranges of columns in one pass."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.scaling import parts

Floats = npt.NDArray[np.float64]

CELLS = 1 << 15  # taken at once, so that temporaries stay in the cache


class Sums:
    """What is known of columns of numbers after the rows so far, each array [columns]; missing cells (NaN) are counted
    in `gaps` and in nothing else.

    rows: rows so far. low, high: the range of the present cells. mean, squares: their mean, and the sum of their
    squared deviations from it, merged block by block: for blocks a and b with means m, M and deviations s, S

        s' = s + S + (M - m)^2 n N / (n + N)

    (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).

    >>> sums = Sums(1); sums.add(np.array([[1.0], [3.0]])); sums.add(np.array([[8.0]]))
    >>> float(sums.mean[0]), float(sums.squares[0])
    (4.0, 26.0)
    """

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.gaps = np.zeros(columns, np.int64)
        self.mean, self.squares = np.zeros(columns), np.zeros(columns)
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)

    @property
    def present(self) -> Floats:
        """Cells that hold a number."""
        return (self.rows - self.gaps).astype(np.float64)

    def add(self, block: npt.NDArray[Any]) -> None:
        """Take a block of rows [b, columns]."""
        for rows in parts(block, CELLS):
            self._add(block[rows])

    @np.errstate(over="ignore", invalid="ignore")
    def _add(self, block: npt.NDArray[Any]) -> None:
        values = np.asarray(block, np.float64)
        total = values.sum(axis=0)
        count, missing = np.full(values.shape[1], float(len(block))), None
        if np.isnan(total).any():
            missing = np.isnan(values)
            count -= missing.sum(axis=0)
            values = np.where(missing, 0.0, values)
            total = values.sum(axis=0)
        mean = total / np.maximum(count, 1)
        deviations = values - mean
        if missing is not None:
            deviations[missing] = 0
        squares = np.einsum("ij,ij->j", deviations, deviations) - deviations.sum(axis=0) ** 2 / np.maximum(count, 1)
        self._merge(count, mean, np.maximum(squares, 0), len(block))
        low, high = (block, block) if missing is None else (np.where(missing, s, values) for s in (np.inf, -np.inf))
        self.low = np.minimum(self.low, low.min(axis=0))
        self.high = np.maximum(self.high, high.max(axis=0))

    def _merge(self, count: Floats, mean: Floats, squares: Floats, rows: int) -> None:
        """Put together with `count` cells that have this mean and these squared deviations, of `rows` more rows; of no
        more, they are cells that were missing."""
        before = self.present
        total = np.maximum(before + count, 1)
        difference = mean - self.mean
        self.mean = np.where(before == 0, mean, self.mean + difference * (count / total))
        self.squares = self.squares + squares + difference**2 * (before * count / total)
        self.gaps = self.gaps + rows - count.astype(np.int64)
        self.rows += rows

    def filled(self, fill: Floats) -> Sums:
        """What would be known if every missing cell had held the number `fill` [columns]."""
        made, some = (
            copy(self),
            self.gaps > 0,
        )  # a shallow copy: what is merged is put in place of arrays, not into them
        made._merge(self.gaps.astype(np.float64), np.where(some, fill, self.mean), np.zeros_like(fill), 0)
        made.low = np.where(some, np.minimum(self.low, fill), self.low)
        made.high = np.where(some, np.maximum(self.high, fill), self.high)
        return made

    @property
    def variance(self) -> Floats:
        """Of the present cells (population variance)."""
        return self.squares / np.maximum(self.present, 1)

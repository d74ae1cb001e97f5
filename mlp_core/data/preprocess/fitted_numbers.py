"""What was fitted for the columns of numbers: what stands in for missing values, limits, scales, flags, circles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.quantile_scores import Ranks
from mlp_core.data.preprocess.scaling import Scaler

WIDE = 256  # columns; more are images or embeddings, whose ranges say nothing one by one

Floats = npt.NDArray[np.float64]


@dataclass
class Numbers:
    """The columns of numbers, each array [columns of numbers].

    fill: what stands in for a missing value. low, high: limits. scaler: shift and scale of all columns.
    log, flag: which columns are replaced by log(1 + x), and which get an input that says where they miss a value.
    ranks: the columns that go by ranks, by their place here. cycles: the periods of columns with circles, likewise.
    seen: the range of the training rows, [2, columns of numbers], 0 and 0 for a column without a value; None where
    it is not known.
    """

    fill: Floats
    low: Floats
    high: Floats
    log: npt.NDArray[np.bool_]
    flag: npt.NDArray[np.bool_]
    scaler: Scaler
    ranks: dict[int, Ranks]
    cycles: dict[int, tuple[float, ...]] = field(default_factory=dict)
    seen: Floats | None = None

    @property
    def plain(self) -> bool:
        """Whether complete rows need scaling only."""
        return not (self.ranks or self.cycles or self.log.any() or np.isfinite(self.low).any() or self.flag.any())

    def hold(self, constant: npt.NDArray[np.bool_]) -> None:
        """Hold columns [columns of numbers] at 0 that are constant in training: their weights would never learn, and
        act as they were drawn as soon as a value changes."""
        self.scaler.scale = np.where(constant, 0.0, self.scaler.scale)
        self.ranks = {j: ranks for j, ranks in self.ranks.items() if not constant[j]}

    def filled(self, block: Floats) -> Floats:
        """The block with missing values filled, in place."""
        gaps = np.isnan(block)
        if gaps.any():
            np.copyto(block, self.fill, where=gaps)
        return block

    def bent(self, block: Floats) -> Floats:
        """The filled block after limits and logarithm, in place."""
        np.clip(block, self.low, self.high, out=block)
        if self.log.any():
            block[:, self.log] = np.log1p(np.maximum(block[:, self.log], -0.999999))
        return block


def numbers_of(state: Mapping[str, Any], count: int) -> Numbers:
    """The columns of numbers of a stored state. Raises KeyError, TypeError, ValueError, IndexError."""
    fill = np.array(state["fill"], np.float64)
    if fill.shape != (count,) or not np.isfinite(fill).all():
        raise ValueError("expected a finite number for every column")
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    for j, limits in state["limits"].items():
        low[int(j)], high[int(j)] = (float(limit) for limit in limits)
    log, flag = np.zeros(count, bool), np.zeros(count, bool)
    log[[int(j) for j in state["log"]]] = True
    flag[[int(j) for j in state["flag"]]] = True
    ranks = {int(j): Ranks.from_state(quantiles) for j, quantiles in state["ranks"].items()}
    cycles = {int(j): tuple(float(period) for period in periods) for j, periods in state.get("cycles", {}).items()}
    if any(not math.isfinite(period) or period <= 0 for periods in cycles.values() for period in periods):
        raise ValueError("a period is a number above 0")
    if not {*ranks, *cycles} <= set(range(count)) or np.isnan(low).any() or np.isnan(high).any():
        raise ValueError("no such column")
    seen = None
    if "seen" in state:
        seen = np.array(state["seen"], np.float64)
        if seen.shape != (2, count) or not np.isfinite(seen).all():
            raise ValueError("expected a range for every column")
    return Numbers(fill, low, high, log, flag, Scaler.from_state(state["scale"]), ranks, cycles, seen)


def range_of(block: npt.NDArray[Any]) -> Floats | None:
    """The range [2, columns] of a block of rows, whatever misses a value left out; None for the columns of images."""
    if not 0 < block.shape[1] <= WIDE:
        return None
    low, high = (np.asarray(one.reduce(block), np.float64) for one in (np.fmin, np.fmax))
    return np.where(np.isnan([low, high]), 0.0, [low, high])

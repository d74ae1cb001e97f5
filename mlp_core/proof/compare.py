"""Comparing what training came to with what the formulas say, and what rounding alone could have done."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.nn.network import Network
from mlp_core.proof.state import State

WITHIN = {"float64": 1e-8, "float32": 5e-5}
"""The largest error of a change, relative to the largest change in its tensor. What is beyond it is held against what
rounding did to walks beside the right one."""
LOSS_WITHIN = {"float64": 1e-10, "float32": 1e-5}
ULPS = 16  # by which a number may be off for the sake of the sums that it went through
CANCELLED = 64  # of the largest change of any tensor: a change that is none was a sum of such numbers
PRODUCTS = {"high": 2.0**-10, "medium": 2.0**-7}
"""What is between 1 and the next number that a factor of a matrix product may be, by its precision, where that is below
the precision of float32; so many times may errors and losses be off by it, relative as above:"""
PRODUCTS_TIMES, LOSS_TIMES = 8, 2
USED_WITHIN = {"float64": 1e-9, "float32": 1e-4}
"""The same for predictions and losses of a model in use."""
TIMES = 8  # as much as rounding moved a walk beside the right one, training may be off it


@dataclass(frozen=True)
class Difference:
    """The worst disagreement: where, by how much relative to what changed, and the two numbers."""

    where: str
    error: float
    here: float
    there: float


@dataclass
class Tally:
    """What was compared on one path so far: in words which, how many steps and numbers, the worst of them, and what was
    beyond all rounding."""

    path: str = ""
    steps: int = 0
    numbers: int = 0
    worst: float = 0.0
    wrong: Difference | None = None

    def add(self, numbers: int, error: float, found: Difference | None = None) -> None:
        self.numbers += numbers
        self.worst = max(self.worst, error)
        if found is not None and (self.wrong is None or not found.error <= self.wrong.error):
            self.wrong = found

    def right(self, where: str, right: bool, here: Any = math.nan, there: Any = math.nan, *, numbers: int = 1) -> None:
        """Something that is as it must be, or is not; with the two numbers, where it is told by some."""
        shown = (float(v) if isinstance(v, int | float | np.number) else math.nan for v in (here, there))
        self.add(numbers, 0.0, None if right else Difference(where, math.inf, *shown))

    def same(self, where: str, here: Any, there: Any, within: float = 1e-9) -> None:
        """Two values, equal to the last bit where they are no numbers."""
        numbers = isinstance(there, float) and isinstance(here, int | float)
        right = math.isclose(here, there, rel_tol=within, abs_tol=1e-300) if numbers else here == there
        self.right(where, right, here, there)

    def entries(self, where: str, here: Any, there: Any, within: float, scale: Any = None) -> None:
        """Arrays of the same shape, entry by entry, up to a share of `scale`: where there is none, of the largest."""
        here, there = np.asarray(here, np.float64), np.asarray(there, np.float64)
        if here.shape != there.shape:
            self.right(f"the shape of {where}", False, here.size, there.size)
            return
        scale = max(float(np.abs(there).max(initial=0)), 1e-300) if scale is None else scale
        error = np.abs(here - there) / scale
        if (error <= within).all():
            self.add(here.size, 0.0)
            return
        worst = int(error.argmax())
        wrong = Difference(where, float(error.flat[worst]), float(here.flat[worst]), float(there.flat[worst]))
        self.add(here.size, 0.0, wrong)


def tensors(state: State, network: Network) -> dict[str, Any]:
    """The parts of a state by name, each a flat array."""
    found = {}
    for what, vector in state.vectors().items():
        named = network.statistics if what == "running statistics" else network.parameters
        for name, place in named.slices.items():
            found[name if what in ("weights", "running statistics") else f"{what} of {name}"] = vector[place]
    return found


Walks = Callable[[], list[State]]
"""Walks beside the right one, made when somebody asks how much rounding matters: once, and the same every time."""


def compare_states(
    tally: Tally,
    before: State,
    found: State,
    paper: State,
    walks: Walks,
    network: Network,
    steps: int,
) -> None:
    """Every number of a state that the training of a network reached, against that of the formulas."""
    if found.t != paper.t:
        tally.right("the optimizer's count of steps", False, found.t, paper.t)
    parts = [tensors(state, network) for state in (before, found, paper)]
    ulp, rounding = float(np.finfo(network.dtype).eps), unit(network)
    within = max(WITHIN[network.dtype.name], PRODUCTS_TIMES * rounding if rounding > ulp else 0.0)
    largest = _changes(before, paper)
    for name, there in parts[2].items():
        of_all = largest[_vector(name)]
        was, here = (np.asarray(part[name], np.float64) for part in parts[:2])
        if not here.size:
            continue
        there = np.asarray(there, np.float64)
        with np.errstate(all="ignore"):
            change, error = np.abs(there - was), np.abs(here - there)
            size = float(np.nan_to_num(change.max(), nan=np.inf))
            held = steps * ulp * np.maximum(np.abs(was), np.abs(there))
            room = within * size + ULPS * held + CANCELLED * rounding * of_all + 1e-300
            off = ~(error <= room)
            ratio = _ratio(error, size, ulp * float(np.abs(there).max()), rounding * of_all)
        if not off.any():
            tally.add(here.size, ratio)
            continue
        if not np.isfinite(there).all():  # the formulas overflow too: nothing to compare
            continue
        beside = [np.abs(np.asarray(tensors(walk, network)[name], np.float64) - there) for walk in walks()]
        many = max(int((~(TIMES * one <= room)).sum()) for one in beside)
        most = max(float(one.max()) for one in beside)
        index = int(np.argmax(np.nan_to_num(error - room, nan=np.inf)))
        if int(off.sum()) <= TIMES * many + 2 * (many > 0) and float(np.nan_to_num(error, nan=np.inf).max()) <= max(
            TIMES * most, float(room.flat[index])
        ):
            tally.add(here.size, 0.0)
            continue
        tally.add(here.size, ratio, Difference(name, ratio, float(here[index]), float(there[index])))


def unit(network: Network) -> float:
    """The rounding of a network's products, by its dtype and their precision: what is between 1 and the next number."""
    dtype, precision = network.dtype, network.backend.precision
    return PRODUCTS[precision] if dtype == "float32" and precision in PRODUCTS else float(np.finfo(dtype).eps)


def _changes(before: State, paper: State) -> dict[str, float]:
    """The largest change of each vector, by its name."""
    was, now = before.vectors(), paper.vectors()
    with np.errstate(all="ignore"):
        return {name: float(np.nan_to_num(np.abs(now[name] - was[name]).max(initial=0))) for name in now}


def _vector(name: str) -> str:
    """The vector that a tensor is a part of."""
    if "running_" in name:
        return "running statistics"
    return name.partition(" of ")[0] if " of " in name else "weights"


def _ratio(error: Any, size: float, *least: float) -> float:
    """The largest error as a share of the largest change; not below what a number can tell."""
    return float(np.nan_to_num(error, nan=np.inf).max() / max(size, *least, 1e-300))


def compare_losses(
    tally: Tally,
    found: list[float],
    paper: list[float],
    walks: Callable[[], list[list[float]]],
    network: Network,
) -> None:
    """The losses that training reports against those of the formulas."""
    within = max(LOSS_WITHIN[network.dtype.name], LOSS_TIMES * unit(network))
    for i, (here, there) in enumerate(zip(found, paper, strict=False)):
        if not np.isfinite(there):
            continue
        scale = max(abs(there), 1e-3)
        error = abs(here - there) / scale
        if error <= within:
            tally.add(1, error)
            continue
        most = max(abs(walk[i] - there) / scale for walk in walks())
        if error <= TIMES * most:
            tally.add(1, 0.0)
        else:
            tally.add(1, error, Difference("the loss that is reported", error, here, there))


def close(tally: Tally, name: str, here: Any, there: Any, dtype: str, least: float = 1e-300) -> None:
    """Arrays in use, up to a share of the largest number, or of `least` where all are below that."""
    here, there = np.asarray(here), np.asarray(there)
    if here.shape != there.shape or np.isfinite(there).all():
        tally.entries(name, here, there, USED_WITHIN[dtype], max(float(np.abs(there).max(initial=0)), least))

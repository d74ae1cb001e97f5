"""The steps of training under watch: made as they are always made, and after each call held against the formulas."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.backends.job import Steps
from mlp_core.nn.step_options import StepRates
from mlp_core.proof.compare import Difference, Tally, compare_losses, compare_states, unit
from mlp_core.proof.paper import Noise, Paper, Walk
from mlp_core.proof.state import State

BESIDE = 3  # walks beside the right one, where somebody asks
RATE_WITHIN = 1e-12


class Watched:
    """A way of making steps, with the formulas walking along. The first calls are of `sizes` steps at most.

    It counts steps, epochs and places in an epoch for itself, from `step` on. `read` gives what was read.
    """

    def __init__(self, steps: Steps, paper: Paper, tally: Tally, step: int, sizes: Sequence[int]) -> None:
        self.steps, self.paper, self.tally = steps, paper, tally
        self.made, self.epoch_losses = 0, list[tuple[float, float]]()
        self._step, self._sizes = step, list(sizes)
        self._read: list[tuple[float, float]] = []
        self.spared, self.hindrance, self.notice, self.full = steps.spared, steps.hindrance, steps.notice, True
        self.job, self.name = steps.job, steps.name

    def reach(self, position: int, left: int) -> int:
        return min(self.steps.reach(position, left), self._sizes[0] if self._sizes else left)

    def locate(self) -> None:
        self.steps.locate()

    def gradient(self, step: int) -> None:
        self.steps.gradient(step)

    def read(self) -> list[tuple[float, float]]:
        read, self._read = self._read, []
        return read

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        self._sizes = self._sizes[1:]
        before = State.of(self.job)
        walk, on_paper = self._walk(before, len(rates))
        self._compare_places(epoch, position, step, rates, on_paper)
        made = self.steps.take(epoch, position, step, rates)
        read = self.steps.read()
        self._read += read
        if made == len(rates) and all(math.isfinite(loss) for loss, _ in read):
            self._compare(before, walk, read, len(rates))
        elif all(math.isfinite(loss) for loss, _ in walk.losses):
            self.tally.add(1, np.inf, Difference("a loss that is no number", np.inf, math.nan, walk.losses[made][0]))
        self.epoch_losses += walk.losses
        self._step += len(rates)
        self.made += made
        return made

    def _walk(self, before: State, count: int, noise: Noise | None = None, dtype: Any = np.float64) -> tuple[Walk, Any]:
        """So many steps on paper, and their rates."""
        walk, epoch = Walk(self.paper, before, noise, dtype), self.paper.table.steps
        rates = [walk.step((self._step + i) // epoch, (self._step + i) % epoch, self._step + i) for i in range(count)]
        return walk, rates

    def _compare_places(self, epoch: int, position: int, step: int, rates: Sequence[StepRates], right: Any) -> None:
        """The learning rates, and where the trainer says that these steps are."""
        expectations = (self._step, *divmod(self._step, self.paper.table.steps))
        for name, mine, expected in zip(("step", "epoch", "place"), (step, epoch, position), expectations, strict=True):
            self.tally.same(f"the {name}", mine, expected)
        for here, rate in zip(rates, right, strict=True):
            error = abs(here.lr - rate) / max(abs(rate), 1e-300)
            wrong = None if error <= RATE_WITHIN else Difference("the learning rate", error, here.lr, rate)
            self.tally.add(1, error, wrong)

    def _compare(self, before: State, walk: Walk, read: Sequence[tuple[float, float]], count: int) -> None:
        network, tally = self.job.network, self.tally

        @functools.cache
        def beside() -> list[Walk]:
            noises = [Noise(4 * unit(network), np.random.default_rng(i)) for i in range(BESIDE)]
            return [self._walk(before, count, noise, network.dtype)[0] for noise in noises]

        found, right = [loss for loss, _ in read], [loss for loss, _ in walk.losses]
        compare_losses(tally, found, right, lambda: [[loss for loss, _ in one.losses] for one in beside()], network)
        for (_, here), (_, there) in zip(read, walk.losses, strict=True):
            tally.entries("the weight of the rows", here, there, 1e-4)
        if walk.doubt and network.dtype == np.float32:
            return
        states = functools.cache(lambda: [one.state() for one in beside()])
        compare_states(tally, before, State.of(self.job), walk.state(), states, network, count)

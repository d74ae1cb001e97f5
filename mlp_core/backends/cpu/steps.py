"""Training steps made by the kernels as a whole, several of them in one call.

The steps that `training/steps.py` makes by calling one primitive after the other, as programs of the kernels
(`step_program.py`): nothing is interpreted between one instruction and the next.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mlp_core.backends.cpu import hindrances
from mlp_core.backends.cpu.changes import penalised
from mlp_core.backends.cpu.kernels import Kernels
from mlp_core.backends.cpu.library import Library
from mlp_core.backends.cpu.programs import DROPOUT, RATES, SHARE, STEP, TOTAL, Programs
from mlp_core.backends.cpu.shards import shard_steps
from mlp_core.backends.cpu.step_program import StepProgram
from mlp_core.backends.job import Job
from mlp_core.nn.backend import Backend
from mlp_core.nn.step_options import StepRates, average_share

STEPS_AT_ONCE = 64
FLOPS_AT_ONCE = 2e9
"""Steps in one call, and floating-point operations after which it ends: some ten milliseconds, so that a run can be
stopped, shown and saved at any time."""

DRAWN_AT_ONCE = 4 << 20
"""Bytes of what is drawn on the host for the steps of one call."""


def native_backend(threads: int = 1, library: Library | None = None) -> Backend:
    """numpy with fused primitives in place of the generic ones, and with whole steps where a job allows them.

    Products, long updates and whole steps are shared out among `threads`. Raises NoKernels.
    """
    given = threads, library
    whole, shards = partial(whole_steps, *given), partial(shard_steps, *given)
    return Backend("native", np, Kernels(*given).table(), whole_steps=whole, shard_steps=shards)


def whole_steps(threads: int, library: Library | None, job: Job) -> WholeSteps | str:
    """The whole steps of a job, or what of it there are no instructions for."""
    return hindrances.of_steps(job) or WholeSteps(job, threads, library)


class WholeSteps(Programs):
    """The steps of a job, several in one call, over memory that belongs to its network, optimizer and batches."""

    hindrance = notice = None
    full = True

    def __init__(self, job: Job, threads: int, library: Library | None = None) -> None:
        weights, batches = job.network.parameters.values, job.batches
        self._rows = batches.size * job.limits.accumulate
        terms = self._rows + sum(len(weights[name]) for name in penalised(job.objective))
        super().__init__(job, threads, batches.size, terms, library)
        self.program = StepProgram(job, self._crew, self._slots)
        self.spared = self.program.spared
        self._programs: dict[int, np.ndarray] = {}
        self._losses: list[tuple[float, float]] = []
        self._failed = (np.zeros(0, np.int64), 0, 1.0)
        flops = sum(6.0 * self._rows * W.size for W in weights.values())
        drawn = self.program.draws(min(self._rows, batches.rows)).nbytes
        self.most = int(max(1, min(STEPS_AT_ONCE, FLOPS_AT_ONCE // max(1.0, flops), DRAWN_AT_ONCE // drawn)))

    @property
    def name(self) -> str:
        return f"steps: whole ones, up to {self.most} in a call"

    def reach(self, position: int, left: int) -> int:
        alike = self.job.batches.rows // self._rows - position
        return min(self.most, max(1, alike), left)

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        count, optimizer = len(rates), self.job.optimizer
        rows, weights = self._numbers(epoch, position, count), self._weights(epoch, position, count)
        lr, dropout, decay = (np.array(column) for column in zip(*rates, strict=True))
        given = self._given(weights, step, dropout)
        for place, number in enumerate(self._update_numbers(lr, decay, optimizer.t + 1 + np.arange(count)), RATES):
            given[:, place] = number
        blocks, totals = self.program.draws(rows.shape[1]).blocks(rows, step), np.empty(count)
        made = self._crew.run(self._program(rows.shape[1]), given, blocks, totals)
        optimizer.t += made
        self._losses += list(zip(totals[: made + 1].tolist(), weights, strict=False))
        if made < count:
            self._failed = rows[made], step + made, weights[made]
        return made

    def read(self) -> list[tuple[float, float]]:
        losses, self._losses = self._losses, []
        return losses

    def locate(self) -> None:
        self._gradient(*self._failed)

    def gradient(self, step: int) -> None:
        batches = self.job.batches
        self._gradient(batches.numbers(0, 0, 1)[0], step, batches.weight(0, 0))

    def time(self, count: int) -> list[tuple[str, float]]:
        """Seconds of each instruction, done `count` times by itself at a rate of 0; the state is moved about."""
        found, batches = list[tuple[str, float]](), self.job.batches
        given = self._given([self._rows] * count, 0, 1.0)
        given[:, STEP], given[:, RATES:] = 0, self._update_numbers(0.0, 0.0, 1)
        size = min(self._rows, batches.rows)
        rows = np.resize(np.random.default_rng(0).permutation(batches.rows), (count, size))
        blocks, totals = self.program.draws(size).blocks(rows, 0), np.empty(count)
        for name, record in self.program.step(size):
            if isinstance(record[0], str):
                program, begun = self._assembled([(name, record)]), time.perf_counter()
                self._crew.run(program, given, blocks, totals)
                found.append((name, (time.perf_counter() - begun) / count))
        return found

    def _numbers(self, epoch: int, position: int, count: int) -> np.ndarray:
        """The numbers of the rows of `count` steps alike, int64 [steps, rows]."""
        batches = self.job.batches
        last = min((position + count) * self._rows, batches.rows, batches.count * batches.size)
        rows: np.ndarray = batches.dealt(epoch)[position * self._rows : last]
        return rows.reshape(count, -1)

    def _weights(self, epoch: int, position: int, count: int) -> list[float]:
        """The weight of all rows together, of each of `count` steps."""
        batches, k = self.job.batches, self.job.limits.accumulate
        parts = range(position * k, min((position + count) * k, batches.count))
        weights = [batches.weight(epoch, index) for index in parts]
        return weights if k == 1 else [sum(weights[i : i + k]) for i in range(0, len(weights), k)]

    def _given(self, weights: Sequence[float], step: int, dropout: Any) -> np.ndarray:
        """What changes from step to step [steps, cells]; the numbers of the update rule are still to come."""
        limits, given = self.job.limits, np.zeros((len(weights), len(self._crew.cells)))
        steps = range(step, step + len(weights))
        given[:, TOTAL] = [weight or 1.0 for weight in weights]  # rows of no weight have no gradient
        given[:, STEP] = [i * limits.accumulate for i in steps]
        given[:, SHARE] = [average_share(limits.ema, i) for i in steps] if limits.ema else 0.0
        given[:, DROPOUT] = dropout
        return given

    def _gradient(self, rows: np.ndarray, step: int, weight: float) -> None:
        """The gradient of the rows with these numbers, as in the given step, left in the network."""
        given, total = self._given([weight], step, self.job.dropout.share(step)), np.empty(1)
        blocks = self.program.draws(len(rows)).blocks(rows[None], step)
        self._crew.run(self._assembled(self.program.gradient(len(rows))), given, blocks, total)

    def _program(self, rows: int) -> np.ndarray:
        """The program of a step of so many rows."""
        if rows not in self._programs:
            self._programs[rows] = self._assembled(self.program.step(rows))
        return self._programs[rows]

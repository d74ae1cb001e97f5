"""Training steps that are compiled as a whole, several of them in one call.

The step that `Trainer` makes by calling one primitive after the other, for the networks that most people train: matrix
products with their activations, dropout, a usual loss, an optimizer that goes entry by entry. Nothing is interpreted
between one instruction and the next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.kernels import fits, kernels
from mlp_core.backends.cpu.library import Library
from mlp_core.backends.cpu.step_program import RATES, STEP, TOTAL, Labelled, StepList, penalised
from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.scaled_rows import Scaled
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import Dense, Dropout
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import Optimizer
from mlp_core.nn.team import SHARED_FLOPS

STEPS_AT_ONCE = 64
FLOPS_AT_ONCE = 2e9
"""Steps in one call, and floating-point operations after which it ends: some ten milliseconds, so that a run can be
stopped, shown and saved at any time."""


def native_backend(threads: int = 1, library: Library | None = None) -> Backend:
    """numpy with fused primitives in place of the generic ones, and with whole steps where they are all that is needed.

    Products, long updates and whole steps are shared out among `threads`. Raises NoKernels.
    """
    whole = partial(whole_steps, threads, library)
    return Backend("native", np, kernels(threads, library), whole_steps=whole)


def whole_steps(threads: int, library: Library | None, job: Job) -> WholeSteps | str:
    """The steps of a job compiled as a whole, or what of it there are no instructions for."""
    return hindrance(job) or WholeSteps(job, threads, library)


def hindrance(job: Job) -> str | None:
    """What of a job is in no compiled step yet, as it is called in the config; None if all of it is."""
    limits, batches, network, optimizer = job.limits, job.batches, job.network, job.optimizer
    named = {
        "optimizer.accumulate": limits.accumulate > 1,
        "optimizer.clip_norm and clip_value": limits.clip_norm is not None or limits.clip_value is not None,
        "regularization.max_norm": limits.max_norm is not None,
        "optimizer.ema": limits.ema is not None,
        "regularization.input_noise and mixup": job.augment is not None,
        "data on the disk": type(batches) is not Batches,
        f"optimizer.name {type(optimizer).__name__.lower()}": (
            type(optimizer).step is not Optimizer.step or optimizer.rule.__name__ not in numbers.RULES
        ),
    }
    for layer in network.layers:
        kind = type(layer).__name__.lower()
        named[f"a layer of kind {kind}"] = not isinstance(layer, Dense | Dropout)
    found = next((key for key, on in named.items() if on), None)
    return found or (None if _fits(job) else f"loss.name {job.objective.loss.name} with such data")


def _fits(job: Job) -> bool:
    """Whether the arrays of a job are what the instructions expect."""
    network, batches, dtype = job.network, job.batches, job.network.dtype
    stored = isinstance(batches.X, Scaled)
    arrays = [*([] if stored else [batches.X]), batches.Y, *([] if batches.w is None else [batches.w])]
    if not all(isinstance(array, np.ndarray) and array.flags.c_contiguous for array in arrays):
        return False
    assert network.Delta is not None
    targets = fits(job.objective.loss, network.Delta, batches.Y)
    weights = batches.w is None or batches.w.dtype == dtype
    return bool(targets and weights and dtype.char in "fd" and batches.X.dtype == dtype)


class WholeSteps:
    """The steps of a job, several in one call."""

    hindrance = notice = None
    full = True

    def __init__(self, job: Job, threads: int, library: Library | None) -> None:
        self.job = job
        self.compiled = CompiledStep(threads, library, job.objective, job.optimizer, job.batches, job.seed)
        self.spared = self.compiled.list.saved
        self._losses: list[tuple[float, float]] = []
        self._failed: tuple[np.ndarray, int] | None = None

    @property
    def name(self) -> str:
        return f"steps: compiled as a whole, up to {self.compiled.most} in a call"

    def reach(self, position: int, left: int) -> int:
        return min(self.compiled.most, self.job.batches.alike(position), left)

    def take(self, epoch: int, position: int, step: int, rates: Sequence[float]) -> int:
        batches, count = self.job.batches, len(rates)
        weights = [batches.weight(epoch, position + i) for i in range(count)]
        rows, size = batches.numbers(epoch, position, count)
        losses = self.compiled.take(rows, size, weights, rates, step).tolist()
        self._losses = list(zip(losses, weights, strict=False))
        made = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), count)
        self._failed = (rows[size * made :][:size], step + made)
        return made

    def read(self) -> list[tuple[float, float]]:
        losses, self._losses = self._losses, []
        return losses

    def locate(self) -> None:
        assert self._failed is not None
        self.compiled.gradient(*self._failed)

    def gradient(self, step: int) -> None:
        rows, _ = self.job.batches.numbers(0, 0, 1)
        self.compiled.gradient(rows, step, self.job.batches.weight(0, 0))


class CompiledStep:
    """Makes training steps over memory that belongs to the network, the optimizer and the batches."""

    def __init__(
        self,
        threads: int,
        library: Library | None,
        objective: Objective,
        optimizer: Optimizer,
        batches: Batches,
        seed: int,
    ) -> None:
        self.optimizer, self.batches = optimizer, batches
        weights = objective.network.parameters.values
        largest = 2.0 * batches.size * max(W.size for W in weights.values())
        threads = max(1, min(threads, int(largest // SHARED_FLOPS)))  # the bits are the same
        slots = len(self._rule_numbers(1.0, 0))
        terms = batches.size + sum(len(weights[name]) for name in penalised(objective))
        self._crew = Crew(threads, RATES + slots * len(optimizer.segments), terms, library)
        self.list = StepList(objective, optimizer, batches, self._crew, slots, seed)
        self._programs: dict[int, np.ndarray] = {}
        flops = sum(6.0 * batches.size * W.size for W in weights.values())
        self.most = int(max(1, min(STEPS_AT_ONCE, FLOPS_AT_ONCE // max(1.0, flops))))

    def take(
        self, rows: np.ndarray, size: int, weights: Sequence[float], rates: Sequence[float], step: int
    ) -> np.ndarray:
        """Make a step for each of the `rates`, of `size` rows each; their losses, float64 [steps].

        rows: int64 [steps * size], the numbers of their rows. weights: the weight of each batch. step: the number of
        the first one, from 0. A loss that is no finite number is the last one: its step was not made, nor were those
        after it.
        """
        steps, optimizer, totals = len(rates), self.optimizer, np.empty(len(rates))
        given = np.empty((steps, len(self._crew.cells)))
        for i, (weight, lr) in enumerate(zip(weights, rates, strict=True)):
            row = [weight or 1.0, step + i]
            for segment in optimizer.segments:
                row += self._rule_numbers(lr * segment.lr_scale, segment.weight_decay, optimizer.t + 1 + i)
            given[i] = row
        done = self._crew.run(self._program(size), given, rows.reshape(steps, size), totals)
        optimizer.t += done
        return totals[: done + 1]

    def gradient(self, rows: np.ndarray, step: int = 0, weight: float = 0.0) -> float:
        """The mean loss of the rows with these numbers as in the given step, by the `weight` of all of them, their
        number if 0; their gradient is left in the network, and nothing is moved."""
        given, total = np.zeros((1, len(self._crew.cells))), np.empty(1)
        given[0, [TOTAL, STEP]] = weight or len(rows), step
        still = [*self.list.passes(len(rows)), *self.list.gradients(len(rows))]
        program = sorted(still, key=lambda one: one[0] == "check")  # a loss that is no number has a gradient, too
        self._crew.run(self._assembled(program), given, rows[None], total)
        return float(total[0])

    def time(self, count: int) -> list[tuple[str, float]]:
        """Seconds of each instruction, done `count` times by itself at a rate of 0; the state is moved about."""
        size, found = self.batches.size, list[tuple[str, float]]()
        rates = self._rule_numbers(0.0, 0.0) * len(self.optimizer.segments)
        given = np.tile([size, 0, *rates], (count, 1))
        rows = np.resize(np.random.default_rng(0).permutation(self.batches.rows), (count, size))
        totals = np.empty(count)
        for name, record in self.list.step(size):
            if isinstance(record[0], str):
                program, begun = do.assemble(self._crew.library, [record]), time.perf_counter()
                self._crew.run(program, given, rows, totals)
                found.append((name, (time.perf_counter() - begun) / count))
        return found

    def _rule_numbers(self, lr: float, decay: float, t: int = 1) -> tuple[float, ...]:
        optimizer = self.optimizer
        settings = {**optimizer.settings, "t": t} if optimizer.counts_steps else optimizer.settings
        return numbers.of_rule(optimizer.rule.__name__, lr, decay, **settings)

    def _program(self, size: int) -> np.ndarray:
        if size not in self._programs:
            self._programs[size] = self._assembled(self.list.step(size))
        return self._programs[size]

    def _assembled(self, labelled: Sequence[Labelled]) -> np.ndarray:
        """The program without the names, ready for the crew."""
        return do.assemble(self._crew.library, [record for _, record in labelled])

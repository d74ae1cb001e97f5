"""Steps made stage by stage and primitive by primitive: complete on every backend, and what faster ways must equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.backends.cuda.loss_buffer import Ledger
from mlp_core.backends.job import Job, Steps
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.primitives import clip_norm, clip_value, follow, shorten_rows
from mlp_core.nn.step_options import AFTER_BACKWARD, StepRates, average_share, stages

LOSSES_AT_ONCE = 64
"""Steps after which the losses are read from a device that works on its own."""


def make_steps(job: Job) -> Steps:
    """The fastest way of making the steps of a job that its backend has."""
    whole = None if job.backend.whole_steps is None else job.backend.whole_steps(job)
    steps: Steps = StageSteps(job, whole) if whole is None or isinstance(whole, str) else whole
    return steps


class StageSteps:
    """One step at a time, in the order of `nn.step_options.STAGES`."""

    notice = None
    spared = 0

    def __init__(self, job: Job, hindrance: str | None = None) -> None:
        self.job, self.hindrance = job, hindrance
        parameters, backend = job.network.parameters, job.backend
        many = job.limits.accumulate > 1
        self._sum = backend.zeros((parameters.size,), parameters.theta.dtype) if many else None
        self._ledger = Ledger(backend, LOSSES_AT_ONCE) if backend.remote else None
        self._losses: list[tuple[float, float]] = []
        self._dropout = 1.0
        asked = stages(job.limits, job.objective.penalty.counts)
        self._stages = tuple(getattr(StageSteps, f"_{stage}") for stage in AFTER_BACKWARD if stage in asked)

    @property
    def name(self) -> str | None:
        if self.hindrance is None:
            return None
        return f"steps: one by one, operation by operation ({self.hindrance} is not in whole steps yet)"

    @property
    def full(self) -> bool:
        return self._ledger is None or not self._ledger.room

    def reach(self, position: int, left: int) -> int:
        return min(1, left)

    @np.errstate(all="ignore")
    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        """One optimizer step over `accumulate` batches; numbers that overflow are found in the loss."""
        self._dropout = rates[0].dropout
        loss, weight = self._gradient(epoch, position, step)
        if self._ledger is not None:
            self._ledger.add(loss, weight)
        else:
            self._losses.append((loss, weight))
            if not math.isfinite(loss):
                return 0
        for stage in self._stages:
            stage(self, rates[0], step)
        return 1

    def read(self) -> list[tuple[float, float]]:
        if self._ledger is not None:
            return self._ledger.read()
        losses, self._losses = self._losses, []
        return losses

    def locate(self) -> None:
        """It is there: the update is all that was left out."""

    def gradient(self, step: int) -> None:
        self._evaluate(0, 0, step, self.job.batches.weight(0, 0) or 1.0)

    def _gradient(self, epoch: int, position: int, step: int) -> tuple[Any, float]:
        """Loss and weight of a step's rows; the gradient is left in the network, or in the sum over its batches.

        The loss is a float, or on a device that works on its own a number there.
        """
        batches, k = self.job.batches, self.job.limits.accumulate
        first = position * k
        if self._sum is None:
            weight = batches.weight(epoch, first)
            return self._number(self._evaluate(epoch, first, step, weight or 1.0)), weight
        part = range(first, min(first + k, batches.count))
        weights = [batches.weight(epoch, index) for index in part]
        total, loss = sum(weights), 0.0  # rows of no weight have no gradient
        self._sum[:] = 0
        for i, index in enumerate(part):
            value = self._evaluate(epoch, index, step * k + i, total or 1.0, penalties=i == 0)
            self._sum += self.job.network.parameters.grad
            loss = self._number(value) + loss
        return loss, total

    def _evaluate(self, epoch: int, index: int, draw: int, total: float, penalties: bool = True) -> Any:
        """The loss of a batch, part of rows whose weights sum up to `total`; its gradient is left in the network."""
        X, Y, w = self._batch(epoch, index, draw)
        mode = self._pass(draw)
        return self.job.objective.value_and_gradient(X, Y, w, mode, total=total, penalties=penalties)[0]

    def _pass(self, draw: int) -> Pass:
        return Pass(True, self.job.seed, draw, dropout=self._dropout)

    def _number(self, value: Any) -> Any:
        """A loss with all the digits of float64, read only where that costs nothing."""
        return float(value) if self._ledger is None else value.astype(np.float64)

    def _batch(self, epoch: int, index: int, draw: int) -> tuple[Array, Array, Array | None]:
        X, Y, w = self.job.batches.batch(epoch, index)
        return (X, Y, w) if self.job.augment is None else self.job.augment(X, Y, w, self._pass(draw))

    def _accumulate(self, rates: StepRates, step: int) -> None:
        self.job.network.parameters.grad[:] = self._sum

    def _clip(self, rates: StepRates, step: int) -> None:
        """Cut entries to clip_value, then the whole gradient to length clip_norm (Pascanu et al., ICML 2013)."""
        limits, backend, grad = self.job.limits, self.job.backend, self.job.network.parameters.grad
        if limits.clip_value is not None:
            backend.primitive(clip_value)(grad, limits.clip_value)
        if limits.clip_norm is not None and backend.remote:
            backend.primitive(clip_norm)(grad, limits.clip_norm)
        elif limits.clip_norm is not None:
            length = math.sqrt(float(backend.xp.dot(grad, grad)))
            if length > limits.clip_norm:
                grad *= limits.clip_norm / length

    def _update(self, rates: StepRates, step: int) -> None:
        parameters = self.job.network.parameters
        self.job.optimizer.step(parameters.theta, parameters.grad, rates.lr, rates.decay)

    def _max_norm(self, rates: StepRates, step: int) -> None:
        """Scale back to the greatest length the weights into any unit that exceed it (Srivastava et al. 2014)."""
        parameters, longest = self.job.network.parameters, self.job.limits.max_norm
        shorten = self.job.backend.primitive(shorten_rows)
        for spec in parameters.specs:
            if spec.is_weight:
                shorten(parameters.values[spec.name], longest)

    def _average(self, rates: StepRates, step: int) -> None:
        """average += (1 - decay) (theta - average), with the decay held down at first so that it forgets the start."""
        assert self.job.limits.ema is not None
        share = average_share(self.job.limits.ema, step)
        self.job.backend.primitive(follow)(self.job.average, self.job.network.parameters.theta, share)

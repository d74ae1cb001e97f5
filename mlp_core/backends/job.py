"""A training job: all that a step works on, whichever way it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.network import Network
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizer import Optimizer
from mlp_core.nn.schedules import CONSTANT, Fade
from mlp_core.nn.step_options import Limits, StepRates


@dataclass
class Job:
    """What is minimised, what moves the parameters, the rows, and what else a step does to a gradient and to weights.

    `average` [parameters] is the average of the weights, None without `limits.ema`. A step is a function of the
    arrays here, of `seed`, of its number and its rates; `dropout` and `decay` are the schedules of two of them.
    """

    objective: Objective
    optimizer: Optimizer
    batches: Batches
    limits: Limits
    seed: int
    augment: Augment | None = None
    dropout: Fade = CONSTANT
    decay: Fade = CONSTANT
    average: Array | None = field(init=False)

    def __post_init__(self) -> None:
        batches = max(1, min(self.limits.accumulate, self.batches.count))  # there are no more in an epoch
        self.limits = replace(self.limits, accumulate=batches)
        self.average = self.network.parameters.theta.copy() if self.limits.ema else None

    @property
    def network(self) -> Network:
        return self.objective.network

    @property
    def backend(self) -> Backend:
        return self.network.backend

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.batches.count // self.limits.accumulate)


class Steps(Protocol):
    """A way of making steps: as many at once as suit it, from any position of an epoch.

    `hindrance` names, as the config does, what keeps a faster way from being taken, None if nothing does. `notice` is
    what has become known on the way and should be told. `full` says that the losses of the steps so far must be read
    before the next ones. `spared` are the bytes of the gradient that are never written.
    """

    @property
    def job(self) -> Job: ...

    @property
    def hindrance(self) -> str | None: ...

    @property
    def notice(self) -> str | None: ...

    @property
    def spared(self) -> int: ...

    @property
    def name(self) -> str | None:
        """The way in one line, None for the plain one."""

    @property
    def full(self) -> bool: ...

    def reach(self, position: int, left: int) -> int:
        """How many steps are made at once from this position of an epoch, of `left` that are to be made."""

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        """Make a step of each of these rates, the first of them step `step` (from 0) of the run.

        position: the place of the first one in its epoch, in steps. Gives the number of steps made: it is less than
        was asked for where a loss is no finite number, which is then the last that `read` gives; its step was not made.
        A device that works on its own makes all of them, and the loss is found when it is read.
        """

    def read(self) -> list[tuple[float, float]]:
        """Loss and weight of the rows of every step since the last time, oldest first."""

    def locate(self) -> None:
        """Leave in the network the gradient of the step that was not made."""

    def gradient(self, step: int) -> None:
        """Leave in the network the gradient of the first batch of all, as step `step` takes it; nothing is moved."""


class Shards(Protocol):
    """What a worker does in a step over shards of a batch: the two halves between which gradients are summed up.

    `cannot_change` names what keeps the second half from being made here; None if nothing does. `spared` as in `Steps`.
    """

    cannot_change: str | None
    spared: int

    def gradient(
        self, X: Array, Y: Array, w: Array | None, parts: Sequence[slice], rows: int, total: float, mode: Pass
    ) -> list[Any]:
        """The loss of each shard here over the weight `total`; the sum of their gradients is left in the network.

        X, Y, w: the rows here, of a batch of so many `rows`; parts: where in it those of each shard are. A device keeps
        the losses.
        """

    def change(self, rates: StepRates, step: int) -> None:
        """What follows from the gradient in the network, the sum over all shards: the stages AFTER_BACKWARD but the
        first."""

"""All that a training step changes, read out exactly: weights, moments, running statistics, averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array


@dataclass(frozen=True)
class State:
    """Copies on the host, in the precision of training. `slots` are the vectors that the optimizer keeps, by name."""

    theta: Any
    statistics: Any
    slots: dict[str, Any]
    average: Any | None
    t: int

    @classmethod
    def of(cls, job: Job) -> State:
        def read(vector: Array) -> Any:
            return np.array(job.backend.to_host(vector))

        network, average = job.network, job.average
        slots = {name: read(vector) for name, vector in job.optimizer.state.items()}
        theta, statistics = read(network.parameters.theta), read(network.statistics.theta)
        return cls(theta, statistics, slots, None if average is None else read(average), job.optimizer.t)

    def put_back(self, job: Job) -> None:
        """Make the job what it was, to the last bit."""

        def write(vector: Array, host: Any) -> None:
            vector[...] = job.backend.asarray(host)

        write(job.network.parameters.theta, self.theta)
        write(job.network.statistics.theta, self.statistics)
        for name, vector in job.optimizer.state.items():
            write(vector, self.slots[name])
        if self.average is not None:
            write(job.average, self.average)
        job.optimizer.t = self.t

    def for_use(self) -> State:
        """With the averaged weights, where there are any, in the place of the weights."""
        return self if self.average is None else replace(self, theta=self.average)

    def vectors(self) -> dict[str, Any]:
        """All vectors by what they are called in a report."""
        found = {"weights": self.theta, "running statistics": self.statistics}
        found |= {f"optimizer.{name}": vector for name, vector in self.slots.items()}
        return found if self.average is None else {**found, "averaged weights": self.average}


@contextmanager
def kept(job: Job) -> Iterator[State]:
    """The state of a job, in which it is again afterwards."""
    before = State.of(job)
    try:
        yield before
    finally:
        before.put_back(job)

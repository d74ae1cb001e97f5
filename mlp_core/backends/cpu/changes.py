"""What a step does with the gradient of a tensor, as instructions: penalties are added to it, it is kept in bounds, the
tensor moved, kept in bounds itself, and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.programs import RATES, SHARE
from mlp_core.backends.cpu.row_pass import MEET, Kept, Labelled
from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array
from mlp_core.nn.objective import Objective
from mlp_core.nn.step_options import AFTER_BACKWARD, stages


class Changes:
    """Writes down what becomes of the gradients of a job, over memory of its network, optimizer and average.

    `slots` are the numbers of the update rule.
    """

    def __init__(self, job: Job, crew: Crew, kept: Kept, slots: int) -> None:
        self._objective, self._optimizer, self._limits = job.objective, job.optimizer, job.limits
        self._average_of, asked = job.average, stages(job.limits, job.objective.penalty.counts)
        self._stages = [stage for stage in AFTER_BACKWARD if stage in asked and stage != "accumulate"]
        self._crew, self._kept, self._slots, self._parameters = crew, kept, slots, job.network.parameters
        self.moves = {  # the segment of each tensor; frozen ones belong to none
            spec.name: number
            for spec in self._parameters.specs
            for number, segment in enumerate(job.optimizer.segments)
            if segment.part.start <= self._parameters.slices[spec.name].start < segment.part.stop
        }
        self.weights = {spec.name for spec in self._parameters.specs if spec.is_weight}
        self.penalised = penalised(job.objective)

    def of_all(self) -> list[Labelled]:
        """All that becomes of a whole gradient that is there."""
        found = self.lengths()
        for name in self._parameters.values:
            found += self.of(name, self.vectors(name))
        return found

    def shaped(self, vector: Array, name: str) -> Array:
        """The part of a vector that belongs to a tensor, [units, entries]."""
        return vector[self._parameters.slices[name]].reshape(len(self._parameters.values[name]), -1)

    def vectors(self, name: str) -> list[Array]:
        """theta, gradient, state and average of a tensor, each [units, entries]."""
        parameters = self._parameters
        vectors = [parameters.theta, parameters.grad, *self._optimizer.state.values()]
        vectors += [] if self._average_of is None else [self._average_of]
        return [self.shaped(vector, name) for vector in vectors]

    def penalties(self, rows: int) -> list[Labelled]:
        """The penalty of every unit, to be added up after the losses of the rows."""
        found: list[Labelled] = []
        for name in self.penalised:
            theta = self.shaped(self._parameters.theta, name)
            found.append(("penalty", do.over(theta, "penalty", theta, 0, self._strengths, self._crew.terms[rows:])))
            rows += len(theta)
        return found

    def penalty_gradient(self, name: str, grad: Array, theta: Array | None = None) -> list[Labelled]:
        if name not in self.penalised:
            return []
        theta = self.shaped(self._parameters.theta, name) if theta is None else theta
        return [("penalty gradient", do.over(theta, "penalty_gradient", theta, grad, self._strengths))]

    def lengths(self) -> list[Labelled]:
        """The length of the whole gradient, once its entries are cut, and by how much it is to be shortened."""
        if self._limits.clip_norm is None:
            return []
        found, values = list[Labelled](), self._parameters.values
        units = [len(value) for value in values.values()]
        sums, where = self._kept.array(np.empty(sum(units))), 0
        for name, count in zip(values, units, strict=True):
            grad = self.shaped(self._parameters.grad, name)
            found += self._cut(grad)
            found.append(("clipping", do.over(grad, "squares", grad, sums[where:], 0)))
            where += count
        longest = self._kept.numbers(self._limits.clip_norm)
        places = do.at(sums), len(sums), longest, do.at(self._factors)
        factors = do.record("shortening", self._parameters.grad, *places)
        return [*found, MEET, ("clipping", factors)]

    def _cut(self, grad: Array) -> list[Labelled]:
        largest = self._limits.clip_value
        return (
            [] if largest is None else [("clipping", do.over(grad, "clip_value", grad, self._kept.numbers(largest), 0))]
        )

    def of(self, name: str, vectors: Sequence[Array]) -> list[Labelled]:
        """What a gradient does to (some units of) a tensor: the stages of a step from the clipping on."""
        found: list[Labelled] = []
        for stage in self._stages:
            found += getattr(self, f"_{stage}")(name, *vectors)
        return found

    def _clip(self, name: str, theta: Array, grad: Array, *others: Array) -> list[Labelled]:
        if self._limits.clip_norm is None:
            return self._cut(grad)
        return [("clipping", do.over(grad, "shorten", grad, self._factors, 0))]

    def _update(self, name: str, theta: Array, grad: Array, *others: Array) -> list[Labelled]:
        if name not in self.moves:
            return []
        given = do.at(self._crew.cells[RATES + self.moves[name] * self._slots :])
        state = others if self._average_of is None else others[:-1]
        rule = self._optimizer.rule.__name__
        return [("optimizer", do.update(rule, [theta, grad, *state], given, *theta.shape))]

    def _max_norm(self, name: str, theta: Array, *others: Array) -> list[Labelled]:
        longest = self._limits.max_norm
        if longest is None or name not in self.weights:
            return []
        return [("max norm", do.over(theta, "shorten_rows", theta, self._kept.numbers(longest), 0))]

    def _average(self, name: str, theta: Array, *others: Array) -> list[Labelled]:
        return [("average", do.over(theta, "follow", others[-1], theta, self._crew.cells[SHARE:]))]

    @cached_property
    def _factors(self) -> np.ndarray:
        """By how much each thread is to shorten a gradient."""
        return self._kept.array(np.ones((self._crew.threads, do.LINE)))

    @cached_property
    def _strengths(self) -> int:
        return self._kept.numbers(self._objective.penalty.l2, self._objective.penalty.l1)


def penalised(objective: Objective) -> list[str]:
    """The names of the tensors that a penalty is on."""
    penalty = objective.penalty
    specs = objective.network.parameters.specs if penalty.counts else []
    return [spec.name for spec in specs if spec.is_weight or penalty.bias]

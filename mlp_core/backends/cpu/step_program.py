"""The program of a training step: from the numbers of its rows to the moved parameters, as instructions.

Each thread takes its rows of the batch through the whole forward and backward pass; then all meet, and each takes its
units of every layer through the gradient and all that follows from it, while they are in its cache. Where the whole
gradient is needed first (its length, or a sum over several batches), all meet once more. One thread alone does both
layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from mlp_core.backends import numbers
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu import row_pass
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.draws import Draws
from mlp_core.backends.cpu.row_pass import MEET, Kept, Labelled, RowPass, Tensor
from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array
from mlp_core.nn.objective import Objective
from mlp_core.nn.step_options import AFTER_BACKWARD, stages

TOTAL, STEP, SHARE, DROPOUT, RATES = range(5)
"""Places in the cells of the crew: the weight of the batch, the number of the step, the share of the average, that of
dropout, and from there on the numbers of the update rule for each segment of the optimizer."""

STRIP = 1 << 20
"""Bytes of the gradient of a weight that are made and used up at once by a thread: few enough to stay in its caches."""

FEW = 32
"""Units from which each thread has enough of its own in the gradient of a weight."""


class StepProgram:
    """Writes down the steps of a job, over memory of its network, optimizer and batches.

    `slots` are the numbers of the update rule. What is written down is true for as long as this lives.
    """

    def __init__(self, job: Job, crew: Crew, slots: int) -> None:
        self._objective, self._optimizer, self._batches = job.objective, job.optimizer, job.batches
        self._limits, self._seed, self._augment = job.limits, job.seed, job.augment
        self._average_of, asked = job.average, stages(job.limits, job.objective.penalty.counts)
        self._stages = [stage for stage in AFTER_BACKWARD if stage in asked and stage != "accumulate"]
        self._crew, self._slots, self._kept = crew, slots, Kept()
        self._parameters, optimizer = job.network.parameters, job.optimizer
        assert job.network.Delta is not None
        self._Delta: Array = job.network.Delta
        self._moves = {  # the segment of each tensor; frozen ones belong to none
            spec.name: number
            for spec in self._parameters.specs
            for number, segment in enumerate(optimizer.segments)
            if segment.part.start <= self._parameters.slices[spec.name].start < segment.part.stop
        }
        self._weights = {spec.name for spec in self._parameters.specs if spec.is_weight}
        self._penalised = penalised(job.objective)
        self._draws: dict[int, Draws] = {}
        self._long = [name for name in self._parameters.values if self._strip(name)]

    def step(self, rows: int) -> list[Labelled]:
        """A step of so many rows, each instruction with its name."""
        if self._crew.threads == 1 and self._limits.clip_norm is None and rows <= self._batches.size:
            return self._step_layer_by_layer(rows)
        found, tensors = self.passes(rows)
        return [*found, ("check", do.check(self._terms(rows))), *self._changes(tensors)]

    def _step_layer_by_layer(self, rows: int) -> list[Labelled]:
        """The same, each tensor changed as soon as the way back is behind it: what its gradient is made of is still in
        the caches. Several threads would have to meet over each layer."""
        one = self._batch(0, rows, self.draws(rows), self._parameters.gradients, True)
        found = [*one.records[: one.turn], *self._penalties(rows), ("check", do.check(self._terms(rows)))]
        done = one.turn
        for tensor in one.tensors:
            if tensor.after > done:
                found += one.records[done : tensor.after]
                done = tensor.after
            found += self._changes([tensor])
        return [*found, *one.records[done:]]

    def gradient(self, rows: int) -> list[Labelled]:
        """The gradient of so many rows in the network, with what penalties add to it; running statistics stay."""
        found, tensors = self.passes(rows, record=False)
        found += [MEET, *self._gradients(tensors, self._parameters.gradients, True)] if tensors else []
        return [*found, MEET, ("check", do.check(self._terms(rows)))]

    def passes(self, rows: int, record: bool = True) -> tuple[list[Labelled], list[Tensor]]:
        """Through all batches of a step: up to the Deltas of the only one, and what tensors make of them; of several,
        to the sum of their gradients."""
        sizes = batch_sizes(rows, self._batches.size)
        found: list[Labelled] = []
        for number, size in enumerate(sizes):
            gradients = self._further if number else self._parameters.gradients
            one = self._batch(number, size, self.draws(rows), gradients, record)
            found += one.records
            if number == 0:
                found += self._penalties(rows)
            if len(sizes) == 1:
                return [*found, MEET], one.tensors
            found += [MEET, *self._gradients(one.tensors, gradients, number == 0), MEET]
        return found, []

    def draws(self, rows: int) -> Draws:
        """What steps of so many rows find behind their row numbers."""
        if rows not in self._draws:
            sizes, inputs = batch_sizes(rows, self._batches.size), self._batches.X.shape[1]
            self._draws[rows] = Draws(self._augment, sizes, inputs, self._seed, self._limits.accumulate)
        return self._draws[rows]

    @property
    def spared(self) -> int:
        """Bytes of the gradient that steps do not write to, less what they write to instead."""
        gradients = self._parameters.gradients
        return sum(int(gradients[name].nbytes) for name in self._long) - (int(self._strips.nbytes) if self._long else 0)

    # --- rows of a batch ---

    def _batch(self, number: int, size: int, draws: Draws, gradients: Mapping[str, Array], record: bool) -> RowPass:
        """The passes of one batch of a step."""
        network, first = self._objective.network, number * self._batches.size
        step, share = (do.at(self._crew.cells[place:]) for place in (STEP, DROPOUT))
        one = RowPass(self._crew, self._kept, self._seed, gradients, step, share, number, record)
        X, Y, w = self._batches.memory(size)
        one.records += self._gathers(first, X, Y, w)
        if self._augment is not None and self._augment.mixup:
            X, Y, w = self._mixed(one, draws, number, X, Y, w)
        if self._augment is not None and self._augment.noise:
            sigma = self._kept.numbers(self._augment.noise)
            one.records.append(("noise", do.add_noise(X, self._crew.cursor, draws.normal(number), sigma)))
        Z, Delta = one.forward(network.layers, X), self._Delta[:size]
        one.records.append(self._loss(first, Z, Y, w, Delta))
        one.backward(network.layers, Delta, network._first)
        return one

    def _gathers(self, first: int, X: Array, Y: Array, w: Array | None) -> list[Labelled]:
        batches, where = self._batches, self._crew.cursor
        if batches.X.scales is not None:
            inputs = do.gather_scaled(batches.X.resident, where, first, *batches.X.scales, X)
        else:
            inputs = do.gather(batches.X.resident, where, first, X)
        others = [(batches.Y, Y), *([] if w is None else [(batches.w, w)])]
        return [("gather", inputs), *(("gather", do.gather(rows, where, first, room)) for rows, room in others)]

    def _mixed(
        self, one: RowPass, draws: Draws, number: int, X: Array, Y: Array, w: Array | None
    ) -> tuple[Array, Array, Array | None]:
        """The batch mixed with other rows of it, which other threads may have gathered."""
        where = self._crew.cursor, draws.other(number), draws.share(number)
        if Y.ndim == 1:
            assert self._augment is not None
            classes, Y = Y, self._kept.array(np.empty((len(Y), self._augment.classes), X.dtype))
            one.records.append(("mixup", do.one_hot(classes, Y)))
        one.records.append(MEET)
        mixed = []
        for rows in (X, Y, *([] if w is None else [w[:, None]])):
            mixed.append(self._kept.array(np.empty_like(rows)))
            one.records.append(("mixup", do.mix(rows, *where, mixed[-1])))
        return mixed[0], mixed[1], None if w is None else mixed[2][:, 0]

    def _loss(self, first: int, Z: Array, Y: Array, w: Array | None, Delta: Array) -> Labelled:
        """The loss of each row, and Delta = dLoss/dZ."""
        loss = self._objective.loss
        parameters, total = self._kept.numbers(*numbers.of_loss(loss)), do.at(self._crew.cells[TOTAL:])
        return "loss", do.loss(loss.name, Z, Y, w, Delta, parameters, total, do.at(self._crew.terms[first:]))

    def _penalties(self, rows: int) -> list[Labelled]:
        """The penalty of every unit, to be added up after the losses of the rows."""
        found: list[Labelled] = []
        for name in self._penalised:
            theta = self._shaped(self._parameters.theta, name)
            found.append(("penalty", do.penalty(theta, self._strengths, do.at(self._crew.terms[rows:]))))
            rows += len(theta)
        return found

    def _terms(self, rows: int) -> int:
        """How many numbers are added up to the loss."""
        return rows + sum(len(self._parameters.values[name]) for name in self._penalised)

    # --- units of the layers ---

    def _shaped(self, vector: Array, name: str) -> Array:
        """The part of a vector that belongs to a tensor, [units, entries]."""
        return vector[self._parameters.slices[name]].reshape(len(self._parameters.values[name]), -1)

    def _vectors(self, name: str) -> list[Array]:
        """theta, gradient, state and average of a tensor, each [units, entries]."""
        parameters = self._parameters
        vectors = [parameters.theta, parameters.grad, *self._optimizer.state.values()]
        vectors += [] if self._average_of is None else [self._average_of]
        return [self._shaped(vector, name) for vector in vectors]

    def _gradients(self, tensors: Sequence[Tensor], gradients: Mapping[str, Array], first: bool) -> list[Labelled]:
        """The gradient of every tensor; that of the first batch with what penalties add, others are added to it."""
        found: list[Labelled] = []
        for tensor in tensors:
            grad = gradients[tensor.name].reshape(len(gradients[tensor.name]), -1)
            whole = self._shaped(self._parameters.grad, tensor.name)
            found += self._gradient(tensor, grad)
            found += self._penalty_gradient(tensor.name, whole) if first else []
            found += [] if first else [("sum of gradients", do.add(whole, grad, whole))]
        return found

    def _changes(self, tensors: Sequence[Tensor]) -> list[Labelled]:
        """What follows from the loss: the gradient and right after it the change of each tensor. Without tensors the
        gradient is there."""
        found: list[Labelled] = []
        if self._limits.clip_norm is not None or not tensors:
            found += self._gradients(tensors, self._parameters.gradients, True)
            found += self._lengths()
            for name in self._parameters.values:
                found += self._change(name, self._vectors(name))
            return found
        for tensor in tensors:
            vectors = self._vectors(tensor.name)
            if tensor.name in self._long:
                found += self._in_strips(tensor, vectors)
            else:
                found += self._gradient(tensor, vectors[1])
                found += self._penalty_gradient(tensor.name, vectors[1])
                found += self._change(tensor.name, vectors)
        return found

    def _gradient(self, tensor: Tensor, grad: Array, part: int = 0) -> list[Labelled]:
        """The gradient of (some units of) a tensor."""
        index, Delta, X = tensor.name.partition(".")[0], tensor.Delta, tensor.X
        if tensor.kind == "weight":
            assert X is not None
            few, scratch = self._few(tensor.name, X), self._crew.scratch + self._crew.library.scratch * part
            product = f"product {index} weight gradient", do.product(Delta.T, X, grad, scratch, few)
            return [product, MEET] if few else [product]
        if tensor.kind == "bias":
            factor = 0 if tensor.factor == 1 else self._kept.numbers(tensor.factor)
            return [("bias gradient", do.sum_rows(Delta, grad, factor))]
        if tensor.kind == "gain":
            return [("norm gradient", do.sum_row_products(Delta, X, grad))]
        if tensor.kind == "slope":
            return [("activation gradient", do.total(X, grad))]
        if tensor.kind == "table":
            return [("embedding", do.embedding_gradient(X, tensor.column, Delta, tensor.start, grad))]
        if tensor.waves is not None:
            return [("waves gradient", do.waves_gradient(X, Delta, tensor.waves.u, tensor.waves.V, grad))]
        return []

    def _few(self, name: str, X: Array) -> bool:
        """Whether a weight has so few units that its gradient is shared out by columns: each thread then reads its
        share of X, which is what such a product takes its time for."""
        return len(self._parameters.values[name]) < FEW and X.nbytes > row_pass.CACHE

    def _penalty_gradient(self, name: str, grad: Array, theta: Array | None = None) -> list[Labelled]:
        if name not in self._penalised:
            return []
        theta = self._shaped(self._parameters.theta, name) if theta is None else theta
        return [("penalty gradient", do.penalty_gradient(theta, grad, self._strengths))]

    def _lengths(self) -> list[Labelled]:
        """The length of the whole gradient, once its entries are cut, and by how much it is to be shortened."""
        if self._limits.clip_norm is None:
            return []
        found, values = list[Labelled](), self._parameters.values
        units = [len(value) for value in values.values()]
        sums, where = self._kept.array(np.empty(sum(units))), 0
        for name, count in zip(values, units, strict=True):
            grad = self._shaped(self._parameters.grad, name)
            found += self._cut(grad)
            found.append(("clipping", do.squares(grad, do.at(sums[where:]))))
            where += count
        longest = self._kept.numbers(self._limits.clip_norm)
        return [*found, MEET, ("clipping", do.shortening(self._Delta, do.at(sums), len(sums), longest, self._factors))]

    def _cut(self, grad: Array) -> list[Labelled]:
        largest = self._limits.clip_value
        return [] if largest is None else [("clipping", do.clip_value(grad, self._kept.numbers(largest)))]

    def _change(self, name: str, vectors: Sequence[Array]) -> list[Labelled]:
        """What a gradient does to (some units of) a tensor: the stages of a step from the clipping on."""
        found: list[Labelled] = []
        for stage in self._stages:
            found += getattr(self, f"_{stage}")(name, *vectors)
        return found

    def _clip(self, name: str, theta: Array, grad: Array, *others: Array) -> list[Labelled]:
        if self._limits.clip_norm is None:
            return self._cut(grad)
        return [("clipping", do.shorten(grad, self._factors))]

    def _update(self, name: str, theta: Array, grad: Array, *others: Array) -> list[Labelled]:
        if name not in self._moves:
            return []
        given = do.at(self._crew.cells[RATES + self._moves[name] * self._slots :])
        state = others if self._average_of is None else others[:-1]
        rule = self._optimizer.rule.__name__
        return [("optimizer", do.update(rule, [theta, grad, *state], given, *theta.shape))]

    def _max_norm(self, name: str, theta: Array, *others: Array) -> list[Labelled]:
        longest = self._limits.max_norm
        if longest is None or name not in self._weights:
            return []
        return [("max norm", do.shorten_rows(theta, self._kept.numbers(longest)))]

    def _average(self, name: str, theta: Array, *others: Array) -> list[Labelled]:
        return [("average", do.follow(others[-1], theta, do.at(self._crew.cells[SHARE:])))]

    def _in_strips(self, tensor: Tensor, vectors: Sequence[Array]) -> list[Labelled]:
        """The change of a long weight, some units after others: its gradient never leaves the cache, and there is but
        one strip of it for each thread."""
        threads, rows = self._crew.threads, self._strip(tensor.name)
        units, entries = vectors[0].shape
        room = self._strips[:, : rows * entries].reshape(threads, rows, entries)

        def change(first: int, count: int, part: int) -> list[do.Record]:
            theta, _, *others = (vector[first : first + count] for vector in vectors)
            grad, Delta = room[part, :count], tensor.Delta[:, first : first + count]
            found = self._gradient(Tensor(tensor.name, "weight", Delta, tensor.X), grad, part)
            found += self._penalty_gradient(tensor.name, grad, theta)
            return [record for _, record in [*found, *self._change(tensor.name, [theta, grad, *others])]]

        forms = self._kept.array(do.linear(self._crew.library, change, threads))
        record = do.in_strips(forms, units, rows, self._kept.array(np.empty((threads, do.WIDTH), np.int64)))
        return [(f"product {tensor.name.partition('.')[0]} weight gradient, optimizer", record)]

    def _strip(self, name: str) -> int:
        """Units to a strip of a tensor; 0 unless it is a weight that moves and has more of them than one per thread.

        Few units are never in strips: all threads may have to meet over them, which none can within an instruction.
        """
        units, *inputs = self._parameters.values[name].shape
        dense = name in self._weights and name.count(".") == 1 and name in self._moves  # and no table of words
        if not dense or units < FEW or self._limits.clip_norm is not None or self._limits.accumulate > 1:
            return 0
        rows = max(16, STRIP // (16 * inputs[0] * self._Delta.itemsize) * 16)
        return rows if units > rows * self._crew.threads else 0

    # --- what instructions look up ---

    @cached_property
    def _strips(self) -> Array:
        """Memory for the gradient of one strip for each thread, the same for all weights."""
        longest = max(self._strip(name) * self._parameters.gradients[name][0].size for name in self._long)
        return np.empty((self._crew.threads, longest), self._Delta.dtype)

    @cached_property
    def _further(self) -> dict[str, Array]:
        """Memory for the gradients of further batches of a step."""
        return self._parameters.views(np.zeros_like(self._parameters.grad))

    @cached_property
    def _factors(self) -> np.ndarray:
        """By how much each thread is to shorten a gradient."""
        return np.ones((self._crew.threads, do.LINE))

    @cached_property
    def _strengths(self) -> int:
        return self._kept.numbers(self._objective.penalty.l2, self._objective.penalty.l1)


def batch_sizes(rows: int, size: int) -> list[int]:
    """The rows of each batch of a step of so many."""
    return [min(size, rows - first) for first in range(0, rows, size)]


def penalised(objective: Objective) -> list[str]:
    """The names of the tensors that a penalty is on."""
    penalty = objective.penalty
    specs = objective.network.parameters.specs if penalty.counts else []
    return [spec.name for spec in specs if spec.is_weight or penalty.bias]

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

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.changes import Changes
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.draws import Draws
from mlp_core.backends.cpu.gradients import FEW, Gradients
from mlp_core.backends.cpu.programs import DROPOUT, STEP, TOTAL
from mlp_core.backends.cpu.row_pass import MEET, Kept, Labelled, RowPass, Tensor
from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array

STRIP = 1 << 20
"""Bytes of the gradient of a weight that are made and used up at once by a thread: few enough to stay in its caches."""


class StepProgram:
    """Writes down the steps of a job, over memory of its network, optimizer and batches.

    `slots` are the numbers of the update rule. What is written down is true for as long as this lives.
    """

    def __init__(self, job: Job, crew: Crew, slots: int) -> None:
        self._objective, self._batches = job.objective, job.batches
        self._limits, self._seed, self._augment = job.limits, job.seed, job.augment
        self._crew, self._kept, self._parameters = crew, Kept(), job.network.parameters
        self._Delta = job.network.Delta
        self._gradients = Gradients(crew, self._kept, self._parameters)
        self._changes = Changes(job, crew, self._kept, slots)
        self._draws: dict[int, Draws] = {}
        self._long = [name for name in self._parameters.values if self._strip(name)]

    def step(self, rows: int) -> list[Labelled]:
        """A step of so many rows, each instruction with its name."""
        if self._crew.threads == 1 and self._limits.clip_norm is None and rows <= self._batches.size:
            return self._step_layer_by_layer(rows)
        found, tensors = self.passes(rows)
        return [*found, self._check(rows), *self._changed(tensors)]

    def _step_layer_by_layer(self, rows: int) -> list[Labelled]:
        """The same, each tensor changed as soon as the way back is behind it: what its gradient is made of is still in
        the caches. Several threads would have to meet over each layer."""
        one = self._batch(0, rows, self.draws(rows), self._parameters.gradients, True)
        found = [*one.records[: one.turn], *self._changes.penalties(rows), self._check(rows)]
        done = one.turn
        for tensor in one.tensors:
            if tensor.after > done:
                found += one.records[done : tensor.after]
                done = tensor.after
            found += self._changed([tensor])
        return [*found, *one.records[done:]]

    def gradient(self, rows: int) -> list[Labelled]:
        """The gradient of so many rows in the network, with what penalties add to it; running statistics stay."""
        found, tensors = self.passes(rows, record=False)
        found += [MEET, *self._sums(tensors, self._parameters.gradients, True)] if tensors else []
        return [*found, MEET, self._check(rows)]

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
                found += self._changes.penalties(rows)
            if len(sizes) == 1:
                return [*found, MEET], one.tensors
            found += [MEET, *self._sums(one.tensors, gradients, number == 0), MEET]
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
            one.records.append(("noise", do.over(X, "add_noise", X, self._crew.cursor, draws.normal[number], sigma)))
        Z, Delta = one.forward(network.layers, X), self._Delta[:size]
        total, losses = (do.at(place) for place in (self._crew.cells[TOTAL:], self._crew.terms[first:]))
        one.loss(self._objective.loss, Z, Y, w, Delta, total, losses)
        one.backward(network.layers, Delta, network.first)
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
        other, share = draws.other[number], draws.share[number]
        if Y.ndim == 1:
            assert self._augment is not None
            classes, Y = Y, self._kept.array(np.empty((len(Y), self._augment.classes), X.dtype))
            one.records.append(("mixup", do.over(Y, "one_hot", classes, 0, 0, Y)))
        one.records.append(MEET)
        mixed = []
        for rows in (X, Y, *([] if w is None else [w[:, None]])):
            mixed.append(self._kept.array(np.empty_like(rows)))
            one.records.append(("mixup", do.over(rows, "mix", rows, self._crew.cursor, other, mixed[-1], share)))
        return mixed[0], mixed[1], None if w is None else mixed[2][:, 0]

    def _check(self, rows: int) -> Labelled:
        """The losses and penalties are added up; a step whose sum is no finite number goes no further."""
        terms = rows + sum(len(self._parameters.values[name]) for name in self._changes.penalised)
        return "check", (do.CHECK, terms)

    # --- units of the layers ---

    def _sums(self, tensors: Sequence[Tensor], gradients: Mapping[str, Array], first: bool) -> list[Labelled]:
        """The gradient of every tensor; that of the first batch with what penalties add, others are added to it."""
        found: list[Labelled] = []
        for tensor in tensors:
            grad = gradients[tensor.name].reshape(len(gradients[tensor.name]), -1)
            whole = self._changes.shaped(self._parameters.grad, tensor.name)
            found += self._gradients.of(tensor, grad)
            found += self._changes.penalty_gradient(tensor.name, whole) if first else []
            found += [] if first else [("sum of gradients", do.over(whole, "add", whole, grad, whole))]
        return found

    def _changed(self, tensors: Sequence[Tensor]) -> list[Labelled]:
        """What follows from the loss: the gradient and right after it the change of each tensor. Without tensors the
        gradient is there."""
        if self._limits.clip_norm is not None or not tensors:
            return [*self._sums(tensors, self._parameters.gradients, True), *self._changes.of_all()]
        found: list[Labelled] = []
        for tensor in tensors:
            vectors = self._changes.vectors(tensor.name)
            if tensor.name in self._long:
                found += self._in_strips(tensor, vectors)
            else:
                found += self._gradients.of(tensor, vectors[1])
                found += self._changes.penalty_gradient(tensor.name, vectors[1])
                found += self._changes.of(tensor.name, vectors)
        return found

    def _in_strips(self, tensor: Tensor, vectors: Sequence[Array]) -> list[Labelled]:
        """The change of a long weight, some units after others: its gradient never leaves the cache, and there is but
        one strip of it for each thread."""
        threads, rows = self._crew.threads, self._strip(tensor.name)
        units, entries = vectors[0].shape
        room = self._strips[:, : rows * entries].reshape(threads, rows, entries)

        def change(first: int, count: int, part: int) -> list[do.Record]:
            theta, _, *others = (vector[first : first + count] for vector in vectors)
            grad, Delta = room[part, :count], tensor.Delta[:, first : first + count]
            found = self._gradients.of(Tensor(tensor.name, "weight", Delta, tensor.X), grad, part)
            found += self._changes.penalty_gradient(tensor.name, grad, theta)
            return [record for _, record in [*found, *self._changes.of(tensor.name, [theta, grad, *others])]]

        forms = self._kept.array(do.linear(self._crew.library, change, threads))
        record = do.in_strips(forms, units, rows, self._kept.array(np.empty((threads, do.WIDTH), np.int64)))
        return [(f"product {tensor.name.partition('.')[0]} weight gradient, optimizer", record)]

    def _strip(self, name: str) -> int:
        """Units to a strip of a tensor; 0 unless it is a weight that moves and has more of them than one per thread.

        Few units are never in strips: all threads may have to meet over them, which none can within an instruction.
        """
        units, *inputs = self._parameters.values[name].shape
        dense = name in self._changes.weights and name.count(".") == 1  # and no table of words
        dense = dense and name in self._changes.moves
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


def batch_sizes(rows: int, size: int) -> list[int]:
    """The rows of each batch of a step of so many."""
    return [min(size, rows - first) for first in range(0, rows, size)]

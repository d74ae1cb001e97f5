"""Steps over shards by the kernels: the gradient of a worker's shards of a batch, and what is done with the whole one.

A row asks for nothing of other rows, so those of all shards here go forward and backward together, as one batch. Only
gradients, which are sums over rows, are cut: each is taken shard by shard, in registers where it is a product, and the
sums are added in the order of `workers/tree.py`. So shards cost hardly more than none, and have one gradient together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp_core.backends.cpu import hindrances
from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu.changes import Changes
from mlp_core.backends.cpu.gradients import Gradients, floors
from mlp_core.backends.cpu.library import Library
from mlp_core.backends.cpu.programs import DROPOUT, RATES, SHARE, STEP, TOTAL, Programs
from mlp_core.backends.cpu.row_pass import MEET, Kept, Labelled, RowPass
from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.step_options import StepRates, average_share


def shard_steps(threads: int, library: Library | None, job: Job, most: int) -> CompiledShards | str:
    """The compiled halves of steps over shards, of `most` rows of a batch at most, or what they are hindered by."""
    return hindrances.of_shards(job) or CompiledShards(job, most, threads, library)


class CompiledShards(Programs):
    """Both halves of the steps of a job, over memory that belongs to its network and optimizer: `gradient` of the
    shards here, and, unless it `cannot_change`, the `change` by that of all."""

    def __init__(self, job: Job, most: int, threads: int, library: Library | None = None) -> None:
        super().__init__(job, threads, most, most, library)
        self._most, self._kept, self._homes = most, Kept(), dict[str, Array]()
        self._gradients = Gradients(self._crew, self._kept, job.network.parameters)
        shards = job.limits.shards * most // job.batches.size
        self.spared = -floors(most, shards) * int(job.network.parameters.grad.nbytes)
        self._passes = dict[tuple[int, int, int], np.ndarray]()
        self.cannot_change = hindrances.of_update(job)
        if not self.cannot_change:
            self._change = self._assembled(Changes(job, self._crew, self._kept, self._slots).of_all())

    def gradient(
        self, X: Array, Y: Array, w: Array | None, parts: Sequence[slice], rows: int, total: float, mode: Pass
    ) -> list[float]:
        """The loss of each shard over the weight `total`; their gradient is left in the network.

        X, Y, w: the rows here of a batch of so many `rows`; `parts`: where in it those of each shard are.
        """
        cells, terms, first = self._crew.cells, self._crew.terms, parts[0].start
        X, Y, w = self._placed("X", X), self._placed("Y", Y), None if w is None else self._placed("w", w)
        key = rows, first, len(X)
        if key not in self._passes:
            shards = [slice(part.start - first, part.stop - first) for part in parts]
            self._passes[key] = self._assembled(self._pass(X, Y, w, shards, rows, first))
        cells[TOTAL], cells[STEP], cells[DROPOUT] = total, mode.step, mode.dropout
        self._crew.run(self._passes[key])
        return [float(terms[part.start - first : part.stop - first].sum()) for part in parts]

    def change(self, rates: StepRates, step: int) -> None:
        """Move the parameters by the gradient in the network, within the limits of the job."""
        optimizer, cells, ema = self.job.optimizer, self._crew.cells, self.job.limits.ema
        optimizer.t += 1
        cells[RATES:] = self._update_numbers(rates.lr, rates.decay, optimizer.t)
        cells[SHARE] = average_share(ema, step) if ema else 0.0
        self._crew.run(self._change)

    def _placed(self, name: str, given: Array) -> Array:
        """Rows where the programs know them: copied there, if they lie anywhere else."""
        if name not in self._homes:
            room = dict(zip("XYw", self.job.batches.memory(self._most), strict=True))[name]
            alike = room.shape[1:] == given.shape[1:] and room.dtype == given.dtype
            self._homes[name] = room if alike else np.empty((self._most, *given.shape[1:]), given.dtype)
        home = self._homes[name][: len(given)]
        if home.ctypes.data != given.ctypes.data:
            home[...] = given
        return home

    def _pass(
        self, X: Array, Y: Array, w: Array | None, shards: Sequence[slice], rows: int, first: int
    ) -> list[Labelled]:
        """The passes of the rows here, and the gradients."""
        network, crew = self.job.network, self._crew
        step, share, total = (do.at(crew.cells[place:]) for place in (STEP, DROPOUT, TOTAL))
        gradients = network.parameters.gradients
        one = RowPass(crew, self._kept, self.job.seed, gradients, step, share, first=first, whole=rows)
        Z, Delta = one.forward(network.layers, X), network.Delta[: len(X)]
        one.loss(self.job.objective.loss, Z, Y, w, Delta, total, do.at(crew.terms))
        one.backward(network.layers, Delta, network.first)
        found = [*one.records, MEET]
        for tensor in one.tensors:
            found += self._gradients.over(tensor, shards)
        return found

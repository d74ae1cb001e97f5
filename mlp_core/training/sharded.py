"""Steps whose batch is cut into shards, by one worker or several: the gradient is the sum over the shards, in an order
that does not depend on who computed which.

Worker r of N has shards r S/N to (r + 1) S/N - 1 of the S. The update is made by every worker for itself, from the same
gradient and the same weights, so that nothing else needs to be sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.backends.job import Job, Shards
from mlp_core.data.batches.shards import cut
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.lockstep import Lockstep
from mlp_core.nn.losses import loss_and_gradient
from mlp_core.nn.step_options import StepRates
from mlp_core.training.devices import exchange
from mlp_core.training.steps import StageSteps
from mlp_core.workers.tree import add_across, add_pairs
from mlp_core.workers.world import World

LEAST_BYTES = 64
"""Bytes that workers exchange at most besides gradients: a loss."""


class ShardedSteps(StageSteps):
    """The stages of `StageSteps`, over shards; where the backend can, each half of a step in one call."""

    def __init__(self, job: Job, world: World) -> None:
        self.world, self.shards = world, job.limits.shards
        rows = -(-job.batches.size // world.size)
        found: Any = None if job.backend.shard_steps is None else job.backend.shard_steps(job, rows)
        super().__init__(job, found if isinstance(found, str) else None)
        mine = self.shards // world.size
        self._mine = slice(world.rank * mine, (world.rank + 1) * mine)
        staged = found is None or isinstance(found, str)
        self._way: Shards = StagedShards(job, self.shards, mine, self._total) if staged else found
        if self._way.cannot_change is None:
            self._stages = (*(stage for stage in self._stages if stage == StageSteps._accumulate), ShardedSteps._change)
        grad = job.network.parameters.grad
        self._link = exchange(world, job.backend, max(int(grad.nbytes), LEAST_BYTES))
        self._room = job.backend.empty((len(grad) if world.size > 1 else 0,), grad.dtype)
        self._told = job.backend.zeros((2, 1), np.float64)  # a loss, and room for that of another
        self.spared = self._way.spared - int(self._room.nbytes)
        self._epoch = -1

    @property
    def name(self) -> str:
        rows = -(-self.job.batches.size // self.shards)
        way = f"in {self.shards} shards of up to {rows} rows, summed in an order of theirs"
        if self.job.backend.remote:
            return f"steps: one by one, {way}" + (f", between GPUs {self._link.way}" if self._link.way else "")
        if isinstance(self._way, StagedShards):
            why, what = self.hindrance, f"one by one, {way}"
        else:
            why, what = self._way.cannot_change, f"{way}; updates"
        return f"steps: {what}, operation by operation ({why} is not in whole steps yet)" if why else f"steps: {way}"

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        if self.world.size > 1 and epoch != self._epoch:
            self._epoch = epoch
            theta = np.ascontiguousarray(self.job.backend.to_host(self.job.network.parameters.theta))
            self.world.refuse_drift(hashlib.sha256(theta.view(np.uint8).data).hexdigest())
        return super().take(epoch, position, step, rates)

    def _evaluate(self, epoch: int, index: int, draw: int, total: float, penalties: bool = True) -> Any:
        objective, network = self.job.objective, self.job.network
        start, stop = self.job.batches.span(index)
        parts = cut(stop - start, self.shards)[self._mine]
        X, Y, w = self._rows(epoch, index, draw, slice(parts[0].start, parts[-1].stop))
        losses = self._way.gradient(X, Y, w, parts, stop - start, total, self._pass(draw))
        add_across(self._link, network.parameters.grad, self._room)
        loss = self._total_loss(losses)
        if penalties and objective.penalty.counts:
            loss = loss + self._number(objective.penalty.value(network))
            objective.penalty.add_gradient(network)
        return loss

    def _rows(self, epoch: int, index: int, draw: int, mine: slice) -> tuple[Array, Array, Array | None]:
        """The rows of a batch that are this worker's. They may be mixed with any row of the batch."""
        if self.job.augment is None:
            if self.job.backend.remote:  # whose kernels want a row at least
                mine = slice(mine.start, max(mine.stop, mine.start + 1))
            return self.job.batches.batch(epoch, index, mine)
        X, Y, w = self._batch(epoch, index, draw)
        return X[mine], Y[mine], None if w is None else w[mine]

    def _change(self, rates: StepRates, step: int) -> None:
        """All stages behind the gradient."""
        self._way.change(rates, step)

    def _total(self, parts: list[Array]) -> Array:
        """The sum over all shards of arrays [n]; those of the shards here are overwritten."""
        add_pairs(parts)
        add_across(self._link, parts[0], self.job.backend.empty(parts[0].shape, parts[0].dtype))
        return parts[0]

    def _total_loss(self, losses: list[Any]) -> Any:
        """The loss of the batch; that of a device stays there."""
        add_pairs(losses)
        if self.job.backend.remote:
            self._told[0] = losses[0]
            add_across(self._link, self._told[0], self._told[1])
            return self._told[0, 0]
        told = self.world.numbers(losses[:1])[:, 0].tolist()
        add_pairs(told)
        return float(told[0])


class StagedShards:
    """The gradient of the shards here stage by stage, a network for each: the first is the job's own, in whose gradient
    the sum is left. `total` is the sum over all shards of sums on the way."""

    cannot_change: str | None = "anything"

    def __init__(self, job: Job, shards: int, mine: int, total: Any) -> None:
        self._objective = job.objective
        rows = -(-job.batches.size // shards)
        self._networks = [job.network, *(job.network.shard(rows) for _ in range(mine - 1))]
        self._lockstep = Lockstep(self._networks, total)
        self._loss, self._remote = job.backend.primitive(loss_and_gradient), job.backend.remote
        self.spared = -(mine - 1) * int(job.network.parameters.grad.nbytes)

    def gradient(
        self, X: Array, Y: Array, w: Array | None, parts: Sequence[slice], rows: int, total: float, mode: Pass
    ) -> list[Any]:
        """The loss of each shard here, over the weight `total` of the whole batch; the sum of their gradients is left
        in the job's network. X [b, inputs], Y, w are the rows of all `parts` of a batch of so many `rows`."""
        first = parts[0].start
        here = [slice(part.start - first, part.stop - first) for part in parts]
        modes = [Pass(True, mode.seed, mode.step, mode.record, mode.dropout, part.start) for part in parts]
        rows_here = [X[part] if part.stop > part.start else None for part in here]
        Z = self._lockstep.forward(rows_here, modes, rows)
        losses, Deltas = list[Any]([0.0] * len(parts)), list[Array | None]()
        for i, (shard, part, logits) in enumerate(zip(self._networks, here, Z, strict=True)):
            Delta = None
            if logits is not None:
                assert shard.Delta is not None
                Delta = shard.Delta[: len(logits)]
                weights = None if w is None else w[part]
                loss = self._loss(self._objective.loss, logits, Y[part], weights, total, Delta)
                losses[i] = loss.astype(np.float64) if self._remote else float(loss)
            Deltas.append(Delta)
        self._lockstep.backward(Deltas)
        add_pairs([shard.parameters.grad for shard in self._networks])
        return losses

    def change(self, rates: StepRates, step: int) -> None:
        raise NotImplementedError

"""Steps whose batch is cut into shards, by one worker or several: the gradient is the sum over the shards, in an order
that does not depend on who computed which.

Worker r of N has shards r S/N to (r + 1) S/N - 1 of the S, and a network for each. The update is made by every worker
for itself, from the same gradient and the same weights, so that nothing else needs to be sent.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.backends.job import Job
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.lockstep import Lockstep
from mlp_core.nn.losses import loss_and_gradient
from mlp_core.training.steps import StageSteps
from mlp_core.workers.tree import add_across, add_pairs
from mlp_core.workers.world import World


def cut(rows: int, shards: int) -> list[slice]:
    """The rows of each shard of a batch, as equal as can be: some have one row less, and none where there are few."""
    ends = [rows * i // shards for i in range(shards + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


class ShardedSteps(StageSteps):
    """The stages of `StageSteps`, over shards."""

    def __init__(self, job: Job, world: World) -> None:
        super().__init__(job)
        self.world, self.shards = world, job.limits.shards
        mine = self.shards // world.size
        self._mine = slice(world.rank * mine, (world.rank + 1) * mine)
        rows = -(-job.batches.size // self.shards)
        self._networks = [job.network.shard(rows) for _ in range(mine)]
        self._lockstep = Lockstep(self._networks, self._total)
        self._loss = job.backend.primitive(loss_and_gradient)
        self._room = np.empty(job.network.parameters.size, job.network.dtype)
        self.spared = -(mine + 1) * int(
            job.network.parameters.grad.nbytes
        )  # more is written: the shards', and the room
        self._epoch = -1

    @property
    def name(self) -> str:
        rows = -(-self.job.batches.size // self.shards)
        return f"steps: one by one, in {self.shards} shards of up to {rows} rows, summed in an order of theirs"

    def take(self, epoch: int, position: int, step: int, rates: Sequence[Any]) -> int:
        if self.world.size > 1 and epoch != self._epoch:
            self._epoch = epoch
            theta = np.ascontiguousarray(self.job.network.parameters.theta)
            self.world.refuse_drift(hashlib.sha256(theta.view(np.uint8).data).hexdigest())
        return super().take(epoch, position, step, rates)

    def _evaluate(self, epoch: int, index: int, draw: int, total: float, penalties: bool = True) -> float:
        objective, network = self.job.objective, self.job.network
        X, Y, w = self._batch(epoch, index, draw)
        parts = cut(len(X), self.shards)[self._mine]
        mode = self._pass(draw)
        modes = [Pass(True, mode.seed, mode.step, mode.record, mode.dropout, part.start) for part in parts]
        Z = self._lockstep.forward([_rows(X, part) for part in parts], modes, len(X))
        losses, Deltas = [0.0] * len(parts), list[Array | None]()
        for i, (shard, part, logits) in enumerate(zip(self._networks, parts, Z, strict=True)):
            Delta = None
            if logits is not None:
                assert shard.Delta is not None
                Delta = shard.Delta[: len(logits)]
                weights = None if w is None else w[part]
                losses[i] = float(self._loss(objective.loss, logits, Y[part], weights, total, Delta))
            Deltas.append(Delta)
        self._lockstep.backward(Deltas)
        network.parameters.grad[:] = self._total([shard.parameters.grad for shard in self._networks])
        loss = self._total_loss(losses)
        if penalties and objective.penalty.counts:
            loss += float(objective.penalty.value(network))
            objective.penalty.add_gradient(network)
        return loss

    def _total(self, parts: list[Array]) -> Array:
        """The sum over all shards of arrays [n]; those of the shards here are overwritten."""
        add_pairs(parts)
        add_across(self.world, parts[0], self._room[: len(parts[0])])
        return parts[0]

    def _total_loss(self, losses: list[float]) -> float:
        add_pairs(losses)
        told = self.world.numbers(losses[:1])[:, 0].tolist()
        add_pairs(told)
        return float(told[0])


def _rows(X: Array, part: slice) -> Array | None:
    """Rows of a batch, None where there are none."""
    return X[part] if part.stop > part.start else None

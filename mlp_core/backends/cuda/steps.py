"""Whole steps: a training step written down once as launches, and carried out many at a time on a device.

The step is the engine's own: the layers, the loss and the update rule are called once with nothing computed, and what
they would have launched is kept. Numbers that differ from step to step (where in the epoch's order its rows begin, the
draw of its dropout masks, learning rates, corrections) stand in a row of a table on the device, one row for each step
taken at once; they are computed on the host exactly as for a single step, and sent with one small transfer. The first
step of a shape is carried out launch by launch, which also compiles and loads all that is needed; then its launches are
captured, and several steps become one CUDA graph. Both ways the same kernels get the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp_core.backends.cuda.graph import Graph
from mlp_core.backends.cuda.kernels import NUMBERS, padded
from mlp_core.backends.cuda.launches import Launch, without_repeats
from mlp_core.backends.cuda.loss_buffer import Ledger
from mlp_core.backends.job import Job
from mlp_core.backends.numbers import RULE_NUMBERS, of_update
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.matrix_optimizers import Lbfgs
from mlp_core.nn.optimizers import Muon
from mlp_core.nn.step_options import StepRates, average_share, stages

MOST, FEWEST = 64, 16
"""Steps in a graph, where the epoch has as many."""
LAUNCH_FLOPS = 1e12
"""Floating-point operations of the products of one launch, about 0.1 s at most: a run can be stopped between two."""
LEDGER = 256
"""Steps after which the losses are read from the device."""


def whole_steps(job: Job) -> WholeSteps | str:
    """The steps of a job as launches, or what of it cannot be written down yet."""
    return hindrance(job) or WholeSteps(job)


def hindrance(job: Job) -> str | None:
    """What of a training cannot be written down yet, as it is called in the config; None if all of it can."""
    network, batches, loss = job.network, job.batches, job.objective.loss
    architecture, recorder = network.architecture, network.backend.recorder
    resident: Array = batches.X.resident
    asked = {
        "model.numeric_embedding": architecture.periodic is not None and architecture.periodic.numbers > 0,
        "model.input_scale": architecture.input_scale,
        "model.parametrization ntk": architecture.ntk,
        "model.parametric": any(block.mixes for block in architecture.hidden),
        "schedule.dropout flat_cos": job.dropout.name != "constant",
        "kernels: numpy": recorder is None,
        "data that is not on the device": resident is None,
        f"optimizer.name {type(job.optimizer).__name__.lower()}": isinstance(job.optimizer, Muon | Lbfgs),
        "optimizer.accumulate": job.limits.accumulate > 1,
        "regularization.input_noise and mixup": job.augment is not None,
    }
    if found := next((name for name, on in asked.items() if on), None):
        return found
    X, Y, _ = batches.memory(batches.size)
    Z = network.Delta[: batches.size]
    if not recorder.kernels.knows_loss(loss, Z, Y, Z):
        return f"loss.name {loss.name} with such targets"
    fits = X.dtype == Z.dtype and all(array.flags.c_contiguous for array in (resident, batches.Y))
    return None if fits else "data of another dtype"


class WholeSteps:
    """Training steps of one job, several at a time.

    `losses` is where the device puts the loss of each step. `failure` says why no graph can be made, once that has been
    tried in vain: then launches go one by one.
    """

    hindrance = None
    spared = 0

    def __init__(self, job: Job) -> None:
        self.job, self.objective, self.optimizer, self.batches = job, job.objective, job.optimizer, job.batches
        self.limits, self.seed, self.average = job.limits, job.seed, job.average
        self.failure: str | None = None
        optimizer, batches, backend = job.optimizer, job.batches, job.backend
        self._recorder, self._Delta = backend.recorder, job.network.Delta
        self._rule = type(optimizer).rule.__name__
        weights = job.network.parameters.weights
        flops = 6.0 * batches.size * (weights.stop - weights.start)  # of a step's products, about
        self.at_once = steps_at_once(batches.rows // batches.size, flops)
        width = NUMBERS + RULE_NUMBERS * len(optimizer.segments)
        self._ledger = Ledger(backend, LEDGER)
        self.losses = self._ledger.losses
        self._host = self._recorder.graphs.pinned((LEDGER, width), np.float64)
        self._given = backend.zeros((self.at_once, width), np.float64)
        self._order, self._epoch = backend.zeros((batches.rows,), np.int64), -1
        self._written: dict[tuple[int, int], list[Launch]] = {}
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._done: set[int] = set()

    def reach(self, position: int, left: int) -> int:
        """How many steps are taken at once from this position of an epoch, of `left` that are to be taken."""
        full = self.batches.rows // self.batches.size - position
        return self.at_once if min(full, left) >= self.at_once else 1

    @property
    def name(self) -> str:
        return f"steps: whole ones, up to {self.at_once} in a CUDA graph"

    @property
    def notice(self) -> str | None:
        if self.failure is None:
            return None
        return f"steps are given to the device one by one: no CUDA graph can be made ({self.failure})"

    @property
    def full(self) -> bool:
        return self._ledger.room < self.at_once

    def read(self) -> list[tuple[float, float]]:
        return self._ledger.read()

    def locate(self) -> None:
        """Nothing: a device that works on its own is past it."""

    def gradient(self, step: int) -> None:
        """It is what a step at a rate of 0 leaves behind."""
        self.take(0, 0, step, [StepRates(0.0)])

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        """Steps `step`, `step + 1`, ... of a run with these learning rates, on the batches from `position` on.

        What was sent for the place of a loss is not changed before that was read.
        """
        count = len(rates)
        slot = self._ledger.reserve([self.batches.weight(epoch, position + i) for i in range(count)])
        if epoch != self._epoch:
            self._order[...] = self.objective.network.backend.asarray(self.batches.dealt(epoch).astype(np.int64))
            self._epoch = epoch
        for i, rate in enumerate(rates):
            self._host[slot + i] = self._row(epoch, position + i, step + i, slot + i, rate, self.optimizer.t + 1 + i)
        self._recorder.graphs.send(self._host[slot : slot + count], self._given[:count])
        start = position * self.batches.size
        rows = min(self.batches.size, self.batches.rows - start)
        graph = self._graph(rows, count)
        if graph is not None:
            graph.run()
        else:
            for i in range(count):
                for launch in self._launches(rows, i):
                    launch.run()
        self._done.add(rows)
        self.optimizer.t += count
        return count

    def _row(self, epoch: int, position: int, step: int, slot: int, rate: StepRates, t: int) -> list[float]:
        """The numbers of one step, in the order of FIRST, DRAW, SLOT, TOTAL, SHARE, NUMBERS; t is the optimizer's."""
        total = self.batches.weight(epoch, position) or 1.0
        share = average_share(self.limits.ema, step) if self.limits.ema else 0.0
        row = [position * self.batches.size, step, slot, total, share]
        for found in of_update(self.optimizer, rate.lr, rate.decay, t):
            row += padded(found)
        return row

    def _graph(self, rows: int, count: int) -> Graph | None:
        """The graph of so many steps on batches of so many rows; None before the first, and where there can be none."""
        if rows not in self._done or self.failure is not None:
            return None
        if (rows, count) not in self._graphs:
            launches = [launch for i in range(count) for launch in self._launches(rows, i)]
            try:
                self._graphs[rows, count] = self._recorder.graphs.capture(launches)
            except Exception as error:  # cupy's exceptions have no common base; the launches give the same numbers
                self.failure = f"{type(error).__name__}: {error}"
                return None
        return self._graphs[rows, count]

    def _launches(self, rows: int, place: int) -> list[Launch]:
        """The launches of a step on batches of so many rows whose numbers are in row `place` of the table."""
        if (rows, place) not in self._written:
            self._written[rows, place] = self._write_down(rows, self._given[place])
        return self._written[rows, place]

    def _write_down(self, rows: int, given: Array) -> list[Launch]:
        """The stages of a step on so many rows, whose numbers are `given` on the device."""
        with self._recorder.kernels.writing_down(given) as launches:
            for stage in stages(self.limits, self.objective.penalty.counts):
                getattr(self, f"_{stage}")(rows, given)
        return without_repeats(launches, "narrow")

    def _gather(self, rows: int, given: Array) -> None:
        kernels, batches = self._recorder.kernels, self.batches
        X, Y, w = batches.memory(rows)
        if batches.X.scales is not None:
            kernels.scale_from(batches.X.resident, self._order, 0, batches.X.scales, X)
        else:
            kernels.gather_from(batches.X.resident, self._order, 0, X)
        kernels.gather_from(batches.Y, self._order, 0, Y)
        if w is not None:
            kernels.gather_from(batches.w, self._order, 0, w)

    def _forward(self, rows: int, given: Array) -> None:
        self._Z = self.objective.network.forward(self.batches.memory(rows)[0], Pass(True, self.seed, 0))

    def _loss(self, rows: int, given: Array) -> None:
        _, Y, w = self.batches.memory(rows)
        self._recorder.kernels.loss_into(self.losses, self.objective.loss, self._Z, Y, w, 1.0, self._Delta[:rows])

    def _backward(self, rows: int, given: Array) -> None:
        self.objective.network.backward(self._Delta[:rows])

    def _penalty(self, rows: int, given: Array) -> None:
        self.objective.penalty.add_at_once(self.objective.network, self.losses, self._recorder.kernels.penalty)

    def _clip(self, rows: int, given: Array) -> None:
        kernels, grad = self._recorder.kernels, self.objective.network.parameters.grad
        if self.limits.clip_value is not None:
            kernels.clip_value(grad, self.limits.clip_value)
        if self.limits.clip_norm is not None:
            kernels.clip_norm(grad, self.limits.clip_norm)

    def _update(self, rows: int, given: Array) -> None:
        theta, grad = self.objective.network.parameters.theta, self.objective.network.parameters.grad
        numbers = (0.0,) * RULE_NUMBERS  # those that count are given
        for k, (segment, slots) in enumerate(zip(self.optimizer.segments, self.optimizer._slots, strict=True)):
            part, place = segment.part, NUMBERS + k * RULE_NUMBERS
            self._recorder.kernels.update(self._rule, theta[part], grad[part], slots, numbers, given[place:])

    def _max_norm(self, rows: int, given: Array) -> None:
        parameters = self.objective.network.parameters
        for spec in parameters.specs:
            if spec.is_weight:
                self._recorder.kernels.shorten_rows(parameters.values[spec.name], self.limits.max_norm)

    def _average(self, rows: int, given: Array) -> None:
        self._recorder.kernels.follow(self.average, self.objective.network.parameters.theta, 0.0)


def steps_at_once(full: int, flops: float) -> int:
    """Steps in a graph for an epoch of so many full batches: those with which the fewest launches make up an epoch."""
    most = max(1, min(MOST, full, int(LAUNCH_FLOPS / max(1.0, flops))))
    return min(range(min(FEWEST, most), most + 1), key=lambda k: (full // k + full % k, -k))

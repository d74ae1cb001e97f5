"""Training: epochs of optimizer steps as a generator of facts, which can stop and go on at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mlp_core.backends.cuda.loss_buffer import Ledger
from mlp_core.backends.cuda.steps import LEDGER, WholeSteps, average_share, hindrance
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.errors import Diverged, Problem
from mlp_core.nn.backend import Array
from mlp_core.nn.layers import Pass
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import Optimizer
from mlp_core.nn.primitives import clip_norm, clip_value, follow, shorten_rows
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.events import EpochDone, Event, Finished, Noticed, StepDone

LOSSES_AT_ONCE = 64
"""Steps after which the losses are read from a device that works on its own."""


@dataclass
class Progress:
    """Where a run stands: all that is needed to go on from here, beside the arrays.

    `epoch` epochs are complete and `position` steps of the next one; `step` steps in all. `loss_sum` and `weight_sum`
    collect the epoch's mean training loss. `best` is the best value of the monitored metric so far, `stale` the epochs
    since early stopping last saw progress over `reference`; `plateau_*` the same for the plateau schedule.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    reference: float | None = None
    stale: int = 0
    plateau_reference: float | None = None
    plateau_stale: int = 0
    plateau_factor: float = 1.0
    finished: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Watch:
    """A metric to watch: larger is better unless `smaller`; progress is a change by more than `min_delta`."""

    metric: str
    smaller: bool
    min_delta: float = 0.0

    def better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):
            return False
        return than is None or (value < than - self.min_delta if self.smaller else value > than + self.min_delta)


@dataclass(frozen=True)
class Stopping:
    """Early stopping: after `patience` epochs without progress, but not before `min_epochs`."""

    watch: Watch
    patience: int
    min_epochs: int = 0


@dataclass(frozen=True)
class Plateau:
    """Reduce on plateau: the rate falls by `factor` after more than `patience` epochs without progress."""

    watch: Watch
    patience: int
    factor: float


@dataclass
class Trainer:
    """Moves an objective's parameters, batch by batch, from `progress` on.

    `evaluate()` is asked for the validation metrics after every `eval_every` epochs, with the averaged weights in
    place where there is an average. Everything else that a run remembers is in the network, the optimizer, `average`
    and `progress`.

    On a device that can be given whole steps, several are taken at once, and their events follow: `progress` is then
    ahead of them, and agrees with the last one. `read_every` are the steps whose losses must be in their events.
    """

    objective: Objective
    optimizer: Optimizer
    schedule: Schedule
    batches: Batches
    limits: Limits
    seed: int
    evaluate: Callable[[], Mapping[str, float]]
    best: Watch | None = None
    stopping: Stopping | None = None
    plateau: Plateau | None = None
    augment: Augment | None = None
    progress: Progress = field(default_factory=Progress)
    read_every: int = 0

    def __post_init__(self) -> None:
        parameters, backend = self.objective.network.parameters, self.objective.network.backend
        many = self.limits.accumulate > 1
        self._sum = backend.zeros((parameters.size,), parameters.theta.dtype) if many else None
        self.average = parameters.theta.copy() if self.limits.ema else None
        self.steps_per_epoch = -(-self.batches.count // self.limits.accumulate)
        make = backend.kernels.get("whole_step") if self._plain() else None
        self.whole = None if make is None else make(self.objective, self.optimizer, self.batches, self.seed)
        self.hindrance = "kernels: numpy" if backend.recorder is None else self._hindrance()
        listed = self.hindrance is None
        self._ledger = Ledger(backend, LEDGER if listed else LOSSES_AT_ONCE) if backend.remote else None
        self.device_steps = self._device_steps() if listed else None

    def _plain(self) -> bool:
        """Whether a step is no more than a gradient and an update."""
        limits = self.limits
        extras = (limits.clip_norm, limits.clip_value, limits.max_norm, limits.ema, self.augment)
        return limits.accumulate == 1 and all(extra is None for extra in extras)

    def _hindrance(self) -> str | None:
        return hindrance(self.objective, self.optimizer, self.batches, self.limits, self.augment)

    def _device_steps(self) -> WholeSteps:
        assert self._ledger is not None
        parts = (self.objective, self.optimizer, self.batches, self.limits, self.seed)
        return WholeSteps(*parts, self._ledger.losses, self.average)

    @property
    def way(self) -> str | None:
        """How steps are made, in one line, where it is not simply primitive by primitive."""
        if self.whole is not None:
            return f"steps: compiled as a whole, up to {self.whole.most} in a call"
        if not self.objective.network.backend.remote:
            return None
        if self.device_steps is None:
            return f"steps: one by one, operation by operation ({self.hindrance} is in no CUDA graph yet)"
        return f"steps: whole ones, up to {self.device_steps.at_once} in a CUDA graph"

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train until a limit, early stopping, or `stop()` is true after a step or all that were taken at once.

        Yields what happens. Raises Diverged at the step at which the loss is no longer a finite number; on a device
        that works on its own some steps later.
        """
        p, begun = self.progress, time.monotonic()
        while (reason := self._end()) is None:
            started, first = time.perf_counter(), p.position
            while p.position < self.steps_per_epoch:
                if self.limits.max_steps is not None and p.step >= self.limits.max_steps:
                    break
                yield from self._steps()
                if stop():
                    self.settle()
                    yield Finished("stopped")
                    return
                if self.limits.max_seconds is not None and time.monotonic() - begun >= self.limits.max_seconds:
                    p.finished = "max_time"
                    break
            if p.position:
                yield self._epoch(p.position - first, time.perf_counter() - started)
        p.finished = reason
        yield Finished(reason)

    def _end(self) -> str | None:
        """Why there is nothing left to do, or None."""
        p, limits = self.progress, self.limits
        if p.finished is not None and p.finished != "epochs":
            return p.finished
        if limits.max_steps is not None and p.step >= limits.max_steps and p.position == 0:
            return "max_steps"
        return "epochs" if p.epoch >= limits.epochs else None

    def _steps(self) -> Iterator[Event]:
        """The next step, or as many as the backend makes in one go."""
        if self.device_steps is not None:
            yield from self._given(self.device_steps)
        elif self.whole is not None:
            yield from self._compiled(self.whole)
        else:
            yield self._step()

    def _compiled(self, whole: Any) -> Iterator[StepDone]:
        """Steps made by one call; its losses are there when it is back."""
        p, batches = self.progress, self.batches
        count = min(whole.most, batches.alike(p.position))
        if self.limits.max_steps is not None:
            count = min(count, self.limits.max_steps - p.step)
        weights = [batches.weight(p.epoch, p.position + i) for i in range(count)]
        rates = [self.schedule.rate(p.step + i) * p.plateau_factor for i in range(count)]
        rows, size = batches.numbers(p.epoch, p.position, count)
        losses = whole.take(rows, size, weights, rates, p.step).tolist()
        events = []
        for loss, weight, lr in zip(losses, weights, rates, strict=False):
            if not math.isfinite(loss):
                break
            p.step += 1
            p.position += 1
            p.loss_sum += loss * weight
            p.weight_sum += weight
            events.append(StepDone(p.step, p.epoch + 1, p.position, self.steps_per_epoch, loss, lr))
        yield from events
        if len(events) < count:
            whole.gradient(rows[size * len(events) :][:size], p.step)  # to see where it is bad
            with np.errstate(all="ignore"):
                raise Diverged(self._divergence(losses[-1], rates[len(events)]))

    def _given(self, whole: WholeSteps) -> Iterator[Event]:
        """Steps given to a device that works on its own; their losses are there when they have been read."""
        p, limits, known = self.progress, self.limits, whole.failure
        assert self._ledger is not None
        left = self.steps_per_epoch - p.position
        left = left if limits.max_steps is None else min(left, limits.max_steps - p.step)
        count = whole.reach(p.position, left)
        rates = [self.schedule.rate(p.step + i) * p.plateau_factor for i in range(count)]
        slot = self._ledger.reserve([self.batches.weight(p.epoch, p.position + i) for i in range(count)])
        whole.take(p.epoch, p.position, p.step, rates, slot)
        step, position = p.step, p.position
        p.step, p.position = step + count, position + count
        if whole.failure != known:
            yield Noticed(f"steps are given to the device one by one: no CUDA graph can be made ({whole.failure})")
        losses: list[float | None] = [None] * count
        due = self.read_every and p.step // self.read_every > step // self.read_every
        if due or self._ledger.room < whole.at_once:
            losses[:] = self._read()[-count:]
        for i, (loss, lr) in enumerate(zip(losses, rates, strict=True), 1):
            yield StepDone(step + i, p.epoch + 1, position + i, self.steps_per_epoch, loss, lr)

    @np.errstate(all="ignore")
    def _step(self) -> StepDone:
        """One optimizer step over `accumulate` batches; numbers that overflow are found in the loss."""
        p, network = self.progress, self.objective.network
        loss, weight = self._gradient()
        lr = self.schedule.rate(p.step) * p.plateau_factor
        if self._ledger is not None:
            self._ledger.add(loss, weight)
        elif not math.isfinite(loss):
            raise Diverged(self._divergence(loss, lr))
        theta, grad = network.parameters.theta, network.parameters.grad
        if self._sum is not None:
            grad[:] = self._sum
        if self.limits.clip_norm is not None or self.limits.clip_value is not None:
            self._clip(grad)
        self.optimizer.step(theta, grad, lr)
        if self.limits.max_norm is not None:
            self._shorten(self.limits.max_norm)
        if self.average is not None:
            self._follow(theta)
        p.step += 1
        p.position += 1
        if self._ledger is not None:
            return StepDone(p.step, p.epoch + 1, p.position, self.steps_per_epoch, self._glance(), lr)
        p.loss_sum += loss * weight
        p.weight_sum += weight
        return StepDone(p.step, p.epoch + 1, p.position, self.steps_per_epoch, loss, lr)

    def _glance(self) -> float | None:
        """The loss of the last step, where it is time to read."""
        return self.settle() if self._ledger is not None and not self._ledger.room else None

    def settle(self) -> float | None:
        """Read the losses that are still on the device into `progress`; the last of them, None if there is none.

        Raises Diverged.
        """
        losses = self._read()
        return losses[-1] if losses else None

    def _read(self) -> list[float]:
        """The losses of all steps since the last time, also put into `progress`; raises Diverged."""
        p, losses = self.progress, [] if self._ledger is None else self._ledger.read()
        for left, (loss, weight) in zip(reversed(range(len(losses))), losses, strict=True):
            if not math.isfinite(loss):
                step = p.step - left
                lr = self.schedule.rate(step - 1) * p.plateau_factor
                raise Diverged(_diverged(step, f"loss became {_word(loss)}", lr, None))
            p.loss_sum += loss * weight
            p.weight_sum += weight
        return [loss for loss, _ in losses]

    def _gradient(self) -> tuple[Any, float]:
        """Loss and weight of the next step's rows; the gradient is left in the network, or in the sum over batches.

        The loss is a float, or on a device that works on its own a number there.
        """
        p, k = self.progress, self.limits.accumulate
        first = p.position * k
        if self._sum is None:
            X, Y, w = self._batch(first, p.step)
            weight = self.batches.weight(p.epoch, first)
            loss, _ = self.objective.value_and_gradient(X, Y, w, Pass(True, self.seed, p.step), total=weight or 1.0)
            return self._number(loss), weight
        part = range(first, min(first + k, self.batches.count))
        weights = [self.batches.weight(p.epoch, index) for index in part]
        total, loss = sum(weights), 0.0  # rows of no weight have no gradient
        self._sum[:] = 0
        for i, index in enumerate(part):
            X, Y, w = self._batch(index, p.step * k + i)
            value, _ = self.objective.value_and_gradient(
                X, Y, w, Pass(True, self.seed, p.step * k + i), total=total or 1.0, penalties=i == 0
            )
            self._sum += self.objective.network.parameters.grad
            loss = self._number(value) + loss
        return loss, total

    def _number(self, value: Any) -> Any:
        """A loss with all the digits of float64, read only where that costs nothing."""
        return float(value) if self._ledger is None else value.astype(np.float64)

    def _batch(self, index: int, draw: int) -> tuple[Array, Array, Array | None]:
        X, Y, w = self.batches.batch(self.progress.epoch, index)
        return (X, Y, w) if self.augment is None else self.augment(X, Y, w, Pass(True, self.seed, draw))

    def _clip(self, grad: Array) -> None:
        """Cut entries to clip_value, then the whole gradient to length clip_norm (Pascanu et al., ICML 2013)."""
        limits, backend = self.limits, self.objective.network.backend
        xp = backend.xp
        if limits.clip_value is not None:
            backend.primitive(clip_value)(grad, limits.clip_value)
        if limits.clip_norm is not None and backend.remote:
            backend.primitive(clip_norm)(grad, limits.clip_norm)
        elif limits.clip_norm is not None:
            length = math.sqrt(float(xp.dot(grad, grad)))
            if length > limits.clip_norm:
                grad *= limits.clip_norm / length

    def _shorten(self, longest: float) -> None:
        """Scale back to length `longest` the weights into any unit that exceed it (Srivastava et al. 2014)."""
        parameters, shorten = self.objective.network.parameters, self.objective.network.backend.primitive(shorten_rows)
        for spec in parameters.specs:
            if spec.is_weight:
                shorten(parameters.values[spec.name], longest)

    def _follow(self, theta: Array) -> None:
        """average += (1 - decay) (theta - average), with the decay held down at first so that it forgets the start."""
        assert self.average is not None
        assert self.limits.ema is not None
        share = average_share(self.limits.ema, self.progress.step)
        self.objective.network.backend.primitive(follow)(self.average, theta, share)

    @np.errstate(all="ignore")
    def _epoch(self, steps: int, seconds: float) -> EpochDone:
        """Close an epoch: measure, compare with the best, count towards early stopping and plateaus."""
        self.settle()
        p = self.progress
        p.epoch += 1
        p.position = 0
        metrics: dict[str, float] = {"train_loss": p.loss_sum / (p.weight_sum or 1.0)}
        p.loss_sum = p.weight_sum = 0.0
        last = p.epoch >= self.limits.epochs or self._end() is not None
        lr = self.schedule.rate(p.step - 1) * p.plateau_factor
        self._check_parameters(lr)
        if p.epoch % self.limits.eval_every == 0 or last:
            metrics.update(self.evaluate())
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise Diverged(_diverged(p.step, f"{name} became {_word(value)}", lr, None))
        metrics["lr"] = lr
        improved = self._compare(metrics)
        rows = min(self.batches.rows, steps * self.batches.size * self.limits.accumulate)
        return EpochDone(p.epoch, p.step, metrics, improved, seconds, rows / max(seconds, 1e-9))

    def _compare(self, metrics: Mapping[str, float]) -> bool:
        p = self.progress
        improved = self.best is None
        if self.best is not None and self.best.metric in metrics:
            value = metrics[self.best.metric]
            improved = self.best.better(value, p.best)
            if improved:
                p.best, p.best_epoch = value, p.epoch
        if self.stopping is not None and self.stopping.watch.metric in metrics:
            value = metrics[self.stopping.watch.metric]
            progressed = self.stopping.watch.better(value, p.reference)
            p.reference, p.stale = (value, 0) if progressed else (p.reference, p.stale + 1)
            if p.stale >= self.stopping.patience and p.epoch >= self.stopping.min_epochs:
                p.finished = "early_stopping"
        if self.plateau is not None and self.plateau.watch.metric in metrics:
            value = metrics[self.plateau.watch.metric]
            progressed = self.plateau.watch.better(value, p.plateau_reference)
            p.plateau_reference, p.plateau_stale = (
                (value, 0) if progressed else (p.plateau_reference, p.plateau_stale + 1)
            )
            if p.plateau_stale > self.plateau.patience:
                p.plateau_factor, p.plateau_stale = p.plateau_factor * self.plateau.factor, 0
        return improved

    def _check_parameters(self, lr: float) -> None:
        """A loss can still be finite when a last step has made the parameters infinite."""
        name = self._first_bad(self.objective.network.parameters.theta)
        if name is not None:
            raise Diverged(_diverged(self.progress.step, "a weight is no longer finite", lr, name))

    def _divergence(self, loss: float, lr: float) -> Problem:
        parameters = self.objective.network.parameters
        bad = self._first_bad(parameters.theta)
        if bad is None:
            bad = self._first_bad(parameters.grad)
            bad = None if bad is None else f"{bad} gradient"
        return _diverged(self.progress.step + 1, f"loss became {_word(loss)}", lr, bad)

    def _first_bad(self, vector: Array) -> str | None:
        """The first tensor, in the order of the layers, with an entry that is not finite."""
        parameters, xp = self.objective.network.parameters, self.objective.network.backend.xp
        if bool(xp.isfinite(xp.dot(vector, vector))):
            return None
        views = parameters.views(vector)
        ordered = sorted(views, key=lambda name: int(name.split(".")[0]))
        return next((name for name in ordered if not bool(xp.isfinite(views[name]).all())), None)


def _word(loss: float) -> str:
    return "nan" if math.isnan(loss) else "inf"


def _diverged(step: int, what: str, lr: float, tensor: str | None) -> Problem:
    bad = f", first bad tensor {tensor}" if tensor else ""
    return Problem("diverged", f"step {step}: {what} (lr {lr:g}{bad})")

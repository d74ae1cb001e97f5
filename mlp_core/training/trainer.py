"""Training: epochs of optimizer steps as a generator of facts, which can stop and go on at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mlp_core.backends.job import Job, Steps
from mlp_core.errors import Diverged, Problem
from mlp_core.nn.backend import Array
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import StepRates
from mlp_core.training.events import EpochDone, Event, Finished, Noticed, StepDone
from mlp_core.workers.world import ALONE, World


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


@dataclass(frozen=True)
class Watch:
    """A metric to watch: larger is better unless `smaller`; progress is a change by more than `min_delta`. With `ties`
    a value as good as the best so far is better, being newer."""

    metric: str
    smaller: bool
    min_delta: float = 0.0
    ties: bool = False

    def better(self, value: float, than: float | None) -> bool:
        if not math.isfinite(value):
            return False
        if self.ties and value == than:
            return True
        return than is None or (value < than - self.min_delta if self.smaller else value > than + self.min_delta)


@dataclass(frozen=True)
class Stopping:
    """Early stopping: after `patience` measurements without progress, and `factor` more for each until the best one,
    but not before `min_epochs`."""

    watch: Watch
    patience: int
    min_epochs: int = 0
    factor: float = 0.0

    def over(self, stale: int, measured: int) -> bool:
        """Whether `stale` of `measured` are too many to go on."""
        return stale >= self.patience + self.factor * (measured - stale)


@dataclass(frozen=True)
class Plateau:
    """Reduce on plateau: the rate falls by `factor` after more than `patience` epochs without progress."""

    watch: Watch
    patience: int
    factor: float


@dataclass
class Trainer:
    """Makes the steps of a job, epoch by epoch, from `progress` on.

    `evaluate()` is asked for the validation metrics after every `eval_every` epochs, with the averaged weights in
    place where there is an average. Everything else that a run remembers is in the job's network, optimizer and
    average, and in `progress`.

    Where several steps are made at once their events follow: `progress` is then ahead of them, and agrees with the last
    one. `read_every` are the steps whose losses must be in their events. The workers of a `world` make the same steps,
    and end at the same one.
    """

    steps: Steps
    schedule: Schedule
    evaluate: Callable[[], Mapping[str, float]]
    best: Watch | None = None
    stopping: Stopping | None = None
    plateau: Plateau | None = None
    progress: Progress = field(default_factory=Progress)
    read_every: int = 0
    world: World = ALONE

    @property
    def job(self) -> Job:
        return self.steps.job

    @property
    def steps_per_epoch(self) -> int:
        return self.job.steps_per_epoch

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train until a limit, early stopping, or `stop()` is true after a step or all that were taken at once.

        Yields what happens. Raises Diverged at the step at which the loss is no longer a finite number; on a device
        that works on its own some steps later.
        """
        p, begun = self.progress, time.monotonic()
        while (reason := self._end()) is None:
            started, first = time.perf_counter(), p.position
            while p.position < self.steps_per_epoch:
                if self.job.limits.max_steps is not None and p.step >= self.job.limits.max_steps:
                    break
                yield from self._take()
                if stop():
                    self.settle()
                    yield Finished("stopped")
                    return
                most = self.job.limits.max_seconds
                if most is not None and self.world.agreed(time.monotonic() - begun >= most):
                    p.finished = "max_time"
                    break
            if p.position:
                yield self._epoch(p.position - first, time.perf_counter() - started)
        p.finished = reason
        yield Finished(reason)

    def _end(self) -> str | None:
        """Why there is nothing left to do, or None."""
        p, limits = self.progress, self.job.limits
        if p.finished is not None and p.finished != "epochs":
            return p.finished
        if limits.max_steps is not None and p.step >= limits.max_steps and p.position == 0:
            return "max_steps"
        return "epochs" if p.epoch >= limits.epochs else None

    def _take(self) -> Iterator[Event]:
        """The next steps, as many as are made in one go, and what is known of them."""
        p, steps, told = self.progress, self.steps, self.steps.notice
        most = self.job.limits.max_steps
        in_epoch = self.steps_per_epoch
        left = in_epoch - p.position
        count = steps.reach(p.position, left if most is None else min(left, most - p.step))
        rates = [self.rates(step) for step in range(p.step, p.step + count)]
        step, position = p.step, p.position
        made = steps.take(p.epoch, position, step, rates)
        p.step, p.position = step + made, position + made
        if steps.notice is not None and steps.notice != told:
            yield Noticed(steps.notice)
        losses: list[float | None] = [None] * made
        due = self.read_every and p.step // self.read_every > step // self.read_every
        if due or steps.full:
            losses[:] = self._read(made < count)[-count:]
        for i, (loss, rate) in enumerate(zip(losses[:made], rates[:made], strict=True), 1):
            yield StepDone(step + i, p.epoch + 1, position + i, in_epoch, loss, rate.lr)
        if made < count:
            steps.locate()
            loss = losses[made]
            assert loss is not None
            with np.errstate(all="ignore"):
                raise Diverged(self._divergence(loss, rates[made].lr))

    def _rate(self, step: int) -> float:
        """The learning rate of a step counted from 0."""
        return self.schedule.rate(step) * self.progress.plateau_factor

    def rates(self, step: int) -> StepRates:
        """The learning rate of a step counted from 0, and what other schedules leave of dropout and weight decay."""
        job = self.steps.job
        return StepRates(self._rate(step), job.dropout.share(step), job.decay.share(step))

    def settle(self) -> float | None:
        """Read the losses that are still on the device into `progress`; the last of them, None if there is none.

        Raises Diverged.
        """
        losses = self._read()
        return losses[-1] if losses else None

    def _read(self, failed: bool = False) -> list[float]:
        """The losses of all steps since the last time, also put into `progress`; raises Diverged.

        Where a step `failed` its loss is the last one, is no finite number, and counts for nothing.
        """
        p, losses = self.progress, self.steps.read()
        made = losses[:-1] if failed else losses
        for left, (loss, weight) in zip(reversed(range(len(made))), made, strict=True):
            if not math.isfinite(loss):
                step = p.step - left
                raise Diverged(_diverged(step, f"loss became {_word(loss)}", self._rate(step - 1), None))
            p.loss_sum += loss * weight
            p.weight_sum += weight
        return [loss for loss, _ in losses]

    @np.errstate(all="ignore")
    def _epoch(self, steps: int, seconds: float) -> EpochDone:
        """Close an epoch: measure, compare with the best, count towards early stopping and plateaus."""
        self.settle()
        p = self.progress
        p.epoch += 1
        p.position = 0
        metrics: dict[str, float] = {"train_loss": p.loss_sum / (p.weight_sum or 1.0)}
        p.loss_sum = p.weight_sum = 0.0
        last = p.epoch >= self.job.limits.epochs or self._end() is not None
        lr = self._rate(p.step - 1)
        self._check_parameters(lr)
        if p.epoch % self.job.limits.eval_every == 0 or last:
            metrics.update(self.evaluate())
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise Diverged(_diverged(p.step, f"{name} became {_word(value)}", lr, None))
        metrics["lr"] = lr
        improved = self._compare(metrics)
        rows = min(self.job.batches.rows, steps * self.job.batches.size * self.job.limits.accumulate)
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
            measured = p.epoch // self.job.limits.eval_every
            if self.stopping.over(p.stale, measured) and p.epoch >= self.stopping.min_epochs:
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
        name = self._first_bad(self.job.network.parameters.theta)
        if name is not None:
            raise Diverged(_diverged(self.progress.step, "a weight is no longer finite", lr, name))

    def _divergence(self, loss: float, lr: float) -> Problem:
        parameters = self.job.network.parameters
        bad = self._first_bad(parameters.theta) or self._first_bad(parameters.grad, " gradient")
        return _diverged(self.progress.step + 1, f"loss became {_word(loss)}", lr, bad)

    def _first_bad(self, vector: Array, what: str = "") -> str | None:
        """The first tensor, in the order of the layers, with an entry that is not finite; and `what` it is of it."""
        parameters, xp = self.job.network.parameters, self.job.network.backend.xp
        if bool(xp.isfinite(xp.dot(vector, vector))):
            return None
        views = parameters.views(vector)
        ordered = sorted(views, key=lambda name: int(name.split(".")[0]))
        return next((name + what for name in ordered if not bool(xp.isfinite(views[name]).all())), None)


def _word(loss: float) -> str:
    return "nan" if math.isnan(loss) else "inf"


def _diverged(step: int, what: str, lr: float, tensor: str | None) -> Problem:
    bad = f", first bad tensor {tensor}" if tensor else ""
    return Problem("diverged", f"step {step}: {what} (lr {lr:g}{bad})")

"""The proof of the loop around the steps: rates, epochs, their loss, the best one, plateaus, early stopping; without
making a step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlp_core.backends.job import Job
from mlp_core.nn.step_options import StepRates
from mlp_core.proof.compare import Tally
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.training.events import EpochDone, StepDone
from mlp_core.training.trainer import Progress, Trainer

EPOCHS, STEPS, LOOKED_AT, OF_THE_RUN = 60, 60_000, 12, 160
"""Epochs, or as many as patience asks for, and steps that are gone through at most; the steps of an epoch, and those
of the whole run, whose rates are computed on paper."""
SURELY = 60  # seconds in which an epoch of idle steps is over


@dataclass
class Idle:
    """Steps that nobody makes: half of what is left of an epoch at once, with losses that are made up."""

    job: Job
    asked: list[tuple[int, int, int, list[StepRates]]] = field(default_factory=list)
    losses: list[tuple[float, float]] = field(default_factory=list)
    hindrance = notice = name = None
    spared, full = 0, True

    def reach(self, position: int, left: int) -> int:
        return (left + 1) // 2

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        self.asked.append((epoch, position, step, list(rates)))
        self.losses += [(_loss(step + i), 1.0 + (step + i) % 3) for i in range(len(rates))]
        return len(rates)

    def read(self) -> list[tuple[float, float]]:
        losses, self.losses = self.losses, []
        return losses

    def locate(self) -> None:
        """There is nothing to look for."""

    def gradient(self, step: int) -> None:
        """There is none."""


def _loss(step: int) -> float:
    """What is made up for a step counted from 0."""
    return 2 + math.cos(step)


def prove_loop(paper: Paper) -> Tally:
    """The trainer's own loop over idle steps: with a metric that always gets better, and with some that do so first
    and then no more, though better than the epoch before; and its end."""
    trainer, tally = paper.experiment.trainer, Tally("the loop of epochs")
    epochs = _epochs(trainer)
    _go_through(trainer, paper, tally, (100.0 / k for k in itertools.count(1)), EPOCHS)
    for first in ([4.0, 3.0, 2.5, 2.5], [2.5], [3.0, 2.5]):
        worse = (2.5 + 1 / k for k in range(1, epochs))
        _go_through(trainer, paper, tally, itertools.chain(first, worse, itertools.repeat(9.0)), epochs)
    if (stop := paper.config.train.early_stopping) and stop.min_delta:  # progress that is too small to count in time
        steady = (5.0 - stop.min_delta / (stop.patience + 2) * k for k in itertools.count())
        _go_through(trainer, paper, tally, steady, epochs)
    _end(trainer, tally)
    return tally


def last_step(trainer: Trainer) -> int:
    """How many steps a run has."""
    limits = trainer.job.limits
    whole = limits.epochs * trainer.steps_per_epoch
    return whole if limits.max_steps is None else min(limits.max_steps, whole)


def _end(trainer: Trainer, tally: Tally) -> None:
    """The last epoch of a run: it ends where it must, and says why."""
    limits, per_epoch, last = trainer.job.limits, trainer.steps_per_epoch, last_step(trainer)
    if not last or (limits.max_seconds is not None and limits.max_seconds < SURELY):
        return
    epoch = (last - 1) // per_epoch
    progress = Progress(epoch=epoch, step=epoch * per_epoch)
    own = replace(trainer, steps=Idle(trainer.job), evaluate=dict, progress=progress)
    own.best = own.stopping = own.plateau = None
    for event in own.run():
        if isinstance(event, EpochDone) and event.epoch > epoch + 1:
            break
    reason = "max_steps" if last == limits.max_steps else "epochs"
    right = (progress.step, progress.epoch, progress.finished) == (last, epoch + 1, reason)
    tally.right("the last step of a run", right, progress.step, last)


def _go_through(trainer: Trainer, paper: Paper, tally: Tally, metrics: Iterator[float], epochs: int) -> None:
    """So many epochs with these values of what is watched."""
    idle = Idle(trainer.job)
    watches = [trainer.best] if trainer.best else []
    watches += [one.watch for one in (trainer.stopping, trainer.plateau) if one]
    names = {watch.metric for watch in watches if watch.metric.startswith("val_")}
    signs = {watch.metric: 1 if watch.smaller else -1 for watch in watches}

    def evaluate() -> dict[str, float]:
        value = next(metrics)
        return {name: signs[name] * value for name in names}

    own = replace(trainer, steps=idle, evaluate=evaluate, progress=Progress())
    book = _Book(trainer, paper, tally, signs)
    for event in own.run():
        if isinstance(event, StepDone):
            book.told(event, *idle.asked[-1][2:])
        if isinstance(event, EpochDone):
            book.epoch(event, idle.asked, own.progress)
            idle.asked = []
            if event.epoch >= epochs or own.progress.step >= STEPS or tally.wrong is not None:
                break
    book.rates(own)


def _epochs(trainer: Trainer) -> int:
    """Epochs after which everything that patience waits for has happened."""
    waits = [0 if one is None else one.patience for one in (trainer.stopping, trainer.plateau)]
    least = 0 if trainer.stopping is None else trainer.stopping.min_epochs
    return max(EPOCHS, least + 10, 2 * max(waits) + 10)


@dataclass
class _Book:
    """What must be in the books after every epoch, by plain loops and the printed formulas."""

    trainer: Trainer
    paper: Paper
    tally: Tally
    signs: dict[str, int]
    step: int = 0
    done: int = 0
    place: int = 0

    def __post_init__(self) -> None:
        text = self.paper.text(self.paper.table.size)
        self.rate, self.drop = tuple(text.lines("Learning")), tuple(text.lines("After an epoch"))
        smaller = self.trainer.plateau is None or self.trainer.plateau.watch.smaller
        self.machine = Machine(np.zeros(0), [])
        self.machine |= {"plateau": 1.0, "stale": 0, "mark": math.inf if smaller else -math.inf}
        self.best: tuple[float, int] | None = None
        self.reference, self.stale = math.inf, 0

    def same(self, name: str, here: float, there: float) -> None:
        self.tally.same(name, here, there, within=1e-12)

    def told(self, event: StepDone, first: int, rates: Sequence[StepRates]) -> None:
        """What is said of a step, one of some that were taken from the `first` on with these rates."""
        self.place += 1
        step, per_epoch = self.step + self.place, self.trainer.steps_per_epoch
        among = 0 <= step - 1 - first < len(rates)
        lr = rates[step - 1 - first].lr if among else math.nan
        if event != (step, self.done + 1, self.place, per_epoch, _loss(step - 1), lr):
            self.tally.right("what is told of a step", False, event.step, step)

    def epoch(self, event: EpochDone, asked: list[tuple[int, int, int, list[StepRates]]], progress: Progress) -> None:
        """Everything about one epoch."""
        losses, weights, place = 0.0, 0.0, 0
        for epoch, position, step, rates in asked:
            told = ("epoch", epoch, self.done), ("place", position, place), ("step", step, self.step)
            for name, here, there in told:
                self.same(f"the {name} of a step", here, there)
            looked = set(np.linspace(0, len(rates) - 1, LOOKED_AT).astype(int)) if rates else set()
            for i, rate in enumerate(rates):
                if i in looked:
                    self._rate(rate, step + i)
                weight = 1.0 + (step + i) % 3
                losses, weights = losses + weight * _loss(step + i), weights + weight
            self.step += len(rates)
            place += len(rates)
        self.same("how many steps are told of", self.place, place)
        self.place = 0
        self.done += 1
        mean = losses / weights
        self.tally.entries("the loss of an epoch", event.metrics["train_loss"], mean, 1e-9, scale=1.0)
        self.same("the number of an epoch", event.epoch, self.done)
        if asked and asked[-1][-1]:
            self.same("the learning rate that is told of an epoch", event.metrics["lr"], asked[-1][-1][-1].lr)
        limits = self.trainer.job.limits
        over = self.done >= limits.epochs or (limits.max_steps is not None and self.step >= limits.max_steps)
        measured = any(name in event.metrics for name in self.signs if name.startswith("val_"))
        if any(name.startswith("val_") for name in self.signs):
            self.same("whether an epoch is measured", measured, self.done % limits.eval_every == 0 or over)
        self._watch(event, progress)

    def rates(self, trainer: Trainer) -> None:
        """Rates from the first step of the run to its last, and around those from which they go another way."""
        steps, per_epoch, schedule = last_step(trainer), trainer.steps_per_epoch, self.paper.config.schedule
        turns = [trainer.schedule.warmup, steps // 2, steps - 1, *(m * per_epoch for m in schedule.milestones)]
        turns += [k * schedule.step_size * per_epoch for k in range(1, 4)]
        chosen = {min(max(0, turn + i), steps - 1) for turn in turns for i in range(-2, 3)}
        factor, self.machine["plateau"] = trainer.progress.plateau_factor, trainer.progress.plateau_factor
        for step in sorted(chosen | set(np.linspace(0, steps - 1, OF_THE_RUN).astype(int).tolist())):
            self._rate(trainer.rates(step), step)
        self.same("the factor of the plateau", trainer.progress.plateau_factor, factor)

    def _rate(self, here: StepRates, step: int) -> None:
        """All rates of one step. What is left of dropout and weight decay: all of it to half time, then half of a
        cosine down to nothing."""
        self.machine["step"] = step
        self.machine.run(self.rate)
        self.same("the learning rate", here.lr, float(self.machine["lr"]))
        schedule, steps = self.paper.config.schedule, self.trainer.schedule.steps
        x = min(1.0, step / max(1, steps))
        flat = 1.0 if x <= 0.5 else (1 + math.cos(math.pi * (2 * x - 1))) / 2
        for name, left in (("dropout", here.dropout), ("weight_decay", here.decay)):
            right = abs(left - (1.0 if getattr(schedule, name) == "constant" else flat)) <= 1e-9
            self.tally.right(f"the share of {name} that is left", right, left, flat)

    def _watch(self, event: EpochDone, progress: Progress) -> None:
        best, stopping, plateau = self.trainer.best, self.trainer.stopping, self.trainer.plateau
        if best is None or best.metric not in event.metrics:
            self.same("whether an epoch is kept as the best", event.improved, best is None)
        else:
            value = self.signs[best.metric] * event.metrics[best.metric]
            again = self.paper.config.checkpoint.ties == "last" and self.best is not None and value == self.best[0]
            if self.best is None or value < self.best[0] or again:
                self.best = (value, self.done)
            self.same("the best epoch", progress.best_epoch, self.best[1])
            self.same("whether an epoch is kept as the best", event.improved, self.best[1] == self.done)
        if plateau is not None and plateau.watch.metric in event.metrics:
            self.machine["metric"] = event.metrics[plateau.watch.metric]
            self.machine.run(self.drop)
            self.same("the factor of the plateau", progress.plateau_factor, float(self.machine["plateau"]))
        if stopping is not None and stopping.watch.metric in event.metrics:
            value = self.signs[stopping.watch.metric] * event.metrics[stopping.watch.metric]
            asked = self.paper.config.train.early_stopping
            assert asked
            better = value < self.reference - asked.min_delta or (asked.ties == "last" and value == self.reference)
            self.reference, self.stale = (value, 0) if better else (self.reference, self.stale + 1)
            until_best = self.done // self.trainer.job.limits.eval_every - self.stale
            patience = asked.patience + asked.patience_factor * until_best
            stop = self.stale >= patience and self.done >= asked.min_epochs
            self.same("whether it stops early", progress.finished == "early_stopping", stop)

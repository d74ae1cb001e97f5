"""What a trainer says and when it stops, with steps that are scripted: failures, notices, losses that are read late."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from proved import experiment

from mlp_core.backends.job import Job
from mlp_core.errors import Diverged
from mlp_core.nn.step_options import STAGES, Limits, StepRates, stages
from mlp_core.training.events import EpochDone, Event, Finished, Noticed, StepDone
from mlp_core.training.trainer import Progress, Trainer

CASE, AT_ONCE = "warm-up", 3


@dataclass
class Scripted:
    """Three steps at once of loss 1, 2, 3, ...; of which one `fails`, at once or only `late`, when losses are read."""

    job: Job
    fails: int = 10_000
    late: bool = False
    notices: dict[int, str] = field(default_factory=dict)
    full: bool = False
    located: bool = False
    losses: list[tuple[float, float]] = field(default_factory=list)
    notice: str | None = None
    hindrance = name = None
    spared = 0

    def reach(self, position: int, left: int) -> int:
        return min(AT_ONCE, left)

    def take(self, epoch: int, position: int, step: int, rates: Sequence[StepRates]) -> int:
        asked = range(step, step + len(rates))
        fails = self.fails in asked
        made = self.fails - step if fails and not self.late else len(rates)
        self.losses += [(math.nan if i == self.fails else i + 1.0, 2.0) for i in asked][: made + 1]
        self.notice = self.notices.get(step, self.notice)
        return made

    def read(self) -> list[tuple[float, float]]:
        losses, self.losses = self.losses, []
        return losses

    def locate(self) -> None:
        self.located = True

    def gradient(self, step: int) -> None:
        """There is none."""


def _trainer(steps: Scripted, read_every: int = 0) -> Trainer:
    whole = experiment(CASE).trainer
    return replace(whole, steps=steps, evaluate=dict, progress=Progress(), read_every=read_every, stopping=None)


def _scripted(fails: int = 10_000, late: bool = False, full: bool = True) -> Scripted:
    return Scripted(experiment(CASE).trainer.job, fails, late, full=full)


def _until_it_fails(steps: Scripted, trainer: Trainer) -> tuple[list[Event], str]:
    """What is told, and what is said at the end."""
    told = list[Event]()
    try:
        for event in trainer.run():
            told.append(event)
    except Diverged as error:
        return told, str(error)
    return told, ""


def a_step_that_fails_ends_the_run() -> bool:
    """At once, with its number, its rate, and the losses of those before it, which count."""
    for fails in (2, 4):
        steps = _scripted(fails=fails)
        trainer = _trainer(steps)
        told, said = _until_it_fails(steps, trainer)
        before = [i + 1.0 for i in range(fails)]
        lines = [one.loss for one in told if isinstance(one, StepDone)]
        right = f"step {fails + 1}: loss became nan (lr {trainer.schedule.rate(fails):g})" in said
        counted = (trainer.progress.step, trainer.progress.loss_sum) == (fails, 2 * sum(before))
        if not (right and counted and steps.located and lines == before):
            return False
    return True


def a_loss_that_is_read_late_ends_the_run() -> bool:
    """With the number and the rate of its step."""
    for fails in (3, 4):
        trainer = _trainer(steps := _scripted(fails=fails, late=True, full=False), read_every=6)
        _, said = _until_it_fails(steps, trainer)
        if f"step {fails + 1}: loss became nan (lr {trainer.schedule.rate(fails):g})" not in said:
            return False
    return True


def losses_are_told_when_they_are_due() -> bool:
    """Those of the steps that were taken at once with one whose number is a multiple of four; and never otherwise."""
    found = []
    for read_every in (0, 4):
        trainer = _trainer(_scripted(full=False), read_every)
        per_epoch = trainer.steps_per_epoch
        told = [one for one in _some(trainer, 2 * per_epoch) if isinstance(one, StepDone)]
        due = list[bool]()
        for epoch in range(2):
            for first in range(0, per_epoch, AT_ONCE):
                begin, end = epoch * per_epoch + first, epoch * per_epoch + min(first + AT_ONCE, per_epoch)
                due += [bool(read_every) and end // 4 > begin // 4] * (end - begin)
        found.append([one.loss for one in told] == [float(i + 1) if due[i] else None for i in range(len(due))])
    return all(found)


def _some(trainer: Trainer, steps: int) -> list[Event]:
    """What is told of so many steps."""
    told = list[Event]()
    for event in trainer.run():
        told.append(event)
        if isinstance(event, StepDone) and event.step == steps:
            break
    return told


def notices_are_told_once() -> bool:
    """Each when it is new, before the steps that it was found in."""
    steps = _scripted()
    steps.notices = {0: "one", AT_ONCE: "two"}
    told = [one.message for one in _some(_trainer(steps), 8) if isinstance(one, Noticed)]
    return told == ["one", "two"] and not [one for one in _some(_trainer(_scripted()), 8) if isinstance(one, Noticed)]


def it_stops_where_it_is_told_to() -> bool:
    """After the steps that were taken at once, with all losses read, and goes on from there."""
    trainer, asked = _trainer(_scripted(full=False)), list[int]()

    def stop() -> bool:
        asked.append(trainer.progress.step)
        return True

    told = list(trainer.run(stop))
    read = trainer.progress.loss_sum == 2 * (1 + 2 + 3) and trainer.progress.weight_sum == 2 * 3
    again = next(iter(trainer.run()))
    goes_on = isinstance(again, StepDone) and again.step == AT_ONCE + 1
    return told[-1] == Finished("stopped") and asked == [AT_ONCE] and read and goes_on


def what_was_not_read_is_settled() -> bool:
    """The last loss of the steps so far, once."""
    trainer = _trainer(_scripted(full=False))
    _some(trainer, AT_ONCE)
    return trainer.settle() == AT_ONCE and trainer.settle() is None


def an_epoch_is_told_with_its_clock() -> bool:
    """Seconds that have passed, and the rows that were gone through in each, also where it was begun before."""
    trainer, begun = _trainer(_scripted()), time.perf_counter()
    list(trainer.run(lambda: trainer.progress.step == AT_ONCE))
    steps = trainer.steps_per_epoch - AT_ONCE
    for rows in (steps * trainer.job.batches.size, trainer.job.batches.rows):
        event = next(one for one in trainer.run() if isinstance(one, EpochDone))
        told = event.rows_per_second * max(event.seconds, 1e-9)
        passed = 0 <= event.seconds <= time.perf_counter() - begun
        if not (passed and math.isclose(told, rows, rel_tol=1e-9)):
            return False
    return True


def a_run_ends_with_its_reason() -> bool:
    """Its epochs, or the first steps after the time that it has."""
    trainer = _trainer(_scripted())
    ended = list(trainer.run())[-1] == Finished("epochs") and trainer.progress.finished == "epochs"
    steps = _scripted()
    steps.job = copy(steps.job)
    steps.job.limits = replace(steps.job.limits, max_seconds=0.0)
    hurried = _trainer(steps)
    told = list(hurried.run())
    epochs = [one.epoch for one in told if isinstance(one, EpochDone)]
    last = told[-1] == Finished("max_time") and hurried.progress.finished == "max_time"
    return ended and last and epochs == [1] and hurried.progress.step == AT_ONCE


def stages_are_those_asked_for() -> bool:
    """Of all options at once, of none, and of each."""
    every = Limits(1, accumulate=2, clip_norm=1.0, clip_value=1.0, max_norm=1.0, ema=0.9)
    usual = ("gather", "forward", "loss", "backward", "update")
    ways = {
        usual: (Limits(1), False),
        (*usual[:4], "penalty", "update"): (Limits(1), True),
        (*usual[:4], "accumulate", "update"): (Limits(1, accumulate=2), False),
        (*usual[:4], "clip", "update"): (Limits(1, clip_norm=1.0), False),
        (*usual, "max_norm"): (Limits(1, max_norm=1.0), False),
        (*usual, "average"): (Limits(1, ema=0.9), False),
        STAGES: (every, True),
    }
    value = stages(Limits(1, clip_value=1.0), False) == (*usual[:4], "clip", "update")
    return value and all(stages(*given) == expected for expected, given in ways.items())


TRAINER_JUDGES = (
    *(a_step_that_fails_ends_the_run, a_loss_that_is_read_late_ends_the_run, losses_are_told_when_they_are_due),
    *(notices_are_told_once, it_stops_where_it_is_told_to, what_was_not_read_is_settled),
    *(an_epoch_is_told_with_its_clock, a_run_ends_with_its_reason),
)

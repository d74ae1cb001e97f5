"""What a trainer says and when it stops, with steps that are scripted: failures, notices, losses that are read late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from proved import experiment

from mlp_core.backends.job import Job
from mlp_core.errors import Diverged
from mlp_core.nn.step_options import StepRates
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
    """At once, with its number, its rate, and the losses of those before it."""
    steps = _scripted(fails=4)
    trainer = _trainer(steps)
    told, said = _until_it_fails(steps, trainer)
    lines = [(one.step, one.loss) for one in told if isinstance(one, StepDone)]
    rate = trainer.schedule.rate(4)
    right = f"step 5: loss became nan (lr {rate:g})" in said and trainer.progress.step == 4
    return right and steps.located and lines == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def a_loss_that_is_read_late_ends_the_run() -> bool:
    """With the number and the rate of its step."""
    steps = _scripted(fails=4, late=True, full=False)
    trainer = _trainer(steps, read_every=6)
    _, said = _until_it_fails(steps, trainer)
    return f"step 5: loss became nan (lr {trainer.schedule.rate(4):g})" in said


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
    """Seconds above 0, and the rows that were gone through in each."""
    trainer = _trainer(_scripted())
    event = next(one for one in trainer.run() if isinstance(one, EpochDone))
    rows = event.rows_per_second * max(event.seconds, 1e-9)
    return event.seconds >= 0 and math.isclose(rows, trainer.job.batches.rows, rel_tol=1e-9)


TRAINER_JUDGES = (
    *(a_step_that_fails_ends_the_run, a_loss_that_is_read_late_ends_the_run, losses_are_told_when_they_are_due),
    *(notices_are_told_once, it_stops_where_it_is_told_to, what_was_not_read_is_settled),
    an_epoch_is_told_with_its_clock,
)

"""What happens during training, as plain facts; others decide what to show and what to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class StepDone(NamedTuple):
    """One optimizer step: `step` counts from 1 over the whole run, `position` of `steps_per_epoch` in this epoch.

    `loss` is None where it has not been read: from a device that works on its own it is read now and then.
    """

    step: int
    epoch: int
    position: int
    steps_per_epoch: int
    loss: float | None
    lr: float


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One pass over the training rows (`epoch` counts from 1) with everything measured after it.

    `metrics` are functions of the run alone (`train_loss`, `val_accuracy`, `lr`, ...); `seconds` and
    `rows_per_second` are the clock's and differ from run to run.
    """

    epoch: int
    step: int
    metrics: Mapping[str, float]
    improved: bool
    seconds: float
    rows_per_second: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of training: `reason` is epochs, max_steps, max_time, early_stopping or stopped (asked to stop)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something the user should know that does not stop the run, in one line."""

    message: str


Event = StepDone | EpochDone | Finished | Noticed

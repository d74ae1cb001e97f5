"""The order of a training step, and its options: when training ends, how a gradient is kept in bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BACKWARD = ("gather", "forward", "loss", "backward", "penalty")
AFTER_BACKWARD = ("accumulate", "clip", "update", "max_norm", "average")
STAGES = (*BACKWARD, *AFTER_BACKWARD)
"""The stages of a step in their order. The first five are made for every batch of a step, the others once."""


class StepRates(NamedTuple):
    """What schedules make of a step: its learning rate, and the shares of dropout and of weight decay that are left."""

    lr: float
    dropout: float = 1.0
    decay: float = 1.0


@dataclass(frozen=True)
class Limits:
    """When training ends, how a gradient is kept in bounds, and of how many parts it is the sum. Times in seconds."""

    epochs: int
    max_steps: int | None = None
    max_seconds: float | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    max_norm: float | None = None
    ema: float | None = None
    eval_every: int = 1
    shards: int = 1


def stages(limits: Limits, penalised: bool) -> tuple[str, ...]:
    """Those of STAGES that a step with these options has, in their order."""
    absent = {
        "penalty": not penalised,
        "accumulate": limits.accumulate == 1,
        "clip": limits.clip_value is None and limits.clip_norm is None,
        "max_norm": limits.max_norm is None,
        "average": not limits.ema,
    }
    return tuple(stage for stage in STAGES if not absent.get(stage, False))


def average_share(ema: float, step: int) -> float:
    """How far the average moves towards the weights of a step counted from 0; far at first, to forget the start."""
    t = step + 1
    return 1 - min(ema, (1 + t) / (10 + t))

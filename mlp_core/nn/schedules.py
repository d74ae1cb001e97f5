"""Schedules: the learning rate as a function of the step, so that a resumed run needs to remember nothing.

A schedule is a factor on the base rate, between `final` and 1, of x = the share of the steps after warm-up that are
done, in [0, 1]. During warm-up the factor rises linearly from 1/w to 1 over w steps (Goyal et al. 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULES = (
    *("constant", "linear", "cosine", "cosine_restarts", "step", "multistep", "exponential", "polynomial"),
    *("inverse_sqrt", "one_cycle", "wsd", "coslog"),
)
FADES = ("constant", "flat_cos")


@dataclass(frozen=True)
class Fade:
    """The share of a setting (dropout, weight decay) that is left at each step of a run of `steps`.

    - constant: 1
    - flat_cos: 1 to half time, then (1 + cos(pi (2 t - 1))) / 2 down to 0, t = step / steps
    """

    name: str = "constant"
    steps: int = 1

    def share(self, step: int) -> float:
        """For a step counted from 0."""
        if self.name == "constant":
            return 1.0
        t = min(1.0, step / self.steps)
        return 1.0 if t <= 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * t - 1)))


CONSTANT = Fade()


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step of a run.

    `lr` base rate; `steps` steps in the run, `steps_per_epoch` of them in an epoch; `warmup` steps of warm-up. With
    `per_epoch` the factor changes only between epochs. Units: `step_size` and `milestones` count epochs.
    """

    name: str
    lr: float
    steps: int
    steps_per_epoch: int
    warmup: int = 0
    final: float = 0.0
    step_size: int = 10
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    power: float = 1.0
    cycles: int = 1
    per_epoch: bool = False

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.name == "constant" and step >= self.warmup:
            return self.lr
        if step < self.warmup and self.name != "one_cycle":
            return self.lr * (step + 1) / self.warmup
        if self.per_epoch:
            step = step // self.steps_per_epoch * self.steps_per_epoch
        done = max(0, step - self.warmup)
        share = min(1.0, done / max(1, self.steps - self.warmup))
        return self.lr * self._factor(step, done, share)

    def _factor(self, step: int, done: int, x: float) -> float:
        epoch = step // self.steps_per_epoch
        match self.name:
            case "linear":  # 1 - x
                return self._above_final(1 - x)
            case "polynomial":  # (1 - x)^power
                return self._above_final(math.pow(1 - x, self.power))
            case "cosine":  # (1 + cos(pi x)) / 2 (Loshchilov and Hutter, ICLR 2017)
                return self._above_final(0.5 * (1 + math.cos(math.pi * x)))
            case "cosine_restarts":  # the same, `cycles` times
                return self._above_final(0.5 * (1 + math.cos(math.pi * ((x * self.cycles) % 1.0))))
            case "step":  # gamma^(epoch // step_size)
                return math.pow(self.gamma, epoch // self.step_size)
            case "multistep":  # gamma^(milestones passed)
                return math.pow(self.gamma, sum(epoch >= milestone for milestone in self.milestones))
            case "exponential":  # gamma^(epochs / step_size): step without its jumps
                return math.pow(self.gamma, done / (self.steps_per_epoch * self.step_size))
            case "inverse_sqrt":  # sqrt(w / step) after w steps of warm-up (Vaswani et al. 2017)
                return math.sqrt(max(1, self.warmup) / max(1, self.warmup, step + 1))
            case "one_cycle":  # up and down again by cosines (Smith and Topin 2018)
                return self._one_cycle(step)
            case "wsd":  # warm-up, stable, then linear decay over the last fifth (Hu et al. 2024)
                return self._above_final(min(1.0, (1 - x) / 0.2))
            case "coslog":  # `cycles` cosines from 0 to 0, each twice as long as the one before
                waves = math.log2(1 + (2.0**self.cycles - 1) * x)
                return self._above_final(0.5 * (1 - math.cos(2 * math.pi * waves)))
        raise ValueError(f"unknown schedule {self.name}")

    def _above_final(self, factor: float) -> float:
        return self.final + (1 - self.final) * factor

    def _one_cycle(self, step: int) -> float:
        """From 1/25 up to 1 over the warm-up (30 % of the steps if not given), then down to final or 1/250,000."""
        peak = self.warmup or max(1, round(0.3 * self.steps))
        start, end = 1 / 25, self.final or 1 / 250_000
        if step < peak:
            return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * step / peak))
        x = min(1.0, (step - peak) / max(1, self.steps - 1 - peak))
        return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * x))

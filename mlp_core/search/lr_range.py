"""The learning rate range test: steps with a rate that grows from almost nothing until the loss does, too.

From the initial weights, step i of n has the rate low (high / low)^(i / (n - 1)) (Smith, Cyclical learning rates,
2017). The loss is smoothed by a running mean m_i = b m_{i-1} + (1 - b) l_i, shown as m_i / (1 - b^i). It stays on a
plateau, falls, and grows. Where it falls, it does so fastest along the logarithm of the rate at one of them; the rate
suggested is that, or a tenth of the one where it is lowest, if that is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlp_core.config import Config
from mlp_core.errors import Diverged, Failed, Problem
from mlp_core.nn.schedules import Schedule
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment

STEPS = 200
LOW, HIGH = 1e-7, 10.0
MEMORY = 0.95
WORSE = 4.0  # times the lowest smoothed loss: then it has diverged
FEWEST = 10
FALLING = 0.9  # of the way from the lowest loss to the plateau: below, it falls


@dataclass(frozen=True)
class Growing(Schedule):
    """A rate that grows by the same factor with every step."""

    low: float = LOW
    high: float = HIGH

    def rate(self, step: int) -> float:
        return float(self.low * (self.high / self.low) ** (step / (self.steps - 1)))


@dataclass(frozen=True)
class Curve:
    """Rates, losses and smoothed losses of the steps that were made, and what they suggest.

    lr: the suggestion. steepest: where the smoothed loss falls fastest. lowest: where it is lowest. diverged: whether
    the end was found.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    lr: float
    steepest: float
    lowest: float
    diverged: bool


def lr_range(
    config: Config,
    steps: int = STEPS,
    low: float = LOW,
    high: float = HIGH,
    progress: Callable[[int, int], None] | None = None,
) -> Curve:
    """The curve of a config. Raises ConfigError, DataError, and Failed where the loss never falls."""
    if config.optimizer.name == "lbfgs":
        message, hint = "lbfgs looks for the length of every step itself", "choose another optimizer"
        raise config.refusal("optimizer.name", message, code="no_range", hint=hint)
    changes = {"train.epochs": steps, "train.max_steps": steps, "train.early_stopping": False}
    experiment = Experiment.build(config.asking(**changes))
    trainer = experiment.trainer
    settings = vars(trainer.schedule) | {"steps": steps}
    trainer.schedule = Growing(**settings, low=low, high=high)
    trainer.evaluate, trainer.best, trainer.stopping, trainer.plateau, trainer.read_every = dict, None, None, None, 1
    rates, losses, smoothed = list[float](), list[float](), list[float]()
    mean, diverged = 0.0, False
    events = trainer.run()
    try:
        for event in events:
            if not isinstance(event, StepDone) or event.loss is None:
                continue
            mean = MEMORY * mean + (1 - MEMORY) * event.loss
            rates.append(event.lr)
            losses.append(event.loss)
            smoothed.append(mean / (1 - MEMORY ** len(rates)))
            if progress is not None:
                progress(len(rates), steps)
            if len(rates) > FEWEST and smoothed[-1] > WORSE * max(min(smoothed), 1e-12):
                diverged = True
                break
    except Diverged:
        diverged = True
    return suggest(rates, losses, smoothed, diverged)


def suggest(rates: list[float], losses: list[float], smoothed: list[float], diverged: bool) -> Curve:
    """What a curve suggests. Raises Failed where it is too short, or never falls."""
    bottom = int(np.argmin(smoothed)) if smoothed else 0
    if bottom < FEWEST:
        message = "the loss never fell, whatever the learning rate"
        hint = "look at the data with mlpbp check --deep, or begin lower with --low"
        raise Failed(Problem("no_fall", message, hint))
    plateau = float(np.median(smoothed[FEWEST // 2 : bottom]))
    floor = smoothed[bottom]
    start = max(i for i in range(bottom) if smoothed[i] >= floor + FALLING * (plateau - floor))
    slopes = np.gradient(np.array(smoothed), np.log(rates))[start : bottom + 1]
    steepest = rates[start + int(np.argmin(slopes))]
    lowest = rates[bottom]
    lr = float(f"{min(steepest, lowest / 10):.2g}")
    return Curve(tuple(rates), tuple(losses), tuple(smoothed), lr, steepest, lowest, diverged)


def plot(curve: Curve, width: int = 64, height: int = 14) -> list[str]:
    """The smoothed loss over the logarithm of the rate, as lines of text; the suggestion is a column of bars."""
    values, places = np.array(curve.smoothed), np.log(np.array(curve.rates))
    low = int(np.argmin(values))
    top, bottom = float(values[: low + 1].max()), float(values[low])  # what grows beyond is cut off
    start, span = float(places[0]), float(places[-1] - places[0]) or 1.0
    cells = [[" "] * width for _ in range(height)]
    mark = round((math.log(curve.lr) - start) / span * (width - 1))
    if 0 <= mark < width:
        for row in cells:
            row[mark] = "|"
    for place, value in zip(places, values, strict=True):
        if value <= top:
            x = round((float(place) - start) / span * (width - 1))
            y = round((top - float(value)) / ((top - bottom) or 1.0) * (height - 1))
            cells[y][x] = "*"
    lines = []
    for y, row in enumerate(cells):
        label = f"{top:.4g}" if y == 0 else f"{bottom:.4g}" if y == height - 1 else ""
        lines.append(f"{label:>8} {''.join(row).rstrip()}".rstrip())
    left, right = f"{curve.rates[0]:.0e}", f"{curve.rates[-1]:.0e}"
    lines.append(" " * 9 + left + "learning rate".center(width - len(left) - len(right)) + right)
    return lines

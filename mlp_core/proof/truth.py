"""Targets and weights of rows, of every split, from the truth as it was read."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.proof.compare import Tally
from mlp_core.training.experiment import Experiment


def prove_truth(tally: Tally, experiment: Experiment, given: Config) -> None:
    """What the loss gets of every row, and what metrics get of it. given: the config before anything in it was decided.

    Class weights are for the loss alone; targets are scaled by what the training rows were, or those of the model that
    a run begins with.
    """
    model, to_host = experiment.model, experiment.model.network.backend.to_host
    train = experiment.data.splits["train"]
    if len(train.y) != len(experiment.splits["train"].X):  # a twin on some of the rows
        return
    if model.target is not None and experiment.config.model.weights is None:
        _fitted(tally, experiment, np.asarray(train.y, np.float64).reshape(len(train.y), -1))
    for name, split in experiment.splits.items():
        data, of = experiment.data.splits[name], "" if name == "train" else f" of {name}"
        y, Y = np.asarray(data.y), np.asarray(to_host(split.Y), np.float64)
        tally.entries(f"the targets{of}", Y.reshape(len(y), -1), _targets(experiment, y), 1e-5)
        w, own = data.weight, _of_class(experiment, given, y)
        tally.same(f"what metrics know of the rows{of}", np.array_equal(split.y, y) and _alike(split.weight, w), True)
        w = own if w is None else np.asarray(w, np.float64) * (1.0 if own is None else own)
        tally.same(f"whether rows{of} have weights", split.w is not None, w is not None)
        if split.w is not None and w is not None:
            tally.entries(f"the weights of rows{of}", to_host(split.w), w, 1e-6)


def _fitted(tally: Tally, experiment: Experiment, y: Any) -> None:
    """Shift, scale and range of targets, by the training rows y [rows, targets]."""
    target, wish = experiment.model.target, experiment.config.preprocess.target
    assert target is not None
    values = np.log(1 + y) if wish.transform == "log1p" else y
    shift, spread = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if wish.scale in ("auto", "standard"):
        shift, spread = values.mean(axis=0), values.std(axis=0)
    elif wish.scale == "minmax":
        shift, spread = values.min(axis=0), np.ptp(values, axis=0)
    spread = np.where(spread > 1e-12 * np.abs(values).max(axis=0), spread, 1)
    tally.same("the logarithm of targets", target.log, wish.transform == "log1p")
    tally.entries("the shift of targets", target.shift, shift, 1e-9)
    tally.entries("the scale of targets", target.scale, 1 / spread, 1e-9)
    there = np.stack([y.min(axis=0), y.max(axis=0)]) if wish.clamp else np.zeros(0)
    tally.entries("the range of targets", () if target.limits is None else target.limits, there, 0.0)


def _targets(experiment: Experiment, y: Any) -> Any:
    """Targets [rows, c] as the loss gets them: classes by their numbers, numbers as they are scaled."""
    target = experiment.model.target
    if experiment.model.task.classifies or target is None:
        return y.reshape(len(y), -1)
    y = np.asarray(y, np.float64).reshape(len(y), -1)
    return ((np.log(1 + y) if target.log else y) - target.shift) * target.scale


def _of_class(experiment: Experiment, given: Config, y: Any) -> Any:
    """The weights that rows have by their classes [rows]; None where classes have none."""
    task, choice = experiment.model.task, given.loss.class_weight
    if not task.classifies or choice == "none":
        return None
    train = np.asarray(experiment.data.splits["train"].y)
    if isinstance(choice, dict):
        return np.array([float(choice.get(name, 1.0)) for name in task.classes])[y]
    counts = [int((train == k).sum()) for k in range(len(task.classes))]
    return np.array([len(train) / (len(counts) * max(1, count)) for count in counts])[y]


def _alike(here: Any, there: Any) -> bool:
    return here is there is None or (here is not None and there is not None and np.array_equal(here, there))

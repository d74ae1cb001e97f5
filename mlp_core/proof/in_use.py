"""Using a model on paper: the equations of use carried out, at weights and statistics that are moved for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.explain.step import chains
from mlp_core.explain.use import use
from mlp_core.proof import draws
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper, Walk
from mlp_core.proof.rows import Table
from mlp_core.proof.state import State, kept
from mlp_core.training.evaluator import Split
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model

SURE = 1e-4  # so far apart are the probabilities of a row that is not between two classes


@contextmanager
def moved(experiment: Experiment) -> Iterator[None]:
    """Other statistics than the first ones, and averaged weights that are not the weights; for a while."""
    with kept(experiment.trainer.job) as before:
        rng, dtype, average = draws.philox(experiment.config.seed, "proof", 0), before.theta.dtype, before.average
        statistics = np.abs(before.statistics + 0.3 * rng.standard_normal(before.statistics.shape)) + 0.2
        if average is not None:
            average = (average * (1 + 0.1 * rng.random(average.shape))).astype(dtype)
        replace(before, statistics=statistics.astype(dtype), average=average).put_back(experiment.trainer.job)
        yield


def forward(paper: Paper, model: Model, state: State, X: Any) -> Machine:
    """The equations of use on rows X."""
    walk = Walk(paper, state)
    walk.machine["X"] = np.array(X, np.float64)
    for section in use(model, paper.text(len(X)).sections):
        walk.machine.run(section.lines)
    return walk.machine


def told(model: Model, paper: Paper, machine: Machine, Z: Any) -> Any:
    """The predictions that belong to logits Z."""
    machine.store(f"Z[{len(chains(model.network, 1))}]", np.array(Z, np.float64))
    machine.run(use(model, paper.text(len(Z)).sections)[-1].lines)
    return np.asarray(machine["P"], np.float64)


def logits(model: Model, machine: Machine) -> Any:
    """The outputs of the last layer that a machine has found."""
    return machine["Z"][len(chains(model.network, 1))]


def decided(P: Any, threshold: float) -> tuple[Any, Any]:
    """The classes that probabilities P [n, c] speak for, and in which rows they do so clearly."""
    if P.shape[1] == 2:
        return (P[:, 1] >= threshold).astype(int), np.abs(P[:, 1] - threshold) > SURE
    ordered = np.sort(P, axis=1)
    return P.argmax(axis=1), ordered[:, -1] - ordered[:, -2] > SURE


def spread(model: Model, Z: Any) -> tuple[dict[str, Any], Any]:
    """Quantiles by their names, and deviations or None, in the units of the data, that belong to logits Z."""
    loss, target = model.config.loss, model.target
    levels = tuple(loss.quantiles) if loss.name == "quantile" else ()
    further = dict[str, Any]()
    for i, level in enumerate(levels):
        there = Z[:, i :: len(levels)]
        if target is not None:
            there = there / target.scale + target.shift
            there = np.exp(there) - 1 if target.log else there
            there = there if target.limits is None else np.clip(there, *target.limits)
        further[f"q{level:g}"] = there
    if loss.name != "gaussian_nll":
        return further, None
    return further, np.sqrt(np.exp(Z[:, Z.shape[1] // 2 :])) / (1 if target is None else target.scale)


def total_loss(paper: Paper, machine: Machine, split: Split) -> float:
    """The mean loss of a split with its penalties, from the logits that the machine has found."""
    count = len(split.X)
    Y, w = Table(paper.experiment, split).targets(np.arange(count))
    machine |= {"Y": Y, "w": np.ones((count, 1)) if w is None else w, "total": 1.0}
    lines = list(paper.text(count).lines("Loss", "Gradient"))
    mean, *penalties = (i for i, line in enumerate(lines) if line.target == "loss")
    machine.run(lines[:mean])
    machine["loss"] = float((machine["w"] * machine["rows"]).sum()) / (float(machine["w"].sum()) or 1.0)
    machine.run(lines[i] for i in penalties)
    return float(machine["loss"])

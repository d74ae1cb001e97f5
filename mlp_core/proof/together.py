"""The proof of an ensemble: two models that were read back, each with inputs of its own, as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.data.load import Dataset
from mlp_core.proof.compare import Tally, close
from mlp_core.proof.in_use import forward, logits, spread, total_loss
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.proof.state import State
from mlp_core.training.ensemble import Ensemble
from mlp_core.training.evaluator import Split
from mlp_core.training.model import Model

ROWS = 11  # at once


def prove_together(
    tally: Tally, paper: Paper, right: Model, models: tuple[Model, Model], used: State, some: Dataset, machine: Machine
) -> None:
    """The means of two models' predictions and losses, and the deviation of the mixture. right: what the first one was
    before it was saved; the second has 0.9 times its numbers."""
    together, dtype = Ensemble.of(models, ("one", "other")), str(models[0].network.dtype)
    smaller = replace(used, theta=used.theta * used.theta.dtype.type(0.9), statistics=used.statistics * 0.9)
    X = models[1].inputs.transform(some.X.copy(), some.words, dtype=models[1].config.dtype)
    both = machine, forward(paper, right, smaller, X)
    P = np.mean([np.asarray(one["P"], np.float64) for one in both], axis=0)
    evaluator = together.evaluator(ROWS)
    split: Split = together.split(some)
    found = evaluator.evaluate(split, [])
    close(tally, "predictions of an ensemble", found.outcome.P, P, dtype)
    Z = evaluator.logits(together.inputs.transform(some.X.copy(), some.words, dtype=models[0].config.dtype))
    close(tally, "predictions of an ensemble from logits", evaluator.predict(Z), P, dtype)
    losses = [total_loss(paper, one, m.split(_copy(some))) for one, m in zip(both, models, strict=True)]
    if np.isfinite(losses).all():
        close(tally, "the loss of an ensemble", [found.metrics["loss"]], [np.mean(losses)], dtype)
    rows, again = evaluator.rows(split)
    there = np.mean([np.ravel(one["rows"]) for one in both], axis=0)
    close(tally, "the losses of an ensemble row by row", rows, there, dtype)
    close(tally, "predictions of an ensemble row by row", again, P, dtype)
    if right.task.kind == "regression":
        _spread(tally, right, both, evaluator.spread(np.asarray(Z, np.float64)), dtype)


def _copy(some: Dataset) -> Dataset:
    return replace(some, X=some.X.copy())


def _spread(tally: Tally, right: Model, both: tuple[Machine, Machine], found: tuple[Any, Any], dtype: str) -> None:
    """Quantiles, and the deviation by the law of total variance: the mean variance, and the variance of the means."""
    parts = [spread(right, np.asarray(logits(right, one), np.float64)) for one in both]
    for name in parts[0][0]:
        there = np.mean([further[name] for further, _ in parts], axis=0)
        close(tally, f"quantile {name} of an ensemble", found[0][name], there, dtype)
    if (found[1] is None) != (parts[0][1] is None):
        tally.right("whether an ensemble tells deviations", False)
    elif found[1] is not None:
        means = np.stack([np.asarray(one["P"], np.float64) for one in both])
        means = np.log1p(means) if right.target is not None and right.target.log else means
        square = np.mean([deviation**2 for _, deviation in parts], axis=0) + means.var(axis=0)
        close(tally, "the deviation of an ensemble", found[1], np.sqrt(square), dtype)

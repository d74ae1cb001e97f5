"""The proof of what a run keeps: the best epoch as it was, whatever comes after it, the last one as it is, and which of
them it is used by in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.proof.compare import Tally
from mlp_core.proof.state import State
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.metrics_log import MetricsLog
from mlp_core.runs.saves import Saves
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.experiment import Experiment


def prove_kept(experiment: Experiment) -> Tally:
    """Three epochs, of which the second is the best, with other numbers after each; kept in memory. The experiment is
    left as it was."""
    trainer, tally = experiment.trainer, Tally("what a run keeps")
    before, progress, kept = State.of(trainer.job), trainer.progress, experiment.config.checkpoint
    saves = Saves(experiment, memory := InMemory(), MetricsLog(None, ()))
    there: list[State] = []
    size = before.theta.size * (2 + len(before.slots))
    try:
        for epoch, improved in enumerate((True, True, False), 1):
            there.append(_other(before, epoch))
            there[-1].put_back(trainer.job)
            trainer.progress = replace(progress, epoch=epoch, position=0)
            saves.epoch({}, improved)
        saves.all({})
        for name, asked, epoch in (("best", kept.best, 2), ("last", kept.last, 3)):
            found = memory.saved.get(name)
            right = (found is not None) == asked
            if found is not None:
                right &= found.document["progress"]["epoch"] == epoch and _holds(found, there[epoch - 1], experiment)
            tally.right(f"the {name} epoch", right, numbers=size)
        if kept.best or kept.last:
            saves.use(saves.chosen())
            epoch = 2 if kept.best else 3
            right = trainer.progress.epoch == epoch and _holds(saves.snapshot({}), there[epoch - 1], experiment)
            tally.right("the epoch that is used", right, numbers=size)
    finally:
        before.put_back(trainer.job)
        trainer.progress = progress
    return tally


def _other(state: State, epoch: int) -> State:
    """A state with other numbers everywhere."""
    slots = {name: vector + epoch for name, vector in state.slots.items()}
    average = None if state.average is None else (state.average * state.average.dtype.type(0.7)) + epoch
    theta, statistics = state.theta + epoch, state.statistics + epoch
    return State(theta, statistics, slots, average, state.t + epoch)


def _holds(checkpoint: Checkpoint, state: State, experiment: Experiment) -> bool:
    """Whether a checkpoint has the very numbers of a state: for use the averaged weights, where there are any."""
    network = experiment.model.network
    used = state.theta if state.average is None else state.average
    there: dict[str, Any] = {**network.parameters.views(used), **network.statistics.views(state.statistics)}
    there |= {f"optimizer.{name}": vector for name, vector in state.slots.items()}
    there |= {} if state.average is None else {"optimizer.theta": state.theta}
    same = there.keys() == checkpoint.tensors.keys() and checkpoint.document["optimizer_steps"] == state.t
    return same and all(np.array_equal(checkpoint.tensors[name], array) for name, array in there.items())

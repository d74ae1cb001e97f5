"""The proof of what workers send to each other: steps of several, as threads of this process, against those of one.

The steps of one worker over the same shards are held against the formulas by themselves, so it is enough that several
come to the same bits.
"""

from __future__ import annotations

import numpy as np

from mlp_core.errors import Failed
from mlp_core.proof.compare import Difference, Tally
from mlp_core.proof.state import State
from mlp_core.proof.twins import twin
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.sharded import ShardedSteps
from mlp_core.training.trainer import Trainer
from mlp_core.workers.threads import together
from mlp_core.workers.world import ALONE, World

WORKERS = 4
STEPS = 3
MOST = 1 << 20
"""Parameters up to which there are that many workers beside the one: each has weights and moments of its own."""


def prove_workers(experiment: Experiment) -> Tally | None:
    """The first steps of workers that share out the shards of a batch, in float64; None where nothing is shared out,
    where the network is large, and where workers have devices."""
    job, tally = experiment.trainer.job, Tally("steps of several workers")
    if job.limits.shards < 2 or job.network.parameters.size > MOST or job.backend.remote:
        return None
    size = min(WORKERS, job.limits.shards)
    alone, *several = (twin(experiment, threads=1) for _ in range(size + 1))
    right, losses = _first_steps(alone, ALONE)
    for rank, (state, told) in enumerate(together(size, lambda world: _first_steps(several[world.rank], world))):
        where = f"worker {rank} of {size}"
        for here, there in zip(told, losses, strict=False):
            _same(tally, f"the loss that {where} reports", np.array([here]), np.array([there]))
        _same(tally, f"steps of {where}", np.array([len(told), state.t]), np.array([len(losses), right.t]))
        found = state.vectors()
        for name, there in right.vectors().items():
            _same(tally, f"{name} of {where}", found[name], there)
    return tally


def _first_steps(own: Experiment, world: World) -> tuple[State, list[float]]:
    """What an experiment comes to by a few steps of one of the workers, and the losses that it tells."""
    steps, losses = ShardedSteps(own.trainer.job, world), list[float]()
    trainer = Trainer(steps, own.trainer.schedule, evaluate=dict, read_every=1, world=world)
    try:
        for event in trainer.run():
            if isinstance(event, StepDone) and event.loss is not None:
                losses.append(event.loss)
            if len(losses) == STEPS:
                break
    except Failed:
        pass  # a loss that is no number, or workers that have grown apart: the others have made more steps
    return State.of(own.trainer.job), losses


def _same(tally: Tally, where: str, here: np.ndarray, there: np.ndarray) -> None:
    """Two vectors, to the last bit."""
    off = np.flatnonzero((here != there) & ~(np.isnan(here) & np.isnan(there)))
    wrong = Difference(where, np.inf, float(here[off[0]]), float(there[off[0]])) if len(off) else None
    tally.add(len(there), 0.0, wrong)

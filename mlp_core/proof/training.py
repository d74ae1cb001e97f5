"""The proof of training: the very steps of a run, from its first weights and from later ones, against the formulas."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from mlp_core.config import Config
from mlp_core.errors import Diverged
from mlp_core.proof.asked import prove_asked
from mlp_core.proof.between import prove_workers
from mlp_core.proof.compare import Difference, Tally
from mlp_core.proof.functions import prove_functions
from mlp_core.proof.loop import last_step, prove_loop
from mlp_core.proof.paper import Paper
from mlp_core.proof.saved import Answer, prove_saved
from mlp_core.proof.start import prove_start
from mlp_core.proof.state import kept
from mlp_core.proof.twins import twin
from mlp_core.proof.using import prove_using
from mlp_core.proof.usual import prove_usual
from mlp_core.proof.watched import Watched
from mlp_core.training.events import EpochDone, StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.trainer import Progress, Trainer

LEAST = 13  # steps, so that L-BFGS has forgotten one and radam's variance is known
SECONDS = 4.0  # after which a stretch takes no further call
LATE = 0.8  # of the run, where schedules have left but a part of everything: once more some steps around an epoch's end


def prove_training(
    experiment: Experiment,
    seconds: float = SECONDS,
    given: Config | None = None,
    answer: Answer | None = None,
    fitted: bool = True,
) -> Iterator[Tally]:
    """What was built of the config, the loop, and then every path in turn: the steps as they train, the same in
    float64, and the generic ones in float64. `given` is the config before anything in it was decided, `answer`
    how rows are predicted, `fitted` whether the inputs were fitted to the rows that are there.

    The experiment is left as it was, to the last bit.
    """
    config, paper = experiment.config, Paper(experiment)
    asked = prove_asked(experiment, given)
    if given is not None:
        prove_usual(asked, experiment, given)
    if not experiment.trainer.progress.step and config.model.weights is None:
        prove_start(asked, paper)
    yield asked
    yield prove_functions(paper)
    yield prove_loop(paper)
    yield prove_using(paper)
    yield prove_saved(paper, given or config, answer, fitted)
    yield walk(experiment, "as it trains", seconds)
    if config.dtype != "float64":
        yield walk(twin(experiment), "the same in float64", seconds)
    if experiment.model.network.backend.name != "numpy":
        yield walk(twin(experiment, generic=True), "the generic steps in float64", seconds)
    if (between := prove_workers(experiment)) is not None:
        yield between


def walk(experiment: Experiment, path: str, seconds: float = SECONDS) -> Tally:
    """The steps of an experiment from its weights on: one, another one, then as many as go into calls, and those around
    the end of an epoch."""
    trainer, tally, paper = experiment.trainer, Tally(path), Paper(experiment)
    begun, most = _begin(trainer), trainer.steps.reach(0, trainer.steps_per_epoch)
    with kept(trainer.job):
        if begun != trainer.progress.step:  # a run that is over: the optimizer has counted on
            trainer.job.optimizer.t = begun
        ended = _stretch(trainer, paper, tally, begun, (1, 1), max(LEAST, 2 * most + 4), seconds)
        later = _later(trainer, begun + tally.steps, ended)
        if later is not None and tally.wrong is None:
            trainer.job.optimizer.t = later
            _stretch(trainer, paper, tally, later, (), 4, seconds)
    return tally


def _later(trainer: Trainer, made: int, ended: bool) -> int | None:
    """Two steps before the end of an epoch late in the run; None where all of it was walked through."""
    per_epoch, last = trainer.steps_per_epoch, last_step(trainer)
    late = max(1, int(LATE * last) // per_epoch) * per_epoch - 2
    if late < made and not ended:
        late = (made // per_epoch + 2) * per_epoch - 2
    return late if max(0, made) <= late < last else None


def _begin(trainer: Trainer) -> int:
    """The step to begin with: the next one of the run; of a run that is over, one before its last epoch."""
    per_epoch = trainer.steps_per_epoch
    return max(0, min(trainer.progress.step, (last_step(trainer) - LEAST) // per_epoch * per_epoch))


def first_step(experiment: Experiment) -> Tally:
    """The quick form: the first step of a run, once, on the very object that trains."""
    trainer, tally = experiment.trainer, Tally("as it trains")
    with kept(trainer.job):
        _stretch(trainer, Paper(experiment), tally, trainer.progress.step, (1,), 1, SECONDS)
    return tally


def _stretch(
    trainer: Trainer, paper: Paper, tally: Tally, begin: int, sizes: tuple[int, ...], steps: int, seconds: float
) -> bool:
    """Steps of the trainer's own loop from step `begin` on; gives whether an epoch ended."""
    per_epoch, started, ended = paper.table.steps, time.monotonic(), False
    epoch, position = divmod(begin, per_epoch)
    watched = Watched(trainer.steps, paper, tally, begin, sizes)
    progress = Progress(epoch=epoch, position=position, step=begin)
    own = Trainer(watched, trainer.schedule, evaluate=dict, progress=progress)
    whole = position == 0
    try:
        with np.errstate(all="ignore"):
            for event in own.run():
                if isinstance(event, EpochDone):
                    ended = True
                    if whole:
                        _compare_epoch(tally, event, watched.epoch_losses[:per_epoch])
                    watched.epoch_losses, whole = watched.epoch_losses[per_epoch:] if whole else [], True
                enough = watched.made >= steps and (ended or per_epoch > 4 * steps)
                if isinstance(event, StepDone) and event.step != progress.step:
                    continue
                if enough or tally.wrong is not None or trainer.world.agreed(time.monotonic() - started > seconds):
                    break
    except Diverged:
        pass  # a loss that is no number here is none on paper: `Watched` has looked
    tally.steps += watched.made
    return ended


def _compare_epoch(tally: Tally, event: EpochDone, losses: list[tuple[float, float]]) -> None:
    """The mean training loss of an epoch."""
    weight = sum(w for _, w in losses)
    there = sum(loss * w for loss, w in losses) / (weight or 1.0)
    here = event.metrics["train_loss"]
    error = abs(here - there) / max(abs(there), 1e-3)
    wrong = None if error <= 1e-3 or not np.isfinite(there) else Difference("the loss of an epoch", error, here, there)
    tally.add(1, 0.0, wrong)

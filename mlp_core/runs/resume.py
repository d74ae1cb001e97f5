"""Going on with a run: what must be as it was, and what may be changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlp_core.config import Config, changed_keys, from_mapping
from mlp_core.data.config_sources import moved
from mlp_core.errors import ConfigError, DataError, Problem, counted
from mlp_core.training.checkpoint import Checkpoint, damaged
from mlp_core.training.experiment import Experiment
from mlp_core.training.from_config import make_schedule
from mlp_core.training.model import home_of
from mlp_core.training.trainer import Stopping, Trainer
from mlp_core.workers.world import ALONE, World

JUMP = 0.02  # of the base rate: a change of the learning rate between two steps that is told
# keys that a resumed run may change, because nothing that was computed depends on them
CHANGEABLE = (
    *("data.train", "data.val", "data.test", "data.cache"),  # files may move; what is in them is compared by its digest
    *("name", "notes", "device", "threads", "train.epochs", "train.max_steps", "train.max_time", "train.preflight"),
    *("train.early_stopping", "checkpoint", "logging", "output", "gradcheck", "extends", "eval.calibrate"),
)


def config_of(checkpoint: Checkpoint, path: str) -> Config:
    """The config in a checkpoint; raises CheckpointError where it is not one."""
    try:
        return settled(from_mapping(dict(checkpoint.document["config"]), folders=(home_of(path),)))
    except ConfigError as error:
        raise damaged(path, f"its config cannot be used ({error.problems[0]})") from None


def settled(config: Config) -> Config:
    """The config with what runs do not say that were begun before it could be chosen: inputs in memory, no recipe,
    batches in one piece."""
    config = config.replace(**{"data.memory": "ram"}) if config.data.memory == "auto" else config
    config = config.replace(recipe="plain") if config.recipe == "auto" else config
    return config.replace(**{"train.shards": 1}) if config.train.shards == "auto" else config


def rebuilt(config: Config, own: Checkpoint | None = None, world: World = ALONE) -> Experiment:
    """The experiment of a run that is there; raises as `Experiment.build`, for files that are gone with the remedy."""
    try:
        return Experiment.build(config, own=own, world=world)
    except DataError as error:
        raise moved(config, error) from None


def take_up(trainer: Trainer, changes: Sequence[str], before: Config) -> list[str]:
    """Make an end that was reached no end any more, as far as more is asked for now; what is to be said about it.

    Where a run stopped early and `train` keys changed, its epochs without progress count anew.
    """
    progress, early = trainer.progress, trainer.stopping
    more, said = any(key.startswith("train.") for key in changes), bent(before, trainer)
    if progress.finished == "early_stopping":
        stopped = f"stopped early, after {counted(progress.stale, 'epoch')} without progress"
        if more:
            progress.stale = 0
            patience = "" if early is None else f", up to {_patience(early)}"
            said += [f"{stopped}; they are counted anew{patience}"]
        else:
            said += [f"{stopped}; to go on: train.epochs=N, or train.early_stopping=false to train to the end"]
    if progress.finished == "max_time" or more:
        progress.finished = None
    if any(key.startswith("train.early_stopping") for key in changes):
        progress.stale, progress.reference = 0, None
    return said


def _patience(early: Stopping) -> str:
    more = f" and {early.factor:g} for each until the best" if early.factor else ""
    return f"{early.patience}{more} (train.early_stopping.patience)"


def bent(before: Config, trainer: Trainer) -> list[str]:
    """A line where a run that is made longer takes up another learning rate than the one that it had come to."""
    step, now = trainer.progress.step, trainer.schedule
    then = make_schedule(before, trainer.steps_per_epoch)
    if not step or abs(now.rate(step) - then.rate(step)) <= JUMP * now.lr:
        return []
    return [
        f"schedule {now.name} is that of {now.steps:,} steps now, not of {then.steps:,}: the learning rate goes on at "
        f"{now.rate(step):.2g}, after {then.rate(step - 1):.2g}"
    ]


def same_data(experiment: Experiment, sha256: str) -> None:
    """Raise DataError unless the data is what the run was begun with."""
    if experiment.data.sha256 != sha256:
        message, hint = "the data is not what this run was trained on", "start a new run with it"
        raise DataError(experiment.config.problem("data", message, code="other_data", hint=hint))


def allowed_changes(before: Config, config: Config) -> list[str]:
    """The keys in which a resumed run differs; raises ConfigError where one would change what was computed."""
    changes = changed_keys(before.with_absolute_paths(), config.with_absolute_paths())
    refused = [key for key in changes if not any(key == ok or key.startswith(f"{ok}.") for ok in CHANGEABLE)]
    if refused:
        raise ConfigError(
            Problem(
                "changed",
                f"the run was made with {changes[key][0]!r}, and now it is {changes[key][1]!r}",
                "a resumed run goes on with what it began with; start a new run to change it",
                key=key,
            )
            for key in refused
        )
    return list(changes)


def enough_epochs(experiment: Experiment) -> None:
    """Raise ConfigError where a restored experiment has trained for more epochs than its config asks for."""
    progress, asked = experiment.trainer.progress, experiment.config.train.epochs
    if progress.epoch + (progress.position > 0) > asked:
        steps = f" and {counted(progress.position, 'step')}" if progress.position else ""
        message = f"{counted(progress.epoch, 'epoch')}{steps} are done already"
        hint = "ask for more; an earlier epoch is among the run's checkpoints or gone"
        raise ConfigError(Problem("changed", message, hint, got=str(asked), key="train.epochs"))


def other_tools(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What differs between the environment a checkpoint was made in and this one, in one line; None if nothing."""
    different = [f"{key} {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]]
    return "made with other tools, so the last bits may differ: " + "; ".join(different) if different else None

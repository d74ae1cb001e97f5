"""What a run saves and when: the state as it is, and the epochs that are kept as the best or by their number."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlp_core.errors import Diverged, Problem
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.metrics_log import MetricsLog
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training.checkpoint import Checkpoint, not_finite
from mlp_core.training.experiment import Experiment

SHARE = 0.05
"""Saving takes at most about this share of a run's time, if epochs are so short that it would take more."""


class Saves:
    """The checkpoints of a run. Epochs to be kept are set aside when they are complete, and saved with what follows.

    Every method that saves may raise OSError; what was set aside is then tried again with the next save.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory | InMemory, log: MetricsLog) -> None:
        self.experiment, self.directory, self.log = experiment, directory, log
        self._waiting: dict[str, Checkpoint] = {}
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def snapshot(self, metrics: Mapping[str, float]) -> Checkpoint:
        """The state as it is; raises Diverged for numbers that could not be loaded again."""
        checkpoint = self.experiment.checkpoint(metrics, self.log.offset())
        bad = not_finite(checkpoint.tensors)
        if bad is not None:
            step, lr = self.experiment.trainer.progress.step, self.experiment.config.optimizer.lr
            raise Diverged(Problem("diverged", f"step {step}: {bad} is no longer finite (lr {lr:g})"))
        return checkpoint

    def save(self, checkpoint: Checkpoint, name: str) -> None:
        """Save a checkpoint by a name, unless the config wants no last one."""
        if name != "last" or self.experiment.config.checkpoint.last:
            self.directory.save(checkpoint, name)

    def all(self, metrics: Mapping[str, float]) -> None:
        """Save the state as it is, after all that comes before it."""
        begun = time.monotonic()
        self.waiting()
        self.save(self.snapshot(metrics), "last")
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun

    def due(self) -> bool:
        """Whether it is time to save within an epoch; asked for again later where that fails."""
        minutes = self.experiment.config.checkpoint.every_minutes
        return minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes

    def put_off(self) -> None:
        """Let it be due again only after the whole time."""
        self._saved_at = time.monotonic()

    def set_aside(self, metrics: Mapping[str, float], improved: bool) -> None:
        """Keep a copy of the epoch that is just complete where it has to be saved: as the best, or by its number."""
        config, epoch = self.experiment.config.checkpoint, self.experiment.trainer.progress.epoch
        names = ["best"] * (improved and config.best)
        if config.every is not None and epoch % config.every == 0:
            names.append(f"epoch-{epoch:04d}")
        if names and self.directory.writes:
            self._waiting |= dict.fromkeys(names, self.snapshot(metrics).copy())
        for name in [name for name in self._waiting if name != "best"][: -config.keep]:
            del self._waiting[name]

    def epoch(self, metrics: Mapping[str, float], improved: bool) -> None:
        """Set an epoch aside, and save what is due."""
        self.set_aside(metrics, improved)
        if len(self._waiting) > ("best" in self._waiting):
            self.waiting()
        if time.monotonic() - self._saved_at > self._cost / SHARE:
            self.all(metrics)

    def chosen(self) -> str:
        """The name of the checkpoint that a finished run is measured and used by."""
        return "best" if self.directory.has("best") else "last"

    def use(self, name: str) -> Checkpoint | None:
        """Go back to a saved checkpoint, with all workers; None for those that do not save."""
        checkpoint = self.directory.load(name) if self.directory.writes else None
        if checkpoint is not None:
            self.experiment.restore(checkpoint, str(self.directory.checkpoints / f"{name}.safetensors"))
        self.experiment.follow()
        return checkpoint

    def waiting(self) -> None:
        """Save the log and the epochs set aside, the best one first: it is in no state that a run could resume from."""
        self.log.sync()
        for name in sorted(self._waiting, key=lambda name: name != "best"):
            self.save(self._waiting[name], name)
            del self._waiting[name]
        if self.experiment.config.checkpoint.every is not None:
            self.directory.forget_old(self.experiment.config.checkpoint.keep)

    def missing(self, metrics: Mapping[str, float]) -> None:
        """Save a numbered epoch whose end was reached, but which was not yet saved when the run was killed."""
        progress = self.experiment.trainer.progress
        if progress.epoch and not progress.position:
            self.set_aside(metrics, improved=False)
            self._waiting = {name: one for name, one in self._waiting.items() if not self.directory.has(name)}
            self.waiting()

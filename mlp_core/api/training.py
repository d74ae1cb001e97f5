"""Training as something to look at: iterate over it and it trains, or ask it for what it came to."""

from __future__ import annotations

import contextlib
import html
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlp_core.api.configs import Wanted, config_of
from mlp_core.api.display import Progress, curve_html, metrics_html
from mlp_core.config import Config
from mlp_core.errors import Failed, Problem
from mlp_core.runs.run import Run
from mlp_core.runs.summary import Summary
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.events import EpochDone, Event, Noticed

STOPPED, INTERRUPTED = 1, 130


@contextmanager
def _interrupting(code: list[int]) -> Iterator[None]:
    """The first Ctrl-C asks training to save and end, where signals can be caught: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def asked(number: int, frame: object) -> None:
        code[0] = INTERRUPTED
        signal.signal(signal.SIGINT, before)  # the second one is not ours

    signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Training:
    """One run, from its first step on; nothing is computed before the first event is asked for.

    Iterate over it to train and see each `StepDone`, `EpochDone`, `Noticed`, `Finished` as it happens. A loop that is
    left can be taken up again. `finish()` goes to the end and shows progress; so does everything that needs the result:
    `metrics`, `summary`, `checkpoint`, `load(training)`, its picture in a notebook.
    """

    def __init__(self, run: Run) -> None:
        self.history: list[dict[str, float]] = []
        self._run, self._begun = run, False
        self._exit_code = code = [0]  # apart from this object, so that nothing keeps it when it is let go of
        self._events = run.execute(lambda: code[0])

    @property
    def path(self) -> Path | None:
        """The run directory; None for one in memory."""
        return self._run.directory.home

    @property
    def config(self) -> Config:
        """The config with everything decided that it left open."""
        return self._run.experiment.config

    @property
    def notes(self) -> tuple[str, ...]:
        """What was inferred from the data, one line each, as `mlpbp train` prints it."""
        return self._run.experiment.notes

    def __iter__(self) -> Iterator[Event]:
        """Train; yields what happens. Raises Diverged, RunDirectoryError."""
        self._begun = True
        for event in self._events:
            if isinstance(event, EpochDone):
                self.history.append({"epoch": event.epoch, "step": event.step, **event.metrics})
            elif isinstance(event, Noticed):
                warnings.warn(event.message, RuntimeWarning, stacklevel=2)
            yield event

    def finish(self, progress: bool = True) -> Training:
        """Train to the end, with a line of progress. Ctrl-C saves the run as it is, and is raised again."""
        if self._run.summary is None:
            with Progress(self.config.train.epochs, progress) as shown, _interrupting(self._exit_code):
                for event in self:
                    shown.show(event)
            if self._run.summary is None and self._exit_code[0] == INTERRUPTED:
                raise KeyboardInterrupt
        return self

    def stop(self) -> None:
        """Save the run as it is; `mlpbp train --resume` goes on with one that has a directory."""
        self._exit_code[0] = STOPPED
        for _ in self:
            pass

    @property
    def summary(self) -> Summary:
        """What the run came to. Raises Failed where it was stopped before its end."""
        summary = self.finish()._run.summary
        if summary is None:
            hint = f"go on with it: mlpbp train --resume {self.path}" if self.path else "train it again"
            raise Failed(Problem("stopped", "this training was stopped before its end", hint))
        return summary

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Those of the best epoch's weights, {split: {name: value}}."""
        return self.summary.metrics

    @property
    def checkpoint(self) -> Checkpoint:
        """The weights of the best epoch, with all that belongs to them."""
        return self._run.directory.load(self.summary.checkpoint.stem)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        done = f"{len(self.history)} of {self.config.train.epochs} epochs"
        return f"<Training {self.config.name}: {done}, {where}>"

    def _repr_html_(self) -> str:
        summary = self.summary
        where = "" if self.path is None else f"<p>{html.escape(str(self.path))}</p>"
        return curve_html(self.history, summary.best_epoch) + metrics_html(summary.metrics) + where

    def __del__(self) -> None:
        if getattr(self, "_begun", True):
            return
        discard = getattr(self._run.directory, "discard", None)
        if discard is not None:
            with contextlib.suppress(Exception):
                discard()
        warnings.warn(
            "nothing was trained: iterate over what train() gives, or call its finish()", RuntimeWarning, stacklevel=2
        )


def train(
    config: Wanted, data: Any = None, output: str | Path | None = None, overrides: Sequence[str] = ()
) -> Training:
    """A run of a config, ready to be trained; as `mlpbp train CONFIG -o OUTPUT KEY=VALUE ...`, with the same bits.

    config: a mapping such as `{"data": {"name": "digits"}}`, or a path. data: rows in memory instead of files: a frame
    of pandas, polars or Arrow with the target in it, a pair (X, y), or `{"train": ..., "val": ..., "test": ...}`.
    output: the run directory, new or empty; None: `runs/NAME-NNN`. Raises ConfigError and DataError before any work.

        >>> run = train({"data": {"name": "digits"}, "train": {"epochs": 2}})
        >>> for event in run:
        ...     if hasattr(event, "metrics"):
        ...         print(event.epoch, sorted(event.metrics))
        1 ['lr', 'train_loss', 'val_accuracy', 'val_loss']
        2 ['lr', 'train_loss', 'val_accuracy', 'val_loss']
        >>> run.path.name
        'run-001'
    """
    made, text = config_of(config, data, overrides)
    if made.ensemble > 1:
        message = "train() trains one network"
        hint = "MLPClassifier(ensemble=...) averages several, so does mlpbp train"
        raise made.refusal("ensemble", message, code="inconsistent", hint=hint)
    return Training(Run.start(made, text, None if output is None else Path(output), ("python",)))


def in_memory(config: Config) -> Training:
    """A run that leaves nothing on the disk."""
    return Training(Run.in_memory(config))

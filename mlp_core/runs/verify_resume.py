"""A run is interrupted and resumed, and compared byte for byte with one that was not: the promise, on your machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlp_core.config import Config
from mlp_core.rng import generator
from mlp_core.runs.run import Run
from mlp_core.training.events import StepDone

FILES = ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "metrics.jsonl")


@dataclass(frozen=True)
class Compared:
    """One file of both runs: bytes and SHA-256 in each, None where it is missing."""

    name: str
    sizes: tuple[int | None, int | None]
    digests: tuple[str | None, str | None]

    @property
    def same(self) -> bool:
        return self.digests[0] is not None and self.digests[0] == self.digests[1]


@dataclass(frozen=True)
class Verification:
    """After which of the `steps` a run was interrupted, and how its files compare with an uninterrupted one's."""

    steps: int
    stops: tuple[int, ...]
    files: tuple[Compared, ...]

    @property
    def same(self) -> bool:
        return all(file.same for file in self.files)


def verify_resumption(
    config: Config,
    folder: Path,
    epochs: int,
    times: int,
    asked: Callable[[], bool] = lambda: False,
    watch: Callable[[int, int], None] | None = None,
) -> Verification | None:
    """Train `epochs` epochs twice in `folder`, once with `times` interruptions at random steps, and compare.

    None when `asked()` said to stop. watch: hears now and then how many of how many steps are done. Raises whatever
    training raises.
    """
    short = config.asking(
        **{"train.epochs": epochs, "train.max_time": None, "checkpoint.best": True, "logging.jsonl": True}
    )
    whole = Run.start(short, b"", folder / "whole")
    expected = 2 * epochs * whole.experiment.trainer.steps_per_epoch

    def hear(done: int) -> None:
        if watch is not None:
            watch(min(done, expected), expected)

    _go_on(whole, None, asked, hear)
    if whole.summary is None:
        return None
    steps = whole.summary.steps  # the trainer itself is back at the best epoch
    choice = generator(config.seed, "verify").permutation(max(steps - 1, 0))[:times] + 1
    stops = tuple(sorted(int(step) for step in choice))
    run = Run.start(short, b"", folder / "interrupted")
    for stop in (*stops, None):
        _go_on(run, stop, asked, lambda done: hear(steps + done))
        if asked():
            return None
        if stop is not None:
            run = Run.resume(folder / "interrupted")
    return Verification(steps, stops, tuple(_compare(folder, name) for name in FILES))


def _go_on(run: Run, stop: int | None, asked: Callable[[], bool], hear: Callable[[int], None]) -> None:
    """Carry on with a run to its end, or until `stop` steps are done; `hear` is told how many are."""
    trainer = run.experiment.trainer
    for event in run.execute(lambda: int(asked() or (stop is not None and trainer.progress.step >= stop))):
        if isinstance(event, StepDone):
            hear(event.step)


def _compare(folder: Path, name: str) -> Compared:
    paths = [folder / run / name for run in ("whole", "interrupted")]
    blobs = [path.read_bytes() if path.is_file() else None for path in paths]
    sizes = [None if blob is None else len(blob) for blob in blobs]
    digests = [None if blob is None else hashlib.sha256(blob).hexdigest() for blob in blobs]
    return Compared(name, (sizes[0], sizes[1]), (digests[0], digests[1]))

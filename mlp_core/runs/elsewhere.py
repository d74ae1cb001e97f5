"""The run of a worker that does not write: worker 0 has the directory, and what must be the same is compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from mlp_core.errors import ConfigError, Problem
from mlp_core.runs.in_memory import NAMED, InMemory
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training.checkpoint import Checkpoint, load
from mlp_core.training.experiment import Experiment
from mlp_core.workers.world import World


class Elsewhere(InMemory):
    """The place of a run that another worker writes; nothing is kept here."""

    writes = False

    def __init__(self, path: Path = NAMED) -> None:
        super().__init__()
        self.path = path

    def open(self) -> None:
        """The directory is locked by the worker that writes."""

    def save(self, checkpoint: Checkpoint, name: str) -> Path:
        return self.path


def furthest(directory: RunDirectory | Elsewhere, world: World) -> tuple[Path, Checkpoint, list[Problem]] | None:
    """The furthest good checkpoint of a run, as worker 0 finds it; the others read the same file."""
    found = directory.newest()
    name = world.told(None if found is None else str(found[0]))
    if name is None or world.writes:
        return found
    return Path(name), load(Path(name)), []


def refuse_differences(experiment: Experiment) -> None:
    """Raise ConfigError where a worker has another config, other data or versions, or other weights than worker 0."""
    world, config = experiment.trainer.world, experiment.config.model_dump(mode="json")
    if world.size == 1:
        return
    for name in ("train", "val", "test", "cache"):  # files may lie elsewhere: what is in them is compared
        del config["data"][name]
    theta = np.ascontiguousarray(experiment.model.network.parameters.theta)
    facts = {
        **{
            f"{name} in its config": _digest(json.dumps(part, sort_keys=True).encode()) for name, part in config.items()
        },
        **{f"version of {name}": str(value) for name, value in experiment.environment.items()},
        "data": experiment.data.sha256,
        "weights": _digest(theta.view(np.uint8).data),
    }
    if (problem := world.same(facts)) is not None:
        raise ConfigError(problem)


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

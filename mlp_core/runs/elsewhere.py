"""The run of several workers: worker 0 has the directory, and what must be the same is compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mlp_core.config import Config
from mlp_core.errors import ConfigError, Problem
from mlp_core.machine import environment
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training.checkpoint import Checkpoint, load
from mlp_core.training.experiment import Experiment
from mlp_core.workers.world import World


def furthest(directory: RunDirectory | InMemory, world: World) -> tuple[Path, Checkpoint, list[Problem]] | None:
    """The furthest good checkpoint of a run, as worker 0 finds it; the others read the same file."""
    found = directory.newest()
    name = world.told(None if found is None else str(found[0]))
    if name is None or world.writes:
        return found
    return Path(name), load(Path(name)), []


PLACES = ("train", "val", "test", "cache")
"""Keys of `data` in which configs may differ: files may lie elsewhere, what is in them is compared."""


def refuse_other_configs(config: Config, world: World) -> None:
    """Raise ConfigError where a worker has another config or other versions than worker 0; before data is read."""
    if world.size == 1:
        return
    told = config.model_dump(mode="json")
    told["data"] = {name: value for name, value in told["data"].items() if name not in PLACES}
    _compare(
        world,
        {f"version of {name}": str(value) for name, value in environment().items()}
        | {f"{name} in its config": _digest(json.dumps(part, sort_keys=True).encode()) for name, part in told.items()},
    )


def refuse_differences(experiment: Experiment) -> None:
    """Raise ConfigError where a worker has other data than worker 0, has made something else of it, or computes with
    something else."""
    if experiment.world.size == 1:
        return
    network = experiment.model.network
    theta = np.ascontiguousarray(network.backend.to_host(network.parameters.theta))
    versions = {**experiment.environment, "device": re.sub(r"^cuda:\d+", "cuda", network.backend.device)}
    facts = {
        **{f"version of {name}": str(value) for name, value in versions.items()},
        "data": experiment.data.sha256,
        "preprocessing": _digest(json.dumps(experiment.model.inputs.to_state(), sort_keys=True).encode()),
        "weights": _digest(theta.view(np.uint8).data),
    }
    _compare(experiment.world, facts)


def _compare(world: World, facts: Mapping[str, str]) -> None:
    if (problem := world.same(facts)) is not None:
        raise ConfigError(problem)


def _digest(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:16]

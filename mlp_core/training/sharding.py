"""How many shards a batch has, and which numbers of workers go with them."""

from __future__ import annotations

from mlp_core.config import Config
from mlp_core.errors import Problem, UsageError, counted
from mlp_core.training.devices import check_devices
from mlp_core.workers.world import World

USUAL = 8
"""Shards of a batch once workers are asked for."""


def for_workers(config: Config, world: World) -> Config:
    """The config with its shards decided for workers; raises UsageError where they cannot share them out,
    ConfigError where they need more GPUs than there are."""
    if config.train.shards == "auto":
        config = config.replace(**{"train.shards": USUAL})
    shards, workers = int(config.train.shards), world.size
    if workers & (workers - 1):
        raise UsageError(Problem("workers", "workers are a power of two", "take 1, 2, 4, 8, ...", got=str(workers)))
    if workers > shards:
        hint = f"take fewer workers, or begin with train.shards={workers}; a run that is resumed keeps its shards"
        message = f"{workers} workers have nothing to do with {counted(shards, 'shard')} of a batch (train.shards)"
        raise UsageError(Problem("workers", message, hint))
    if config.ensemble > 1:
        raise no_ensemble()
    check_devices(config, world)
    return config


def no_ensemble() -> UsageError:
    """Several networks for several workers."""
    hint = "train one network (ensemble: 1), or leave out the workers"
    return UsageError(Problem("workers", "the networks of an ensemble have processes of their own", hint))


def check_shards(config: Config, batch: int) -> int:
    """The shards of batches of so many rows; raises ConfigError where they do not fit."""
    shards = 1 if config.train.shards == "auto" else int(config.train.shards)
    if shards > batch:
        hint = f"use larger batches, or train.shards={1 << (batch.bit_length() - 1)}"
        message = f"a batch of {counted(batch, 'row')} cannot be cut into {shards} shards"
        raise config.refusal("train.batch_size", message, code="inconsistent", hint=hint)
    return shards

"""The members of an ensemble: one config each, alike but for the seed."""

from __future__ import annotations

from mlp_core.config import Config
from mlp_core.machine import available_cpus


def member_configs(config: Config, count: int) -> list[Config]:
    """The config of every member, `count` of them at once: seeds that follow each other, the rows dealt as by the
    first, the processors shared out."""
    seed = config.seed if config.data.split.seed is None else config.data.split.seed
    threads = max(1, available_cpus() // count) if config.threads == "auto" else config.threads
    same = {"ensemble": 1, "data.split.seed": seed, "threads": threads}
    baselines = [config.eval.baselines, *[False] * (config.ensemble - 1)]  # of the same rows: once is enough
    return [
        config.replace(seed=config.seed + k, **same, **{"eval.baselines": beside}) for k, beside in enumerate(baselines)
    ]

"""What a job asks of its layers and schedules beyond the plain network, by the names of the config."""

from __future__ import annotations

from collections.abc import Iterator

from mlp_core.backends.job import Job

INGREDIENTS = (
    *("model.numeric_embedding", "model.input_scale", "model.parametrization ntk", "model.parametric"),
    *("schedule.dropout flat_cos", "schedule.weight_decay flat_cos"),
)


def ingredients(job: Job) -> Iterator[str]:
    """Those of `INGREDIENTS` that the steps of a job have; a way of making steps names those that it has not."""
    network = job.network.architecture
    asked = (
        network.periodic is not None and network.periodic.numbers > 0,
        network.input_scale,
        network.ntk,
        any(block.mixes for block in network.hidden),
        job.dropout.name != "constant",
        job.decay.name != "constant",
    )
    return (name for name, on in zip(INGREDIENTS, asked, strict=True) if on)

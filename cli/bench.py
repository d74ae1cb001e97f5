"""`mlpbp bench`: how fast a config trains on this machine, and where the time of a step goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlp_core.errors import Problem, UsageError

from .console import Console
from .options import Overrides, find_config

if TYPE_CHECKING:
    from mlp_core.diagnostics.bench import Bench

HELP = "Measure how fast a config trains here, and where the time of a step goes."


def bench(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The config file.")] = None,
    overrides: Overrides = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="About how long to measure.")] = 3.0,
) -> int:
    if config is None:
        raise UsageError(Problem("usage", "no config given", "for example: mlpbp bench configs/digits.yaml"))
    from mlp_core.config import load

    loaded = load(find_config(config), ["device=cpu", *(overrides or [])])
    console = Console("bench", loaded.logging.progress)
    from mlp_core.diagnostics.bench import measure
    from mlp_core.training.experiment import Experiment

    experiment = Experiment.build(loaded)
    for note in experiment.notes:
        console.note(note)
    result = measure(experiment, seconds)
    console.show(_report(result))
    return console.result(result.to_json())


def _report(bench: Bench) -> str:
    """The phases of a step, longest first, over the sum; 80 columns wide."""
    lines = [f"{'phase':<32}{'us':>12}{'share':>9}"]
    for name, spent in sorted(bench.phases.items(), key=lambda item: -item[1]):
        share = spent / sum(bench.phases.values())
        lines.append(f"{name:<32}{spent:>12,.1f}{share:>8.1%} {'#' * round(24 * share)}".rstrip())
    peak = "" if bench.peak_bytes is None else f", {bench.peak_bytes / 2**20:,.0f} MiB at the peak"
    lines += [
        f"{'step':<32}{bench.step:>12,.1f}",
        f"{'floor: products, update':<32}{bench.floor:>12,.1f}   {bench.ratio:.2f} x the floor",
        "",
        f"{bench.rows_per_second:,.0f} rows per second in steps of {bench.rows:,} rows",
        f"{bench.parameters:,} parameters, kernels {bench.kernels}, threads {bench.threads}{peak}",
    ]
    return "\n".join(lines)

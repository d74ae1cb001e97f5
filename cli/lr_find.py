"""`mlpbp lr-find`: a learning rate for a config, from one short run with a growing one."""

from __future__ import annotations

from typing import Annotated

import typer

from mlp_core.errors import Problem, UsageError, counted, typed

from .console import Console
from .options import NewConfig, Overrides, new_config

HELP = (
    "Make steps with a learning rate that grows until the loss does, and say which rate the curve suggests: nothing is "
    "written, the line for the config is shown."
)


def lr_find(
    config: NewConfig,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option("--steps", min=20, max=100_000, help="How many steps.")] = 200,
    low: Annotated[float, typer.Option("--low", help="The first learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--high", help="The last one.")] = 10.0,
) -> int:
    if not 0 < low < high < 1e6:
        raise UsageError(Problem("usage", "--low and --high: expected 0 < low < high", "for example --low 1e-6"))
    from mlp_core.config import load
    from mlp_core.search.lr_range import lr_range, plot

    path = new_config(config)
    loaded = load(path, list(overrides or []))
    console = Console("lr-find", loaded.logging.progress)
    with console.working("steps") as progress:
        curve = lr_range(loaded, steps, low, high, progress)
    if not console.json:
        for line in plot(curve):
            console.show(line)
        console.show(
            f"learning rate {curve.lr:g}: falls fastest at {curve.steepest:.2g}, is lowest at {curve.lowest:.2g} "
            f"({counted(len(curve.rates), 'step')})"
        )
        console.show(f"config  optimizer: {{lr: {curve.lr:g}}}")
        console.show(f"next    mlpbp train {typed(config)} optimizer.lr={curve.lr:g}")
        if not curve.diverged:
            console.note("note: the loss did not grow before the end; try --high 100")
    points = [
        {"lr": lr, "loss": loss, "smoothed": smoothed}
        for lr, loss, smoothed in zip(curve.rates, curve.losses, curve.smoothed, strict=True)
    ]
    facts = {"lr": curve.lr, "steepest": curve.steepest, "lowest": curve.lowest, "diverged": curve.diverged}
    return console.result({"config": str(path), **facts, "points": points})

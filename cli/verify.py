"""`mlpbp verify`: see on this machine that an interrupted and resumed run ends with the same bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mlp_core.errors import Failed, Problem, counted
from mlp_core.scratch import scratch_folder

from .console import Console
from .options import ConfigFile, Overrides, find_config
from .signals import StopRequest

HELP = "Train, interrupt, resume: is the result the same, byte for byte, as without interruptions?"
EPOCHS = 3


def verify(
    config: ConfigFile,
    overrides: Overrides = None,
    epochs: Annotated[int, typer.Option("-e", "--epochs", min=1, help="Epochs to train.")] = EPOCHS,
    times: Annotated[int, typer.Option("--times", min=1, help="How often to interrupt, at random steps.")] = 3,
) -> int:
    from mlp_core.config import load
    from mlp_core.runs.verify_resume import verify_resumption

    loaded = load(find_config(config), overrides or [])
    console = Console("verify", loaded.logging.progress)
    console.note(f"training {counted(epochs, 'epoch')} twice, once with {counted(times, 'interruption')} ...")
    with StopRequest() as stop, scratch_folder() as folder, console.working("training") as progress:
        found = verify_resumption(loaded, folder, epochs, times, lambda: stop() != 0, progress)
        if found is None:
            console.say("mlpbp: interrupted")
            return stop.exit_code
    places = ", ".join(f"{step:,}" for step in found.stops)
    if not console.json:
        from .tables import grid

        rows = (
            (
                file.name.rpartition("/")[2],
                *("missing" if size is None else f"{size:,}" for size in file.sizes),
                *map(_short, file.digests),
            )
            for file in found.files
        )
        console.show(grid(("file", "bytes", "resumed", "SHA-256", "resumed"), rows))
        console.show(f"{counted(found.steps, 'step')}, interrupted and resumed after {places}")
    fields = {"same": found.same, "steps": found.steps, "stops": list(found.stops)}
    files = [{**asdict(file), "same": file.same} for file in found.files]
    if not found.same:
        names = ", ".join(file.name for file in found.files if not file.same)
        problem = Problem("not_identical", f"not the same bytes: {names}", "please report it with your config")
        if console.json:
            return console.result({**fields, "files": files, "errors": [{"message": problem.message}]}, 1)
        raise Failed(problem)
    console.show("identical, byte for byte")
    return console.result({**fields, "files": files})


def _short(digest: str | None) -> str:
    return "missing" if digest is None else digest[:12]

"""`mlpbp init`: from a file of data to a config that trains well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mlp_core.errors import Problem, UsageError, typed

from .console import Console
from .options import Overrides
from .standard_input import refuse

HELP = "Look at a file of data and write a short, commented config that trains well."


def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file of data.")],
    overrides: Overrides = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Column to predict; several for several outputs.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The config to write; - for the screen. [default: DATA's name, .yaml]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a config that is there.")] = False,
) -> int:
    refuse(data, "the config names the file")
    path = output or Path(f"{data.name.split('.')[0] or 'config'}.yaml")
    shown = str(path) == "-"
    if os.path.lexists(path) and not force and not shown:
        hint = "choose another with -o FILE, or write over it with --force"
        raise UsageError(Problem("exists", "there is such a file", hint, file=str(path)))
    if path.exists() and data.exists() and path.samefile(data):
        raise UsageError(Problem("exists", "this is the data itself", "choose another with -o FILE", file=str(path)))
    from mlp_core.atomic_files import write_atomically
    from mlp_core.diagnostics.propose_config import propose

    console = Console("init")
    proposal = propose(data, list(target or []), Path("config.yaml") if shown else path, list(overrides or []))
    try:
        if not shown:
            write_atomically(path, proposal.text.encode())
    except OSError as error:
        hint = "choose another place with -o FILE"
        problem = Problem("not_writable", f"cannot be written: {error.strerror}", hint, file=str(path))
        raise UsageError(problem) from None
    for note in proposal.notes:
        console.note(note)
    end = f"\nwritten to {path}; next  mlpbp train {typed(path)}"
    console.show(proposal.text.rstrip("\n") if shown else f"{proposal.text}{end}", exact=True)
    return console.result(
        {"config": None if shown else str(path), "task": proposal.task, "rows": proposal.rows, "text": proposal.text}
    )

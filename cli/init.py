"""`mlpbp init`: from a file of data to a config that trains well."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from mlp_core.errors import Problem, UsageError

from .console import Console
from .options import Overrides

HELP = "Look at a file of data and write a short, commented config that trains well."


def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A file of data.")],
    overrides: Overrides = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Column to predict; several for several outputs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The config to write. [default: DATA's name, .yaml]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a config that is there.")] = False,
) -> int:
    path = output or Path(f"{data.name.split('.')[0] or 'config'}.yaml")
    if os.path.lexists(path) and not force:
        hint = "choose another with -o FILE, or write over it with --force"
        raise UsageError(Problem("exists", "there is such a file", hint, file=str(path)))
    if path.exists() and data.exists() and path.samefile(data):
        raise UsageError(Problem("exists", "this is the data itself", "choose another with -o FILE", file=str(path)))
    from mlp_core.atomic_files import write_atomically
    from mlp_core.diagnostics.propose_config import propose

    console = Console("init")
    proposal = propose(data, list(target or []), path, list(overrides or []))
    try:
        write_atomically(path, proposal.text.encode())
    except OSError as error:
        hint = "choose another place with -o FILE"
        problem = Problem("not_writable", f"cannot be written: {error.strerror}", hint, file=str(path))
        raise UsageError(problem) from None
    for note in proposal.notes:
        console.note(note)
    console.show(f"{proposal.text}\nwritten to {path}; next  mlpbp train {shlex.quote(str(path))}")
    return console.result({"config": str(path), "task": proposal.task, "rows": proposal.rows, "text": proposal.text})

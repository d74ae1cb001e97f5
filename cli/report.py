"""`mlpbp report`: one page about one or several runs, to be read in any browser."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mlp_core.errors import Failed, Problem, UsageError

from .console import Console

HELP = "Write one HTML page about a run, or about several compared: curves, confusions, errors, importance, config."
NAME = "report.html"


def report(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... [KEY=VALUE]...", help="Run directories; where their data is now: data.train=FILE."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The file to write; - for standard output. [default: report.html in the run]"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is no report.")] = False,
) -> int:
    console = Console("report")
    changes = [word for word in words if "=" in word and not Path(word).exists()]
    runs = [Path(word) for word in words if word not in changes]
    if not runs:
        raise UsageError(Problem("usage", "no run given", "for example: mlpbp report runs/digits-001"))
    from mlp_core.training.misnamed import refuse_no_run

    for run in runs:
        refuse_no_run(run)
    if str(output) == "-":
        page = made(console, runs, changes)
        console.data_stream().write(page if not console.json else "")
        return console.result({"report": None, "runs": [str(run) for run in runs], "bytes": len(page), "page": page})
    path, size = write_report(console, runs, output, force, changes)
    if not console.json:
        console.show(f"report  {path}")
    return console.result({"report": str(path), "runs": [str(run) for run in runs], "bytes": size})


def write_report(
    console: Console,
    runs: list[Path],
    output: Path | None = None,
    force: bool = False,
    changes: Sequence[str] = (),
) -> tuple[Path, int]:
    """Write the report of runs; returns where it is and its bytes. An earlier report is replaced, nothing else."""
    path = output or (runs[0] / NAME if len(runs) == 1 else Path(NAME))
    _check(path, force)
    text = made(console, runs, changes).encode("utf-8", "replace")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(text)
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise Failed(Problem("not_writable", message, "choose another place with -o FILE", file=str(path))) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path, len(text)


def made(console: Console, runs: list[Path], changes: Sequence[str]) -> str:
    """The text of the page."""
    from mlp_core.machine import single_thread_blas
    from mlp_core.report.build import report as make

    single_thread_blas()
    return make(runs, console.note, changes)


def _check(path: Path, force: bool) -> None:
    """Refuse, before any work, a place where no report can be, and a file that is not an earlier report."""
    if path.is_dir() or not path.parent.is_dir():
        message = "this is a folder" if path.is_dir() else "there is no such folder"
        where = path if path.is_dir() else path.parent
        raise UsageError(Problem("no_folder", message, "name a file with -o FILE", file=str(where)))
    if not path.exists() or force:
        return
    with path.open("rb") as file:
        ours = b'<meta name="generator" content="mlpbp ' in file.read(1000)
    if not ours:
        hint = "choose another with -o FILE, or --force"
        raise UsageError(Problem("exists", "there is such a file, and it is no report", hint, file=str(path)))

"""`mlpbp convert`: from tables of any size to a folder that training reads from the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlp_core.errors import Problem, UsageError, counted, typed

from .console import Console
from .signals import StopRequest
from .standard_input import refuse

HELP = (
    "Convert tables (CSV, TSV, JSON Lines, Parquet; a file, several, or a pattern) in bounded memory to a folder that "
    "training and prediction read from the disk: for data larger than memory, and to parse it only once."
)


def convert(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... [KEY=VALUE]...",
            help="Files, then data options such as data.csv.decimal=, (a decimal comma).",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write.")],
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Column to predict, for the config that is shown.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a converted table that is there.")] = False,
) -> int:
    from mlp_core.config import from_mapping
    from mlp_core.data.convert import config_for, convert_data

    files = [word for word in data if "=" not in word or Path(word).exists()]
    overrides = [word for word in data if word not in files]
    if not files:
        raise UsageError(Problem("usage", "no file given", "for example: mlpbp convert data.csv -o data"))
    for file in files:
        refuse(Path(file), "convert reads it twice")
    targets, console = list(target or []), Console("convert")
    config = from_mapping({"data": {"train": files if len(files) > 1 else files[0]}}, overrides)
    with StopRequest() as stop:

        def reading(path: Path, rows: int) -> None:
            console.reading(path, rows)
            stop.check()

        done = convert_data(config, targets, output, force, reading)
    text = config_for(config, targets, output)
    size = f"{done.bytes / 2**20:,.1f} MiB"
    for note in done.notes:
        console.note(note)
    console.show(
        f"{output}: {counted(done.rows, 'row')} of {counted(len(done.names), 'column')}, {size} ({done.dtype} cells)"
    )
    console.show(f"\n{text.rstrip()}\n", exact=True)
    if targets:
        console.show("next  write these lines to a file, and: mlpbp train FILE")
    else:
        console.show(f"next  mlpbp init {typed(output)} --target COLUMN")
    return console.result(
        {
            "folder": str(output),
            "rows": done.rows,
            "columns": list(done.names),
            "dtype": done.dtype,
            "bytes": done.bytes,
            "config": text,
        }
    )

"""`mlpbp export`: a trained model as files that need no mlpbp any more, and prove themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, typed

from .console import Console

if TYPE_CHECKING:
    from mlp_core.export.check import Checked
    from mlp_core.export.export import Exported

HELP = (
    "Write a trained model as an ONNX graph, as C, as plain numpy or as PyTorch: raw columns in, labels, calibrated "
    "probabilities and values in the units of the data out. What is written carries 16 test rows with the model's own "
    "answers, is run on them at once, and can be checked again with --check FILE."
)


def export(
    model: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="A checkpoint, or a run directory (its best).")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="onnx, c, numpy or torch. [default: by the name of the file]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write: .onnx, .c (and .h), .py (and its weights).")
    ] = None,
    inputs: Annotated[
        str, typer.Option("--inputs", help="What ONNX takes: columns, or a matrix where all are numbers.")
    ] = "auto",
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="FILE", help="Run an exported file (its code!) on its test rows again."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    console = Console("export")
    if check is not None:
        return _check(console, check, model, output)
    if model is None or output is None:
        message = "no model given" if model is None else "no file to write given"
        raise UsageError(Problem("usage", message, "for example: mlpbp export RUN --to onnx -o model.onnx"))
    from mlp_core.export.export import export as export_model
    from mlp_core.export.export import format_of
    from mlp_core.machine import single_thread_blas
    from mlp_core.runs.evaluate import open_model

    chosen = format_of(output, to)
    loaded, origin = open_model(model)
    single_thread_blas()
    done = export_model(loaded, origin, output, chosen, inputs, force)
    _show(console, done, output)
    columns = [{"name": column.name, "kind": column.kind} for column in done.description.columns]
    fields: dict[str, Any] = {
        "model": str(origin),
        "to": chosen,
        "files": {str(file): size for file, size in done.files.items()},
        "inputs": "matrix" if done.matrix else "columns",
        "columns": columns,
        "answers": [*done.probes.labels, *done.probes.numbers],
        "rows": done.probes.count,
        "check": _found(done.checked, done.description.limit),
    }
    return console.result(fields)


def _found(checked: Checked, limit: float | None = None) -> dict[str, Any]:
    ran = bool(checked.by)
    return {
        "by": checked.by or None,
        "difference": checked.difference if ran else None,
        "limit": limit,
        "why": checked.why or None,
    }


def _show(console: Console, done: Exported, output: Path) -> None:
    """What was written and how far it is from the model, for people."""
    for file, size in done.files.items():
        console.show(f"{file}: {size:,} bytes")
    told = done.description
    kind = "one matrix of all columns" if done.matrix else "raw columns"
    console.show(f"takes {kind} ({len(told.columns):,}), gives {_few([*done.probes.labels, *done.probes.numbers])}")
    checked = done.checked
    if checked.by:
        console.show(
            f"checked by {checked.by}: {done.probes.count} rows, labels agree, largest difference "
            f"{checked.difference:.1e} (limit {told.limit:.0e})"
        )
    else:
        console.warn(f"not checked: {checked.why}")
    console.show(f"next  mlpbp export --check {typed(output)}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")


def _check(console: Console, path: Path, model: Path | None, output: Path | None) -> int:
    if model is not None or output is not None:
        raise UsageError(Problem("usage", "--check takes an exported file alone", "leave out MODEL and --output"))
    from mlp_core.export.check import check

    checked = check(path)
    if not checked.by:
        raise UsageError(Problem("cannot_check", f"cannot be run here: {checked.why}", file=str(path)))
    console.show(f"{path}: passes, by {checked.by}; largest difference {checked.difference:.1e}, labels agree")
    return console.result({"file": str(path), "check": _found(checked)})

"""`mlpbp predict`: what a trained model says about new rows."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, counted

from .console import Console
from .options import ModelFile, as_text
from .trained import tell_trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlp_core.runs.predict import Report

HELP = "Predict new rows with a trained model; columns are matched by name, the target is not needed."


def predict(
    model: ModelFile,
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="A data file, or - for standard input (rows are answered as they come)."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write: .csv, .jsonl, .parquet or .npz; - for the screen."),
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Give the probability of every class, too.")] = False,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="COLUMN", help="Carry this column of DATA along.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="csv, jsonl, parquet or npz. [default: by the name of the file]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> int:
    console = Console("predict")
    from mlp_core.data.writers import format_of
    from mlp_core.machine import single_thread_blas
    from mlp_core.runs.evaluate import open_model
    from mlp_core.runs.members import trained_rows
    from mlp_core.runs.predict import Predictor

    if output is not None and str(output) == "-":
        output = None
    chosen = format_of(output, kind)
    for source in (data, model):
        if output is not None and output.exists() and source.exists() and output.samefile(source):
            hint = "choose another with -o FILE"
            raise UsageError(Problem("exists", "this is what the predictions are made from", hint, file=str(output)))
    loaded, path = open_model(model)
    single_thread_blas()
    predictor = Predictor(loaded, proba, [as_text(column) for column in keep or ()], trained_rows(path))
    digits = 9 if loaded.config.dtype == "float32" else 17
    shown: list[dict[str, Any]] = []
    with _sink(console, output, chosen, force, digits, shown) as write:
        for part in predictor.predict(data):
            write(part)
    report = predictor.report
    _tell(console, report, output, loaded.task.classifies)
    fields: dict[str, Any] = {
        "model": str(path),
        "rows": report.rows,
        "output": None if output is None else str(output),
    }
    fields |= {"metrics": report.metrics, "trained_on": report.trained_on, "unseen": dict(report.unseen)}
    fields["notes"] = _notes(report)
    return console.result(fields if output is not None else {**fields, "predictions": shown})


@contextmanager
def _sink(
    console: Console, output: Path | None, kind: str, force: bool, digits: int, shown: list[dict[str, Any]]
) -> Iterator[Any]:
    """Where parts go: a file, the screen, or with --json and no file the document itself."""
    from mlp_core.data.writers import rows, text_writer, writing

    if output is not None:
        with writing(output, kind, force, digits) as write:
            yield write
    elif console.json:
        yield lambda part: shown.extend(rows(part, digits))
    else:
        yield text_writer(console.data_stream(), kind, digits)


def _notes(report: Report) -> list[str]:
    """What the file has that training did not."""
    from mlp_core.data.preprocess.from_config import unseen_lines

    found = {name: (count, report.examples[name]) for name, count in report.unseen.items()}
    return [*report.notes.values(), *unseen_lines(found)]


def _tell(console: Console, report: Report, output: Path | None, classifies: bool) -> None:
    """What is to be said beside the predictions, on stderr."""
    for note in _notes(report):
        console.warn(note)
    tell_trained(console, report.trained_on, report.rows)
    if report.why is not None:
        console.note(f"no metrics: {report.why}")
    if report.metrics:
        from mlp_core.runs.predict import MEASURED_ROWS

        from .render import metric

        rest = report.rows - report.measured
        lacking = f" of {report.rows:,}, those with a target" if rest else ""
        lacking = f" of {report.rows:,} from the start" if rest and report.measured >= MEASURED_ROWS else lacking
        rows = f"{report.measured:,}{lacking}" if lacking else counted(report.measured, "row")
        console.note(f"{rows}: " + "  ".join(f"{name} {metric(name, value)}" for name, value in report.metrics.items()))
    if output is not None:
        console.note(f"{counted(report.rows, 'row')} written to {output}")

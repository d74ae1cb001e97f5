"""`mlpbp predict`: what a trained model says about new rows."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, counted

from .console import Console
from .options import ModelFile, as_text
from .trained import tell_trained
from .workers import Workers, by_workers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlp_core.runs.predict import Columns, Report
    from mlp_core.workers.world import World

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
    workers: Workers = None,
) -> int:
    output = None if output is not None and str(output) == "-" else output
    sink = _Sink(Console("predict"), output, kind, force)

    def work(world: World) -> int:
        from mlp_core.machine import single_thread_blas
        from mlp_core.runs.evaluate import open_model
        from mlp_core.runs.members import trained_rows
        from mlp_core.runs.predict import Predictor

        sink.check(data, model)
        loaded, path = open_model(model)
        single_thread_blas()
        predictor = Predictor(loaded, proba, [as_text(column) for column in keep or ()], trained_rows(path))
        parts = predictor.predict(data, world)
        if not world.writes:
            return len(list(parts))  # none: worker 0 is given them
        sink.write(parts, 9 if loaded.config.dtype == "float32" else 17)
        return _told(sink, predictor.report, path, loaded.task.classifies)

    return by_workers(workers, work, data)


class _Sink:
    """Where parts go: a file, the screen, or with --json and no file the document itself."""

    def __init__(self, console: Console, output: Path | None, kind: str | None, force: bool) -> None:
        self.console, self.output, self.kind, self.force = console, output, kind, force
        self.shown: list[dict[str, Any]] = []

    def check(self, *sources: Path) -> None:
        """Refuse a format that is none, and to write over what is read. Raises UsageError."""
        from mlp_core.data.writers import format_of

        format_of(self.output, self.kind)
        for source in sources:
            if self.output is not None and self.output.exists() and source.exists() and self.output.samefile(source):
                hint = "choose another with -o FILE"
                message = "this is what the predictions are made from"
                raise UsageError(Problem("exists", message, hint, file=str(self.output)))

    def write(self, parts: Iterable[Columns], digits: int) -> None:
        """Take all parts, numbers with so many digits. Raises OSError."""
        from mlp_core.data.writers import format_of, rows, text_writer, writing

        chosen = format_of(self.output, self.kind)
        with ExitStack() as stack:
            if self.output is not None:
                put = stack.enter_context(writing(self.output, chosen, self.force, digits))
            elif self.console.json:
                put = lambda part: self.shown.extend(rows(part, digits))  # noqa: E731
            else:
                put = text_writer(self.console.data_stream(), chosen, digits)
            for part in parts:
                put(part)


def _told(sink: _Sink, report: Report, path: Path, classifies: bool) -> int:
    """Say what there is to say, to people and to programs."""
    _tell(sink.console, report, sink.output, classifies)
    fields: dict[str, Any] = {
        "model": str(path),
        "rows": report.rows,
        "output": None if sink.output is None else str(sink.output),
    }
    fields |= {"metrics": report.metrics, "trained_on": report.trained_on, "unseen": dict(report.unseen)}
    fields["notes"] = _notes(report)
    return sink.console.result(fields if sink.output is not None else {**fields, "predictions": sink.shown})


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

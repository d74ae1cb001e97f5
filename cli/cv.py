"""`mlpbp cv`: cross-validation, every fold a run, all folds one model."""

from __future__ import annotations

import sys
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean, counted, typed

from .console import Console
from .options import NewConfig, Overrides, new_config
from .signals import StopRequest

if TYPE_CHECKING:
    from mlp_core.search.folds import CrossValidation, FoldDone, Outcome

HELP = (
    "Train once for each fold of the rows, judge each by the rows that it held out, and say what the metrics come to. "
    "The folder is then one model that averages its members. Interrupted, it goes on with the same command."
)


def cv(
    config: NewConfig,
    overrides: Overrides = None,
    folds: Annotated[
        int, typer.Option("-k", "--folds", min=2, max=1000, help="Into how many folds rows are dealt.")
    ] = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=1000, help="How often they are dealt, each time in another way.")
    ] = 1,
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", min=1, help="Folds trained at once. [default: as the processors allow]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder: new, empty or begun. [default: runs/NAME-cv-NNN]")
    ] = None,
) -> int:
    from mlp_core.config import load
    from mlp_core.search.folds import CrossValidation, Outcome

    path = new_config(config)
    loaded = load(path, list(overrides or []))
    if folds * repeats > 1000:
        raise UsageError(Problem("usage", "more than 1,000 trainings", "use fewer folds or --repeats"))
    console = Console("cv", loaded.logging.progress)
    work = CrossValidation.open(loaded, loaded.source.content, folds, repeats, output, sys.argv[1:])
    where = work.folder.path
    found = Outcome.read(where)
    if found is not None:
        console.note(f"{where}: finished earlier, shown again")
        return _result(console, work, found)
    done = _train(console, work, work.workers(jobs), jobs)
    if isinstance(done, int):
        return done
    return _result(console, work, work.finish(done))


def _train(console: Console, work: CrossValidation, count: int, asked: int | None) -> list[FoldDone] | int:
    """Train what is left, a line for each fold; the exit code where it was interrupted."""
    where, many = work.folder.path, len(work.parts)
    ready = sum(part.training.record() is not None for part in work.parts)
    if ready or not work.folder.fresh:
        console.note(f"going on with {where}: {ready} of {counted(many, 'fold')} done")
    if asked is not None and asked > count and asked > many - ready:
        console.note(f"jobs: {count}")
    elif asked is not None and asked > count:
        console.note(f"jobs: {count}, as many as there are processors for their threads")
    done: list[FoldDone] = []
    with StopRequest() as stop, console.working("folds") as progress:
        watch = None if progress is None else partial(progress.runs, total=many)
        for one in work.run(count, stop, watch):
            done.append(one)
            if progress is not None:
                progress(len(done), many)
            console.note(_line(one))
        if len(done) < many:
            command = f"mlpbp cv ... -o {typed(where)}" if "-o" in sys.argv else "the same command"
            console.say(f"mlpbp: interrupted, {len(done)} of {counted(many, 'fold')} done; continue with {command}")
            fields = {"folder": str(where), "folds": len(done), "interrupted": True}
            return console.result(fields, stop.exit_code or 1)
    return done


def _line(done: FoldDone) -> str:
    """What a fold came to: as many of its metrics as a line has room for."""
    from mlp_core.metrics.shown import metric

    head, end = f"{done.fold.name}:", f"  ({counted(done.record['epochs'], 'epoch')}, {done.record['seconds']:.1f} s)"
    values = [f"{name} {metric(name, one)}" for name, one in done.record["metrics"]["test"].items() if one is not None]
    lengths = accumulate(len(value) + 2 for value in values[:3])
    fitting = sum(length <= 80 - len(head) - len(end) for length in lengths)
    return head + " " + "  ".join(values[: max(1, fitting)]) + end


def _result(console: Console, work: CrossValidation, outcome: Outcome) -> int:
    """The table of metrics, what its interval is, where everything lies."""
    where = work.folder.path
    if not console.json:
        from mlp_core.metrics.shown import metric

        from .tables import grid

        rows = [
            (
                clean(name, 20),
                metric(name, one.mean),
                metric(name, one.deviation),
                f"± {metric(name, (one.high - one.low) / 2)}",
                metric(name, min(one.folds)),
                metric(name, max(one.folds)),
            )
            for name, one in outcome.metrics.items()
        ]
        console.show(grid(("held out", "mean", "deviation", "95 %", "lowest", "highest"), rows))
        again = f", dealt {work.repeats} times" if work.repeats > 1 else ""
        console.show(f"{counted(work.folds, 'fold')}{again}, {counted(outcome.rows, 'row')} held out once in each")
        console.note("95 %: by the folds' deviation, widened for the training rows that they share: a rough guide")
        console.show(f"folder  {where}\nnext    mlpbp predict {typed(where)} FILE\n        mlpbp eval {typed(where)}")
    fields: dict[str, Any] = {**outcome.to_json(), "folder": str(where), "repeats": work.repeats}
    fields.pop("format")
    return console.result({**fields, "oof": str(where / "oof.csv")})

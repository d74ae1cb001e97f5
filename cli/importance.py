"""`mlpbp importance`: which columns a model needs, and what every column adds to the prediction of a row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean

from .console import Console
from .contributions import explain_some, signed, write_columns
from .options import ModelFile, Overrides, split_off
from .standard_input import copied
from .trained import tell_trained

if TYPE_CHECKING:
    from mlp_core.diagnostics.importance import Importance
    from mlp_core.training.ensemble import Saved

HELP = "Which columns a model needs (the loss when one is shuffled), or what each adds to the prediction of a row."
SHOWN = 40


def importance(
    model: ModelFile,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="A data file, or -; without it the run's own rows.")
    ] = None,
    overrides: Overrides = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, val or test. [default: test, else val, else train]")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="How often each column is shuffled.")] = 10,
    metric: Annotated[str | None, typer.Option("--metric", help="The metric shown beside the loss.")] = None,
    most: Annotated[int, typer.Option("--most", min=2, help="Rows used at most, drawn at random.")] = 10_000,
    row: Annotated[
        list[int] | None, typer.Option("--row", help="Explain this row of the file, from 0; again for more.")
    ] = None,
    rows: Annotated[Path | None, typer.Option("--rows", metavar="FILE", help="Explain every row of this file.")] = None,
    output_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="The class or target explained. [default: predicted]")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", help="Where rows are explained from: mean (of training rows) or zeros.")
    ] = "mean",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it to a file: .csv, .jsonl, .parquet or .npz.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> int:
    console = Console("importance")
    file, changes = split_off(data, overrides)
    _check(row, rows, file, baseline)
    if output is not None:
        console.check_output(output, force)
    file, rows = (None if one is None else copied(one) for one in (file, rows))
    from mlp_core.machine import single_thread_blas
    from mlp_core.runs.evaluate import open_model

    loaded, path = open_model(model, changes)
    single_thread_blas()
    if row or rows is not None:
        return explain_some(console, loaded, path, rows or file, row, split, output_name, baseline, output, force)
    if output_name is not None:
        raise UsageError(Problem("usage", "--class belongs to --row and --rows", "leave it out"))
    return _measure(console, loaded, path, file, split, repeats, metric, most, output, force)


def _check(row: list[int] | None, rows: Path | None, data: Path | None, baseline: str) -> None:
    """Refuse what does not fit together, and what could not be written, before any work."""
    if rows is not None and (row or data is not None):
        raise UsageError(Problem("usage", "--rows names the file and takes all its rows", "leave out the others"))
    if baseline not in ("mean", "zeros"):
        raise UsageError(Problem("usage", "--baseline: unknown", "choose from mean, zeros", got=baseline))


def _measure(
    console: Console,
    model: Saved,
    path: Path,
    data: Path | None,
    split: str | None,
    repeats: int,
    metric: str | None,
    most: int,
    output: Path | None,
    force: bool,
) -> int:
    """Every column shuffled."""
    from mlp_core.diagnostics.importance import importance as measure
    from mlp_core.runs.evaluate import Wishes, rows_of
    from mlp_core.runs.members import trained_rows

    known = None if data is None else trained_rows(path)
    name, part, trained = rows_of(model, Wishes(split=split, data=data, trained=known))
    with console.working("columns") as progress:
        found = measure(model, part, repeats, metric, model.config.seed, most, progress)
    if not console.json:
        _show(console, found, name)
    tell_trained(console, trained, len(part.y))
    if output is not None:
        write_columns(console, model, output, force, _columns(found))
    columns = [
        {
            "column": one.column,
            "inputs": one.inputs,
            "loss": one.loss,
            "low": one.low,
            "high": one.high,
            "change": one.change,
            "deviation": one.deviation,
            "noise": one.noise,
        }
        for one in found.columns
    ]
    alike = [{"columns": [one, other], "correlation": r} for one, other, r in found.alike]
    fields = {
        "model": str(path),
        "split": name,
        "rows": found.rows,
        "repeats": found.repeats,
        "loss": _plain(found.loss),
    }
    fields |= {"metric": found.metric, "value": _plain(found.value)}
    return console.result({**fields, "columns": [_finite(one) for one in columns], "alike": alike})


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """A number as JSON has it: null for one that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(found: Importance) -> dict[str, Any]:
    """What was measured, as columns of a file."""
    import numpy as np

    names = ("loss", "low", "high", "change", "deviation")
    told: dict[str, Any] = {"column": [one.column for one in found.columns]}
    told |= {name: np.array([getattr(one, name) for one in found.columns]) for name in names}
    return {**told, "noise": [one.noise for one in found.columns]}


def _show(console: Console, found: Importance, split: str) -> None:
    """A table with a line between what is told apart from noise and what is not."""
    from mlp_core.metrics.shown import is_share, number
    from mlp_core.metrics.shown import metric as said

    from .tables import grid

    factor, unit = (100.0, " %") if is_share(found.metric) else (1.0, "")
    name = found.metric
    console.show(
        f"{split}: {found.rows:,} rows, loss {number(found.loss)}, {name} {said(found.metric, found.value)}; "
        f"each column shuffled {found.repeats} times"
    )
    lines = []
    above = [one for one in found.columns if not one.noise]
    shown = [*above, None, *(one for one in found.columns if one.noise)][: SHOWN + 1]
    for one in shown:
        if one is None:
            lines.append(("── no better than noise ──", "", "", ""))
            continue
        change = f"{factor * one.change:+.2f}{unit}" if unit else signed(one.change)
        interval = f"{number(one.low)} .. {number(one.high)}"
        lines.append((clean(one.column, 28), signed(one.loss), interval, change if one.change == one.change else ""))
    if lines[-1][0].startswith("──"):
        lines.pop()
    console.show(grid(("column", "loss", "95 %", name), lines))
    if len(found.columns) > SHOWN:
        console.show(f"and {len(found.columns) - SHOWN:,} columns more; -o FILE writes all of them")
    if not above:
        console.show("No column is better than noise on these rows.")
    for one, other, r in found.alike:
        console.note(
            f"note: {clean(one, 24)} and {clean(other, 24)} say nearly the same (correlation {r:.2f}):\n"
            "      shuffled alone, each can hide behind the other"
        )
    if worse := [clean(one.column, 24) for one in found.columns if one.harmful][:8]:
        console.note(f"note: better when shuffled, so what was learned of it does not hold here: {', '.join(worse)}")
    if split == "train":
        console.note("note: measured on rows that it was trained on, so what was learned by heart counts, too")

"""`mlpbp importance`: which columns a model needs, and what every column adds to the prediction of a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean

from .console import Console
from .options import ModelFile

if TYPE_CHECKING:
    from mlp_core.diagnostics.explain_rows import Explained
    from mlp_core.diagnostics.importance import Importance
    from mlp_core.training.model import Model

HELP = "Which columns a model needs (the loss when one is shuffled), or what each adds to the prediction of a row."
SHOWN = 40
BAR = 14


def importance(
    model: ModelFile,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="A data file; without it the run's own rows.")
    ] = None,
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
    _check(row, rows, data, baseline, output, force)
    from mlp_core.machine import single_thread_blas
    from mlp_core.runs.evaluate import open_model

    loaded, path = open_model(model)
    single_thread_blas()
    if row or rows is not None:
        return _explain(console, loaded, path, rows or data, row, split, output_name, baseline, output, force)
    if output_name is not None:
        raise UsageError(Problem("usage", "--class belongs to --row and --rows", "leave it out"))
    return _measure(console, loaded, path, data, split, repeats, metric, most, output, force)


def _check(
    row: list[int] | None, rows: Path | None, data: Path | None, baseline: str, output: Path | None, force: bool
) -> None:
    """Refuse what does not fit together, and what could not be written, before any work."""
    if rows is not None and (row or data is not None):
        raise UsageError(Problem("usage", "--rows names the file and takes all its rows", "leave out the others"))
    if baseline not in ("mean", "zeros"):
        raise UsageError(Problem("usage", "--baseline: unknown", "choose from mean, zeros", got=baseline))
    if output is not None:
        from mlp_core.data.writers import format_of, refuse

        format_of(output, None)
        refuse(output, force)


def _measure(
    console: Console,
    model: Model,
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

    name, part = rows_of(model, Wishes(split=split, data=data))
    with console.working("columns") as progress:
        found = measure(model, part, repeats, metric, model.config.seed, most, progress)
    if not console.json:
        _show(console, found, name)
    if output is not None:
        _write(console, model, output, force, _columns(found))
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
    fields = {"model": str(path), "split": name, "rows": found.rows, "repeats": found.repeats, "loss": found.loss}
    fields |= {"metric": found.metric, "value": _plain(found.value)}
    return console.result({**fields, "columns": [_finite(one) for one in columns], "alike": alike})


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """A number as JSON has it: null for one that is not defined."""
    return None if isinstance(value, float) and value != value else value


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
        f"each column\nshuffled {found.repeats} times"
    )
    lines = []
    above = [one for one in found.columns if not one.noise]
    shown = [*above, None, *(one for one in found.columns if one.noise)][: SHOWN + 1]
    for one in shown:
        if one is None:
            lines.append(("── no better than noise ──", "", "", ""))
            continue
        change = f"{factor * one.change:+.2f}{unit}" if unit else _signed(one.change)
        interval = f"{number(one.low)} .. {number(one.high)}"
        lines.append((clean(one.column, 28), _signed(one.loss), interval, change if one.change == one.change else ""))
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


def _signed(value: float) -> str:
    from mlp_core.metrics.shown import number

    text = number(value)
    return text if text.startswith(("-", "n")) else f"+{text}"


def _explain(
    console: Console,
    model: Model,
    path: Path,
    file: Path | None,
    row: list[int] | None,
    split: str | None,
    wanted: str | None,
    baseline: str,
    output: Path | None,
    force: bool,
) -> int:
    """What every column adds to the predictions of some rows."""
    from mlp_core.diagnostics.explain_rows import columns, explain_rows

    with console.working("rows") as progress:
        found = explain_rows(model, file, row, split, wanted, baseline, progress)
    if output is not None:
        _write(console, model, output, force, columns(found, model.task))
    if not console.json:
        if len(found) <= 3:
            for one in found:
                _show_row(console, one, baseline)
        else:
            _show_many(console, found, model)
        for one in found:
            if not one.parts.complete:
                console.warn(f"row {one.row}: the contributions miss {one.parts.gap:.2g} of what they explain")
    rows = [
        {
            "row": one.row,
            "place": one.place or None,
            "output": one.output,
            "prediction": one.parts.value,
            "baseline": one.parts.baseline,
            "gap": one.parts.gap,
            "points": one.parts.points,
            "columns": dict(zip(model.task.features, map(float, one.parts.columns), strict=True)),
        }
        for one in found
    ]
    return console.result({"model": str(path), "baseline": baseline, "rows": rows})


def _show_row(console: Console, one: Explained, baseline: str) -> None:
    """One row: its columns, the largest contribution first."""
    from mlp_core.metrics.shown import number

    from .tables import grid

    parts, place = one.parts, f" ({one.place})" if one.place else ""
    what = f"probability of {clean(one.output, 30)}" if one.probability else clean(one.output, 30)
    start = "the mean of the training rows" if baseline == "mean" else "inputs of 0"
    console.show(
        f"row {one.row}{clean(place, 60)}: {what}\n{number(parts.baseline)} for {start}, {number(parts.value)} here"
    )
    pairs = sorted(zip(one.cells.items(), parts.columns, strict=True), key=lambda pair: -abs(pair[1]))
    largest = max((abs(added) for _, added in pairs), default=0) or 1
    lines = []
    for (name, cell), added in pairs[:SHOWN]:
        bar = ("+" if added > 0 else "-") * round(BAR * abs(added) / largest)
        lines.append((clean(name, 24), clean(cell, 16) or "(missing)", _signed(float(added)), bar))
    if len(pairs) > SHOWN:
        rest = float(sum(added for _, added in pairs[SHOWN:]))
        lines.append((f"({len(pairs) - SHOWN} more)", "", _signed(rest), ""))
    lines.append(("sum", "", _signed(float(parts.columns.sum())), ""))
    console.show(grid(("column", "value ", "adds", " "), lines))
    console.show(f"completeness gap {parts.gap:.1e} ({parts.points:,} gradients)\n")


def _show_many(console: Console, found: Sequence[Explained], model: Model) -> None:
    """Many rows: what every column adds, in the mean of its size."""
    import numpy as np

    from mlp_core.metrics.shown import number

    from .tables import grid

    sizes = np.mean([np.abs(one.parts.columns) for one in found], axis=0)
    order = np.argsort(-sizes, kind="stable")[:SHOWN]
    lines = [(clean(model.task.features[j], 28), number(float(sizes[j]))) for j in order]
    console.show(f"{len(found):,} rows: what each column adds to their predictions")
    console.show(grid(("column", "mean size"), lines))
    gap = max(abs(one.parts.gap) for one in found)
    console.show(f"largest completeness gap {gap:.1e}; -o FILE writes every row, and so does --json")


def _write(console: Console, model: Model, output: Path, force: bool, told: dict[str, Any]) -> None:
    from mlp_core.data.writers import format_of, writing

    digits = 9 if model.config.dtype == "float32" else 17
    with writing(output, format_of(output, None), force, digits) as write:
        write(told)
    console.note(f"written to {output}")

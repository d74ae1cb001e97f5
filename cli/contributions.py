"""What columns add to the predictions of single rows: the part of `mlpbp importance` about rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlp_core.errors import clean

from .console import Console

if TYPE_CHECKING:
    from mlp_core.diagnostics.explain_rows import Explained
    from mlp_core.training.ensemble import Saved

SHOWN = 40
BAR = 14
IN_FULL = 3


def explain_some(
    console: Console,
    model: Saved,
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
        write_columns(console, model, output, force, columns(found, model.task))
    if not console.json:
        if len(found) <= IN_FULL:
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
        lines.append((clean(name, 24), clean(cell, 16) or "(missing)", signed(float(added)), bar))
    if len(pairs) > SHOWN:
        rest = float(sum(added for _, added in pairs[SHOWN:]))
        lines.append((f"({len(pairs) - SHOWN} more)", "", signed(rest), ""))
    lines.append(("sum", "", signed(float(parts.columns.sum())), ""))
    console.show(grid(("column", "value ", "adds", " "), lines))
    console.show(f"completeness gap {parts.gap:.1e} ({parts.points:,} gradients)\n")


def _show_many(console: Console, found: Sequence[Explained], model: Saved) -> None:
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


def signed(value: float) -> str:
    from mlp_core.metrics.shown import number

    text = number(value)
    return text if text.startswith(("-", "n")) else f"+{text}"


def write_columns(console: Console, model: Saved, output: Path, force: bool, told: dict[str, Any]) -> None:
    console.write(output, told, force, 9 if model.config.dtype == "float32" else 17)
    if str(output) != "-":
        console.note(f"written to {output}")

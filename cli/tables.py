"""Tables that several commands show, 80 columns wide at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mlp_core.errors import clean
from mlp_core.metrics.shown import metric, number

STYLES = {"ok": "", "note": "yellow", "wrong": "bold red"}


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1, style: Any = None) -> Table:
    """Plain cells under headings; the first `left` columns and headings that end in a blank are set left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        text = place < left or name.endswith(" ")
        table.add_column(name.strip(), justify="left" if text else "right", overflow="fold" if text else "ellipsis")
    for row in rows:
        table.add_row(*row, style=style(row) if style else "")
    return table


def class_table(rows: Iterable[Any]) -> Table:
    """Precision, recall and F1 of every class."""
    return grid(
        ("class", "precision", "recall", "F1", "rows", "predicted"),
        (
            (clean(r.name, 24), number(r.precision), number(r.recall), number(r.f1), f"{r.rows:g}", f"{r.predicted:g}")
            for r in rows
        ),
    )


def mistakes_table(rows: Iterable[tuple[str, str, float]]) -> Table:
    """Pairs of classes that are taken for each other, the most frequent first."""
    return grid(
        ("true ", "predicted ", "rows"),
        ((clean(true, 24), clean(guess, 24), f"{weight:g}") for true, guess, weight in rows),
        left=2,
    )


def group_table(column: str, rows: Sequence[Any]) -> Table:
    """The metrics of every group of rows."""
    names = list(rows[0].metrics)
    return grid(
        (clean(column, 20), "rows", *(name for name in names)),
        (
            (clean(row.name, 24), f"{row.rows:,}", *(metric(name, value) for name, value in row.metrics.items()))
            for row in rows
        ),
    )


def change_table(before: Mapping[str, float], after: Mapping[str, float]) -> Table:
    """What calibration and threshold changed on the rows they were fitted on."""
    return grid(
        ("on validation rows", "before", "after"),
        ((name, metric(name, before[name]), metric(name, after[name])) for name in before),
    )


def residual_table(rows: Iterable[Any]) -> Table:
    """How prediction minus target is distributed, one line per target."""
    return grid(
        ("predicted - true", "mean", "sd", "5 %", "median", "95 %", "largest"),
        (
            (
                clean(r.name, 18),
                *(f"{v:.4g}" for v in (r.bias, r.spread, r.quantiles[0], r.quantiles[2], r.quantiles[4], r.largest)),
            )
            for r in rows
        ),
    )


def findings_table(rows: Iterable[Any]) -> Table:
    """What was looked at, its verdict, and under it what to change."""
    table = grid(("", "checked ", "found "), (), left=3)
    for row in rows:
        text = row.detail + (f"\n-> {row.advice}" if row.advice else "")
        table.add_row(row.verdict, row.name, text, style=STYLES[row.verdict])
    return table


def columns_table(views: Iterable[Any], width: int = 80) -> Table:
    """One line per column: what it is, its gaps, and its range (and mean) or its commonest values.

    A name is read in full, in two lines if it must be: what differs may be in its middle."""
    heads, rows = ("column", "is", "missing", "distinct"), [(*_column_cells(view), view) for view in views]
    taken = [max(map(len, column)) for column in zip(heads, *(r[:4] for r in rows), strict=True)]
    room = width - 13 - sum(taken[1:])
    names = min(taken[0], max(16, room - 18))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("column", overflow="fold", width=names)
    for name, side in (("is", "left"), ("missing", "right"), ("distinct", "right")):
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("values", no_wrap=True, overflow="ellipsis", max_width=max(12, room - names))
    for *cells, view in rows:
        table.add_row(*cells, style="yellow" if view.column.kind == "ignore" or view.values.distinct < 2 else "")
    return table


def _column_cells(view: Any) -> tuple[str, str, str, str, str]:
    values = view.values
    shown = ", ".join(clean(text, 20) for text in values.examples)
    if values.low is not None and values.distinct > 2:
        shown = f"{_figure(values.low)} .. {_figure(values.high)} ({values.mean:.4g})"
    missing = f"{view.column.missing:,}" if view.column.missing else ""
    kind = view.column.kind if view.part in ("", "input") else view.part
    return clean(view.column.name, 200), kind, missing, f"{values.distinct:,}", shown


def _figure(value: float) -> str:
    """A limit of a column: whole numbers in full, as far as they can be read."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e10 else f"{value:.5g}"


def counts_table(classes: Mapping[str, Mapping[str, int]], splits: Mapping[str, int], most: int) -> Table:
    """Rows of every class, by split, with its share of the first split."""
    first = next(iter(splits))
    rows = [
        (
            clean(label, 24),
            *(f"{counts.get(split, 0):,}" for split in splits),
            _share(counts.get(first, 0), splits[first]),
        )
        for label, counts in classes.items()
    ]
    more = [("...", *("" for _ in splits), "")] if len(rows) > most else []
    return grid(("class", *splits, f"of {first}"), rows[:most] + more)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def worst_table(rows: Sequence[Any], classifies: bool, width: int = 80) -> Table:
    """Rows with a large loss: where they are, what is true and predicted, and as many columns as there is room for."""
    heads = ["row", "truth ", "predicted ", *(["p(truth)"] if classifies else []), "loss"]
    cells = [
        [
            f"{one.row}",
            clean(one.truth, 16),
            clean(one.predicted, 16),
            *([number(one.p_truth)] if classifies else []),
            number(one.loss),
        ]
        for one in rows
    ]
    taken = sum(max(map(len, column)) + 3 for column in zip(heads, *cells, strict=True))
    for name in rows[0].cells:
        column = [clean(name, 12) + " ", *(clean(one.cells[name], 12) for one in rows)]
        taken += max(map(len, column)) + 3
        if taken > width:
            break
        heads.append(column[0])
        cells = [[*row, text] for row, text in zip(cells, column[1:], strict=True)]
    return grid(heads, cells, left=0)

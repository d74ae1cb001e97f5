"""Several runs beside each other: their metrics, the keys in which they differ, their curves in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlp_core.errors import clean
from mlp_core.metrics import BRIEF
from mlp_core.metrics.shown import metric
from mlp_core.report import charts
from mlp_core.report.blocks import Paragraph, Picture, Section, Table
from mlp_core.report.listing import differing_keys, subject, value_of
from mlp_core.report.run_files import RunFiles

SHOWN = 8  # metrics in the table
CURVES = 24  # runs whose curves are drawn
PICTURES = 4


def comparison(runs: Sequence[RunFiles]) -> list[Section]:
    """A table of metrics and differences, and the curves of all runs over each other."""
    return [Section("Metrics", _table(runs)), Section("Curves", _curves(runs))]


def names(runs: Sequence[RunFiles]) -> list[str]:
    """A name for every run: its folder's, with those above it where two are called the same."""
    parts = [run.path.resolve().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        found = ["/".join(one[-length:]) for one in parts]
        if len(set(found)) == len(set(parts)):
            break
    return [clean(name, 60) for name in found]


def _table(runs: Sequence[RunFiles]) -> list[Any]:
    keys = differing_keys(runs)
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics if not name.startswith("train_")))
    main = {BRIEF[str(kind)][0] for run in runs if (kind := run.config.get("data.task")) in BRIEF} | {"loss"}
    usual = [name for name in measured if name.split("_", 1)[-1] in main]
    chosen = [*usual, *(name for name in measured if name not in usual)][:SHOWN]
    rows = [
        [
            name,
            *(clean(value_of(run, key), 60) for key in keys),
            str(run.best_epoch or ""),
            *(metric(one, run.metrics[one]) if one in run.metrics else "" for one in chosen),
            "" if run.seconds is None else f"{run.seconds:,.1f}",
        ]
        for name, run in zip(names(runs), runs, strict=True)
    ]
    heads = ["run", *keys.values(), "best epoch", *(one.replace("_", " ") for one in chosen), "seconds"]
    blocks: list[Any] = [Table(heads, rows, left=1 + len(keys))]
    if len({subject(run) for run in runs}) > 1:
        words = "These runs are about different data, so their numbers do not compare."
        blocks.insert(0, Paragraph(words, warning=True))
    return blocks


def _curves(runs: Sequence[RunFiles]) -> list[Any]:
    """One picture for every quantity that most runs have."""
    shown = list(zip(names(runs), runs, strict=True))[:CURVES]
    logged = [name for _, run in shown for name in run.curve if name.startswith(("train_", "val_"))]
    counts = {name: logged.count(name) for name in dict.fromkeys(logged)}
    blocks: list[Any] = [Paragraph(f"The curves of the first {CURVES} runs.")] if len(runs) > CURVES else []
    for quantity in sorted(counts, key=lambda name: (name != "val_loss", -counts[name]))[:PICTURES]:
        series = {
            name: (run.curve["epoch"], run.curve[quantity])
            for name, run in shown
            if any(value is not None for value in run.curve.get(quantity, []))
        }
        marks = {name: run.best_epoch for name, run in shown if name in series and run.best_epoch}
        if series:
            label = quantity.replace("_", " ")
            svg = charts.curves(series, label, marks, log=None if quantity.endswith("loss") else False)
            blocks.append(Picture(svg, f"{label}, by epoch.", label))
    return blocks

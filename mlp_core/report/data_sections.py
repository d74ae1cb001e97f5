"""Sections of a report that need the data: predictions, classes, worst rows, importance, the data itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.data.task import Task
from mlp_core.diagnostics.data_summary import Overview
from mlp_core.diagnostics.importance import Importance
from mlp_core.errors import clean
from mlp_core.metrics import Outcome
from mlp_core.metrics.groups import confusions, per_class, residuals
from mlp_core.metrics.probability import reliability
from mlp_core.metrics.ranking import area_under_roc, average_precision, pr_curve, roc_curve
from mlp_core.metrics.shown import metric, number
from mlp_core.report import charts
from mlp_core.report.blocks import Paragraph, Picture, Section, Table
from mlp_core.rng import generator
from mlp_core.runs.worst import WorstRow

CURVES = 6  # classes whose curves are drawn
BARS = 25  # columns whose importance is drawn
COLUMNS = 8  # of a row that are shown
TARGETS = 4  # targets whose errors are drawn
CLASSES = 200  # classes in the table


def predictions(task: Task, outcome: Outcome, split: str) -> Section:
    """How predictions and truth compare, as pictures: a confusion matrix and curves, or errors."""
    blocks: list[Any] = [Paragraph(f"Measured on the {split} rows ({len(outcome.y):,}).")]
    if task.kind == "regression":
        return Section("Predictions", blocks + _errors(task, outcome))
    if task.classifies:
        blocks.append(
            Picture(
                charts.confusion(outcome.cells, task.classes),
                "Confusion matrix: rows are true classes, columns predicted ones; the stronger the colour, the larger "
                "the share of its row.",
                "confusion matrix",
            )
        )
    blocks += _curves(task, outcome)
    if task.classifies and (wrong := confusions(outcome.cells, task.classes)):
        rows = [[clean(true), clean(guess), f"{weight:g}"] for true, guess, weight in wrong]
        blocks.append(Table(["true", "predicted", "rows"], rows, left=2, caption="Most frequent mistakes"))
    return Section("Predictions", blocks)


def _curves(task: Task, outcome: Outcome) -> list[Any]:
    """ROC, precision over recall, and reliability; of many classes those that are told apart worst."""
    names = task.classes[-1:] if task.kind == "binary" else task.classes
    questions = []
    for name, (score, yes) in zip(names, outcome.scored, strict=True):
        area = area_under_roc(score, yes, outcome.weight)
        if not math.isnan(area):
            questions.append((area, name, score, yes))
    few = sorted(questions, key=lambda question: question[0])[:CURVES]
    which = f" The {CURVES} classes that are told apart worst." if len(questions) > CURVES else ""
    blocks: list[Any] = []
    if few:
        roc = {f"{name} ({area:.3f})": roc_curve(score, yes, outcome.weight) for area, name, score, yes in few}
        svg = charts.lines(roc, "false positives", "true positives", diagonal=True)
        alone = f": {few[0][0]:.3f}" if len(few) == 1 else ""
        blocks.append(Picture(svg, f"ROC curve, with the area under it{alone}.{which}", "ROC curve"))
        few_precise = [average_precision(score, yes, outcome.weight) for _, _, score, yes in few]
        precise = {
            f"{name} ({mean:.3f})": pr_curve(score, yes, outcome.weight)
            for mean, (_, name, score, yes) in zip(few_precise, few, strict=True)
        }
        svg = charts.lines(precise, "recall", "precision", steps=True)
        alone = f": {few_precise[0]:.3f}" if len(few) == 1 else ""
        words = f"Precision over recall, with the average precision{alone}.{which}"
        blocks.append(Picture(svg, words, "precision curve"))
    if outcome.y.ndim == 2:
        scores, happened = outcome.P.reshape(-1), (outcome.y > 0.5).reshape(-1)
        weights, what = np.repeat(outcome.weight, outcome.P.shape[1]), "every label"
    elif outcome.P.shape[1] == 2:
        scores, happened, weights, what = outcome.P[:, 1], outcome.y == 1, outcome.weight, task.classes[1]
    else:
        scores, happened = outcome.P.max(axis=1), outcome.P.argmax(axis=1) == outcome.y
        weights, what = outcome.weight, "the predicted class"
    rows, said, was = reliability(scores, happened, weights, outcome.bins)
    some = rows > 0
    if some.any():
        svg = charts.reliability(said[some], was[some], rows[some])
        caption = f"Reliability: how often {clean(what, 30)} is true when it is said with a probability (bars: rows)."
        blocks.append(Picture(svg, caption, "reliability diagram"))
    return blocks


def _errors(task: Task, outcome: Outcome) -> list[Any]:
    """Predictions over the truth and the distribution of errors, target by target."""
    blocks: list[Any] = []
    order = generator(0, "report").permutation(len(outcome.y))
    for j, name in enumerate(task.targets[:TARGETS]):
        truth, guess = outcome.y[order, j], outcome.P[order, j]
        finite = np.isfinite(guess)
        truth, guess = truth[finite], guess[finite]
        if not len(guess):
            continue
        few = f" ({charts.DOTS:,} rows drawn at random)" if len(order) > charts.DOTS else ""
        blocks.append(
            Picture(charts.scatter(truth, guess, name), f"Predicted over true {clean(name)}{few}.", "scatter")
        )
        blocks.append(Picture(charts.histogram(guess - truth, name), f"Errors of {clean(name)}.", "histogram"))
    rows = [
        [clean(r.name), *(f"{v:.4g}" for v in (r.bias, r.spread, r.quantiles[0], r.quantiles[2], r.quantiles[4]))]
        for r in residuals(outcome, task.targets)
    ]
    heads = ["predicted - true", "mean", "deviation", "5 %", "median", "95 %"]
    return [*blocks, Table(heads, rows, caption="Errors, in the units of the data")]


def classes(task: Task, outcome: Outcome) -> Section | None:
    """Every class with its precision, recall and F1; None for a regression."""
    if task.kind == "regression":
        return None
    found = per_class(outcome, task.classes)
    rows = [
        [clean(r.name), number(r.precision), number(r.recall), number(r.f1), f"{r.rows:g}", f"{r.predicted:g}"]
        for r in found[:CLASSES]
    ]
    more = [Paragraph(f"The first {CLASSES} of {len(found)} classes.")] if len(found) > CLASSES else []
    return Section("Classes", [*more, Table(["class", "precision", "recall", "F1", "rows", "predicted"], rows)])


def importances(found: Importance) -> Section:
    """What every column is worth, as bars with intervals; those that may be chance are faint."""
    shown = found.columns[:BARS]
    svg = charts.bars(
        [one.column for one in shown],
        [one.loss for one in shown],
        [one.low for one in shown],
        [one.high for one in shown],
        [one.noise for one in shown],
        "loss grows by",
    )
    text = (
        f"By how much the loss ({number(found.loss)}) grows when a column is shuffled among {found.rows:,} rows, mean "
        f"of {found.repeats} times, with its interval of 95 %. Faint: no better than noise."
    )
    rows = [
        [clean(one.column), number(one.loss), f"{number(one.low)} .. {number(one.high)}", _moved(found, one.change)]
        for one in found.columns
    ]
    faint = frozenset(place for place, one in enumerate(found.columns) if one.noise)
    name = found.metric.replace("_", " ")
    blocks: list[Any] = [Picture(svg, text, "importance of the columns")]
    blocks.append(Table(["column", "loss grows by", "95 %", f"{name} changes by"], rows, faint=faint))
    for one, other, r in found.alike:
        words = f"{clean(one)} and {clean(other)} say nearly the same (correlation {r:.2f}): shuffled alone, each can "
        blocks.append(Paragraph(words + "hide behind the other."))
    return Section("Importance", blocks)


def _moved(found: Importance, change: float) -> str:
    text = metric(found.metric, change)
    return text if text.startswith("-") or math.isnan(change) else f"+{text}"


def worst(rows: Sequence[WorstRow], task: Task, split: str) -> Section:
    """The rows with the largest loss, and their first columns."""
    columns = list(rows[0].cells)[:COLUMNS] if rows else []
    sure = ["p of truth", "p of guess"] if task.classifies else []
    heads = ["row", "truth", "predicted", *columns, *sure, "loss"]
    cells = [
        [
            row.place or str(row.row),
            clean(row.truth),
            clean(row.predicted),
            *(clean(row.cells[name], 24) for name in columns),
            *([number(row.p_truth), number(row.p_predicted)] if task.classifies else []),
            number(row.loss),
        ]
        for row in rows
    ]
    words = f"The {len(rows)} of the {split} rows that the model is most wrong about."
    return Section("Worst rows", [Paragraph(words), Table(heads, cells, left=3 + len(columns))])


def data(seen: Overview) -> Section:
    """What every column holds, and how many rows of every class there are."""
    blocks: list[Any] = [Paragraph(clean(note, 300)) for note in seen.notes if note.startswith("note: ")]
    rows = []
    for view in seen.views:
        values = view.values
        text = ", ".join(clean(example, 20) for example in values.examples)
        if values.low is not None and values.distinct > 2:
            text = f"{values.low:.4g} .. {values.high:.4g}, mean {values.mean:.4g}"
        kind = view.column.kind if view.part in ("", "input") else f"{view.part}, {view.column.kind}"
        missing = f"{view.column.missing:,}" if view.column.missing else ""
        rows.append([clean(view.column.name), kind, text, missing, f"{values.distinct:,}"])
    shown = f", the first {len(rows)} of {seen.columns:,}" if seen.columns > len(rows) else ""
    splits = ", ".join(f"{name} {count:,}" for name, count in seen.splits.items())
    blocks.append(Paragraph(f"{seen.rows:,} rows in the training file; rows by split: {splits}."))
    heads = ["column", "is", "values", "missing", "distinct"]
    blocks.append(Table(heads, rows, left=3, caption=f"Columns{shown}"))
    if seen.classes:
        names = list(seen.splits)
        counts = [[clean(label), *(f"{of.get(name, 0):,}" for name in names)] for label, of in seen.classes.items()]
        blocks.append(Table(["class", *names], counts[:CLASSES], caption="Rows of every class"))
    return Section("Data", blocks)

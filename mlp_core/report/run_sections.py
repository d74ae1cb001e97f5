"""Sections of a report that a run's own files tell: what it came to, its curves, its config, how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlp_core.config import defaults
from mlp_core.config.keys import said
from mlp_core.descriptors import read_own
from mlp_core.errors import clean
from mlp_core.metrics.shown import metric
from mlp_core.report import charts
from mlp_core.report.blocks import Paragraph, Picture, Section, Table, Text
from mlp_core.report.run_files import RunFiles, flat

SPLITS = ("train", "val", "test")
LARGEST_CONFIG = 64 << 10
MOST_DRAWN = 12  # metrics with a picture of their own


def summary(run: RunFiles) -> Section:
    """What the run came to: its metrics by split, with the epoch they are of."""
    blocks: list[Any] = []
    if run.status != "finished":
        blocks.append(Paragraph(f"This run is not finished: {_WHY.get(run.status, run.status)}.", warning=True))
    names: dict[str, dict[str, float]] = {split: {} for split in SPLITS}
    for name, value in run.metrics.items():
        split, _, rest = name.partition("_")
        names.setdefault(split, {})[rest] = value
    have = [split for split in names if names[split]]
    rows = [
        [rest.replace("_", " "), *(metric(rest, names[s][rest]) if rest in names[s] else "" for s in have)]
        for rest in dict.fromkeys(rest for split in have for rest in names[split])
    ]
    if rows:
        epoch = f"of epoch {run.best_epoch}, the best by {run.config.get('checkpoint.monitor')}"
        blocks.append(Table(["metric", *have], rows, caption=f"Metrics {epoch}"))
    return Section("Summary", blocks)


_WHY = {
    "killed": "its process ended without a word; mlpbp train --resume goes on with it",
    "interrupted": "it was interrupted; mlpbp train --resume goes on with it",
    "failed": "it failed",
    "running": "it is running now",
    "not begun": "it had not begun",
}


def about(run: RunFiles) -> str:
    """One line: the status, how long, when."""
    parts = [run.status]
    if run.epochs is not None:
        parts.append(f"{run.epochs:,} epochs")
    if run.best_epoch:
        parts.append(f"best epoch {run.best_epoch:,}")
    if run.seconds is not None:
        parts.append(f"{run.seconds:,.1f} s")
    return ", ".join([*parts, *([str(run.record["started"])] if "started" in run.record else [])])


def training(run: RunFiles) -> Section:
    """The curves of loss and metrics, with the best epoch, and the learning rate."""
    curve = run.curve
    if not curve:
        return Section("Training", [Paragraph("There is no log of epochs.", warning=True)])
    epochs = curve["epoch"]
    blocks: list[Any] = []
    losses = {name: (epochs, curve[name]) for name in ("train_loss", "val_loss") if _any(curve.get(name))}
    if losses:
        best = {"val_loss" if "val_loss" in losses else "train_loss": run.best_epoch}
        caption = f"Loss by epoch{_best_mark(run)}."
        blocks.append(Picture(charts.curves(losses, "loss", best), caption, "loss of every epoch"))
    metrics = [name for name in curve if name.startswith("val_") and name != "val_loss"]
    for name in metrics[:MOST_DRAWN]:
        if _any(curve[name]):
            shown = name.removeprefix("val_").replace("_", " ")
            svg = charts.curves({name: (epochs, curve[name])}, shown, {name: run.best_epoch}, log=False)
            blocks.append(Picture(svg, f"{shown}, validation rows.", f"{shown} of every epoch"))
    if _any(curve.get("lr")):
        blocks.append(Picture(charts.curves({"lr": (epochs, curve["lr"])}, "learning rate"), "Learning rate."))
    return Section("Training", blocks)


def _any(values: Any) -> bool:
    return any(value is not None for value in values or ())


def _best_mark(run: RunFiles) -> str:
    return f"; the dot is epoch {run.best_epoch}, whose weights are used" if run.best_epoch else ""


def config(run: RunFiles) -> Section:
    """What differs from the defaults, the config as it was given, and every key as it was resolved."""
    usual, found = flat(defaults()), run.config
    rows = [
        [key, clean(said(value), 200), clean(said(usual[key]), 200) if key in usual else ""]
        for key, value in found.items()
        if key not in usual or repr(value) != repr(usual[key])
    ]
    caption = "Keys that are not as they are by default: given, or decided from the data"
    blocks: list[Any] = [Table(["key", "value", "default"], rows, left=3, caption=caption)]
    for title, name in (("as it was given", "config.yaml"), ("with every key", "config.resolved.yaml")):
        if text := _read(run.path / name):
            blocks.append(Text(f"The config {title} ({name})", text))
    return Section("Config", blocks)


def _read(path: Path) -> str:
    """The text of a small file, empty where there is none that can be read."""
    try:
        return read_own(path, LARGEST_CONFIG).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def made(run: RunFiles) -> Section:
    """How the run was made: proof of the gradient, digest of the data, tools, and what was inferred."""
    record, rows = run.record, list[list[str]]()
    gradient = record.get("gradient")
    proof = f"proved before the first step, worst relative error {gradient}" if gradient else "not checked"
    rows.append(["gradient", clean(proof, 200)])
    for name in ("data_sha256", "seed", "reason", "steps", "started", "ended", "exit_code", "notes"):
        if record.get(name) is not None:
            rows.append([name.replace("_", " "), clean(record[name], 300)])
    command = record.get("command")
    if isinstance(command, list):
        rows.append(["command", clean("mlpbp " + " ".join(map(str, command)), 300)])
    environment = record.get("environment")
    if isinstance(environment, Mapping):
        rows += [[clean(name, 40), clean(value, 200)] for name, value in environment.items()]
    blocks: list[Any] = [Table(["", ""], rows, left=2)]
    inferred = record.get("inferred")
    if isinstance(inferred, list) and inferred:
        blocks.append(Text("What was inferred", "\n".join(clean(line, 300) for line in inferred)))
    return Section("How it was made", blocks)

"""What is seen of training from Python: a line that moves in a terminal or a notebook, and a picture of its curves."""

from __future__ import annotations

import hashlib
import html
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mlp_core.metrics.shown import metric
from mlp_core.training.events import EpochDone, Event

COLOURS = "--ink: currentColor; --faint: #808a96; --line: #9aa5b355; --c0: #2f6fb2; --c1: #d07a1f"
PAUSE = 0.2  # seconds between two lines


class Progress:
    """The newest epoch in one line, drawn over the one before; nothing where nobody would see it move."""

    def __init__(self, epochs: int, wanted: bool = True) -> None:
        self.epochs, self._last, self._width = epochs, 0.0, 0
        self._handle = _notebook() if wanted else None
        self._terminal = wanted and self._handle is None and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle is not None:
            self._handle.update(_Html(""))
        elif self._width:
            print(file=sys.stderr)

    def show(self, event: Event) -> None:
        if not isinstance(event, EpochDone) or not (self._handle or self._terminal):
            return
        now = time.monotonic()
        if now - self._last < PAUSE and event.epoch < self.epochs:
            return
        told = [f"{name} {metric(name, value)}" for name, value in event.metrics.items() if name != "lr"]
        self._last, text = now, f"epoch {event.epoch}/{self.epochs}  " + "  ".join(told)
        if self._handle is not None:
            bar = f'<progress value="{event.epoch}" max="{self.epochs}"></progress>'
            self._handle.update(_Html(f"{bar} {html.escape(text)}"))
        else:
            print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text)


class _Html:
    """Something that a notebook draws."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text


def _notebook() -> Any:
    """A place of the notebook whose content can be changed; None outside of one."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return display(_Html(""), display_id=True)


def curve_html(history: Sequence[Mapping[str, float]], best: int) -> str:
    """Loss by epoch as a picture."""
    from mlp_core.report.charts import MINE, curves

    epochs = [row["epoch"] for row in history]
    losses = {name: (epochs, [row.get(name) for row in history]) for name in ("train_loss", "val_loss")}
    losses = {name: pair for name, pair in losses.items() if any(value is not None for value in pair[1])}
    if not losses:
        return ""
    drawing = curves(losses, "loss", {list(losses)[-1]: best})
    mine = hashlib.sha256(drawing.encode()).hexdigest()[:8]  # no other picture of the notebook has these names
    return f'<div style="width: 420px; {COLOURS}">{drawing.replace(MINE, f"mlpbp-{mine}-")}</div>'


def metrics_html(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """The metrics of each split as a table."""
    names = dict.fromkeys(name for values in metrics.values() for name in values)
    head = "".join(f"<th>{html.escape(split)}</th>" for split in metrics)
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{metric(name, values[name]) if name in values else ''}</td>" for values in metrics.values())
        + "</tr>"
        for name in names
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"

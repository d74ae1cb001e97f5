"""Tables and progress bars for people, 80 columns wide at most."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mlp_core.errors import clean, counted
from mlp_core.metrics import smaller_is_better
from mlp_core.metrics.shown import metric, number
from mlp_core.training.baselines import Baselines
from mlp_core.training.events import EpochDone, StepDone

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.search.watching import Position

CLASSES_SHOWN = 12


def plain_epoch(event: EpochDone, epochs: int, width: int | None = None) -> str:
    """One line for one epoch, on a terminal with as much as has room: first the seconds go, then the rate, then the
    last metrics."""
    values = [f"{name} {metric(name, value)}" for name, value in event.metrics.items() if name != "lr"]
    best = ["*"] if event.improved else []
    clock = [f"lr {event.metrics['lr']:.2e}", f"{event.seconds:.2f} s"]
    while True:
        line = "  ".join([f"epoch {event.epoch}/{epochs}", *values, *clock, *best])
        if width is None or len(line) <= width or not (clock or values[1:]):
            return line
        (clock or values).pop()


def expected(pace: float, epochs: int, config: Config) -> str:
    """What is to be expected of the epochs that are left, at so many seconds for each."""
    left, early, most = pace * epochs, config.train.early_stopping, config.train.max_seconds
    told = "under a second" if left < 1 else f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
    told = told if left < 5_400 else f"{left / 3_600:.1f} h"
    ends = [f"less if {early.monitor} gets no better"] if early else []
    ends += [f"at most {config.train.max_time} in all"] if most is not None and most < left else []
    return "expected: " + ", ".join([f"{told} for {counted(epochs, 'more epoch')}", *ends])


class EpochTable:
    """A live table of the best epoch and the last ones over a progress bar of the run; it stays when the run ends."""

    def __init__(self, epochs: int, steps_per_epoch: int, lines: int = 10) -> None:
        self.epochs, self.lines = epochs, lines
        self.rows: list[EpochDone] = []
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps  loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self.task = self.bar.add_task("", total=epochs * steps_per_epoch, epoch=1, loss="-")
        self.live = Live(console=Console(stderr=True), get_renderable=self._draw, refresh_per_second=8)

    def __enter__(self) -> EpochTable:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.update(self.task, visible=False)
        self.live.stop()

    def step(self, event: StepDone) -> None:
        told: dict[str, Any] = {} if event.loss is None else {"loss": number(event.loss)}
        self.bar.update(self.task, completed=event.step, epoch=event.epoch, **told)

    def epoch(self, event: EpochDone) -> None:
        self.rows.append(event)

    def _shown(self) -> list[EpochDone | None]:
        """The last epochs, and above them the best one where it is not among them; None for what is left out."""
        last: list[EpochDone | None] = list(self.rows[-self.lines :])
        best = next((event for event in reversed(self.rows) if event.improved), None)
        if best is None or best in last:
            return last
        return [best, *([] if last[1] is self.rows[best.epoch - self.rows[0].epoch + 1] else [None]), *last[1:]]

    def _draw(self) -> Group:
        if not self.rows:
            return Group(self.bar)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        names = [name for name in self.rows[0].metrics if name != "lr"][:5]
        for name in ("epoch", *names, "lr", "time"):
            table.add_column(name, justify="right")
        table.add_column("")
        for event in self._shown():
            if event is None:
                table.add_row("...")
                continue
            cells = [metric(name, event.metrics[name]) if name in event.metrics else "" for name in names]
            mark = "best" if event.improved else ""
            table.add_row(str(event.epoch), *cells, f"{event.metrics['lr']:.1e}", f"{event.seconds:.2f} s", mark)
        return Group(table, self.bar)


class WorkBar:
    """A bar on stderr that is gone when the work is done, and one below it for each run that is on its way."""

    def __init__(self, what: str) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
        )
        self.bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self.whole = self.bars.add_task(what, total=None, said="")
        self.below: dict[str, TaskID] = {}
        self.done, self.total = 0, 0

    def __enter__(self) -> WorkBar:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, done: int, total: int) -> None:
        """So much of it is done."""
        self.done, self.total = done, total
        self._draw(float(done))

    def runs(self, running: Sequence[Position], total: int) -> None:
        """What is done, with what of `total` runs is on its way."""
        self.total = total
        for name in self.below.keys() - {one.name for one in running}:
            self.bars.remove_task(self.below.pop(name))
        for one in running:
            if one.name not in self.below:
                self.below[one.name] = self.bars.add_task(f"  {clean(one.name, 20)}", total=one.epochs, said="")
            said = f"epoch {one.epoch:,}/{one.epochs:,}"
            self.bars.update(self.below[one.name], completed=one.epoch, total=one.epochs, said=said)
        self._draw(min(float(total), self.done + sum(one.epoch / max(1, one.epochs) for one in running)))

    def _draw(self, completed: float) -> None:
        share = 100 * completed / max(1, self.total)
        self.bars.update(self.whole, completed=completed, total=self.total, said=f"{share:.0f} %")


def metrics_table(metrics: Mapping[str, Mapping[str, float]], title: str | None = None) -> Table:
    """Splits as columns, metrics as rows."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("metric")
    for split in metrics:
        table.add_column(split, justify="right")
    for name in next(iter(metrics.values())):
        table.add_row(name, *(metric(name, values[name]) for values in metrics.values()))
    return table


def baseline_lines(beside: Baselines) -> list[str]:
    """What no network and one without hidden layers come to, beside the network."""
    told = [f"{one.name} {metric(beside.metric, one.value)}" for one in beside.all]
    ours = metric(beside.metric, beside.all[0].network)
    some = f" of {beside.rows:,} of {beside.of:,} rows" if beside.rows < beside.of else ""
    line = f"beside it, {beside.split} {beside.metric}{some}: {', '.join(told)}; the network {ours}"
    return _within(line)


def beside_members(told: Mapping[str, Any], metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The same for an ensemble, from what its first member wrote down, and a word where it is no better."""
    split, name = told["split"], told["metric"]
    simple = {key: one["value"] for key, one in told.items() if isinstance(one, Mapping)}
    ours = metrics[split][name]
    values = ", ".join(f"{key} {metric(name, value)}" for key, value in simple.items())
    worse = [key for key, value in simple.items() if (ours >= value if smaller_is_better(name) else ours <= value)]
    lines = [f"beside it, {split} {name}: {values}; the ensemble {metric(name, ours)}"]
    lines += [f"note: the ensemble is not better than {' and '.join(worse)}"] if worse else []
    return [part for line in lines for part in _within(line)]


def _within(line: str) -> list[str]:
    kept = textwrap.wrap(line.replace(" %", "\0%"), 80, subsequent_indent="  ", break_on_hyphens=False)
    return [one.replace("\0", " ") for one in kept]


def unbeaten(beside: Baselines) -> list[str]:
    """A warning where the network is worse, or not better by more than chance."""
    rows = f"{'this' if beside.rows == 1 else 'these'} {counted(beside.rows, f'{beside.split} row')}"
    return [
        f"on {rows} the network is {f'worse than {one.name}' if one.better else f'not better than {one.name}'} "
        f"by more than chance: {metric(beside.metric, one.network)} against {metric(beside.metric, one.value)}"
        for one in beside.all
        if not one.beaten
    ]


def confusion_table(cells: Any, classes: Sequence[str]) -> Table | Text:
    """True classes as rows, predicted ones as columns; the diagonal is what is right."""
    if len(classes) > CLASSES_SHOWN:
        return Text(f"(a confusion matrix of {len(classes)} classes is too wide to show)")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in classes:
        table.add_column(clean(name, 9), justify="right")
    for i, name in enumerate(classes):
        row = [f"{value:g}" if value else "·" for value in cells[i]]
        table.add_row(clean(name, 12), *row)
    return table


def gradcheck_table(tensors: Sequence[Any]) -> Table:
    """One row per tensor: how much was compared, and the worst disagreement."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, side in (
        ("tensor", "left"),
        ("shape", "right"),
        ("checked", "right"),
        ("error", "right"),
        ("at", "right"),
        ("analytic", "right"),
        ("numeric", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for t in tensors:
        at = "" if t.index is None else ",".join(str(i) for i in t.index)
        shape = "×".join(str(size) for size in t.shape)
        style = "" if t.verdict == "pass" else "bold red"
        table.add_row(
            clean(t.name, 20),
            shape,
            f"{t.checked:,}",
            f"{t.error:.0e}",
            at,
            f"{t.analytic:.2e}",
            f"{t.numeric:.2e}",
            t.verdict,
            style=style,
        )
    return table

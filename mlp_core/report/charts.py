"""Pictures of a report as SVG text, drawn by matplotlib, in colours that the page decides.

Every picture is a figure of its own, never shown anywhere. Colours stand for variables of the page's style sheet, so
that one picture is right in light and in dark; text stays text, in the page's font, and is never read as a formula.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

POINTS = 400  # of a curve that are drawn
DOTS = 1500  # of a scatter
CELLS_WRITTEN = 16  # classes up to which the numbers stand in a confusion matrix
# What is drawn in these colours takes those of the page.
_NAMES = ("ink", "faint", "line", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7")
_COLOURS = {name: f"#0101{16 + place:02x}" for place, name in enumerate(_NAMES)}
INK, FAINT, LINE = (_COLOURS[name] for name in ("ink", "faint", "line"))
SERIES = [_COLOURS[name] for name in _NAMES if name.startswith("c")]
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlpbp",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}
UNIT_SQUARE: dict[str, Any] = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)}
MINE = "\ue000"
"""Stands before every name inside a picture; the page puts another word there for each of its pictures."""


@contextmanager
def _figure(width: float = 4.1, height: float = 3.0) -> Iterator[tuple[Any, list[str]]]:
    """The axes of a figure; afterwards the list holds its SVG."""
    result: list[str] = []
    with matplotlib.rc_context({**dict(matplotlib.rcParamsDefault), **_STYLE}):
        figure = Figure(figsize=(width, height))
        yield figure.add_subplot(), result
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        result.append(_for_page(file.getvalue()))


def _for_page(text: str) -> str:
    """The picture without the heading of a file, with names of its own, and colours of the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.S)  # stands in the page, once
    text = re.sub(r" ?font-family: [^;\"]*;", "", text)
    text = re.sub(r'\bid="', f'id="{MINE}', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{MINE}", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1)
    for name, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(
        r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag[0]), text
    )  # places, not what is written
    return re.sub(r">\s+<", "><", text)


def thinned(x: Sequence[float], y: Sequence[float | None], most: int = POINTS) -> tuple[list[float], list[float]]:
    """A curve with at most `most` points: of every stretch its lowest and its highest, so that no peak is lost."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    if len(pairs) > most:
        stretches = np.array_split(np.arange(len(pairs)), most // 2)
        kept = set()
        for part in stretches:
            values = [pairs[place][1] for place in part]
            kept |= {int(part[int(np.argmin(values))]), int(part[int(np.argmax(values))])}
        pairs = [pairs[place] for place in sorted({0, len(pairs) - 1} | kept)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float | None]]],
    label: str,
    marks: Mapping[str, float | None] | None = None,
    log: bool | None = None,
) -> str:
    """Curves over epochs, each with a mark at its best epoch if there is one; logarithmic where they span much.

    marks: the best epoch by the name of a curve.
    """
    with _figure() as (axes, result):
        values = [value for _, ys in series.values() for value in ys if value is not None]
        positive = bool(values) and min(values) > 0
        if log if log is not None else positive and max(values) > 30 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        for place, (name, (x, y)) in enumerate(series.items()):
            xs, ys = thinned(x, y)
            colour = SERIES[place % len(SERIES)]
            alone = "o" if len(xs) == 1 else None
            axes.plot(xs, ys, color=colour, label=_label(name), marker=alone, linestyle=_dash(place))
            best = (marks or {}).get(name)
            if best is not None and best in x and y[list(x).index(best)] is not None:
                axes.plot([best], [y[list(x).index(best)]], "o", color=colour, markersize=6)
                axes.axvline(best, color=colour, linewidth=0.8, linestyle=":")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label)
        if len(series) > 1:
            axes.legend()
    return result[0]


def _dash(place: int) -> str:
    return ("-", "--", "-.", ":")[place // len(SERIES) % 4]


def _label(name: str) -> str:
    """A name as a legend takes it: one that begins with an underscore would be left out."""
    return f"\u200b{name}" if name.startswith("_") else name


def confusion(cells: Any, classes: Sequence[str]) -> str:
    """A confusion matrix: rows are true classes, columns predicted ones, shade is the share of the row."""
    c = len(classes)
    share = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1e-300)
    side = min(7.0, 2.6 + 0.32 * c)
    with _figure(side + 0.8, side) as (axes, result):
        axes.grid(False)
        if c <= 4 * CELLS_WRITTEN:
            axes.set(xlim=(-0.5, c - 0.5), ylim=(c - 0.5, -0.5))
            for i, j in zip(*np.nonzero(cells), strict=True):
                colour = SERIES[0] if i == j else SERIES[1]
                axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, alpha=0.12 + 0.6 * share[i, j], lw=0))
                if c <= CELLS_WRITTEN:
                    axes.text(j, i, f"{cells[i, j]:.4g}", ha="center", va="center", fontsize=9 if c < 11 else 7)
        else:
            picture = np.zeros((c, c, 4), np.uint8)
            picture[..., :3] = np.where(np.eye(c, dtype=bool)[..., None], (0x2A, 0x78, 0xD6), (0xD9, 0x5F, 0x02))
            picture[..., 3] = np.where(cells > 0, 60 + 195 * share, 0).astype(np.uint8)
            axes.imshow(picture, interpolation="nearest", aspect="equal")
        many = c > 2 * CELLS_WRITTEN
        places = list(range(0, c, -(-c // CELLS_WRITTEN) if many else 1))
        names = [_cut(classes[place], 12) for place in places]
        axes.set_xticks(places, names, rotation=90 if c > 4 or max(map(len, names)) > 5 else 0, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        axes.set(xlabel="predicted", ylabel="true")
    return result[0]


def lines(series: Mapping[str, tuple[Any, Any]], x: str, y: str, diagonal: bool = False, steps: bool = False) -> str:
    """Curves over the unit square, such as ROC and precision over recall."""
    with _figure(4.1, 3.6) as (axes, result):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        for place, (name, (xs, ys)) in enumerate(series.items()):
            keep = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), POINTS)).astype(int))
            how = "steps-pre" if steps else "default"
            axes.plot(
                np.asarray(xs)[keep],
                np.asarray(ys)[keep],
                color=SERIES[place % len(SERIES)],
                label=_label(_cut(name, 22)),
                drawstyle=how,
                linestyle=_dash(place),
            )
        axes.set(**UNIT_SQUARE, xlabel=x, ylabel=y)
        if len(series) > 1:
            axes.legend(fontsize=8)
    return result[0]


def reliability(told: Any, happened: Any, rows: Any) -> str:
    """How often what is said with a probability happens, bin by bin; the bars below say in how many rows."""
    with _figure(4.1, 3.6) as (axes, result):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        share = rows / max(1e-300, rows.sum())
        axes.bar(told, share, width=0.03, color=SERIES[0], alpha=0.25)
        axes.plot(told, happened, "o-", color=SERIES[0], markersize=4)
        axes.set(**UNIT_SQUARE, xlabel="probability said", ylabel="share that came true")
    return result[0]


def scatter(truth: Any, guess: Any, name: str) -> str:
    """Predictions over the truth, with the line on which they agree."""
    with _figure(4.1, 3.6) as (axes, result):
        low, high = float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1, linestyle="--")
        axes.plot(truth[:DOTS], guess[:DOTS], "o", color=SERIES[0], markersize=3, alpha=0.45, markeredgewidth=0)
        axes.set(xlabel=f"true {_cut(name, 30)}", ylabel="predicted")
    return result[0]


def histogram(values: Any, name: str) -> str:
    """How often errors of every size are."""
    with _figure(4.1, 3.6) as (axes, result):
        axes.hist(values, bins=min(40, max(5, int(len(values) ** 0.5))), color=SERIES[0], alpha=0.7)
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.set(xlabel=f"predicted - true {_cut(name, 30)}", ylabel="rows")
    return result[0]


def bars(names: Sequence[str], values: Any, low: Any, high: Any, faint: Any, label: str) -> str:
    """Bars from top to bottom with their intervals; those that are no better than noise are faint."""
    with _figure(6.4, 0.7 + 0.26 * len(names)) as (axes, result):
        places = np.arange(len(names))
        colours = [FAINT if dim else SERIES[0] for dim in faint]
        axes.barh(places, values, color=colours, alpha=0.75, height=0.7)
        axes.hlines(places, low, high, color=INK, linewidth=1)
        axes.axvline(0, color=LINE, linewidth=1)
        axes.set_yticks(places, [_cut(name, 28) for name in names], fontsize=9)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
    return result[0]


def _cut(text: str, width: int) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in str(text))
    return text if len(text) <= width else text[: width - 1] + "…"

"""Numbers of further rows that are nowhere near those of training: in another unit, a fraction for a percentage, or a
single one that can only be a slip.

Of columns it is asked where most of one lies, on the scale on which training has spread 1: no file that is drawn as the
training file was gives a note. A single number is judged by how far training itself went from its middle: where a tail
is long, the next number may lie many times farther out, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.cycles import WEEK, YEAR
from mlp_core.data.preprocess.fitted_numbers import Numbers
from mlp_core.data.preprocess.scaling import parts
from mlp_core.errors import clean

ROWS, FEW = 2000, 10  # rows that are looked at; fewer than these are judged by themselves
AWAY, FAR_AWAY = 4.0, 100.0  # spreads of training between its middle and that of many rows, and of few
NARROW, BESIDE = 0.03, 0.5  # of the spread of training is left, beside its middle
CENTRED = ("standard", "robust", "robust_smooth")  # scales that have 0 in the middle
SHOWN = 3
BEYOND = 15.0  # times as far from its middle as training went; as many times as that was spreads, where these are more
UNKNOWN = 100.0  # the same where nothing is known of its spread
DAYS = 7305.0  # dates that are nearer than 20 years are not told


@dataclass(frozen=True)
class Stray:
    """A number far outside of all of training: its row, its column by name, the range that training had."""

    row: int
    name: str
    value: str
    low: str
    high: str


def far_lines(
    X: Any, numbers: Numbers, columns: Sequence[int], names: Sequence[str], scales: Sequence[str]
) -> list[str]:
    """A line about the columns of numbers of further rows X [rows, all columns] that lie far from all training rows.

    columns, names, scales: of the columns of numbers, [columns of numbers]; the scales as `preprocess.numeric.scale`.
    """
    shift, scale = numbers.scaler.shift, numbers.scaler.scale
    scaled = (scale != 0) & ~((scale == 1) & (shift == 0))  # what is constant, or as it came, says nothing
    places = [j for j in range(len(columns)) if scaled[j] and j not in numbers.ranks]
    if not places or not len(X):
        return []
    step = -(-len(X) // ROWS)
    block = np.asarray(X[::step], np.float64)[:, [columns[j] for j in places]]
    logs = numbers.log[places]
    bent = np.where(logs, np.log1p(np.maximum(block, -0.999999)), block) if logs.any() else block
    Z = (bent - shift[places]) * scale[places]
    centred = [scales[j] in CENTRED for j in places]
    found = [at for at in range(len(places)) if _is_far(Z[:, at][~np.isnan(Z[:, at])], centred[at])]
    if not found and len(places) > 4 and len(Z) > 2 * FEW and _is_still(Z):
        found = [int(np.argmax(np.nanmax(np.abs(Z), axis=0)))]
    told = []
    for at in found[:SHOWN]:
        j, middle = places[at], shift[places[at]]
        usual = float(np.expm1(middle)) if logs[at] else float(middle)
        told.append(f"{clean(names[j])} ({_shown(numbers, j, float(np.nanmedian(block[:, at])), usual)})")
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"numbers far from those of training: {', '.join(told)}{more}; the same units?"] if told else []


def strays(X: Any, numbers: Numbers, columns: Sequence[int], names: Sequence[str]) -> list[Stray]:
    """The numbers of further rows X [rows, all columns] that lie absurdly far outside of training, the farthest of
    each column; arguments as above. Nothing of models that do not know the range of their training rows."""
    if numbers.seen is None or not len(X):
        return []
    low, high = numbers.seen
    known = ~numbers.log & (numbers.scaler.scale != 1)
    middle = np.where(known, numbers.scaler.shift, (low + high) / 2)
    reach = np.maximum(high - middle, middle - low)
    with np.errstate(over="ignore", invalid="ignore"):
        most = reach * np.where(known, np.maximum(BEYOND, np.square(reach * numbers.scaler.scale)), UNKNOWN)
    dated = [YEAR in numbers.cycles.get(j, ()) or WEEK in numbers.cycles.get(j, ()) for j in range(len(columns))]
    most = np.where(dated, np.maximum(most, DAYS), most)
    judged = (low < high) & (numbers.scaler.scale != 0)
    least, largest = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for part in parts(X):
        block = X[part]
        least, largest = np.fmin(least, np.fmin.reduce(block)), np.fmax(largest, np.fmax.reduce(block))
    away = np.maximum(largest[list(columns)] - middle, middle - least[list(columns)])
    found = []
    for j in np.flatnonzero(judged & (away > most)).tolist():
        values = np.asarray(X[:, columns[j]], np.float64)
        row = int(np.nanargmax(np.abs(values - middle[j])))
        said = _day if dated[j] else _plain
        found.append(Stray(row, names[j], said(values[row]), said(low[j]), said(high[j])))
    return found


def stray_line(found: Sequence[Stray], place: Callable[[int], str]) -> list[str]:
    """A line about such numbers, each with the place of its row."""
    told = [
        f"{clean(one.name)} {one.value} ({place(one.row)}; in training {one.low} to {one.high})"
        for one in found[:SHOWN]
    ]
    more = f" and in {len(found) - SHOWN} more columns" if len(found) > SHOWN else ""
    return [f"numbers far outside all of training: {', '.join(told)}{more}"] if told else []


def _plain(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.4g}"


def _is_far(z: npt.NDArray[np.float64], centred: bool) -> bool:
    """Whether the numbers of a column, in spreads of training (from its middle), are not those of training."""
    if len(z) < FEW:
        return bool(len(z) and np.abs(z).min() > FAR_AWAY)
    low, middle, high = np.quantile(z, (0.25, 0.5, 0.75))
    if abs(middle) > AWAY:
        return True
    narrow = high - low < NARROW and abs(middle) > BESIDE
    return bool(centred and narrow and len(z) >= 2 * FEW and len(np.unique(z)) >= FEW)


def _is_still(Z: npt.NDArray[np.float64]) -> bool:
    """Whether no column moves as in training, though the numbers differ: such as 0 to 1 for 0 to 255."""
    if np.isnan(Z).all(axis=0).any():
        return False
    spread = np.nanmax(Z, axis=0) - np.nanmin(Z, axis=0)
    return bool(spread.max() < NARROW and len(np.unique(Z)) > 2 * FEW)


def _shown(numbers: Any, j: int, here: float, usual: float) -> str:
    periods = numbers.cycles.get(j, ())
    if YEAR in periods or WEEK in periods:
        return f"about {_day(here)}, in training {_day(usual)}"
    return f"about {here:.4g}, in training {usual:.4g}"


def _day(days: float) -> str:
    first = date(1970, 1, 1).toordinal()
    return date.fromordinal(int(min(max(days, 1 - first), date.max.toordinal() - first)) + first).isoformat()

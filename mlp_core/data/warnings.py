"""What should be known about data before it is trusted: equal rows in several splits, constant and leaking columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.dates import EPOCH
from mlp_core.data.fingerprints import word_hashes
from mlp_core.data.preprocess.scaling import FEW, parts
from mlp_core.errors import some

if TYPE_CHECKING:
    from mlp_core.data.task import Task

ROWS = 20_000  # looked at for leaks and row numbers; a leak shows in far fewer
WIDE = 256  # tables with more columns are images or embeddings: their columns are not looked at one by one
MOST = 5  # columns named in a line
BINS = 256
SURE = 0.99  # share of a target's spread, or of its rows beyond guessing, that a single honest column does not explain
EXACT = 1e-6  # of a target's deviation, left by a fit that is exact
RARE = 0.05  # share of the rows of a class that may be told by nothing
LIMITS = {-(2.0**15), 2.0**15 - 1, -(2.0**31), 2.0**31 - 1}  # of whole numbers; some write them for "nothing"
_DAYS = "0001-01-01 1753-01-01 1899-12-30 1900-01-01 1901-01-01 1970-01-01 2099-12-31 2999-12-31 9999-01-01 9999-12-31"
FAR_DAYS = {float(date.fromisoformat(day).toordinal() - EPOCH): day for day in _DAYS.split()}  # likewise
FIT_ROWS, FIT_WIDE = 2_000, 64  # looked at for a target that is a sum of inputs


@dataclass(frozen=True)
class Part:
    """Inputs X [rows, columns], what belongs to them, y, and the vocabulary behind the codes of columns of words."""

    X: Any
    y: npt.NDArray[Any]
    words: Mapping[int, Sequence[str]] = field(default_factory=dict, kw_only=True)


def findings(splits: Mapping[str, Part], task: Task) -> tuple[str, ...]:
    """One line for each kind of finding; bounded work, nothing is changed."""
    train = splits["train"]
    notes = list(_shared_rows(splits))
    if train.X.shape[1] <= WIDE and len(train.X) > 1:
        counting, leaking = suspects(train, train, task)
        notes += column_notes(task, _constant(train.X), counting, leaking)
        notes += [] if leaking else _summed(train, task)
        notes += stand_ins(train, task)
    return tuple(notes)


def column_notes(task: Task, constant: list[int], counting: list[str], leaking: list[str]) -> list[str]:
    """The lines about single columns, and about the labels of the target."""
    notes = _named("constant in training, without effect", [task.features[column] for column in constant])
    if constant and len(constant) == len(task.features):
        notes.append("note: no input differs from row to row, so that all rows are predicted alike")
    notes += _named("counts the rows; leave it out with data.drop if it is a row number", counting)
    notes += _named("tells the target almost by itself; is it known when predicting?", leaking)
    return notes + _spellings(task)


def suspects(first: Part, spread: Part, task: Task) -> tuple[list[str], list[str]]:
    """The names of the inputs that count the rows, as the first training rows show, and of those that tell the target
    almost by themselves, as rows from all over show."""
    if spread.X.shape[1] > WIDE:
        return [], []
    return [task.features[c] for c in _counting(first)], [task.features[c] for c in _leaking(spread, task)]


def says_it_all(train: Part, task: Task, column: int) -> bool:
    """Whether a column that tells the target is another way to write it: the same numbers, or a word for each class."""
    values = np.asarray(train.X[:, column], np.float64)
    if task.classifies:
        return column in train.words or len(np.unique(values[~np.isnan(values)])) <= 2 * len(task.classes)
    y = np.asarray(train.y, np.float64).reshape(len(values), -1)[:, 0]
    known = ~np.isnan(values)
    if known.sum() < 3 or not values[known].std() or not y[known].std():
        return False
    return bool(1 - np.corrcoef(values[known], y[known])[0, 1] ** 2 < 1e-9)


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"note: {some(names, MOST)}: {what}"] if names else []


def _spellings(task: Task) -> list[str]:
    """A line about labels that are one but for small and capital letters."""
    first: dict[str, str] = {}
    for label in task.classes:
        one = first.setdefault(label.casefold(), label)
        if one != label:
            both = json.dumps({one: label}, ensure_ascii=False)
            hint = f"where they mean the same: data.labels: {both}"
            return [f'note: the labels "{one}" and "{label}" differ in small and capital letters only; {hint}']
    return []


def _shared_rows(splits: Mapping[str, Part]) -> list[str]:
    """How many rows of val and test have the same inputs as a training row."""
    if len(splits) == 1 or any(part.X.dtype != splits["train"].X.dtype for part in splits.values()):
        return []
    keys = {name: row_keys(part.X, part.words) for name, part in splits.items()}
    return shared(keys, {name: len(part.X) for name, part in splits.items()})


def shared(keys: Mapping[str, npt.NDArray[np.uint64]], rows: Mapping[str, int], one_in: int = 1) -> list[str]:
    """How many rows of val and test have the key of a training row, told from one key in `one_in`."""
    train = np.unique(keys["train"])
    found = {name: one_in * int(np.isin(mine, train).sum()) for name, mine in keys.items() if name != "train"}
    about = "about " if one_in > 1 else ""
    told = [f"{about}{count:,} of {rows[name]:,} {name} rows" for name, count in found.items() if count]
    return [f"note: {' and '.join(told)} have the inputs of a training row"] if told else []


def row_keys(X: Any, words: Mapping[int, Sequence[str]]) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of every row's inputs: the sum over columns of odd multiples of the mixed bits of its cells."""
    drawn = np.random.Generator(np.random.Philox(0)).integers(0, 2**63, X.shape[1], np.uint64)
    factors = drawn * np.uint64(2) + np.uint64(1)
    keys = np.empty(len(X), np.uint64)
    for rows in parts(X, FEW):
        bits = (X[rows].astype(np.float64) + 0.0).view(np.uint64)  # + 0.0: minus zero is zero
        for column, known in words.items():
            hashes = np.append(word_hashes(known), np.uint64(1))
            codes = X[rows, column]
            bits[:, column] = hashes[np.where(np.isnan(codes), len(known), codes).astype(np.int64)]
        bits ^= bits >> np.uint64(29)
        bits *= factors
        bits ^= bits >> np.uint64(32)
        keys[rows] = bits.sum(axis=1, dtype=np.uint64)
    return keys


def _constant(X: npt.NDArray[Any]) -> list[int]:
    same, empty = np.ones(X.shape[1], bool), np.full(X.shape[1], X.dtype.kind == "f")
    with np.errstate(invalid="ignore"):
        for rows in parts(X, FEW):
            same &= (X[rows] == X[0]).all(axis=0)
            if empty.any():
                empty &= np.isnan(X[rows]).all(axis=0)
            if not (same | empty).any():
                break
    return [int(column) for column in np.flatnonzero(same | empty)]


def _counting(train: Part) -> list[int]:
    """Columns that go up by a constant step, row for row, as far as sorted training rows show it."""
    X = train.X[:ROWS]
    if len(X) < 20 or X.dtype.kind != "f":
        return []
    return [column for column in range(X.shape[1]) if column not in train.words and rises(X[:, column])]


def rises(values: npt.NDArray[Any]) -> bool:
    """Whether numbers go up by whole steps, mostly of 1 or 2."""
    steps = np.diff(values)
    return bool((steps > 0).all() and (steps == np.floor(steps)).all() and np.median(steps) <= 2)


def _leaking(train: Part, task: Task) -> list[int]:
    """Columns from which alone the target follows: by the commonest class, or the mean, of each of their values."""
    if task.kind == "multilabel" or len(train.X) < 50:
        return []
    step = -(-len(train.X) // ROWS)
    X, y = train.X[::step], np.asarray(train.y)[::step]
    if y.ndim > 1 and y.shape[1] > 1:
        return []
    if task.classifies:  # a rare class must not hide that all others are told
        shares = np.bincount(y) / len(y)
        common = np.flatnonzero(shares >= RARE)
        rows = np.isin(y, common) if len(common) > 1 else np.ones(len(y), bool)
        X, y = X[rows], y[rows]
    return [
        column
        for column in range(X.shape[1])
        if _explained(X[:, column], y.reshape(-1), task.classifies, column in train.words) >= SURE
    ]


def _summed(train: Part, task: Task) -> list[str]:
    """A line about a target that is a sum of several inputs, times constants, to the last digit."""
    step = -(-len(train.X) // FIT_ROWS)
    X, y = train.X[::step], np.asarray(train.y, np.float64)[::step]
    columns = [column for column in range(X.shape[1]) if column not in train.words]
    too_little = len(columns) < 2 or len(X) < 50 + 4 * len(columns)
    if task.kind != "regression" or y.shape[1] != 1 or len(columns) > FIT_WIDE or too_little:
        return []
    A = np.asarray(X[:, columns], np.float64)
    spread = A.std(axis=0)
    if np.isnan(A).any() or not np.isfinite(spread).all() or not y.std():
        return []
    kept = np.flatnonzero(spread > 0)
    A = np.column_stack([(A[:, kept] - A[:, kept].mean(axis=0)) / spread[kept], np.ones(len(A))])
    weights, *_ = np.linalg.lstsq(A, y[:, 0], rcond=None)
    if np.abs(A @ weights - y[:, 0]).max() > EXACT * y.std():
        return []
    used = [task.features[columns[kept[at]]] for at in np.flatnonzero(np.abs(weights[:-1]) > 1e-4 * y.std())]
    if len(used) < 2:
        return []
    return _named("the target is a sum of these inputs; are they known when predicting?", used)


def stand_ins(train: Part, task: Task) -> list[str]:
    """A line about numbers such as -999, and dates such as 9999-12-31, that stand far from all others of their column:
    they often mean missing."""
    step, told = -(-len(train.X) // ROWS), dict[str, str]()
    for column in range(train.X.shape[1]):
        values = np.asarray(train.X[::step, column], np.float64) if column not in train.words else np.empty(0)
        values = values[~np.isnan(values)]
        dates = task.input_kinds[column] == "date"
        strange_one = FAR_DAYS.__contains__ if dates else _is_stand_in
        if not values.size or not (strange_one(values.min()) or strange_one(values.max())):
            continue
        distinct, counts = np.unique(values, return_counts=True)
        strange = np.array([*map(strange_one, distinct)])
        rest = distinct[~strange]
        for value in distinct[strange & (counts > 1)]:
            if len(rest) > 2 and max(rest[0] - value, value - rest[-1]) > rest[-1] - rest[0]:
                shown = FAR_DAYS[value] if dates else f"{value:.15g}"
                told.setdefault(task.features[column], shown)
    if not told:
        return []
    names = some([f"{name} ({value})" for name, value in told.items()], MOST)
    hint = "where it means missing, list it under data.csv.na, or in arrays write NaN"
    return [f"note: a number stands far from all others in {names}; {hint}"]


def _is_stand_in(value: float) -> bool:
    """Nines only (-999, 9999.9), the limits of whole numbers, or a number too great for any measurement."""
    nines = set(f"{abs(value):.15g}".replace(".", "")) == {"9"}
    return (nines and abs(value) >= 99) or value in LIMITS or abs(value) >= 1e30


def _explained(values: npt.NDArray[Any], y: npt.NDArray[Any], classifies: bool, words: bool) -> float:
    """How much of the target a column explains, in 0..1, its distinct values taken as groups, or its quantiles."""
    distinct, group = np.unique(np.nan_to_num(values.astype(np.float64), nan=-1e300), return_inverse=True)
    bins = min(BINS, len(values) // 4)
    if len(distinct) > bins:
        if words:
            return 0.0  # so many words tell rows apart, not classes
        group = np.argsort(np.argsort(values, kind="stable"), kind="stable") * bins // len(values)
    group = group.reshape(-1)
    counts = np.bincount(group)
    if len(counts) < 2:
        return 0.0
    if classifies:
        cells = np.bincount(group * (int(y.max()) + 1) + y)
        cells = np.pad(cells, (0, -len(cells) % (int(y.max()) + 1))).reshape(-1, int(y.max()) + 1)
        guess = np.bincount(y).max()
        return float((cells.max(axis=1).sum() - guess) / max(1, len(y) - guess))
    means = np.bincount(group, weights=y) / np.maximum(counts, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - means[group]) ** 2).sum()) / spread if spread > 0 else 0.0

"""The inputs of a network from the rows of its data as they were read: by what the config asks for, column by column,
with nothing of the preprocessing that training uses."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.load import Dataset
from mlp_core.data.preprocess.categories import canonical
from mlp_core.data.task import Task

CYCLES = {"date": (365.2425, 7.0, 1.0), "time": (24.0,)}
"""The periods of dates, in days, and of times, in hours."""
FARTHEST = 3.0  # to which robust_smooth takes the farthest values
EDGE = 1e-7  # the least share of rows that quantile scores know

Plan = Mapping[str, Any]


def inputs(config: Config, task: Task, train: Dataset, rows: Dataset) -> Any:
    """Inputs [rows, inputs] in float64 of some rows, fitted to the training rows."""
    names, kinds = task.features, task.input_kinds
    numbers, flags, circles, words, codes = (list[Any]() for _ in range(5))
    X, new = np.asarray(train.X[:]), np.asarray(rows.X[:])
    for j, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        plan = _plan(config, name, kind)
        if kind == "categorical":
            known, there = _words(X[:, j], train.words.get(j, ())), _words(new[:, j], rows.words.get(j, ()))
            made, is_code = _categories(plan, known, there)
            (codes if is_code else words).append(made)
            continue
        old, values = np.asarray(X[:, j], np.float64), np.asarray(new[:, j], np.float64)
        numbers.append(_numbers(plan, old, values, X.dtype == np.uint8))
        missing = np.isnan(old)
        if (missing.any() if plan["indicator"] == "auto" else plan["indicator"]) and not missing.all():
            flags.append(np.isnan(values).astype(np.float64))
        for period in CYCLES.get(kind, ()):
            if np.ptp(_circle(old[~missing], period), axis=0).max(initial=0) > 1e-9:
                circles.append(np.nan_to_num(_circle(values, period)))
    columns = [*numbers, *flags, *circles, *words, *codes]
    return np.concatenate([c.reshape(len(new), -1) for c in columns], axis=1)


def _plan(config: Config, name: str, kind: str) -> Plan:
    """What is asked for a column: its own settings, or else those of all columns of its kind."""
    values = config.preprocess
    plan = dict(values.categorical.model_dump() if kind == "categorical" else values.numeric.model_dump())
    plan["scale"], plan["log"] = values.numeric.scale, name in values.numeric.log
    own = values.columns[name].model_dump() if name in values.columns else {}
    return plan | {key: value for key, value in own.items() if value is not None}


def _circle(values: Any, period: float) -> Any:
    angle = 2 * math.pi * (values / period)
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _numbers(plan: Plan, old: Any, values: Any, image: bool) -> Any:
    """One column of numbers: filled, cut, logarithm, scaled; 0 where all training rows are alike."""
    there = ~np.isnan(old)
    present = old[there]
    fill = _fill(plan["impute"], present) if not image else 0.0
    old, values = (np.where(np.isnan(x), fill, x) for x in (old, values))
    if plan["log"]:
        old, values = (np.log1p(np.maximum(x, -0.999999)) for x in (old, values))
    if plan["clip"] is not None:
        reach = plan["clip"] * old.std()
        low, high = old.mean() - reach, old.mean() + reach
        old, values = (np.clip(x, low, high) for x in (old, values))
    if plan["scale"] == "quantile":
        return _scores(old, values)
    return _scaled(plan["scale"], old, values, there if there.any() else ~there)


def _fill(impute: Any, present: Any) -> float:
    if isinstance(impute, int | float):
        return float(impute)
    if impute == "zero" or not len(present):
        return 0.0
    if impute == "mode":
        counts = Counter(present.tolist())
        return float(min(counts, key=lambda value: (-counts[value], value)))
    return float(np.mean(present) if impute == "mean" else np.median(present))


def _scaled(method: str, old: Any, values: Any, there: Any) -> Any:
    """(x - shift) / spread; 0 where there is no spread. Quartiles are those of the cells that are there."""
    if old.min() == old.max():
        return np.zeros(len(values))
    first, middle, third = (
        np.quantile(old[there], (0.25, 0.5, 0.75)) if method.startswith("robust") else (0.0, 0.0, 0.0)
    )
    match method:
        case "none":
            return values
        case "standard":
            shift, spread = float(np.mean(old)), float(np.std(old))
            spread = 0.0 if spread <= 1e-14 * len(old) ** 0.5 * abs(shift) else spread
        case "minmax":
            shift, spread = float(old.min()), float(np.ptp(old))
        case "maxabs":
            shift, spread = 0.0, float(np.abs(old).max())
        case _:
            shift, spread = float(middle), float(third - first)
            spread = float(np.ptp(old)) / 2 if method == "robust_smooth" and not spread else spread
    if not spread:
        return np.zeros(len(values))
    Z = (values - shift) / spread
    return Z / np.sqrt(1 + (Z / FARTHEST) ** 2) if method == "robust_smooth" else Z


def _scores(old: Any, values: Any) -> Any:
    """Normal scores of the shares of training rows below: between so many quantiles straight lines, of a value that
    many rows have the middle of its shares."""
    count = max(min(len(old) // 30, 1000), min(len(old), 10), 1)
    shares, marks = np.linspace(0, 1, count), np.quantile(old, np.linspace(0, 1, count))
    if marks[0] == marks[-1]:
        return np.zeros(len(values))
    up = np.interp(values, marks, shares)
    down = 1 - np.interp(-values, -marks[::-1], 1 - shares[::-1])
    middle = np.clip((up + down) / 2, EDGE, 1 - EDGE)
    return np.array([NormalDist().inv_cdf(float(p)) for p in middle])


def _words(codes: Any, vocabulary: Sequence[str]) -> list[str | None]:
    """The words of rows; None where one is missing."""
    return [None if math.isnan(code) else vocabulary[int(code)] for code in codes.tolist()]


def _as_known(words: Sequence[str], rows: list[str | None]) -> list[str | None]:
    """Rows whose word is a known one as it is written there: a number is known by its value."""
    known = {canonical(word): word for word in reversed(words)} | {word: word for word in words}
    return [None if word is None else known.get(word, known.get(canonical(word), word)) for word in rows]


def _categories(plan: Plan, old: list[str | None], new: list[str | None]) -> tuple[Any, bool]:
    """One column of words as inputs, and whether these are codes of learned vectors."""
    counts = Counter(word for word in old if word is not None)
    order = sorted(counts, key=lambda word: (-counts[word], word))
    gap = None in old and plan["missing"] == "category"
    encode, most = plan["encode"], plan["max_categories"]
    if encode == "hash":
        return _hashed(plan, order, gap, new), False
    kept = [word for word in order if counts[word] >= plan["min_count"]][:most]
    words = sorted(kept)
    new = _as_known(words, new)
    if plan["embed_above"] is not None and len(words) > plan["embed_above"] and encode in ("onehot", "compact"):
        encode = "embedding"
    mode = words.index(kept[0]) if kept else 0
    if encode == "compact":
        return _compact(plan, words, mode, old, new), False
    other = len(kept) < len(order) or not kept
    places = len(words) + other + gap
    nowhere = len(words) if other else mode if encode == "embedding" else -1

    def place(word: str | None) -> int:
        if word is None:
            return places - 1 if gap else mode if plan["missing"] == "mode" else nowhere
        if word in words:
            return words.index(word)
        return -1 if plan["unknown"] == "zero" and encode == "onehot" else nowhere

    found = np.array([place(word) for word in new])
    if encode == "embedding":
        return found.astype(np.float64), True
    if encode == "ordinal":
        return np.where(found < 0, places - 1, found) / max(1, places - 1), False
    one_hot = np.eye(places)[found] * (found >= 0)[:, None]
    return (one_hot if places > 1 else 0 * one_hot), False


def _hashed(plan: Plan, order: Sequence[str], gap: bool, new: list[str | None]) -> Any:
    """A place for each checksum; those that no training row has stay 0."""
    most = plan["max_categories"]

    def at(word: str) -> int:
        return zlib.crc32(word.encode("utf-8", "surrogatepass")) % int(most)

    seen = {at(word) for word in order} | ({most} if gap else set())
    made = np.zeros((len(new), most + gap))
    for i, word in enumerate(new):
        missing = most if gap else at(order[0]) if plan["missing"] == "mode" and order else -1
        place = missing if word is None else at(word)
        if place in seen and len(seen) > 1:
            made[i, place] = 1
    return made


def _compact(plan: Plan, words: Sequence[str], mode: int, old: list[str | None], new: list[str | None]) -> Any:
    """One input for two words, -1 or 1, else one for each, 0 for all other words; scaled as numbers are."""

    def raw(rows: list[str | None]) -> Any:
        instead = words[mode] if plan["missing"] == "mode" and words else None
        named = [instead if word is None else word for word in rows]
        if len(words) == 2:
            return np.array([[-1.0 if w == words[0] else 1.0 if w == words[1] else 0.0] for w in named])
        return np.array([[float(w == word) for word in words] for w in named]).reshape(len(rows), len(words))

    before, made = raw(old), raw(new)
    method = "none" if plan["scale"] == "quantile" else plan["scale"]
    columns = [_scaled(method, before[:, j], made[:, j], slice(None)) for j in range(before.shape[1])]
    return np.stack(columns, axis=1) if columns else made

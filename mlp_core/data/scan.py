"""One pass over rows on the disk: their digest, whether they can be used, and all that is fitted to them.

Data larger than memory is read once before training. What needs all rows is counted as they pass (means, ranges,
missing cells, words); what cannot be (medians, quantiles, limits) is fitted to rows drawn at random, kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.from_config import gapless
from mlp_core.data.preprocess.moments import Sums
from mlp_core.data.readers.converted_table import cells_digest, check_digest
from mlp_core.data.readers.format import Reading
from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.data.readers.open_file import refusal
from mlp_core.data.readers.source import Source
from mlp_core.data.task import Task
from mlp_core.data.warnings import ROWS, WIDE, Part, column_notes, row_keys, shared, stand_ins, suspects
from mlp_core.errors import DataError, Problem
from mlp_core.rng import generator

if TYPE_CHECKING:
    from mlp_core.config import Config

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Words = Mapping[int, Sequence[str]]

SAMPLE = 1 << 23  # cells that are kept to be fitted to; all training rows, where they are fewer
MOST_KEYS = 1 << 20  # rows whose inputs are compared with each other, by a key of 64 bits


@dataclass
class Survey:
    """What is known of rows on the disk after one pass.

    sha256: of the bytes of the whole array. sums: of the training rows. words: how many rows of every split have each
    word, and none, {split: {column: counts [words + 1]}}. sample: training rows drawn at random, in order, and `whole`
    if those are all of them. first: the first training rows, for findings. keys: of the inputs of the rows of every
    split, one in `one_in` of them.
    """

    sums: Sums
    words: dict[str, dict[int, Rows]]
    sample: Array
    whole: bool
    places: Rows
    sha256: str = ""
    first: Array = field(default_factory=lambda: np.empty((0, 0)))
    keys: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    one_in: int = 1


def surveyed(
    config: Config,
    source: Source,
    X: OnDisk,
    words: Words,
    splits: Mapping[str, Rows],
    task: Task,
    progress: Reading | None = None,
) -> Survey:
    """What one pass finds in the inputs X [all rows, features] of a source; splits: row numbers, ascending.

    A missing cell is NaN; in arrays of numbers it is refused, as in columns that may not miss a value. Raises DataError
    for the first cells that cannot be used, DamagedTable for a converted table that is not as it was written.
    """
    place = {name: source.names.index(name) for name in task.features if name in source.names}

    def refuse(code: str, message: str, row: int, column: int, hint: str) -> Problem:
        return source.problem(code, message, row, place.get(task.features[column], column), hint)

    missing = source.targets is None or set(task.input_kinds) != {"numeric"}
    gaps = gapless(config, task)
    found = _begun(X, words, splits, config.seed)
    keys: dict[str, list[Any]] = {name: [] for name in splits}
    first: list[Array] = []
    sha = cells_digest(X.file.dtype, X.file.shape)
    for start, stored in X.stored_blocks():
        sha.update(stored.reshape(-1).view(np.uint8).data)
        block = X.made(stored)
        _check(X, stored, block, start, refuse, gaps, missing)
        for name, rows in splits.items():
            low, high = np.searchsorted(rows, (start, start + len(block))).tolist()
            part = block if high - low == len(block) else block[rows[low:high] - start]
            _count(found.words[name], part)
            if len(splits) > 1:
                keys[name].append(_some_keys(part, words, found.one_in))
            if name == "train":
                found.sums.add(part)
                a, b = np.searchsorted(found.places, (low, high)).tolist()
                found.sample[a:b] = part[found.places[a:b] - low]
                if X.shape[1] <= WIDE and low < ROWS:
                    first.append(part[: ROWS - low])
        if progress is not None:
            progress(source.path, start + len(block))
    found.sha256 = sha.hexdigest()
    found.keys = {name: np.concatenate(mine) for name, mine in keys.items() if mine}
    found.first = np.concatenate(first) if first else found.first
    if source.sha256:
        check_digest(X.file.path.parent, found.sha256, source)
    return found


def _begun(X: OnDisk, words: Words, splits: Mapping[str, Rows], seed: int) -> Survey:
    """A survey before its pass, with the places of the sample among the training rows."""
    train, columns = splits.get("train", np.empty(0, np.int64)), X.shape[1]
    count = min(len(train), max(1, SAMPLE // columns))
    whole = count == len(train)
    places = np.arange(count)
    if not whole:
        places = np.sort(generator(seed, "fit").choice(len(train), count, replace=False, shuffle=False))
    counts = {name: {column: np.zeros(len(words[column]) + 1, np.int64) for column in words} for name in splits}
    one_in = 1
    while sum(map(len, splits.values())) > MOST_KEYS * one_in:
        one_in *= 2
    return Survey(Sums(columns), counts, np.empty((count, columns), X.dtype), whole, places, one_in=one_in)


def _check(
    X: OnDisk, stored: Array, block: Array, start: int, refuse: Any, gapless: Sequence[int], missing: bool
) -> None:
    """Raise DataError for the first cell of a block that is no finite number, or missing where none may be."""
    if X.file.boolean and stored.size and stored.max() > 1:
        raise refusal(X.file.path, "damaged", "a boolean that is neither 0 nor 1", hint="write it again")
    if block.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(block.sum(axis=0)))
    problems = []
    for column in suspects.tolist():
        values = block[:, column]
        bad = np.isinf(values) if missing and column not in gapless else ~np.isfinite(values)
        if bad.any():
            row = int(np.argmax(bad))
            if missing and np.isnan(values[row]):
                code, message, hint = "missing_value", "missing value", "set preprocess to impute it, or leave it out"
            else:
                code, message, hint = "not_finite", f"not a finite number ({values[row]})", "mend the array"
            problems.append(refuse(code, message, start + row, column, hint))
    if problems:
        raise DataError(problems[:20])


def _count(words: dict[int, Rows], part: Array) -> None:
    for column, counts in words.items():
        codes = part[:, column]
        counts += np.bincount(np.where(np.isnan(codes), len(counts) - 1, codes).astype(np.int64), minlength=len(counts))


def _some_keys(part: Array, words: Words, one_in: int) -> npt.NDArray[np.uint64]:
    """The keys of rows, of those only whose key says so: the same for equal rows, whichever split they are in."""
    keys = row_keys(part, words)
    return keys if one_in == 1 else keys[keys >> np.uint64(20) & np.uint64(one_in - 1) == 0]


def survey_notes(
    found: Survey, rows: Mapping[str, int], y: npt.NDArray[Any], words: Words, task: Task
) -> tuple[str, ...]:
    """What should be known about the data, as far as one pass tells; rows: how many every split has, y, words: those of
    the training split."""
    sums = found.sums
    mine = {name: rows[name] for name in found.keys if name in rows}
    notes = shared(found.keys, mine, found.one_in) if len(mine) > 1 else []
    if len(task.features) <= WIDE and rows["train"] > 1:
        constant = ((sums.low == sums.high) & (sums.gaps == 0)) | (sums.gaps == sums.rows)
        first, spread = some_rows(found, y, words)
        notes += column_notes(task, np.flatnonzero(constant).tolist(), *suspects(first, spread, task))
        notes += stand_ins(spread, task)
    return tuple(notes)


def some_rows(found: Survey, y: npt.NDArray[Any], words: Words) -> tuple[Part, Part]:
    """The first training rows, and rows from all over, as a survey kept them; y, words: those of the training split."""
    first = Part(found.first, y[: len(found.first)], words=words)
    return first, Part(found.sample, y[found.places], words=words)

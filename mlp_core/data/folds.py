"""Folds: rows dealt into parts of which each is held out once, and what is left for training when one is.

Equal to scikit-learn's splitters in kind: `stratified` to StratifiedKFold, `random` to KFold, both shuffled, `group` to
GroupKFold, `ordered` to TimeSeriesSplit: there a fold is tested by a model that saw earlier rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.split import Rows, by_class, refusal, text_rank
from mlp_core.rng import generator

KEY = "data.split.folds"


def deal_fold(
    rows: Rows,
    labels: npt.NDArray[Any] | None,
    keys: Sequence[str] | None,
    method: str,
    folds: int,
    fold: int,
    repeat: int,
    seed: int,
) -> tuple[Rows, Rows]:
    """The row numbers for training, and those held out by `fold` (from 1), each in ascending order.

    rows: the row numbers to deal. labels: their class indices, for `stratified`. keys: the text of a column in each of
    them, for `group` and `hash`. repeat: each from 1 shuffles in another way. Raises DataError with the config key.
    """
    if folds > len(rows):
        raise refusal("too_few_rows", KEY, f"{folds} folds of {len(rows)} rows", "use fewer folds")
    if method == "ordered":
        return _earlier(rows, folds, fold)
    found, rng = np.empty(len(rows), np.int64), generator(seed, "folds", repeat)
    if keys is not None and method == "hash":
        found[:] = [int(text_rank(key, seed) * folds) for key in keys]
    elif keys is not None:
        found[:] = _by_group(keys, folds, rng)
    elif by_class(method, labels) and labels is not None:
        found[:] = _stratified(labels, folds, rng)
    else:
        found[rng.permutation(len(rows))] = np.arange(len(rows)) % folds
    held = found == fold - 1
    if not held.any() or held.all():
        raise refusal("too_few_rows", KEY, f"fold {fold} of {folds} would have no rows", "use fewer folds")
    return np.sort(rows[~held]), np.sort(rows[held])


def _stratified(labels: npt.NDArray[Any], folds: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Every class dealt round by itself, each going on where the last one stopped: so shares of a class differ by one
    row at most, and so do the folds."""
    sizes = np.bincount(labels)
    if (most := int(sizes.max())) < folds:
        message = f"the largest class has {most} rows, fewer than there are folds ({folds})"
        hint = "use fewer folds, or data.split.method: random"
        raise refusal("too_few_rows", KEY, message, hint)
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), np.int64)
    found[by_class] = np.arange(len(labels)) % folds
    return found


def _by_group(keys: Sequence[str], folds: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Whole groups, the largest first, each to the fold that has the fewest rows."""
    names, group, sizes = np.unique(np.array(keys, object).astype(str), return_inverse=True, return_counts=True)
    if len(names) < folds:
        raise refusal("too_few_rows", KEY, f"{folds} folds of {len(names)} groups", "use fewer folds")
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    filled, place = np.zeros(folds, np.int64), np.empty(len(names), np.int64)
    for name in order.tolist():
        place[name] = int(np.argmin(filled))
        filled[place[name]] += sizes[name]
    return np.asarray(place[group.reshape(-1)])


def _earlier(rows: Rows, folds: int, fold: int) -> tuple[Rows, Rows]:
    """Rows in their order: the last ones in `folds` blocks of equal size, each tested by what comes before it."""
    size = len(rows) // (folds + 1)
    if size == 0:
        message = f"{folds} ordered folds of {len(rows)} rows"
        raise refusal("too_few_rows", KEY, message, "use fewer folds: there is one block more than folds")
    start = len(rows) - (folds - fold + 1) * size
    return rows[:start], rows[start : start + size]

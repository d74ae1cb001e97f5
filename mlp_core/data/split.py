"""Which rows are for training, for validation and for testing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlp_core.errors import DataError, Problem
from mlp_core.nn.backend import blocks
from mlp_core.rng import generator

Rows: TypeAlias = npt.NDArray[np.int64]
CELLS = 1 << 18  # moved at once


def split_rows(
    rows: Rows, labels: npt.NDArray[Any] | None, method: str, val: float, test: float, seed: int
) -> dict[str, Rows]:
    """Deal row numbers into `train`, `val` and `test` (absent when nothing is asked for), each in ascending order.

    rows: the row numbers to deal. labels: class indices of these rows, for `stratified`.
    method: `stratified` gives every class its share within one row and leaves at least one row of it for training;
    `random` deals shuffled rows; `ordered` takes the last rows for testing, those before for validation; `auto` is
    stratified with labels, else random. val, test: a share below 1 (rounded to rows), or a number of rows.

    Raises DataError with the config key when a part would be empty or a class cannot be shared out.
    """
    counts = {name: _count(len(rows), part, name) for name, part in (("test", test), ("val", val)) if part}
    if sum(counts.values()) >= len(rows):
        key = "data.split.val" if "val" in counts else "data.split.test"
        message = f"{sum(counts.values())} of {len(rows)} rows split off, none are left for training"
        raise refusal("too_few_rows", key, message, "split off fewer rows, or give more data")
    if not counts:
        return {"train": np.sort(rows)}
    if by_class(method, labels) and labels is not None:
        return _stratified(rows, labels, counts, seed)
    order = np.arange(len(rows)) if method == "ordered" else generator(seed, "split").permutation(len(rows))
    parts, end = {}, len(rows)
    for name, count in counts.items():
        parts[name] = np.sort(rows[order[end - count : end]])
        end -= count
    return {"train": np.sort(rows[order[:end]]), **dict(reversed(parts.items()))}


def by_class(method: str, labels: npt.NDArray[Any] | None) -> bool:
    """Whether rows are dealt class by class. Raises DataError where they are to be, and there are no classes."""
    if method == "stratified" and labels is None:
        message, hint = "stratified needs a task with classes", "use random or ordered"
        raise refusal("inconsistent", "data.split.method", message, hint)
    return method in ("stratified", "auto") and labels is not None


def split_by(rows: Rows, keys: Sequence[str], method: str, val: float, test: float, seed: int) -> dict[str, Rows]:
    """Deal row numbers by the text that a column holds in each of these rows.

    method: `column` takes the words train, val and test as they stand; `group` keeps the rows of one text together:
    shuffled groups go to testing, then to validation, until each has its count of rows; `hash` decides by the
    checksum of the text alone, so that a row keeps its part when others are added. val, test: as for `split_rows`.

    Raises DataError with the config key for a word that names no part, or when a part would be empty.
    """
    if method == "column":
        parts = _as_told(rows, keys)
    elif method == "group":
        parts = _groups(rows, keys, val, test, seed)
    else:
        if max(val, test) >= 1:
            message, hint = "a hash needs shares, not numbers of rows", "for example val: 0.2"
            raise refusal("inconsistent", "data.split.val", message, hint)
        ranks = np.array([text_rank(key, seed) for key in keys])
        parts = {
            "train": rows[ranks >= val + test],
            "val": rows[ranks < val],
            "test": rows[(ranks >= val) & (ranks < val + test)],
        }
    if not len(parts["train"]):
        message = f"no rows are left for training by {method}"
        raise refusal("too_few_rows", "data.split.column", message, "check the column and the shares")
    return {name: np.sort(part) for name, part in parts.items() if len(part)}


def text_rank(key: str, seed: int) -> float:
    """A number in [0, 1) that is a function of the text and the seed alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little") / 2**48


def _as_told(rows: Rows, keys: Sequence[str]) -> dict[str, Rows]:
    known = {"train": "train", "val": "val", "validation": "val", "test": "test"}
    strange = next((key for key in keys if key.lower() not in known), None)
    if strange is not None:
        message, hint = f'"{strange}" names no split', "write train, val or test in every row"
        raise refusal("unknown_split", "data.split.column", message, hint)
    names = np.array([known[key.lower()] for key in keys])
    return {name: rows[names == name] for name in ("train", "val", "test")}


def _groups(rows: Rows, keys: Sequence[str], val: float, test: float, seed: int) -> dict[str, Rows]:
    names, group, sizes = np.unique(np.array(keys, object).astype(str), return_inverse=True, return_counts=True)
    wanted = {name: _count(len(rows), part, name) for name, part in (("test", test), ("val", val)) if part}
    part_of = np.full(len(names), "train", object)
    order = list(generator(seed, "split").permutation(len(names)))
    for name, count in wanted.items():
        taken = 0
        while order and taken < count:
            part_of[order[0]] = name
            taken += int(sizes[order.pop(0)])
    found = part_of[group.reshape(-1)]
    return {name: rows[found == name] for name in ("train", "val", "test")}


def sample_rows(rows: int, limit: int | None, seed: int) -> Rows:
    """At most `limit` of the row numbers below `rows`, drawn at random, in ascending order."""
    if limit is None or limit >= rows:
        return np.arange(rows)
    return np.sort(generator(seed, "limit").permutation(rows)[:limit])


def _count(rows: int, part: float, name: str) -> int:
    count = int(part) if part >= 1 else int(rows * part + 0.5)
    if count == 0:
        message = f"{part:g} of {rows} rows is less than one row"
        raise refusal("too_few_rows", f"data.split.{name}", message, "ask for a larger share, or give more data")
    return count


def _stratified(rows: Rows, labels: npt.NDArray[Any], counts: dict[str, int], seed: int) -> dict[str, Rows]:
    """Deal every class by itself; which class gives the odd row is decided by the largest remainder."""
    sizes = np.bincount(labels)
    if (single := np.flatnonzero(sizes == 1)).size:
        raise OneRow(int(single[0]))
    order = generator(seed, "split").permutation(len(rows))
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    taken = np.zeros_like(sizes)
    parts = {}
    for name, count in counts.items():
        share = _shares(sizes, count, np.maximum(sizes - taken - 1, 0), name)
        picks = [by_class[s + t : s + t + n] for s, t, n in zip(starts, taken, share, strict=True)]
        parts[name] = np.sort(rows[np.concatenate(picks)])
        taken += share
    rest = [by_class[s + t : s + n] for s, t, n in zip(starts, taken, sizes, strict=True)]
    return {"train": np.sort(rows[np.concatenate(rest)]), **dict(reversed(parts.items()))}


def put_in_order(X: npt.NDArray[Any], parts: Mapping[str, Rows]) -> dict[str, npt.NDArray[Any]]:
    """X [rows, columns] cut into parts that take all of its rows, in memory that X already has: its rows are moved so
    that each part is a slice of it. parts: row numbers, each in ascending order."""
    place = max(parts, key=lambda name: len(parts[name]))
    apart = {name: X[rows] for name, rows in parts.items() if name != place}
    rows, end = parts[place], len(parts[place])
    for part in blocks(end, X.shape[1], block=CELLS):
        X[part] = X[rows[part]]  # which lie there or further on
    found = {place: X[:end]}
    for name, block in apart.items():
        found[name] = X[end : end + len(block)]
        found[name][...] = block
        end += len(block)
    return {name: found[name] for name in parts}


class OneRow(Exception):
    """A class has a single row, which cannot be both learned from and tested on; `label` is its index."""

    def __init__(self, label: int) -> None:
        super().__init__(f"class {label} has one row")
        self.label = label


def _shares(sizes: Rows, count: int, most: Rows, name: str) -> Rows:
    """`count` rows shared out in proportion to `sizes`: rounded down, then up for the largest remainders."""
    quota = sizes * (count / sizes.sum())
    share = np.minimum(np.floor(quota).astype(np.int64), most)
    preference = np.argsort(-(quota - np.floor(quota)), kind="stable")
    while share.sum() < count:
        room = preference[share[preference] < most[preference]]
        if not room.size:
            message = f"{count} rows cannot be taken from every class"
            raise refusal("too_few_rows", f"data.split.{name}", message, "use data.split.method: random")
        share[room[: count - int(share.sum())]] += 1
    return np.asarray(share, np.int64)


def refusal(code: str, key: str, message: str, hint: str) -> DataError:
    """A refusal that names the config key."""
    return DataError(Problem(code, message, hint=hint, key=key))

"""Shards: the parts that a batch is cut into, so that several workers can share it out."""

from __future__ import annotations

import itertools


def cut(rows: int, shards: int) -> list[slice]:
    """The rows of each shard of a batch, as equal as can be: some have one row less, and none where there are few."""
    ends = [rows * i // shards for i in range(shards + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]

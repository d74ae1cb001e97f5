"""Sums over the shards of a batch, in an order that is theirs alone: neighbours are added, then sums of neighbours.

Shard 0 is added to 1 and 2 to 3, then 0-1 to 2-3, and so on. A worker holds 2^k shards that follow each other, a
subtree; what is left are the upper floors of the tree, between workers. So the bits of a sum do not depend on how many
workers there are. (Between workers it is the all-reduce of Rabenseifner, ICCS 2004: halves are exchanged and added,
then the sums; a worker of N sends 2 (N - 1) / N vectors, and there is no way to send less.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlp_core.workers.world import World

WHOLE = 16 << 10
"""Bytes of a vector that is exchanged whole: to send less of it would not save the time of another message."""


def add_pairs(parts: Sequence[Any]) -> None:
    """The sum of 2^k arrays, or numbers in a list, left in the first; the others are overwritten."""
    values: Any = parts
    distance = 1
    while distance < len(parts):
        for i in range(0, len(parts), 2 * distance):
            values[i] += values[i + distance]
        distance *= 2


def add_across(world: World, vector: Any, room: Any) -> None:
    """vector [n] becomes the sum of those of all workers, 2^k of them; room [n] is memory for what is received. Both
    are where `world` exchanges arrays: on the host, or on a device.

    An element is the same sum in every worker: the two that are added there are the same, in whichever order.
    """
    start, stop, distance = 0, len(vector), 1
    halved: list[tuple[int, slice, slice]] = []
    while distance < world.size:
        partner, upper = world.rank ^ distance, bool(world.rank & distance)
        mine = theirs = slice(start, stop)
        if (stop - start) * vector.dtype.itemsize > WHOLE:
            middle = (start + stop) // 2
            mine, theirs = slice(start, middle), slice(middle, stop)
            if upper:
                mine, theirs = theirs, mine
            halved.append((partner, mine, theirs))
        world.exchange(partner, vector[theirs], room[mine])
        part = vector[mine]
        part += room[mine]
        start, stop, distance = mine.start, mine.stop, 2 * distance
    for partner, mine, theirs in reversed(halved):
        world.exchange(partner, vector[mine], vector[theirs])

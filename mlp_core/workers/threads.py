"""Workers that are threads of one process: what several workers say to each other about steps, without MPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Barrier, BrokenBarrierError
from typing import Any, TypeVar

import numpy as np

from mlp_core.workers.world import World

Result = TypeVar("Result")
LONG = 120.0
"""Seconds after which a worker no longer waits for another: something is wrong with it."""


class Threads(World):
    """One of `size` workers; what all of them say lies in boxes, what one says to another in a queue of the two."""

    def __init__(
        self, rank: int, size: int, barrier: Barrier, boxes: list[Any], queues: dict[tuple[int, int], Queue[Any]]
    ) -> None:
        self.rank, self.size = self.local_rank, self.local_size = rank, size
        self._barrier, self._boxes, self._queues = barrier, boxes, queues

    def exchange(self, partner: int, out: np.ndarray, into: np.ndarray) -> None:
        self._queues[self.rank, partner].put(out.copy())
        if (given := self._queues[partner, self.rank].get(timeout=LONG)) is None:
            raise BrokenBarrierError
        into[:] = given
        self.sent += out.nbytes

    def everyone(self, message: bytes) -> list[bytes]:
        self._boxes[self.rank] = message
        self._barrier.wait(LONG)
        found = list(self._boxes)
        self._barrier.wait(LONG)
        return found

    def numbers(self, values: Sequence[float]) -> np.ndarray:
        return np.array([np.frombuffer(one) for one in self.everyone(np.array(values, np.float64).tobytes())])

    def given(self, message: bytes) -> bytes:
        return self.everyone(message)[0]


def together(size: int, work: Callable[[Any], Result], kind: type[Threads] = Threads) -> list[Result]:
    """What `work` gives in each of so many workers; raises what the first of them raises that does not wait in vain."""
    barrier, boxes = Barrier(size), [b""] * size
    queues: dict[tuple[int, int], Queue[Any]] = {(a, b): Queue() for a in range(size) for b in range(size)}
    worlds = [kind(rank, size, barrier, boxes, queues) for rank in range(size)]

    def one(world: Threads) -> Result:
        try:
            return work(world)
        except BaseException:
            barrier.abort()
            for other in range(size):
                queues[world.rank, other].put(None)
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, world) for world in worlds]
        errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise next((error for error in errors if "Barrier" not in type(error).__name__), errors[0])
    return [future.result() for future in futures]

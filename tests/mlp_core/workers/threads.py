"""Workers that are threads of one process: what several workers do, without MPI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Barrier, BrokenBarrierError
from typing import Any, TypeVar

import numpy as np

from mlp_core.workers.parcel import packed, unpacked
from mlp_core.workers.world import World

Result = TypeVar("Result")
LONG = 120.0


class Threads(World):
    """One of `size` workers; what they say lies in boxes that all of them share."""

    def __init__(self, rank: int, size: int, barrier: Barrier, boxes: list, queues: dict) -> None:
        self.rank, self.size = self.local_rank, self.local_size = rank, size
        self._barrier, self._boxes, self._queues = barrier, boxes, queues

    def exchange(self, partner: int, out: np.ndarray, into: np.ndarray) -> None:
        self._queues[self.rank, partner].put(out.copy())
        into[:] = self._queues[partner, self.rank].get(timeout=LONG)
        self.sent += out.nbytes

    def everyone(self, message: bytes) -> list[bytes]:
        self._boxes[self.rank] = message
        self._barrier.wait(LONG)
        found = list(self._boxes)
        self._barrier.wait(LONG)
        return found

    def numbers(self, values: Sequence[float]) -> np.ndarray:
        return np.array([np.frombuffer(one) for one in self.everyone(np.array(values, np.float64).tobytes())])

    def copy(self, array: np.ndarray) -> None:
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(self.given(array.tobytes()), np.uint8)

    def shared(self, make: Callable[[], Any]) -> Any:
        if self.writes:
            text, arrays = packed(make())
            self._boxes[0] = (text, [array.reshape(-1).view(np.uint8) for array in arrays])
        self._barrier.wait(LONG)
        found = unpacked(*self._boxes[0])
        self._barrier.wait(LONG)
        return found

    def in_order(self, pieces: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        for place, piece in enumerate(pieces):
            whose = place % self.size
            if whose == self.rank:
                made = work(piece)
                if self.writes:
                    yield made
                else:
                    self._queues[self.rank, 0].put(packed(made))
            elif self.writes:
                if (given := self._queues[whose, 0].get(timeout=LONG)) is None:
                    raise BrokenBarrierError
                text, arrays = given
                yield unpacked(text, [array.reshape(-1).view(np.uint8) for array in arrays])

    def given(self, message: bytes) -> bytes:
        return self.everyone(message)[0]


def together(size: int, work: Callable[[World], Result]) -> list[Result]:
    """What `work` gives in each of so many workers; raises what the first of them raises that does not wait in vain."""
    barrier = Barrier(size)
    queues = {(a, b): Queue() for a in range(size) for b in range(size)}
    boxes = [b""] * size
    worlds = [Threads(rank, size, barrier, boxes, queues) for rank in range(size)]

    def one(world: World) -> Result:
        try:
            return work(world)
        except BaseException:
            barrier.abort()
            queues[world.rank, 0].put(None)
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(one, world) for world in worlds]
        errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise next((error for error in errors if "Barrier" not in type(error).__name__), errors[0])
    return [future.result() for future in futures]

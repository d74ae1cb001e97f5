"""Workers that are threads of one process, and read and predict together, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import BrokenBarrierError
from typing import Any, TypeVar

import numpy as np

from mlp_core.workers import threads
from mlp_core.workers.parcel import packed, unpacked
from mlp_core.workers.threads import LONG
from mlp_core.workers.world import World

Result = TypeVar("Result")


class Threads(threads.Threads):
    """One of several workers that share what is read and made."""

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


def together(size: int, work: Callable[[World], Result]) -> list[Result]:
    """What `work` gives in each of so many workers."""
    return threads.together(size, work, Threads)

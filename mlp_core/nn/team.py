"""Threads of our own that share out large products of numpy, and sleep while they wait.

The threads of a BLAS wait by spinning, for each other and for work. That is quickest on a machine that has nothing else
to do; but as soon as another process wants a processor, the ones that spin take it from the one that they wait for, and
a product takes many times as long as on one thread. So the BLAS gets one thread, and a product is cut into as many
parts as there are threads, along the longer side of the result. The parts are fixed by the shapes and the number of
threads: the same bits come out whichever thread does which part, and when.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray

LEAST_FLOPS = 5e7
"""Floating-point operations of a product from which it is shared out: half a millisecond of them. What smaller ones
would gain is lost when the results are fetched out of the other core's cache."""

SHARED_FLOPS = 3e6
"""Floating-point operations of a product for each thread of a crew (`crew.py`), which waits for microseconds only."""

HEAD_START = 8e6
"""Floating-point operations that the caller does while a helper wakes up: some 80 us; its part is larger by them."""

Task = Callable[[], Any]
Order = tuple[Task, "SimpleQueue[BaseException | None]"]


class Team:
    """`threads` threads, the caller's among them; the others are started at the first piece of work.

    They end with the team.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._tasks: SimpleQueue[Order | None] = SimpleQueue()
        self._helpers = 0

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, the first one here; raises what one of them raised."""
        while self._helpers < min(self.threads, len(tasks)) - 1:
            Thread(target=_help, args=(self._tasks,), name="mlpbp helper", daemon=True).start()
            weakref.finalize(self, self._tasks.put, None)
            self._helpers += 1
        done: SimpleQueue[BaseException | None] = SimpleQueue()  # its own, should this call be interrupted
        for task in tasks[1:]:
            self._tasks.put((task, done))
        try:
            tasks[0]()
        finally:
            errors = [done.get() for _ in tasks[1:]]
        for error in errors:
            if error is not None:
                raise error

    def product(self, A: Array, B: Array, out: Array) -> Array:
        """out = A @ B, shared out where it is large. A [i, k], B [k, j], out [i, j]."""
        rows, columns = out.shape
        flops = 2 * rows * columns * A.shape[1]
        if flops < LEAST_FLOPS:
            return np.matmul(A, B, out=out)
        parts = self.parts(max(rows, columns), HEAD_START / flops)
        if rows >= columns:
            self.run([partial(np.matmul, A[part], B, out=out[part]) for part in parts])
        else:
            self.run([partial(np.matmul, A, B[:, part], out=out[:, part]) for part in parts])
        return out

    def parts(self, length: int, head_start: float = 0.0) -> list[slice]:
        """One slice for each thread; the first is longer by `head_start` of the whole, the others are equal.

        All begin at multiples of 16, where there are that many.
        """
        ahead = min(1.0, head_start) * length
        share = (length - ahead) / self.threads
        starts = [0, *(min(length, math.ceil((ahead + i * share) / 16) * 16) for i in range(1, self.threads))]
        ends = [*starts[1:], length]
        return [slice(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def _help(orders: SimpleQueue[Order | None]) -> None:
    """Do what comes in until None does."""
    while (order := orders.get()) is not None:
        task, done = order
        try:
            task()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)
        del order, task, done  # or the arrays in them would live until the next one

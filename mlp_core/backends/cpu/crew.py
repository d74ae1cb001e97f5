"""Threads that carry out lists of compiled instructions together, step by step, each its share of every one.

All go through the same list. Where an instruction needs what the others have written, the list says so, and they wait
for each other: spinning for some microseconds, then asleep. Threads that only ever spin are quickest on a machine that
has nothing else to do; beside another busy process they take the processor from the thread that they wait for.
What a thread does is fixed by the list and the number of threads, and so are the bits of the result.
"""

from __future__ import annotations

import os
import threading
import weakref
from functools import cached_property
from typing import Any

import numpy as np

from mlp_core.backends.cpu.compiled.layout import (
    ASLEEP,
    BEDS,
    CELLS,
    CURSOR,
    DONE,
    FIRST,
    JOBS,
    LINE,
    MEETINGS,
    READ,
    SCRATCH,
    TERMS,
    TOTALS,
    WRITE,
)
from mlp_core.backends.cpu.machine_code import machine_code

LEAD = "lead"
OTHERS = ("follow", "dismiss")
"""The functions of the caller's thread and, for crews of several threads, of the others."""


class Crew:
    """`threads` threads, the caller's among them; the others start with the first job and end with the crew.

    A list is int64 [instructions, WIDTH] (`instructions.assemble`). Instructions find numbers that change from step to
    step in `cells`, and the address of the step's row numbers at `cursor`; they leave what is summed up in `terms`.
    A crew works for one thread of Python at a time.
    """

    def __init__(self, threads: int, cells: int = 0, terms: int = 0) -> None:
        """Raises CannotCompile."""
        self.threads, self._process = threads, 0
        (self._lead,) = machine_code().functions([LEAD])
        size = BEDS + LINE * threads
        memory = np.zeros(size + LINE, np.int64)
        self._job = memory[-(memory.ctypes.data // 8) % LINE :][:size]
        self._place = self._job.ctypes.data
        self.cells, self._total, self._cursor = np.zeros(cells), np.zeros(1), np.zeros(1, np.int64)
        self._job[[CELLS, CURSOR]] = self.cells.ctypes.data, self._cursor.ctypes.data
        self.make_room(terms)

    def make_room(self, terms: int) -> None:
        """For so many terms; what their addresses were is no longer true."""
        self.terms = np.zeros(terms)
        self._job[TERMS] = self.terms.ctypes.data

    @cached_property
    def scratch(self) -> int:
        """The address of memory in which matrix products lay out what they read, a piece for each thread."""
        self._scratch = np.empty(SCRATCH * self.threads, np.uint8)
        return int(self._scratch.ctypes.data)

    @property
    def cursor(self) -> int:
        """Where the address of the row numbers of a step is to be found."""
        return int(self._cursor.ctypes.data)

    def run(self, program: Any, numbers: Any = None, rows: Any = None, totals: Any = None) -> int:
        """Go through a list once for each row of `numbers` [steps, cells]; how many times that was done to the end.

        `rows` int64 [steps, n] are the row numbers of each step, `totals` float64 [steps] takes what the terms came to.
        Without numbers once, with the cells as they are.
        """
        if self.threads > 1 and self._process != os.getpid():
            self._start()
        taken = [1, 0, 0, 0, 0, self._total.ctypes.data]
        if numbers is not None:
            (steps, slots), stride = numbers.shape, rows.strides[0]
            taken = [steps, numbers.ctypes.data, slots, rows.ctypes.data, stride, totals.ctypes.data]
        self._job[FIRST : TOTALS + 1] = [program.ctypes.data, len(program), *taken]
        self._lead(self._place, 0, self.threads)
        return int(self._job[DONE])

    @property
    def total(self) -> float:
        """What the terms of the last list came to, where it was gone through once."""
        return float(self._total[0])

    def _start(self) -> None:
        """Start the other threads; again in a forked process, which has none of them. Raises OSError."""
        follow, dismiss = machine_code().functions(OTHERS)
        self._job[[JOBS, MEETINGS]] = 0
        others: list[threading.Thread] = []
        pipes: list[int] = []
        try:
            for part in range(self.threads):
                waiting, waking = os.pipe()
                pipes += (waiting, waking)
                os.set_blocking(waking, False)
                bed = BEDS + LINE * part
                self._job[[bed + ASLEEP, bed + READ, bed + WRITE]] = 0, waiting, waking
            for part in range(1, self.threads):
                name, arguments = f"mlpbp {part}", (self._place, part, self.threads)
                others.append(threading.Thread(target=follow, args=arguments, name=name, daemon=True))
                others[-1].start()
        except BaseException as error:
            _end(self._job, [thread for thread in others if thread.ident], os.getpid(), dismiss, pipes)
            if isinstance(error, RuntimeError):  # the system has no more threads
                raise OSError(f"threads: {error}") from None
            raise
        self._process = os.getpid()
        weakref.finalize(self, _end, self._job, others, self._process, dismiss, pipes)


def _end(job: Any, others: list[threading.Thread], process: int, dismiss: Any, pipes: list[int]) -> None:
    """End the threads of a crew that is no longer used; in a forked process there are none."""
    if process != os.getpid():
        return
    dismiss(job.ctypes.data, 0, len(others) + 1)
    for thread in others:
        thread.join(1.0)
    if not any(thread.is_alive() for thread in others):
        for end in pipes:
            os.close(end)

"""Threads that carry out programs of the kernels together, step by step, each its share of every instruction.

All go through the same program. Where an instruction needs what the others have written, the program says so, and they
wait for each other: spinning for some microseconds, then asleep (`threads.c`). What a thread does is fixed by the
program and the number of threads, and so are the bits of the result.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from functools import cached_property
from typing import Any

import numpy as np

from mlp_core.backends.cpu.library import Library, library

SHARED_FLOPS = 3e6
"""Floating-point operations of a product from which it is worth sharing out, for each thread of a crew."""

_FIELDS = "program length steps numbers slots rows stride totals cells cursor terms"


class _Job(ctypes.Structure):
    """`struct job` of threads.c."""

    _fields_ = [(name, ctypes.c_int64) for name in _FIELDS.split()]


class Crew:
    """`threads` threads, the caller's among them; the others start with the first job and end with the crew.

    A program is int64 [instructions, WIDTH] (`program.assemble`). Instructions find numbers that change from step to
    step in `cells`, and the address of the step's row numbers at `cursor`; they leave what is summed up in `terms`.
    A crew works for one thread of Python at a time.
    """

    def __init__(self, threads: int, cells: int = 0, terms: int = 0, kernels: Library | None = None) -> None:
        """kernels: those to use, by default the best for this processor. Raises NoKernels."""
        self.threads, self.library, self._process = threads, kernels or library(), 0
        self.cells, self.terms, self._total = np.zeros(cells), np.zeros(terms), np.zeros(1)
        self._cursor, self._job = np.zeros(1, np.int64), _Job()
        self._job.cells, self._job.cursor = self.cells.ctypes.data, self._cursor.ctypes.data
        self._job.terms, self._place = self.terms.ctypes.data, ctypes.addressof(self._job)
        self._make()

    def _make(self) -> None:
        """What the threads share, for those of this process."""
        code = self.library.code
        code.crew_new.restype = ctypes.c_void_p
        self._shared = ctypes.c_void_p(code.crew_new(ctypes.c_int64(self.threads)))
        if not self._shared:
            raise MemoryError("no memory for threads")
        self._lead = code.crew_lead
        self._lead.restype, self._lead.argtypes = ctypes.c_int64, [ctypes.c_void_p, ctypes.c_void_p]
        self._process, self._others = os.getpid(), list[threading.Thread]()
        weakref.finalize(self, _end, code, self._shared, self._others, self._process)

    @cached_property
    def scratch(self) -> int:
        """The address of memory in which matrix products lay out what they read, a piece for each thread."""
        self._scratch = np.empty(self.library.scratch * self.threads, np.uint8)
        return int(self._scratch.ctypes.data)

    @property
    def cursor(self) -> int:
        """Where the address of the row numbers of a step is to be found."""
        return int(self._cursor.ctypes.data)

    def run(self, program: Any, numbers: Any = None, rows: Any = None, totals: Any = None) -> int:
        """Go through a program once for each row of `numbers` [steps, cells]; how many times that was done to the end.

        `rows` int64 [steps, n] are the row numbers of each step, `totals` float64 [steps] takes what the terms came to.
        Without numbers once, with the cells as they are.
        """
        if self._process != os.getpid():  # a forked process has none of the threads
            self._make()
        if len(self._others) < self.threads - 1:
            self._start()
        job = self._job
        job.program, job.length, job.steps, job.slots = program.ctypes.data, len(program), 1, 0
        job.totals = self._total.ctypes.data
        if numbers is not None:
            job.steps, job.slots = numbers.shape
            job.numbers, job.rows, job.stride = numbers.ctypes.data, rows.ctypes.data, rows.strides[0]
            job.totals = totals.ctypes.data
        return int(self._lead(self._shared, self._place))

    def _start(self) -> None:
        """Start the other threads. Raises OSError, and can then be tried again."""
        follow, parts = self.library.code.crew_follow, range(1, self.threads)
        for part in parts[len(self._others) :]:
            arguments = (self._shared, ctypes.c_int64(part))
            other = threading.Thread(target=follow, args=arguments, name=f"mlpbp {part}", daemon=True)
            try:
                other.start()
            except RuntimeError as error:  # the system has no more threads
                raise OSError(f"threads: {error}") from None
            self._others.append(other)


def _end(code: Any, shared: ctypes.c_void_p, others: list[threading.Thread], process: int) -> None:
    """End the threads of a crew that is no longer used; in a forked process there are none."""
    if process != os.getpid():
        return
    code.crew_dismiss(shared)
    for thread in others:
        thread.join(1.0)
    if not any(thread.is_alive() for thread in others):
        code.crew_free(shared)

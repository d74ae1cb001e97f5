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
from numba import carray

from mlp_core.gemm import SCRATCH
from mlp_core.loops import compiled
from mlp_core.native import add, call, float64s, load, read, swap, words, write

WIDTH = 16
"""Words of an instruction: the address of its function, then the function's own arguments."""

MEET = 0
"""In place of an address: wait until all threads have come here."""

CHECK = 1
"""In place of an address: leave the list unless the sum of the terms so far is finite: of as many as word 1 says."""

SPIN = 20_000
"""Looks at a counter before a thread goes to sleep: some ten microseconds, longer than all but the largest waits of a
step and shorter than it takes to be woken up."""

PATIENCE = 10
"""How many times as long a thread looks out for the next job: as long as Python needs between two."""

_LINE = 16  # words between things that different threads write: two cache lines
_JOBS, _MEETINGS, _JOB, _BEDS = 0, _LINE, 2 * _LINE, 4 * _LINE  # two counters, the job, and where each thread sleeps
_ASLEEP, _READ, _WRITE, _BYTE, _SUM = range(5)  # in a bed: whether its thread sleeps, the ends of a pipe, a byte, a sum
_FIRST, _LENGTH, _STEPS, _NUMBERS, _SLOTS, _CELLS, _ROWS, _STRIDE, _CURSOR, _TERMS, _TOTALS = range(_JOB, _JOB + 11)


@compiled
def _wait(state: int, counter: int, goal: int, part: int, spin: int) -> None:
    """Until a counter has reached `goal`. A byte in a thread's own pipe is a reason to look again, no more."""
    looks, bed = 0, state + 8 * (_BEDS + _LINE * part)
    while load(state + 8 * counter) < goal:
        looks += 1
        if looks == spin:
            looks = 0
            swap(bed + 8 * _ASLEEP, 1)
            if load(state + 8 * counter) < goal:
                read(words(bed)[_READ], bed + 8 * _BYTE, 1)


@compiled
def _count(state: int, counter: int, part: int, parts: int, full: int) -> int:
    """Add one to a counter; where that makes it a multiple of `full`, wake all others who are asleep."""
    count = add(state + 8 * counter, 1) + 1
    if count % full == 0:
        for other in range(parts):
            bed = state + 8 * (_BEDS + _LINE * other)
            if other != part and swap(bed + 8 * _ASLEEP, 0) != 0:
                write(words(bed)[_WRITE], bed + 8 * _BYTE, 1)
    return count


@compiled
def _meet(state: int, part: int, parts: int) -> None:
    """Wait until all have come here."""
    count = _count(state, _MEETINGS, part, parts, parts)
    if count % parts != 0:
        _wait(state, _MEETINGS, count - count % parts + parts, part, SPIN)


@compiled
def _sum(terms: Any, count: int) -> float:
    total = 0.0
    for i in range(count):
        total += terms[i]
    return total


@compiled
def _go_through(program: Any, terms: Any, total: Any, state: int, part: int, parts: int) -> bool:
    """All instructions once; False if a check failed. `total` is this thread's own sum of the terms."""
    for i in range(program.shape[0]):
        function = program[i, 0]
        if function == MEET:
            if parts > 1:
                _meet(state, part, parts)
        elif function == CHECK:
            total[0] = _sum(terms, program[i, 1])
            if not np.isfinite(total[0]):
                return False
        else:
            call(function, words(program.ctypes.data + 8 * WIDTH * i), part, parts)
    return True


@compiled
def _steps(job: Any, part: int, parts: int) -> int:
    """The job's list as often as it asks for; how many times it was gone through to its end.

    Before each time the caller's thread lays the numbers of that step where the instructions look for them.
    """
    state = job.ctypes.data
    program, total = (
        carray(words(job[_FIRST]), (job[_LENGTH], WIDTH)),
        float64s(state + 8 * (_BEDS + _LINE * part + _SUM)),
    )
    total[0] = 0.0
    for step in range(job[_STEPS]):
        if part == 0:
            numbers, cells = float64s(job[_NUMBERS]), float64s(job[_CELLS])
            for slot in range(job[_SLOTS]):
                cells[slot] = numbers[step * job[_SLOTS] + slot]
            words(job[_CURSOR])[0] = job[_ROWS] + step * job[_STRIDE]
        if parts > 1:
            _meet(state, part, parts)
        whole = _go_through(program, float64s(job[_TERMS]), total, state, part, parts)
        if part == 0:
            float64s(job[_TOTALS])[step] = total[0]
        if not whole:
            return step
        if parts > 1:
            _meet(state, part, parts)
    return job[_STEPS]


@compiled
def _lead(
    job: Any, parts: int, program: Any, steps: int, numbers: int, slots: int, rows: int, stride: int, totals: int
) -> int:
    """The caller's part of a job, and the signal for the others to begin theirs; returns when all are done."""
    job[_FIRST], job[_LENGTH], job[_STEPS] = program.ctypes.data, program.shape[0], steps
    job[_NUMBERS], job[_SLOTS], job[_ROWS], job[_STRIDE] = numbers, slots, rows, stride
    job[_TOTALS] = totals
    if parts > 1:
        _count(job.ctypes.data, _JOBS, 0, parts, 1)
    done = _steps(job, 0, parts)
    if parts > 1:
        _meet(job.ctypes.data, 0, parts)
    return done


@compiled
def _follow(job: Any, part: int, parts: int, number: int) -> None:
    """One job after the other, until one has a negative number of steps."""
    while True:
        number += 1
        _wait(job.ctypes.data, _JOBS, number, part, PATIENCE * SPIN)
        if job[_STEPS] < 0:
            return
        _steps(job, part, parts)
        _meet(job.ctypes.data, part, parts)


@compiled
def _dismiss(job: Any, parts: int) -> None:
    """Tell the other threads to end."""
    job[_STEPS] = -1
    _count(job.ctypes.data, _JOBS, 0, parts, 1)


class Crew:
    """`threads` threads, the caller's among them; the others start with the first job and end with the crew.

    A list is int64 [instructions, WIDTH]. Instructions find numbers that change from step to step in `cells`, and the
    address of the step's row numbers at `cursor`; they leave numbers to be added up in `terms`.
    """

    def __init__(self, threads: int, cells: int = 0, terms: int = 0) -> None:
        self.threads, self._process = threads, 0
        size = _BEDS + _LINE * threads
        memory = np.zeros(size + _LINE, np.int64)
        self._job = memory[-(memory.ctypes.data // 8) % _LINE :][:size]
        self.cells, self.terms, self._total = np.zeros(cells), np.zeros(terms), np.zeros(1)
        self._cursor = np.zeros(1, np.int64)
        self._job[[_CELLS, _TERMS, _CURSOR]] = [a.ctypes.data for a in (self.cells, self.terms, self._cursor)]

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
        """
        if self.threads > 1 and self._process != os.getpid():
            self._start()
        if numbers is None:
            return int(_lead(self._job, self.threads, program, 1, 0, 0, 0, 0, self._total.ctypes.data))
        steps, slots = numbers.shape
        more = (numbers.ctypes.data, slots, rows.ctypes.data, rows.strides[0], totals.ctypes.data)
        return int(_lead(self._job, self.threads, program, steps, *more))

    def _start(self) -> None:
        """Start the other threads; again in a forked process, which has none of them."""
        self._process = os.getpid()
        self._job[[_JOBS, _MEETINGS]] = 0
        for part in range(self.threads):
            waiting, waking = os.pipe()
            os.set_blocking(waking, False)
            bed = _BEDS + _LINE * part
            self._job[[bed + _ASLEEP, bed + _READ, bed + _WRITE]] = 0, waiting, waking
        others = [
            threading.Thread(target=_follow, args=(self._job, part, self.threads, 0), name=f"mlpbp {part}", daemon=True)
            for part in range(1, self.threads)
        ]
        for thread in others:
            thread.start()
        weakref.finalize(self, _end, self._job, others, self._process)


def _end(job: Any, others: list[threading.Thread], process: int) -> None:
    """End the threads of a crew that is no longer used; in a forked process there are none."""
    if process != os.getpid():
        return
    _dismiss(job, len(others) + 1)
    for thread in others:
        thread.join(1.0)
    if not any(thread.is_alive() for thread in others):
        for bed in range(_BEDS, len(job), _LINE):
            os.close(job[bed + _READ])
            os.close(job[bed + _WRITE])

"""What the threads of a crew do: go through lists of instructions together, and wait for each other.

`a` is the memory of the crew (see `layout`). Where an instruction needs what the others have written, the list says so:
they spin for some microseconds, then sleep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mlp_core.backends.cpu.compiled.layout import (
    ASLEEP,
    BEDS,
    BYTE,
    CELLS,
    CHECK,
    CURSOR,
    DONE,
    FIRST,
    JOBS,
    LENGTH,
    LINE,
    MEET,
    MEETINGS,
    NUMBERS,
    READ,
    ROWS,
    SLOTS,
    STEPS,
    STRIDE,
    SUM,
    TERMS,
    TOTALS,
    WIDTH,
    WRITE,
)
from mlp_core.backends.cpu.compiled.loops import compiled
from mlp_core.backends.cpu.compiled.native import add, address, call, float64s, load, read, swap, words, write

SPIN = 20_000
"""Looks at a counter before a thread goes to sleep: some ten microseconds, longer than all but the largest waits of a
step and shorter than it takes to be woken up."""

PATIENCE = 10
"""How many times as long a thread looks out for the next job: as long as Python needs between two."""


@compiled
def _wait(state: int, counter: int, goal: int, part: int, spin: int) -> None:
    """Until a counter has reached `goal`. A byte in a thread's own pipe is a reason to look again, no more."""
    looks, bed = 0, state + 8 * (BEDS + LINE * part)
    while load(state + 8 * counter) < goal:
        looks += 1
        if looks == spin:
            looks = 0
            swap(bed + 8 * ASLEEP, 1)
            if load(state + 8 * counter) < goal:
                read(words(bed)[READ], bed + 8 * BYTE, 1)


@compiled
def _count(state: int, counter: int, part: int, parts: int, full: int) -> int:
    """Add one to a counter; where that makes it a multiple of `full`, wake all others who are asleep."""
    count = add(state + 8 * counter, 1) + 1
    if count % full == 0:
        for other in range(parts):
            bed = state + 8 * (BEDS + LINE * other)
            if other != part and swap(bed + 8 * ASLEEP, 0) != 0:
                write(words(bed)[WRITE], bed + 8 * BYTE, 1)
    return count


@compiled
def _meet(state: int, part: int, parts: int) -> None:
    """Wait until all have come here."""
    count = _count(state, MEETINGS, part, parts, parts)
    if count % parts != 0:
        _wait(state, MEETINGS, count - count % parts + parts, part, SPIN)


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
    state = address(job)
    program = carray(words(job[FIRST]), (job[LENGTH], WIDTH))
    total = float64s(state + 8 * (BEDS + LINE * part + SUM))
    total[0] = 0.0
    for step in range(job[STEPS]):
        if part == 0:
            numbers, cells = float64s(job[NUMBERS]), float64s(job[CELLS])
            for slot in range(job[SLOTS]):
                cells[slot] = numbers[step * job[SLOTS] + slot]
            words(job[CURSOR])[0] = job[ROWS] + step * job[STRIDE]
        if parts > 1:
            _meet(state, part, parts)
        whole = _go_through(program, float64s(job[TERMS]), total, state, part, parts)
        if part == 0:
            float64s(job[TOTALS])[step] = total[0]
        if not whole:
            return step
        if parts > 1:
            _meet(state, part, parts)
    return job[STEPS]


def lead(a: Any, like: Any, part: int, parts: int) -> None:
    """The caller's part of the job, and the signal for the others to begin theirs; returns when all are done."""
    if parts > 1:
        _count(address(a), JOBS, part, parts, 1)
    a[DONE] = _steps(a, part, parts)
    if parts > 1:
        _meet(address(a), part, parts)


def follow(a: Any, like: Any, part: int, parts: int) -> None:
    """One job after the other, until one has a negative number of steps."""
    number = 0
    while True:
        number += 1
        _wait(address(a), JOBS, number, part, PATIENCE * SPIN)
        if a[STEPS] < 0:
            return
        _steps(a, part, parts)
        _meet(address(a), part, parts)


def dismiss(a: Any, like: Any, part: int, parts: int) -> None:
    """Tell the other threads to end."""
    a[STEPS] = -1
    _count(address(a), JOBS, part, parts, 1)

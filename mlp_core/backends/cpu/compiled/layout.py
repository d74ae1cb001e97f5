"""What compiled code, its compiler and the program that calls it agree on: places in common memory, numbers."""

from __future__ import annotations

WIDTH = 16
"""Words of an instruction: the address of its function, then the function's own arguments."""

MEET = 0
"""In place of an address: wait until all threads have come here."""

CHECK = 1
"""In place of an address: leave the list unless the sum of the terms so far is finite: of as many as word 1 says."""

LINE = 16
"""Words between things that different threads write: two cache lines."""

JOBS, MEETINGS, JOB, BEDS = 0, LINE, 2 * LINE, 4 * LINE
"""In the memory of a crew, in words: two counters, the job, and a bed for each thread."""

FIRST, LENGTH, STEPS, NUMBERS, SLOTS, ROWS, STRIDE, TOTALS, CELLS, CURSOR, TERMS, DONE = range(JOB, JOB + 12)
"""The job: the list and its length, how many steps, the numbers of each step and how many, the row numbers of the first
and how far apart they are, where the losses go; where instructions find the numbers, the row numbers and the places for
terms; how many steps were made."""

ASLEEP, READ, WRITE, BYTE, SUM = range(5)
"""In a bed: whether its thread sleeps, the ends of its pipe, a byte for it, the thread's own sum of the terms."""

BLOCK = 256
"""Length of a block of a product along k. A panel of it, two registers wide, just fits into the first-level cache."""

BAND = 128
"""Rows of X that are multiplied with all of W before the next ones are: with a block along k they fit into the
second-level cache."""

SCRATCH = 8 * BAND * (2 * BLOCK + 16)
"""Bytes of memory of its own that each thread needs: for a block of rows of X or a panel, and a little between rows."""

CANNOT_KEEP = 3
"""Exit code of the compiler where a function was compiled and its file could not be written."""

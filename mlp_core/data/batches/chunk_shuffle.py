"""The order of rows that are read from the disk: shuffled at two levels, so that what is read lies together.

The rows are cut into chunks that lie next to each other. In every epoch the chunks are put in a random order, and
taken in groups as large as memory is to hold; the rows of a group are shuffled among each other. Every row comes once
an epoch. Both draws are functions of (seed, epoch), so any place of any epoch is found without those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlp_core.rng import generator

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Rows that are in memory together: `spans` of rows (start, stop) that are read one after another; the place in
    memory of the row that comes first, second, ...; and the row numbers in this order."""

    spans: list[tuple[int, int]]
    order: Rows
    numbers: Rows


class TwoLevel:
    """The order of `rows` rows in chunks of `chunk` rows, `together` chunks of which make a group."""

    def __init__(self, rows: int, chunk: int, together: int, seed: int) -> None:
        self.rows, self.chunk, self.together, self.seed = rows, chunk, together, seed
        self.chunks = -(-rows // chunk)
        self.groups = -(-self.chunks // together)
        self._drawn: tuple[int, Rows, Rows] = (-1, np.empty(0, np.int64), np.empty(0, np.int64))

    def _epoch(self, epoch: int) -> tuple[Rows, Rows]:
        """The order of the chunks, and where in the epoch each group begins (and the last one ends)."""
        if self._drawn[0] != epoch:
            chunks = generator(self.seed, "shuffle chunks", epoch).permutation(self.chunks)
            sizes = np.minimum((chunks + 1) * self.chunk, self.rows) - chunks * self.chunk
            ends = np.cumsum(sizes)[[*range(self.together - 1, self.chunks - 1, self.together), self.chunks - 1]]
            self._drawn = (epoch, chunks, np.concatenate([[0], ends]))
        return self._drawn[1:]

    def group(self, epoch: int, index: int) -> Group:
        """Group `index` (from 0) of an epoch."""
        chunks, starts = self._epoch(epoch)
        mine = chunks[index * self.together : (index + 1) * self.together].tolist()
        spans = [(one * self.chunk, min((one + 1) * self.chunk, self.rows)) for one in mine]
        order = generator(self.seed, "shuffle rows", epoch, index).permutation(int(starts[index + 1] - starts[index]))
        return Group(spans, order, np.concatenate([np.arange(start, stop) for start, stop in spans])[order])

    def pieces(self, epoch: int, start: int, stop: int) -> list[tuple[int, slice]]:
        """Where places start..stop of an epoch are found: (group, the places in it), one after another."""
        _, starts = self._epoch(epoch)
        found = []
        while start < stop:
            index = int(np.searchsorted(starts, start, side="right")) - 1
            end = min(stop, int(starts[index + 1]))
            found.append((index, slice(start - int(starts[index]), end - int(starts[index]))))
            start = end
        return found

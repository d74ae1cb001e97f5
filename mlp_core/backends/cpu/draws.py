"""What is drawn on the host for a step, input noise and mixup, laid behind its row numbers for instructions to find.

A step's block is: the row numbers of all its batches; for each batch the rows it is mixed with and lambda; for each
batch its noise. Everything is drawn as `Augment` draws it, so the rows are those of a step made stage by stage.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp_core.data.batches.batches import Augment
from mlp_core.nn.layers import Pass

WORD, NUMBER = 8, 4
"""Bytes of a row number or lambda, and of a normal number."""


class Draws:
    """The blocks of steps of `per_step` batches, here of `sizes` rows of so many inputs.

    Where things lie of each batch, in bytes: in `other` the rows that it is mixed with, in `share` its lambda, in
    `normal` its noise.
    """

    def __init__(self, augment: Augment | None, sizes: Sequence[int], inputs: int, seed: int, per_step: int) -> None:
        self._augment, self._sizes, self._inputs = augment, tuple(sizes), inputs
        self._seed, self._per_step = seed, per_step
        self.other, self.share, self.normal = list[int](), list[int](), list[int]()
        end = WORD * sum(sizes)
        for size in sizes if augment is not None and augment.mixup else ():
            self.other.append(end)
            self.share.append(end + WORD * size)
            end += WORD * (size + 1)
        for size in sizes if augment is not None and augment.noise else ():
            self.normal.append(end)
            end += NUMBER * size * inputs
        self.nbytes = end + -end % WORD
        self._found = np.empty((0, self.nbytes), np.uint8)

    def blocks(self, rows: np.ndarray, step: int) -> np.ndarray:
        """The blocks, uint8 [steps, bytes], of steps `step`, ... with these row numbers, int64 [steps, rows].

        What is drawn lies in memory that is taken once, for the most steps so far, and overwritten by the next call.
        """
        if self.nbytes == WORD * rows.shape[1]:
            return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        if len(self._found) < len(rows):
            self._found = np.empty((len(rows), self.nbytes), np.uint8)
        found = self._found[: len(rows)]
        found[:, : WORD * rows.shape[1]] = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        for i, block in enumerate(found):
            for number, size in enumerate(self._sizes):
                mode = Pass(True, self._seed, (step + i) * self._per_step + number)
                self._draw(block, number, size, mode)
        return found

    def _draw(self, block: np.ndarray, number: int, size: int, mode: Pass) -> None:
        assert self._augment is not None
        if self.other:
            share, other = self._augment.draw_mix(size, mode)
            start, end = self.other[number], self.share[number]
            block[start:end].view(np.int64)[:] = other
            block[end : end + WORD].view(np.float64)[:] = share
        if self.normal:
            start = self.normal[number]
            noise = block[start : start + NUMBER * size * self._inputs].view(np.float32)
            self._augment.draw_noise(noise.reshape(size, self._inputs), mode)

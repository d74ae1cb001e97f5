"""Batches of a split on the disk: a group of chunks is held, in the order of `shuffle`, while the next one is read."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.chunk_shuffle import Group, TwoLevel
from mlp_core.data.batches.inputs import Stored
from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.nn.backend import Array, Backend

CHUNK = 1 << 20  # bytes that are read together
TOGETHER = 64  # chunks that are held and shuffled together


class StreamedBatches(Batches):
    """Shuffled batches of rows [n, inputs] whose X is read from the disk and preprocessed batch by batch.

    The order of an epoch is a function of (seed, epoch) and of the size of a row, not of the machine. In memory are
    two groups of rows as stored (64 MiB each), targets and weights.
    """

    def __init__(self, backend: Backend, X: Any, Y: Array, w: Array | None, **settings: Any) -> None:
        super().__init__(backend, X, Y, w, **settings)
        assert self.shuffle  # what stands in order is read as any other rows are
        self.stored: Stored = X
        self.disk: OnDisk = X.X
        chunk = max(1, CHUNK // self.disk.stored_bytes)
        self.order = TwoLevel(self.rows, chunk, TOGETHER, self.seed)
        self._drawn: dict[tuple[int, int], Group] = {}
        self._held: tuple[int, int] | None = None
        self._buffer: Any = None
        self._ahead: tuple[tuple[int, int], Future[Any]] | None = None
        self._reader = ThreadPoolExecutor(1)

    @property
    def nbytes(self) -> int:
        held = min(self.rows, self.order.chunk * TOGETHER)
        buffers = min(2, self.order.groups) * held * self.disk.stored_bytes
        return super().nbytes - 16 * self.rows + buffers + 32 * held

    def batch(self, epoch: int, position: int, part: slice | None = None) -> tuple[Array, Array, Array | None]:
        start, stop = self.span(position, part)
        X, Y, w = self.memory(stop - start)
        at = 0
        for index, places in self.order.pieces(epoch, start, stop):
            group = self._read(epoch, index)
            piece = slice(at, at + places.stop - places.start)
            rows = self.backend.asarray(group.numbers[places])
            stored = self._buffer.take(group.order[places], axis=0)
            self.stored.write(self.disk.made(stored), X[piece])
            self._gather_targets(rows, Y[piece], None if w is None else w[piece])
            at = piece.stop
        return X, Y, w

    def numbers(self, epoch: int, position: int, count: int) -> tuple[Any, int]:
        start, stop = position * self.size, min((position + count) * self.size, self.rows)
        pieces = self.order.pieces(epoch, start, stop)
        rows = np.concatenate([self._group(epoch, index).numbers[places] for index, places in pieces])
        return rows, len(rows) // count

    def _group(self, epoch: int, index: int) -> Group:
        """A group's order; the last two are kept, because a batch may lie in both."""
        key = (epoch, index)
        if key not in self._drawn:
            self._drawn = dict([*self._drawn.items()][-1:])
            self._drawn[key] = self.order.group(epoch, index)
        return self._drawn[key]

    def _read(self, epoch: int, index: int) -> Group:
        """A group with its rows in memory; the next one of the epoch is read meanwhile."""
        key, group = (epoch, index), self._group(epoch, index)
        if self._held == key:
            return group
        ahead, self._ahead, spare = self._ahead, None, self._buffer
        self._held = self._buffer = None
        if ahead is not None and ahead[0] == key:
            self._buffer = ahead[1].result()
        else:
            free = spare if ahead is None else ahead[1].result()
            self._buffer, spare = self._filled(group, free), None
        self._held = key
        if index + 1 < self.order.groups:
            following = self.order.group(epoch, index + 1)
            self._ahead = ((epoch, index + 1), self._reader.submit(self._filled, following, spare))
        return group

    def _filled(self, group: Group, buffer: Any) -> Any:
        """The rows of a group as stored, in a buffer that is free, or a new one."""
        if buffer is None:
            room = min(self.rows, self.order.chunk * TOGETHER)
            buffer = np.empty((room, self.disk.file.width), self.disk.file.dtype)
        at = 0
        for start, stop in group.spans:
            self.disk.stored(start, stop, buffer[at : at + stop - start])
            at += stop - start
        return buffer

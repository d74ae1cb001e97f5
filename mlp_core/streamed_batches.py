"""Batches of a split that lies on the disk: a group of chunks is held at a time, in the order of `shuffle`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.backend import Array, Backend
from mlp_core.batches import Batches
from mlp_core.layers import head
from mlp_core.readers.on_disk import OnDisk
from mlp_core.rows import Stored
from mlp_core.shuffle import Group, TwoLevel

CHUNK = 1 << 20  # bytes that are read together
TOGETHER = 64  # chunks that are held and shuffled together


class StreamedBatches(Batches):
    """Batches of rows [n, inputs] whose X is read from the disk and preprocessed batch by batch.

    The order of an epoch is a function of (seed, epoch) and of the size of a row, not of the machine. In memory are
    one group of rows as stored (64 MiB), targets and weights. Without shuffling, rows come as they lie.
    """

    def __init__(
        self,
        backend: Backend,
        X: Any,
        Y: Array,
        w: Array | None,
        *,
        size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> None:
        super().__init__(backend, X, Y, w, size=size, seed=seed, shuffle=shuffle, drop_last=drop_last)
        self.stored: Stored = X
        self.disk: OnDisk = X.X
        chunk = max(1, CHUNK // self.disk.stored_bytes)
        self.order = TwoLevel(self.rows, chunk, TOGETHER, seed)
        self._gather_inputs = self._make
        self._drawn: dict[tuple[int, int], Group] = {}
        self._held: tuple[int, int] | None = None
        self._buffer: Any = None

    @property
    def nbytes(self) -> int:
        if not self.shuffle:
            return 0
        held = min(self.rows, self.order.chunk * TOGETHER)
        return super().nbytes - 16 * self.rows + held * (self.disk.stored_bytes + 32)

    def batch(self, epoch: int, position: int) -> tuple[Array, Array, Array | None]:
        start, stop = position * self.size, min((position + 1) * self.size, self.rows)
        if not self.shuffle:
            return super().batch(epoch, position)
        X, Y = head(self._X, stop - start), head(self._Y, stop - start)
        w = None if self._w is None else head(self._w, stop - start)
        at = 0
        for index, places in self.order.pieces(epoch, start, stop):
            group = self._read(epoch, index)
            part = slice(at, at + places.stop - places.start)
            rows = self.backend.asarray(group.numbers[places])
            self._gather_inputs(self._buffer, group.order[places], X[part])
            self._gather(self.Y, rows, Y[part])
            if w is not None:
                self._gather(self.w, rows, w[part])
            at = part.stop
        return X, Y, w

    def weight(self, epoch: int, position: int) -> float:
        if self._weights is None or not self.shuffle:
            return super().weight(epoch, position)
        start, stop = position * self.size, min((position + 1) * self.size, self.rows)
        pieces = self.order.pieces(epoch, start, stop)
        rows = np.concatenate([self._group(epoch, index).numbers[places] for index, places in pieces])
        return float(self._weights[rows].sum())

    def _make(self, stored: Any, places: Any, out: Array) -> None:
        """out[i] = inputs of the row as stored at places[i]."""
        self.stored.write(self.disk.made(stored.take(places, axis=0)), out)

    def _group(self, epoch: int, index: int) -> Group:
        """A group's order; the last two are kept, because a batch may lie in both."""
        key = (epoch, index)
        if key not in self._drawn:
            self._drawn = dict([*self._drawn.items()][-1:])
            self._drawn[key] = self.order.group(epoch, index)
        return self._drawn[key]

    def _read(self, epoch: int, index: int) -> Group:
        """A group with its rows in memory."""
        group = self._group(epoch, index)
        if self._held != (epoch, index):
            if self._buffer is None:
                room = min(self.rows, self.order.chunk * TOGETHER)
                self._buffer = np.empty((room, self.disk.file.width), self.disk.file.dtype)
            self._held, at = None, 0
            for start, stop in group.spans:
                self.disk.stored(start, stop, self._buffer[at : at + stop - start])
                at += stop - start
            self._held = (epoch, index)
        return group

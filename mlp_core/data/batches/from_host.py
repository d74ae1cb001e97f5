"""Rows that a device has no room for: held on the host, and sent in batches while the device works."""

from __future__ import annotations

from typing import Any

from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.inputs import OnHost
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import head


class SentBatches(Batches):
    """Batches whose inputs are on the host: while the device works on one, the next is gathered and sent.

    There are two pinned buffers on the host and two on the device. The copies go by a stream of their own; a buffer on
    the device is filled only after all work that was given for its last batch, and work on it waits until it is full. A
    buffer on the host is filled only when it has been sent.
    """

    def __init__(self, backend: Backend, X: OnHost, Y: Array, w: Array | None, **settings: Any) -> None:
        super().__init__(backend, X, Y, w, **settings)
        graphs, cuda = backend.recorder.graphs, backend.xp.cuda
        self._graphs, self._inputs, shape = graphs, X.X, (self.size, X.shape[1])
        self._copies = cuda.Stream(non_blocking=True)
        self._host = [graphs.pinned(shape, X.dtype) for _ in range(2)]
        self._there = [self._X, backend.empty(shape, X.dtype)]
        self._sent = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._used = [cuda.Event(disable_timing=True) for _ in range(2)]
        self._holds: list[tuple[int, int] | None] = [None, None]
        self._last = 0

    def batch(self, epoch: int, position: int, part: slice | None = None) -> tuple[Array, Array, Array | None]:
        if part is not None:
            X, Y, w = self.batch(epoch, position)
            return X[part], Y[part], None if w is None else w[part]
        stream = self._graphs.stream
        stream.record(self._used[self._last])  # all work on the batch before this one has been given
        place = self._send(epoch, position)
        stream.wait_event(self._sent[place])
        self._last = place
        if position + 1 < self.count:
            self._send(epoch, position + 1)
        start, stop = self.span(position)
        _, Y, w = self.memory(stop - start)
        self._gather_targets(self._order(epoch)[start:stop], Y, w)
        return head(self._there[place], stop - start), Y, w

    def _send(self, epoch: int, position: int) -> int:
        """The buffer that holds a batch, or will when its `_sent` has come; gathers and sends what is in neither."""
        if (epoch, position) in self._holds:
            return self._holds.index((epoch, position))
        place = 1 - self._last
        start, stop = self.span(position)
        host, there = head(self._host[place], stop - start), head(self._there[place], stop - start)
        self._sent[place].synchronize()
        self._inputs.take(self.dealt(epoch)[start:stop], 0, host, "clip")
        self._copies.wait_event(self._used[place])
        self._graphs.send(host, there, self._copies)
        self._copies.record(self._sent[place])
        self._holds[place] = (epoch, position)
        return place

"""CUDA graphs: launches captured once and handed to the device as one, and the memory that takes numbers there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mlp_core.backends.cuda.launches import Launch
from mlp_core.nn.backend import Array


class Graphs:
    """The stream that all work of one device goes to, and graphs on it. `xp` is cupy; the stream is its current one."""

    def __init__(self, xp: Any, stream: Any) -> None:
        self.xp, self.stream = xp, stream

    def capture(self, launches: Iterable[Launch]) -> Graph:
        """A graph of these launches, in this order; nothing is carried out.

        All of them must have been carried out before, so that nothing is compiled, loaded or taken from the device's
        memory meanwhile: the capture refuses that. Raises what cupy raises.
        """
        kept = tuple(launches)
        with self.stream:  # the current one of this thread, whichever thread it is
            self.stream.begin_capture(self.xp.cuda.runtime.streamCaptureModeThreadLocal)
            try:
                for launch in kept:
                    launch.run()
            finally:
                graph = self.stream.end_capture()
        return Graph(graph, self.stream, kept)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Zeros on the host in memory that stays in its place, so that the device can fetch from it by itself."""
        count = int(np.prod(shape))
        memory = self.xp.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        array = np.frombuffer(memory, dtype, count).reshape(shape)
        array.fill(0)
        return array

    def send(self, host: np.ndarray, there: Array, stream: Any = None) -> None:
        """Have pinned numbers fetched to the device; they must not change before that is done."""
        assert host.nbytes == there.nbytes
        assert host.flags.c_contiguous
        there.data.copy_from_host_async(host.ctypes.data, host.nbytes, self.stream if stream is None else stream)


class Graph:
    """Captured launches. It keeps their arrays: the device knows only addresses."""

    def __init__(self, graph: Any, stream: Any, launches: tuple[Launch, ...]) -> None:
        self._graph, self._stream, self.launches = graph, stream, launches

    def run(self) -> None:
        self._graph.launch(self._stream)

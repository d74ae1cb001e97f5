"""cupy's NCCL on stand-ins for GPUs in one process: what is sent is paired with what is received, as strictly."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from queue import Queue
from threading import Barrier, Lock, local
from typing import Any

from strict_xp import StrictDevice

LONG = 120.0
SIZES = {7: 4, 8: 8}  # ncclDataType_t and its bytes


class FakeNccl:
    """The functions that are used, of all workers; `device` gives that of the thread that asks. `sent` counts bytes."""

    available = True
    NCCL_FLOAT32, NCCL_FLOAT64 = 7, 8

    def __init__(self, device: Callable[[], StrictDevice]) -> None:
        self.device, self.sent, self.lock = device, 0, Lock()
        self.rooms: dict[tuple[int, ...], tuple[Barrier, dict]] = {}
        self.mine = local()

    def get_unique_id(self) -> tuple[int, ...]:
        with self.lock:
            name = (*range(-64, 63), len(self.rooms))
            self.rooms[name] = (None, {})
            return name

    def NcclCommunicator(self, size: int, name: tuple[int, ...], rank: int) -> Communicator:
        assert type(name) is tuple
        with self.lock:
            barrier, queues = self.rooms[name]
            barrier = barrier or Barrier(size)
            self.rooms[name] = (barrier, queues)
            for a in range(size):
                for b in range(size):
                    queues.setdefault((a, b), Queue())
        assert barrier.parties == size
        barrier.wait(LONG)
        return Communicator(self, rank, queues)

    def groupStart(self) -> None:
        assert getattr(self.mine, "group", None) is None
        self.mine.group = []

    def groupEnd(self) -> None:
        group, self.mine.group = self.mine.group, None
        for work in sorted(group, key=lambda one: one[0]):  # what is sent first
            work[1]()


class Communicator:
    """One worker's end."""

    def __init__(self, nccl: FakeNccl, rank: int, queues: dict) -> None:
        self._nccl, self._rank, self._queues = nccl, rank, queues

    def _size(self, address: int, count: int, kind: int, stream: int) -> int:
        size = count * SIZES[kind]
        assert self._nccl.device().holds(address, size)
        assert stream not in (0, 1, 2), "the default stream"
        return size

    def send(self, address: int, count: int, kind: int, peer: int, stream: int) -> None:
        size = self._size(address, count, kind, stream)

        def work() -> None:
            self._queues[self._rank, peer].put((kind, ctypes.string_at(address, size)))
            with self._nccl.lock:
                self._nccl.sent += size

        self._give(0, work)

    def recv(self, address: int, count: int, kind: int, peer: int, stream: int) -> None:
        size = self._size(address, count, kind, stream)

        def work() -> None:
            told, content = self._queues[peer, self._rank].get(timeout=LONG)
            assert (told, len(content)) == (kind, size), "what is sent is not what is received"
            ctypes.memmove(address, content, size)

        self._give(1, work)

    def _give(self, order: int, work: Callable[[], Any]) -> None:
        assert self._nccl.mine.group is not None, "two that send to each other outside of a group wait for ever"
        self._nccl.mine.group.append((order, work))

"""Workers whose arrays are on GPUs, one for each: how such an array gets from one to another.

NCCL takes it from device to device. Without it the bytes go through memory of the host that is pinned, so that a device
can read and write it by itself, and from there the way of all others. Both only carry: sums are made by `tree` on the
device, in its order, which is why NCCL's own sums are not asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.errors import Failed, Problem
from mlp_core.workers.world import World

Array = Any
"""An array of cupy's [n], without gaps."""


class Pinned(World):
    """The workers of a world that exchange arrays on their devices of up to `nbytes` bytes through the host's memory.

    The copies and all work of a device go by its current stream, one after the other. So what was received may still be
    on its way when `exchange` comes back: whatever reads it comes later, and the memory is not written to before the
    next array is there to be sent, which is after it.
    """

    way = "through the host's memory"

    def __init__(self, world: World, xp: Any, nbytes: int) -> None:
        self.rank, self.size, self._world = world.rank, world.size, world
        self._out, self._in = (np.frombuffer(xp.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes) for _ in range(2))

    def exchange(self, partner: int, out: Array, into: Array) -> None:
        sent, received = self._out[: out.nbytes], self._in[: into.nbytes]
        out.get(out=sent.view(out.dtype))  # waits for it
        self._world.exchange(partner, sent, received)
        into.data.copy_from_host_async(received.ctypes.data, into.nbytes)


class Nccl(World):
    """The same from device to device. `nccl` is cupy's module of that name; all workers must be here at once."""

    way = "by NCCL"

    def __init__(self, world: World, xp: Any, nccl: Any) -> None:
        self.rank, self.size, self._world = world.rank, world.size, world
        self._nccl, self._stream = nccl, xp.cuda.get_current_stream
        name = world.told(list(nccl.get_unique_id()) if world.writes else None)
        try:
            self._comm = nccl.NcclCommunicator(world.size, tuple(name), world.rank)
        except RuntimeError as error:
            hint = "set NCCL_DEBUG=INFO to be told more"
            raise Failed(Problem("nccl", f"NCCL failed: {error}", hint)) from None
        self._types = {"f": nccl.NCCL_FLOAT32, "d": nccl.NCCL_FLOAT64}

    def exchange(self, partner: int, out: Array, into: Array) -> None:
        kind, stream = self._types[out.dtype.char], self._stream().ptr
        self._nccl.groupStart()  # else each would wait for the other to receive
        self._comm.send(out.data.ptr, out.size, kind, partner, stream)
        self._comm.recv(into.data.ptr, into.size, kind, partner, stream)
        self._nccl.groupEnd()
        self._world.sent += out.nbytes


def between_devices(world: World, xp: Any, nbytes: int, nccl: Any | None) -> World:
    """The best way that all workers have; nccl: None where there is none."""
    missing = world.agreed(int(nccl is None))
    return Pinned(world, xp, nbytes) if missing else Nccl(world, xp, nccl)

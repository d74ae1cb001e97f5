"""A run of several workers that talk through MPI.

Arrays and texts are sent as the bytes that they are: nothing that a worker receives is executed. Every wait looks in
between at what Python has to do, signals among it, and whether a worker has failed; it gives the processor away when it
takes longer, so that workers may share one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from mlp_core.errors import MlpbpError, Problem
from mlp_core.workers.parcel import lengths, packed, unpacked
from mlp_core.workers.world import World

BUSY, SHORT, LONG, LOOK = 50e-6, 2e-3, 0.01, 0.05
"""Seconds of a wait in which it only waits, in which it gives way to others, that it sleeps at most, between two looks
at who has failed."""
PATIENCE, END, LAST_WORDS = 6.0, 30.0, 0.3
"""Seconds after which a worker that has failed no longer waits for worker 0 to hear of it, nor, when it has heard, to
end all; and for which mpiexec is given time to hand on what was said before."""
FAILED, DATA, PART = 1, 2, 3
"""Tags of messages."""
LINE = 64
"""Bytes at whose multiples arrays begin."""
LARGEST = 1 << 30
"""Bytes of a message, at most: MPI counts them in 31 bits."""
SHARED = "/dev/shm"
"""Where an MPI on Linux has the memory that workers share. It may be small, in a container for one, and a process that
writes to memory for which there is no room is killed."""
COPIES = "one on each machine reads the data, and each has a copy: there is not as much shared memory"


class WorkerFailed(MlpbpError):
    """Another worker could not go on; with the exit code that it would have ended with."""

    def __init__(self, problem: Problem, exit_code: int) -> None:
        super().__init__(problem)
        self.exit_code = exit_code  # type: ignore[misc]


class Mpi(World):
    """The workers of MPI's COMM_WORLD."""

    def __init__(self) -> None:
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.rank, self._comm.size
        self._machine = MPI.Intracomm(self._comm.Split_type(MPI.COMM_TYPE_SHARED, self.rank))
        self.local_rank, self.local_size = self._machine.rank, self._machine.size
        self._windows: list[MPI.Win] = []
        self.sent, self.seconds = 0, 0.0
        mine = [MPI.Get_processor_name(), os.getpid()]
        self._where = [json.loads(one) for one in self.everyone(json.dumps(mine).encode())]

    def exchange(self, partner: int, out: np.ndarray, into: np.ndarray) -> None:
        requests = [self._comm.Irecv(_bytes(into), partner, DATA), self._comm.Isend(_bytes(out), partner, DATA)]
        self._wait(requests)
        self.sent += out.nbytes

    def numbers(self, values: Sequence[float]) -> np.ndarray:
        mine = np.array(values, np.float64)
        found = np.empty((self.size, len(mine)))
        self._wait([self._comm.Iallgather(mine, found)])
        self.sent += mine.nbytes * (self.size - 1)
        return found

    def everyone(self, message: bytes) -> list[bytes]:
        lengths = [int(one) for one in self.numbers([len(message)])[:, 0]]
        found = np.empty(sum(lengths), np.uint8)
        mine = np.frombuffer(message, np.uint8)
        self._wait([self._comm.Iallgatherv(mine, (found, lengths))])
        ends = np.cumsum(lengths)
        return [found[end - length : end].tobytes() for end, length in zip(ends, lengths, strict=True)]

    def given(self, message: bytes) -> bytes:
        return self._given(self._comm, message)

    def _given(self, among: MPI.Comm, message: bytes) -> bytes:
        """The message of the first of some workers."""
        length = np.array([len(message)], np.int64)
        self._wait([among.Ibcast(length, 0)])
        found = np.frombuffer(message, np.uint8).copy() if among.rank == 0 else np.empty(int(length[0]), np.uint8)
        self._wait([among.Ibcast(piece, 0) for piece in _pieces(found)])
        return found.tobytes()

    def copy(self, array: np.ndarray) -> None:
        self._wait([self._comm.Ibcast(piece, 0) for piece in _pieces(array)])

    def shared(self, make: Callable[[], Any]) -> Any:
        if self._machine.size == 1:
            return make()
        text, arrays = packed(make()) if self._machine.rank == 0 else (b"", [])
        text = self._given(self._machine, text)
        parts, size = _places(lengths(text))
        memory, common = self._memory(size)
        for part, array in zip(parts, arrays, strict=False):
            memory[part] = array.reshape(-1).view(np.uint8)
        del arrays
        if common:
            self._wait([self._machine.Ibarrier()])
            self._windows[-1].Fence()
        else:
            self._wait([self._machine.Ibcast(piece, 0) for piece in _pieces(memory)])
        memory.flags.writeable = False
        return unpacked(text, [memory[part] for part in parts])

    def _memory(self, size: int) -> tuple[np.ndarray, bool]:
        """Memory [size] of this worker, or of all on this machine where it has room for such; and which it is."""
        common = self._given(self._machine, json.dumps(size <= _room()).encode()) == b"true"
        if not size or not common:
            self.reading = self.reading if common else COPIES
            return np.empty(size, np.uint8), False
        window = MPI.Win.Allocate_shared(size if self._machine.rank == 0 else 0, comm=self._machine)
        self._windows.append(window)  # as long as this process lives
        found: Any = window.Shared_query(0)[0]  # a buffer, of mpi4py's own type
        return np.frombuffer(found, np.uint8, size), True

    def in_order(self, pieces: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        for place, piece in enumerate(pieces):
            whose = place % self.size
            if whose == self.rank and self.writes:
                yield work(piece)
            elif whose == self.rank:
                self._hand_in(work(piece))
            elif self.writes:
                yield self._taken(whose)

    def _hand_in(self, value: Any) -> None:
        """Give a value to worker 0."""
        text, arrays = packed(value)
        parts: list[np.ndarray] = [np.array([len(text)], np.int64), np.frombuffer(text, np.uint8), *arrays]
        self._wait([self._comm.Isend(piece, 0, PART) for part in parts for piece in _pieces(part)])

    def _taken(self, rank: int) -> Any:
        """What another worker hands in."""
        length = np.empty(1, np.int64)
        self._wait([self._comm.Irecv(length, rank, PART)])
        text = np.empty(int(length[0]), np.uint8)
        self._wait([self._comm.Irecv(piece, rank, PART) for piece in _pieces(text)])
        told = text.tobytes()
        arrays = [np.empty(size, np.uint8) for size in lengths(told)]
        self._wait([self._comm.Irecv(piece, rank, PART) for array in arrays for piece in _pieces(array)])
        return unpacked(told, arrays)

    def place(self, rank: int) -> str:
        host, process = self._where[rank]
        return f"worker {rank} (process {process} on {host})"

    def facts(self) -> Mapping[str, Any]:
        hosts = dict(Counter(host for host, _ in self._where))
        version = MPI.Get_library_version().splitlines()[0].strip(" \t\0")
        mpi = " ".join(version.split())
        return {"count": self.size, "hosts": hosts, "processes": [process for _, process in self._where], "mpi": mpi}

    def close(self) -> None:
        """Wait for the others before leaving: what comes then, MPI's own end, waits without giving way."""
        self._wait([self._comm.Ibarrier()])

    def fail(self, problem: Problem, exit_code: int) -> None:
        """Tell worker 0 what went wrong here, and wait to be ended; comes back where it does not listen."""
        text = np.frombuffer(json.dumps([str(problem), exit_code]).encode(), np.uint8)
        request = self._comm.Issend(text, 0, FAILED)  # done when it has been heard
        begun, heard = time.monotonic(), False
        while time.monotonic() - begun < (END if heard else PATIENCE):
            heard = heard or request.Test()
            time.sleep(0.01)

    def abort(self, exit_code: int) -> NoReturn:
        """End all workers with this exit code."""
        time.sleep(LAST_WORDS)
        with contextlib.suppress(OSError):  # MPI has words of its own about it
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        MPI.COMM_WORLD.Abort(exit_code)
        os._exit(exit_code)

    def _wait(self, requests: list[MPI.Request]) -> None:
        """Until all of these are done. Raises WorkerFailed where another worker says that it could not go on."""
        begun = looked = time.perf_counter()
        while not self._done(requests):
            now = time.perf_counter()
            if now - begun > SHORT:
                time.sleep(min((now - begun) / 20, LONG))
            elif now - begun > BUSY:
                time.sleep(0)
            if now - looked > LOOK:
                self._look()
                looked = now
        self.seconds += time.perf_counter() - begun

    def _done(self, requests: list[MPI.Request]) -> bool:
        try:
            return bool(MPI.Request.Testall(requests))
        except MPI.Exception:  # a worker is gone; the process that watches names it, and ends this one
            time.sleep(PATIENCE)
            message, hint = "a worker no longer answers", "resume the run; perhaps its machine is down"
            raise WorkerFailed(Problem("worker_gone", message, hint), 1) from None

    def _look(self) -> None:
        status = MPI.Status()
        if not self.writes or not self._comm.Iprobe(MPI.ANY_SOURCE, FAILED, status):
            return
        text = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        self._comm.Recv(text, status.source, FAILED)
        message, exit_code = json.loads(text.tobytes())
        raise WorkerFailed(Problem("worker_failed", f"{self.place(status.source)}: {message}"), exit_code)


def _room() -> int:
    """Bytes that the workers of this machine may share, leaving some."""
    try:
        there = os.statvfs(SHARED)
    except (AttributeError, OSError):  # another system, whose MPI says itself what it cannot
        return sys.maxsize
    return there.f_bavail * there.f_frsize - (16 << 20)


def _places(sizes: Sequence[int]) -> tuple[list[slice], int]:
    """Where arrays of so many bytes lie side by side, and how many bytes that is together."""
    starts = list(itertools.accumulate((-(-size // LINE) * LINE for size in sizes), initial=0))
    return [slice(start, start + size) for start, size in zip(starts, sizes, strict=False)], starts[-1]


def _pieces(array: np.ndarray) -> list[np.ndarray]:
    """The bytes of an array in pieces that can be sent, none for an empty one."""
    flat = array.reshape(-1).view(np.uint8)
    return [flat[start : start + LARGEST] for start in range(0, len(flat), LARGEST)]


def _bytes(array: np.ndarray) -> list[Any]:
    """An array as MPI takes it: where it lies, and as bytes, however long."""
    return [array.view(np.uint8), MPI.BYTE]

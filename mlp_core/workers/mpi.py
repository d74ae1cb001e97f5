"""A run of several workers that talk through MPI.

Arrays and texts are sent as the bytes that they are: nothing that a worker receives is executed. Every wait looks in
between at what Python has to do, signals among it, and whether a worker has failed; it gives the processor away when it
takes longer, so that workers may share one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from mlp_core.errors import MlpbpError, Problem
from mlp_core.workers.world import World

BUSY, SHORT, LOOK = 50e-6, 2e-3, 0.05
"""Seconds of a wait in which it only waits, in which it gives way to others, between two looks at who has failed."""
PATIENCE, LAST_WORDS = 6.0, 0.3
"""Seconds after which a worker that has failed no longer waits for worker 0 to say so, and for which mpiexec is given
time to hand on what was said before it ends all."""
FAILED, DATA = 1, 2
"""Tags of messages."""


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
        length = int(self.numbers([len(message)])[0, 0])
        found = np.frombuffer(message, np.uint8).copy() if self.writes else np.empty(length, np.uint8)
        self._wait([self._comm.Ibcast(found, 0)])
        return found.tobytes()

    def place(self, rank: int) -> str:
        host, process = self._where[rank]
        return f"worker {rank} (process {process} on {host})"

    def facts(self) -> Mapping[str, Any]:
        hosts = dict(Counter(host for host, _ in self._where))
        version = MPI.Get_library_version().splitlines()[0].strip(" \t\0")
        mpi = " ".join(version.split())
        return {"count": self.size, "hosts": hosts, "processes": [process for _, process in self._where], "mpi": mpi}

    @property
    def processes(self) -> list[int]:
        """The number of every worker's process on its machine."""
        return [process for _, process in self._where]

    def close(self) -> None:
        """Wait for the others before leaving: what comes then, MPI's own end, waits without giving way."""
        self._wait([self._comm.Ibarrier()])

    def fail(self, problem: Problem, exit_code: int) -> None:
        """Tell worker 0 what went wrong here, and wait to be ended; comes back where it does not listen."""
        text = np.frombuffer(json.dumps([str(problem), exit_code]).encode(), np.uint8)
        request = self._comm.Isend(text, 0, FAILED)
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            request.Test()
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
                time.sleep(1e-4)
            elif now - begun > BUSY:
                os.sched_yield()
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


def _bytes(array: np.ndarray) -> list[Any]:
    """An array as MPI takes it: where it lies, and as bytes, however long."""
    return [array.view(np.uint8), MPI.BYTE]

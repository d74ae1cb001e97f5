"""Several workers for one command: those that `mpiexec` started, or that `--workers` starts through it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import MlpbpError, Problem, UsageError
from mlp_core.workers.launch import Watched, launched, need_mpi, tell, watched

from .console import WINDOW
from .errors import internal, run_safely, settle_streams
from .signals import SIGNALS

if TYPE_CHECKING:
    from mlp_core.workers.mpi import Mpi
    from mlp_core.workers.world import World

LONGEST = 8.0
"""Seconds that workers have to save what they did when the process that started them is gone."""


Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Share the work out among N processes, through MPI."),
]


def by_workers(asked: int | None, work: Callable[[World], int], *files: Path | None) -> int:
    """Carry out `work` in every worker; gives the exit code of worker 0. `asked` is what --workers says, `files` are
    what every worker reads. Raises UsageError."""
    rank = launched()
    if (rank is not None or (asked or 1) > 1) and Path("-") in files:
        hint = "give a file, which every worker reads"
        raise UsageError(Problem("usage", "several workers cannot read standard input", hint))
    if rank is not None:
        return _as_one(rank, asked, work)
    if asked is not None and asked > 1:
        return _start(asked)
    from mlp_core.workers.world import ALONE

    return work(ALONE)


def _start(count: int) -> int:
    """Start the workers with what this command was called with, and be a window to worker 0."""
    code = 0
    window = {WINDOW: "1", "COLUMNS": str(shutil.get_terminal_size((80, 24)).columns)} if sys.stderr.isatty() else {}
    watched = Watched(count, sys.argv[1:], window)

    def hand_on(number: int, frame: FrameType | None) -> None:
        nonlocal code
        code = 128 + number
        watched.signal(number)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, hand_on)
    return watched.wait(lambda: code)


def _as_one(rank: int, asked: int | None, work: Callable[[World], int]) -> int:
    """One of several workers: worker 0 speaks for all."""
    voice = os.dup(2)
    if rank:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):
            os.dup2(nowhere, number)
    if (parent := watched()) is not None:
        parent.when_gone(_save_and_leave)
    world = _world()
    tell("processes", world.facts()["processes"])

    def whole() -> int:
        if asked not in (None, world.size):
            message = f"mpiexec started {world.size} workers, and --workers says {asked}"
            raise UsageError(Problem("workers", message, "leave out --workers"))
        code = work(world)
        world.close()
        done.append(code)
        return code

    done: list[int] = []
    if rank == 0:
        code = run_safely(whole, sys.argv[1:])
        if not done:
            settle_streams()
            world.abort(code)
        return code
    try:
        return whole()
    except MlpbpError as error:
        problem, code = error.problems[0], error.exit_code
    except MemoryError:
        problem, code = Problem("memory", "not enough memory"), 1
    except BaseException as error:
        problem, code = internal(error, sys.argv[1:]), 1
    world.fail(problem, code)
    with contextlib.suppress(OSError):  # worker 0 is busy with other things
        os.write(voice, f"mlpbp: error: {world.place(rank)}: {problem}\n".encode())
    world.abort(code)


def _save_and_leave() -> None:
    """End as SIGTERM ends a run, which every worker does at the same step; and without it where that takes long."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LONGEST)
    os._exit(1)


def _world() -> Mpi:
    need_mpi()
    try:
        from mlp_core.workers.mpi import Mpi
    except (ImportError, RuntimeError) as error:
        why = str(error).split("\n")[0]
        hint = "install an MPI, for example: pip install mpich"
        raise UsageError(Problem("no_mpi", f"mpi4py cannot be used: {why}", hint)) from None
    return Mpi()


def asked_for(world: World, asked: int | None) -> bool:
    """Whether the work is to be made ready for workers, be it for one."""
    return world.size > 1 or asked is not None


def named(run: Any) -> None:
    """Tell who watches where the run is, for the words with which it ends."""
    tell("run", str(run.directory.path))

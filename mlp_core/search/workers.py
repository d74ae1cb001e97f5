"""Work for several processes, which stop when they are told to, and when the one that started them is gone.

The standard library's pool is enough: tasks are few and long, say all that they need, and leave their results on the
disk. Processes are started anew (`spawn`), so none inherits threads or locks. What a process may use of the machine is
settled by the caller: so many threads each that all together are no more than there are processors.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from mlp_core.backends.cuda.detect import cupy_installed
from mlp_core.errors import Failed, Problem
from mlp_core.machine import available_cpus
from mlp_core.workers.parent import Parent

Task = TypeVar("Task")
Stop = Callable[[], int]
EVERY = 0.1  # seconds between two looks at whether to stop
OF_THE_TERMINAL = ("SIGINT", "SIGHUP")
ASKED = 1  # an exit code as `Run.execute` takes it: any but 0

_working = threading.Lock()
_told: Event | None = None
_parent: Parent | None = None


def at_once(asked: int | None, tasks: int, threads: int, device: str) -> int:
    """How many processes work at once: as many as asked for, or as the processors allow; on a GPU one by one."""
    if asked is None and (device.startswith("cuda") or (device == "auto" and cupy_installed())):
        return 1
    room = max(1, available_cpus() // threads)
    return max(1, min(room if asked is None else asked, room, tasks))


def carry_out(
    function: Callable[[Task, Stop], Any], tasks: Sequence[Task], count: int, threads: int, stop: Stop
) -> Iterator[tuple[int, Any]]:
    """Give every task to `function` in one of `count` processes (1: in this one); yields (place, result) as they are
    done. Tasks that were not begun when `stop` says so are left. Raises what a task raises, and Failed where a process
    was killed; the others are then told to stop, and waited for."""
    if count == 1:
        for place, task in enumerate(tasks):
            if stop():
                return
            yield place, function(task, stop)
        return
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by what is loaded there: BLAS, Arrow
    try:
        with ProcessPoolExecutor(count, context, _begin, (told, Parent.me())) as pool:
            try:
                yield from _collect(pool, function, tasks, told, stop)
            except BrokenProcessPool:
                hint = "give the same command to go on"
                raise Failed(Problem("killed", "a process of these was killed", hint)) from None
            finally:
                told.set()
                pool.shutdown(cancel_futures=True)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _collect(
    pool: ProcessPoolExecutor, function: Callable[[Task, Stop], Any], tasks: Sequence[Task], told: Event, stop: Stop
) -> Iterator[tuple[int, Any]]:
    with _unheard():
        waiting: dict[Future[Any], int] = {pool.submit(_one, function, task): i for i, task in enumerate(tasks)}
    while waiting:
        done, _ = wait(waiting, EVERY, FIRST_COMPLETED)
        if stop():
            told.set()
            for future in waiting:
                future.cancel()
        for future in sorted(done, key=lambda one: waiting[one]):
            place = waiting.pop(future)
            if not future.cancelled():
                yield place, future.result()
        waiting = {future: place for future, place in waiting.items() if not future.cancelled()}


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Processes that are started here are deaf to the terminal's signals from their first moment on; this one hears
    them when they are started."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in OF_THE_TERMINAL])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(told: Event, parent: str) -> None:
    """In a new process: the terminal's Ctrl-C is meant for the one that started it, which tells what to do."""
    global _told, _parent
    _told, _parent = told, Parent(parent)
    for name in OF_THE_TERMINAL:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _parent.when_gone(_leave)


def _leave() -> None:
    """End this process as soon as no task is under way: one that waits for its next task would wait for ever."""
    with _working:
        os._exit(1)


def _asked() -> int:
    gone = _parent is not None and _parent.gone
    return ASKED if gone or (_told is not None and _told.is_set()) else 0


def _one(function: Callable[[Any, Stop], Any], task: Any) -> Any:
    if _asked():
        return None
    with _working:
        return function(task, _asked)

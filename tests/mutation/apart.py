"""Tasks in processes of their own: a mutant may fall down, write beside its arrays, or never end."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

SECONDS = 30
"""Of processor time, after which a task has become an endless loop; ten times as many by the clock."""
MEMORY = 16 << 30
"""Bytes of addresses, after which it asks for more and more."""
CUT = ("SIGPROF", "SIGALRM")

Task = Callable[[], str]


@dataclass(frozen=True)
class _Child:
    """A task that was begun, and where it writes what it says."""

    pid: int
    pipe: int

    def end(self) -> str:
        """What it said; an exception by its name, and a signal by its own."""
        with os.fdopen(self.pipe, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSIGNALED(status):
            return said
        ended = signal.Signals(os.WTERMSIG(status)).name
        return "too long" if ended in CUT else ended


def apart(tasks: Iterable[Task], seconds: int = SECONDS, at_once: int = 1) -> Iterator[str]:
    """What each task says, in their order, some of them at the same time."""
    running: deque[_Child] = deque()
    for task in tasks:
        running.append(_begin(task, seconds))
        if len(running) >= at_once:
            yield running.popleft().end()
    while running:
        yield running.popleft().end()


def _begin(task: Task, seconds: int) -> _Child:
    out, into = os.pipe()
    if pid := os.fork():
        os.close(into)
        return _Child(pid, out)
    try:
        os.close(out)
        _limit(seconds)
        try:
            said = task()
        except BaseException as error:
            said = type(error).__name__
        os.write(into, said.encode())
    finally:
        os._exit(0)


def _limit(seconds: int) -> None:
    """Bounds for what has gone wrong, and nothing of it on the screen."""
    import resource  # of POSIX, as all of this

    for kind in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(kind, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)

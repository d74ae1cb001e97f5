"""The process that started this one: whoever works for it stops when it is gone, however it ended.

A process that is killed with SIGKILL can tell nobody. So those that it started look for it: processes of a pool, and
workers, which are not its children but mpiexec's.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections.abc import Callable

EVERY = 0.2
"""Seconds between two looks."""


class Parent:
    """A process on this machine, as it tells of itself. `gone` says whether it has ended."""

    def __init__(self, told: str) -> None:
        host, _, number = told.rpartition(" ")
        self.gone = False
        self._here, self._number = host == platform.node(), int(number)

    @staticmethod
    def me() -> str:
        """What this process tells those that it starts, so that they find it."""
        return f"{platform.node()} {os.getpid()}"

    def when_gone(self, act: Callable[[], object]) -> None:
        """Do this as soon as it has ended, in a thread; nothing on another machine, where it cannot be seen."""
        if self._here:
            threading.Thread(target=self._look, args=(act,), daemon=True).start()

    def _look(self, act: Callable[[], object]) -> None:
        import psutil  # not at the start of every command

        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._number)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(EVERY)
        self.gone = True
        act()

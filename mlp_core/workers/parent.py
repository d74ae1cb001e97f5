"""The process that started this one: whoever works for it stops when it is gone, however it ended.

A process that is killed with SIGKILL can tell nobody. So those that it started look for it: processes of a pool, and
workers, which are not its children but mpiexec's.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable

import psutil

EVERY = 0.2
"""Seconds between two looks."""


class Parent:
    """A process on this machine, as it tells of itself. `gone` says whether it has ended."""

    def __init__(self, told: str) -> None:
        host, _, number = told.rpartition(" ")
        self.gone = False
        self._here = host == platform.node()
        try:
            self._process = psutil.Process(int(number)) if self._here else None
        except psutil.NoSuchProcess:
            self._process = None

    @staticmethod
    def me() -> str:
        """What this process tells those that it starts, so that they find it."""
        return f"{platform.node()} {os.getpid()}"

    def when_gone(self, act: Callable[[], object]) -> None:
        """Do this as soon as it has ended, in a thread; nothing on another machine, where it cannot be seen."""
        if self._here:
            threading.Thread(target=self._look, args=(act,), daemon=True).start()

    def _look(self, act: Callable[[], object]) -> None:
        while self._alive():
            time.sleep(EVERY)
        self.gone = True
        act()

    def _alive(self) -> bool:
        try:
            return (
                self._process is not None
                and self._process.is_running()
                and self._process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False

"""Locks by the name of a file, which end with the process that has them, however it ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlp_core.descriptors import UPDATE, lock, open_own
from mlp_core.errors import Problem, RunDirectoryError

EVERY = 0.002  # seconds between two tries; more each time, up to the longest
LONGEST = 0.05


class FileLock:
    """A lock that one process has at a time. Raises OSError where there can be no such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it, if nobody has it; whether it was taken."""
        descriptor = open_own(self.path, UPDATE | os.O_CREAT)
        try:
            lock(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def claim(self) -> None:
        """Take it for the folder that it lies in. Raises RunDirectoryError where another process has it."""
        if not self.take():
            hint, folder = "wait for it, or stop it", str(self.path.parent)
            raise RunDirectoryError(Problem("in_use", "in use by another process", hint, file=folder))

    def acquire(self) -> bool:
        """Take it, however long that lasts; True."""
        pause = EVERY
        while not self.take():
            time.sleep(pause)
            pause = min(LONGEST, 2 * pause)
        return True

    def release(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

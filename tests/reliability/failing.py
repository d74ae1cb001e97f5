"""A file system that fails: counts the calls that touch one folder, and kills or fails at the nth of them."""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import signal
from collections.abc import Callable
from typing import Any

CHANGING = ("open", "pwrite", "fsync", "replace", "rename", "unlink", "mkdir", "rmdir", "truncate", "ftruncate")
READING = ("pread", "preadv", "listdir", "flock", "io.open")
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS")


def install(folder: str, at: int, how: str, log: str | None = None) -> None:
    """From now on in this process: at call number `at` (from 1) below `folder`, do what `how` says.

    `kill`: die before the call; `torn`: die after half of a write; an errno's name: fail so, `NAME+`: from then on
    always. `log`: a file that gets one line per call.
    """
    shim = _Shim(os.path.realpath(folder), at, how, log)
    names = CHANGING if how in ("kill", "torn") else CHANGING + READING
    for name in names:
        if name == "flock":
            fcntl.flock = shim.wrap(name, fcntl.flock)
        elif name == "io.open":
            io.open = builtins.open = shim.wrap(name, io.open)
        else:
            setattr(os, name, shim.wrap(name, getattr(os, name)))


class _Shim:
    def __init__(self, folder: str, at: int, how: str, log: str | None) -> None:
        self.folder, self.at, self.how = folder, at, how
        self.log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.count = 0
        self.descriptors: set[int] = set()
        self.close, os.close = os.close, self._close
        self.write = os.write
        self.kill = os.kill

    def _close(self, descriptor: int) -> None:
        self.descriptors.discard(descriptor)
        self.close(descriptor)

    def _concerned(self, target: Any) -> bool:
        if isinstance(target, int):
            return target in self.descriptors
        path = os.path.abspath(os.fspath(target))  # noqa: PTH100
        return path == self.folder or path.startswith(self.folder + os.sep)

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(target: Any, *rest: Any, **keywords: Any) -> Any:
            if not self._concerned(target):
                return call(target, *rest, **keywords)
            creating = name != "open" or bool(rest and rest[0] & os.O_CREAT)
            if self.how not in ("kill", "torn") or creating:
                self._strike(name, call, target, rest)
            result = call(target, *rest, **keywords)
            if name == "open":
                self.descriptors.add(result)
            return result

        return called

    def _strike(self, name: str, call: Callable[..., Any], target: Any, rest: tuple[Any, ...]) -> None:
        self.count += 1
        if self.log is not None:
            self.write(self.log, f"{self.count} {name} {target}\n".encode())
        if self.count == self.at and self.how == "torn" and name == "pwrite":
            call(target, rest[0][: len(rest[0]) // 2], rest[1])
        if self.count == self.at and self.how in ("kill", "torn"):
            self.kill(os.getpid(), signal.SIGKILL)
        if self.count == self.at or (self.count > self.at and self.how.endswith("+")):
            code = getattr(errno, self.how.rstrip("+"))
            raise OSError(code, os.strerror(code), None if isinstance(target, int) else str(target))

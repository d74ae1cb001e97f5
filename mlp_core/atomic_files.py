"""Files that survive: the old content or the whole new one at every instant, on the disk when a call returns.

Everything goes through `os` functions, call by call, so that tests can fail or kill each of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from mlp_core.descriptors import CREATE, READ, UPDATE, WRITE, open_own, read_at, read_own, write_all
from mlp_core.errors import Problem, RunDirectoryError, UsageError

LEFTOVER = re.compile(r"\..+\.\d+\.tmp|\.probe")
_CHUNK = 1 << 20


def refuse_foreign(path: Path, folder: bool = False) -> None:
    """Raise RunDirectoryError where `path`, a place of a run directory, is a link, or nothing that a run writes."""
    try:
        kind = _foreign(os.lstat(path).st_mode, folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # a name that someone typed, before any work
            raise UsageError(Problem("long_name", "this name is too long for a file", file=str(path))) from None
        message = f"cannot be looked at: {error.strerror or error}"
        raise RunDirectoryError(Problem("unreadable", message, file=str(path))) from None
    if kind is not None:
        what = "a folder of its own" if folder else "a file of its own"
        hint = f"a run directory is used where this is {what}; remove it, or name the file that is meant"
        raise RunDirectoryError(Problem("foreign", f"this is {kind}", hint, file=str(path)))


def _foreign(mode: int, folder: bool) -> str | None:
    """What is there if it is not a regular file (or `folder`) of its own, in words."""
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return None if folder else "a folder"
    if stat.S_ISREG(mode):
        return "a file" if folder else None
    return "a named pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def unshare(path: Path) -> None:
    """Give a file that is also known under other names (hard links) a copy of its own. Raises OSError."""
    try:
        shared = os.lstat(path).st_nlink > 1
    except FileNotFoundError:
        return
    if shared:
        write_atomically(path, read_own(path))


def write_atomically(path: Path, *parts: bytes | memoryview, check: bool = False) -> None:
    """Replace the content of `path` by these parts, all or nothing, surviving a power cut once it returns.

    Temporary file beside it, write, fsync, (for `check`) read back and compare, replace, fsync of the folder. After a
    failure the temporary file is thrown away and written anew, once: the kernel may drop the pages of a file whose
    fsync failed and report success the next time (Rebello et al., "Can applications recover from fsync failures?",
    USENIX ATC 2020). Raises OSError when the disk does not take it; up to the replacing, `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            _write_new(temporary, parts, check)
        except OSError:
            remove(temporary)
            _write_new(temporary, parts, check)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            remove(temporary)
        raise
    sync_folder(path.parent)


def _write_new(path: Path, parts: Sequence[bytes | memoryview], check: bool) -> None:
    remove(path)
    descriptor = os.open(path, CREATE, 0o666)
    try:
        size = 0
        for part in parts:
            write_all(descriptor, part, size)
            size += len(part)
        os.fsync(descriptor)
        if check:
            _compare(descriptor, parts)
    finally:
        os.close(descriptor)


def _compare(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    place = 0
    for part in [*parts, b""]:  # and nothing after the last one
        whole = memoryview(part)
        for start in range(0, len(whole) or 1, _CHUNK):
            expected = whole[start : start + _CHUNK]
            if read_at(descriptor, len(expected) or 1, place) != expected:
                raise OSError(errno.EIO, "what was written reads back differently")
            place += len(expected)


def grow(path: Path, size: int, blob: bytes) -> None:
    """Write `blob` after the first `size` bytes of a file, over what an earlier failed attempt may have left there."""
    descriptor = open_own(path, WRITE)
    try:
        write_all(descriptor, blob, min(size, os.fstat(descriptor).st_size))
    finally:
        os.close(descriptor)


def cut(path: Path, size: int) -> bool:
    """Shorten a file to `size` bytes; whether it had that many. Raises OSError."""
    found = size_of(path)
    if found > size:
        descriptor = open_own(path, UPDATE)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
    return found >= size


def sync(path: Path) -> None:
    """Bring a grown file and its name to the disk; where fsync fails, write the file anew."""
    descriptor = open_own(path, UPDATE)
    try:
        os.fsync(descriptor)
    except OSError:
        write_atomically(path, read_own(path))
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where a folder can be opened at all."""
    if not hasattr(os, "O_DIRECTORY"):  # as on Windows, which writes down names by itself
        return
    descriptor = os.open(folder, READ | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108


def remove_folder(folder: Path) -> None:
    """Delete a folder of files, as far as that can be done; one that holds folders is left."""
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder):  # noqa: PTH208
            os.unlink(folder / entry)  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of a process that was killed while it wrote; only for who holds the lock."""
    for entry in os.listdir(folder):  # noqa: PTH208
        if LEFTOVER.fullmatch(entry):
            remove(folder / entry)


def size_of(path: Path) -> int:
    """The size of a file in bytes, 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0

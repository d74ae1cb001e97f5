"""Files by their descriptors, on every system: what POSIX offers, and what stands in for it where it is missing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_ALWAYS = sum(
    getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY")
)  # bytes as they are, ours alone
READ = os.O_RDONLY | _ALWAYS
READ_AT_ONCE = READ | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for somebody to write
UPDATE = os.O_RDWR | _ALWAYS
WRITE = os.O_WRONLY | os.O_CREAT | _ALWAYS
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS

_place = threading.Lock()  # a descriptor has one place for all threads, where bytes cannot be asked for by theirs


def open_own(path: Path, flags: int) -> int:
    """Open the regular file that has this name itself; a link is not followed, a pipe not waited for. Raises OSError.

    What is written in place goes through here, so that nothing that was prepared in a folder leads out of it.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def read_own(path: Path, limit: int = 1 << 30) -> bytes:
    """The content of such a file, at most `limit` bytes of it. Raises OSError."""
    with open(open_own(path, READ), "rb") as file:
        return file.read(limit)


def read_into(descriptor: int, out: memoryview, at: int) -> int:
    """Fill `out` with the bytes of a file from `at` on, as many as come at once; how many, 0 at the end."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [out], at)
    piece = read_at(descriptor, len(out), at)
    out[: len(piece)] = piece
    return len(piece)


def read_at(descriptor: int, count: int, at: int) -> bytes:
    """At most so many bytes of a file from `at` on; none at its end."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, at)
    with _place:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, count)


def write_at(descriptor: int, blob: memoryview | bytes, at: int) -> int:
    """Write bytes to a file from `at` on, as many as it takes at once; how many."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, blob, at)
    with _place:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.write(descriptor, blob)


def read_all(descriptor: int, out: memoryview, at: int) -> int:
    """Fill `out` with the bytes of a file from `at` on; how many there were."""
    done = 0
    while done < len(out) and (count := read_into(descriptor, out[done:], at + done)):
        done += count
    return done


def write_all(descriptor: int, blob: memoryview | bytes, at: int) -> None:
    """Write all of `blob` from `at` on; the system may take it in parts."""
    rest = memoryview(blob)
    while rest:
        count = write_at(descriptor, rest, at)
        rest, at = rest[count:], at + count


def lock(descriptor: int) -> None:
    """Take a file for this process until the descriptor is closed or the process ends, however it does.

    Raises BlockingIOError where another process has it. A system that knows neither of these locks gives none.
    """
    if sys.platform == "win32":  # where nobody else may read what is locked: so a byte far behind the end
        import msvcrt

        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from None
        return
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Whether this process has a folder to itself, for as long as the context lasts; True where there is none.

    A link in its place is not followed. Where folders cannot be locked, as on Windows, nobody is sure to have one.
    """
    if not hasattr(os, "O_DIRECTORY"):
        yield False
        return
    try:
        descriptor = os.open(folder, READ | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        try:
            lock(descriptor)
            free = True
        except OSError:  # in use, or on a file system without locks
            free = False
        yield free
    finally:
        os.close(descriptor)

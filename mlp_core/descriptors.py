"""Files by their descriptors, on every system: what POSIX offers, and what stands in for it where it is missing."""

from __future__ import annotations

import os
import threading

_ALWAYS = sum(
    getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOINHERIT", "O_BINARY")
)  # bytes as they are, ours alone
READ = os.O_RDONLY | _ALWAYS
READ_AT_ONCE = READ | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for somebody to write
UPDATE = os.O_RDWR | _ALWAYS
WRITE = os.O_WRONLY | os.O_CREAT | _ALWAYS
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS

_place = threading.Lock()  # a descriptor has one place for all threads, where bytes cannot be asked for by theirs


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

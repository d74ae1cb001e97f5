"""Opening a data file: what is there, what kind it is, and never more bytes than it may hold."""

from __future__ import annotations

import difflib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlp_core.errors import DataError, Problem

GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib's technical notes)
BOMB_SIZE = 64 << 20  # text below this size is never taken for a bomb
BOMB_RATIO = 250  # real tables shrink 3 to 50 times
BUFFER = 1 << 18


def shown(path: Path) -> str:
    """The path as a person would type it: relative to the working directory when it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def refusal(
    path: Path,
    code: str,
    message: str,
    *,
    hint: str | None = None,
    got: str | None = None,
    line: int | None = None,
    column: int | None = None,
) -> DataError:
    """The error for one place in a data file."""
    problem = Problem(code, message, hint=hint, got=got, file=shown(path), line=line, column=column)
    return DataError(problem)


def check_file(path: Path) -> int:
    """The size in bytes of a regular, readable, non-empty file. Raises DataError for anything else.

    Only the file's status is looked at, so a named pipe or a device never blocks.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise refusal(path, "missing_file", f"no such file (tried {path.absolute()})", hint=_nearest(path)) from None
    except (OSError, ValueError) as error:
        raise refusal(path, "unreadable_file", f"cannot be opened ({_reason(error)})") from None
    if stat.S_ISDIR(status.st_mode):
        raise refusal(path, "not_a_file", "this is a directory, not a file", hint="name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, "not_a_file", "not a regular file", hint="write the data to a file first")
    if status.st_size == 0:
        raise refusal(path, "empty_file", "the file is empty")
    if not os.access(path, os.R_OK):
        raise refusal(path, "unreadable_file", "no permission to read this file")
    return status.st_size


def head(path: Path, count: int = 512) -> bytes:
    """The first bytes of a file as it is stored, after `check_file`."""
    check_file(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise refusal(path, "unreadable_file", f"cannot be read ({_reason(error)})") from None


def refuse_html(path: Path, start: bytes, wanted: str) -> None:
    """Raise DataError when a file starts as a web page: what failed downloads leave behind."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:14].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        word = text.split(None, 1)[0].split(b">", 1)[0].decode("ascii", "replace")
        raise refusal(
            path,
            "html_page",
            f'this is an HTML page, not {wanted} (starts "{word}")',
            hint="the download failed, fetch it again",
        )


def is_gzip(path: Path, wanted: str) -> bool:
    """Whether the file is gzip by its content; a `.gz` name over anything else is refused."""
    start = head(path)
    named = path.name.lower().endswith(".gz")
    refuse_html(path, start, "gzip" if named else wanted)
    if start.startswith(GZIP_MAGIC):
        return True
    if named:
        message = f"not a gzip file (starts {start[:4].hex(' ')})"
        raise refusal(path, "not_gzip", message, hint="rename it without .gz, or fetch it again")
    return False


@contextmanager
def open_binary(path: Path, wanted: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file's bytes, unpacked when it is gzip, with an upper bound of how many there can be.

    For a plain file the bound is exact. Reading to the end verifies the gzip checksum. Damage found while
    reading raises DataError.
    """
    packed = is_gzip(path, wanted)
    size = check_file(path)
    with _reading(path), path.open("rb") as file:
        if packed:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)), size * DEFLATE_RATIO
        else:
            yield file, size


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and zlib raise while reading into DataError."""
    try:
        yield
    except EOFError:
        raise refusal(path, "truncated", "the file ends too early", hint="fetch it again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise refusal(path, "damaged", f"damaged gzip data ({error})", hint="fetch it again") from None
    except OSError as error:
        raise refusal(path, "unreadable_file", f"cannot be read ({_reason(error)})") from None


class TextBytes(io.RawIOBase):
    """The bytes of a text file on their way to the decoder, watched for what no table contains.

    Refuses zero bytes (unless the encoding has them), lines longer than `LINE_LIMIT`, gzip bombs. `plain` stays
    true while every byte is ASCII other than the underscore, which Python's `float` would accept as `1_000`.
    """

    LINE_LIMIT = 16 << 20

    def __init__(self, inner: BinaryIO, path: Path, packed: int | None, zeros: bool) -> None:
        super().__init__()
        self.inner, self.path, self.packed, self.zeros = inner, path, packed, zeros
        self.count = self.newlines = self.run = 0
        self.plain = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.inner.read(len(buffer))
        self._watch(data)
        buffer[: len(data)] = data
        return len(data)

    def _watch(self, data: bytes) -> None:
        self.count += len(data)
        if self.packed is not None and self.count > max(BOMB_SIZE, BOMB_RATIO * self.packed):
            message = f"unpacks to more than {BOMB_RATIO} times its size"
            raise refusal(self.path, "too_large", message, hint="unpack it first if that is right")
        if not self.zeros and (at := data.find(0)) >= 0:
            line = self.newlines + data.count(b"\n", 0, at) + 1
            hint = "this is not a text table; or set data.csv.encoding, for example utf-16"
            raise refusal(self.path, "zero_byte", "a zero byte in a text file", hint=hint, line=line)
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self.run = self.run + len(data) if last < 0 else len(data) - last
        if self.run > self.LINE_LIMIT:
            message = f"a line of more than {self.LINE_LIMIT >> 20} MiB"
            hint = "this is not a table of rows"
            raise refusal(self.path, "line_too_long", message, hint=hint, line=self.newlines + 1)
        self.newlines += data.count(b"\n")
        self.plain = self.plain and data.isascii() and b"_" not in data


@contextmanager
def open_text(path: Path, encoding: str, wanted: str) -> Iterator[tuple[TextBytes, io.TextIOWrapper]]:
    """A text file's watched bytes and its lines (ends kept), unpacked when it is gzip, its byte order mark skipped."""
    packed = is_gzip(path, wanted)
    size = check_file(path)
    with _reading(path), path.open("rb") as file:
        inner = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else cast(BinaryIO, file)
        name = encoding.lower().replace("_", "-")
        watched = TextBytes(inner, path, size if packed else None, zeros="16" in name or "32" in name)
        codec = "utf-8-sig" if name in ("utf-8", "utf8") else encoding
        buffered = io.BufferedReader(watched, BUFFER)
        try:
            text = io.TextIOWrapper(buffered, encoding=codec, errors="strict", newline="")
        except LookupError:
            hint = "for example utf-8, latin-1, cp1252, utf-16"
            raise refusal(path, "unknown_encoding", f'no encoding "{encoding}"', hint=hint) from None
        try:
            yield watched, text
        except UnicodeDecodeError as error:
            raise _undecodable(path, watched, codec, error) from None


def _undecodable(path: Path, watched: TextBytes, encoding: str, error: UnicodeDecodeError) -> DataError:
    """The error for a byte that the encoding does not know, its line found by reading once more."""
    line = None
    if not watched.zeros:
        with open_binary(path, "text") as (file, _):
            for number, raw in enumerate(iter(lambda: file.readline(TextBytes.LINE_LIMIT), b""), 1):
                try:
                    raw.decode(encoding)
                except UnicodeDecodeError:
                    line = number
                    break
    byte = error.object[error.start : error.start + 1].hex()
    message = f"not {'utf-8' if encoding == 'utf-8-sig' else encoding} text (byte 0x{byte})"
    hint = "set data.csv.encoding, for example latin-1 or utf-16"
    return refusal(path, "not_text", message, hint=hint, line=line)


def free_memory() -> int:
    """Bytes that can be taken without swapping: the machine's, or what the control group leaves."""
    free = 1 << 33
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            free = min(free, max(int(limit) - used, 0))
    except (OSError, ValueError):
        pass
    return free


def check_memory(path: Path, needed: int) -> None:
    """Raise DataError when an array of `needed` bytes would not leave as much memory again for the work on it."""
    if needed > 16 << 20 and needed > (free := free_memory()) // 2:
        message = f"needs {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
        raise refusal(path, "too_large", message, hint="use fewer rows or columns, or a larger machine")


def _nearest(path: Path) -> str | None:
    """A hint naming the most similar file in the same directory."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(1000), strict=False)]
    except OSError:
        return "check data.train and the directory it is relative to"
    close = difflib.get_close_matches(path.name, names, 1)
    return f'did you mean "{close[0]}"?' if close else "check the path"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

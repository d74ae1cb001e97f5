"""Opening a data file: what is there, what kind it is, and never more bytes than it may hold."""

from __future__ import annotations

import difflib
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from mlp_core.errors import DataError, Problem

STDIN = Path("-")
SCHEMES = frozenset({"http:", "https:", "ftp:", "s3:", "gs:", "hdfs:", "file:"})
MOST_COLUMNS = 100_000
GZIP_MAGIC = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib's technical notes)


def shown(path: Path) -> str:
    """The path as a person would type it: relative to the working directory when it lies below it."""
    if path == STDIN:
        return "standard input"
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


def refuse_width(path: Path, columns: int) -> None:
    """Raise DataError for a table of more columns than are looked at one by one."""
    if columns > MOST_COLUMNS:
        message = f"{columns:,} columns, a table holds up to {MOST_COLUMNS:,}"
        raise refusal(path, "too_wide", message, hint="save the numbers as .npy arrays, or choose columns")


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
    with reading(path), path.open("rb") as file:
        if packed:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)), size * DEFLATE_RATIO
        else:
            yield file, size


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and zlib raise while reading into DataError."""
    try:
        yield
    except EOFError:
        raise refusal(path, "truncated", "the file ends too early", hint="fetch it again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise refusal(path, "damaged", f"damaged gzip data ({error})", hint="fetch it again") from None
    except OSError as error:
        raise refusal(path, "unreadable_file", f"cannot be read ({_reason(error)})") from None


def url_hint(path: Path) -> str | None:
    """What to do about a path that is meant as the address of something elsewhere."""
    elsewhere = any(part.lower() in SCHEMES for part in path.parts)
    return "addresses are not fetched: download the file, and name the file here" if elsewhere else None


def _nearest(path: Path) -> str | None:
    """A hint naming the most similar file in the same directory."""
    if (elsewhere := url_hint(path)) is not None:
        return elsewhere
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(1000), strict=False) if entry.name != path.name]
    except OSError:
        return "check data.train and the directory it is relative to"
    close = difflib.get_close_matches(path.name, names, 1)
    return f'did you mean "{close[0]}"?' if close else "check the path"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()

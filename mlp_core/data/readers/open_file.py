"""Opening a data file: what is there, what kind it is, and never more bytes than it may hold."""

from __future__ import annotations

import bz2
import difflib
import gzip
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from mlp_core.errors import DataError, Problem
from mlp_core.machine import free_memory

STDIN = Path("-")
SCHEMES = frozenset({"http:", "https:", "ftp:", "s3:", "gs:", "hdfs:", "file:"})
MOST_COLUMNS = 100_000
GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
PACKINGS = {"gzip": (GZIP_MAGIC, ".gz"), "bzip2": (b"BZh", ".bz2"), "xz": (b"\xfd7zXZ\x00", ".xz")}
"""What files may be packed by, beside zip: how such a file begins, and how its name ends."""

ENDS = (*(end for _, end in PACKINGS.values()), ".zip")
SMALL = 16 << 20  # bytes that no machine lacks
UNPACKED = 64 << 20  # an array below this size is never taken for a bomb
GROWTH = 100  # real arrays shrink 3 to 50 times
DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib's technical notes)
OTHER_RATIO = 1 << 16  # nor any of bzip2 and xz (45,899 and 7,089 were measured on zeros)


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


def packing(path: Path, wanted: str) -> str | None:
    """What a file is packed by (gzip, bzip2, xz or zip), by its content; such a name over anything else is refused."""
    start = head(path)
    named = next((name for name, (_, end) in PACKINGS.items() if path.name.lower().endswith(end)), None)
    refuse_html(path, start, named or wanted)
    found = packed_by(start)
    if named is not None and found != named:
        end = PACKINGS[named][1]
        message = f"not a {named} file (starts {start[:4].hex(' ')})"
        raise refusal(path, "not_gzip", message, hint=f"rename it without {end}, or fetch it again")
    return found


def packed_by(start: bytes) -> str | None:
    """The same by the first bytes."""
    if start.startswith(ZIP_MAGIC):
        return "zip"
    return next((name for name, (magic, _) in PACKINGS.items() if start.startswith(magic)), None)


def unpacked(path: Path, file: BinaryIO, by: str | None) -> BinaryIO:
    """The bytes of an open file that is packed so. Raises DataError for an archive of several files."""
    if by == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if by == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(file))
    if by == "xz":
        return cast(BinaryIO, lzma.LZMAFile(file))
    return file if by is None else _only_member(path, file)


def members(path: Path) -> list[str]:
    """The names of the files in a zip archive. Raises DataError."""
    with reading(path), zipfile.ZipFile(path) as archive:
        return [one.filename for one in archive.infolist() if not one.is_dir() and "__MACOSX/" not in one.filename]


def _only_member(path: Path, file: BinaryIO) -> BinaryIO:
    names = members(path)
    if len(names) != 1:
        shown_names = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        message = f"an archive of {len(names)} files ({shown_names})" if names else "an empty archive"
        raise refusal(path, "archive", message, hint="unpack it first, and name the files in data.train")
    try:
        return cast(BinaryIO, zipfile.ZipFile(file).open(names[0]))
    except (RuntimeError, NotImplementedError) as error:
        raise refusal(path, "archive", f"cannot be unpacked ({error})", hint="unpack it first") from None


def check_growth(path: Path, stored: int, needed: int) -> None:
    """Raise DataError when an array of `needed` bytes is so much larger than the file of `stored` bytes that holds it
    packed, that the file is hardly data: whoever sends a megabyte must not take a gigabyte of memory."""
    if needed > max(UNPACKED, GROWTH * stored):
        message = f"takes {needed / 2**20:,.0f} MiB of memory, more than {GROWTH} times its size"
        raise refusal(path, "too_large", message, hint="unpack it, or save it as a plain .npy array, if that is right")


def check_memory(path: Path, needed: int) -> None:
    """Raise DataError when an array of `needed` bytes would not leave as much memory again for the work on it."""
    if needed > SMALL and (free := free_memory()) is not None and needed > free // 2:
        message = f"needs {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
        hint = "leave it on the disk: a .npy array with data.memory: memmap, a table after mlpbp convert"
        raise refusal(path, "too_large", message, hint=hint)


@contextmanager
def open_binary(path: Path, wanted: str) -> Iterator[tuple[BinaryIO, int]]:
    """A file's bytes, unpacked when it is packed, with an upper bound of how many there can be.

    For a plain file the bound is exact. Reading to the end verifies the checksum of what was packed. Damage found while
    reading raises DataError.
    """
    by = packing(path, wanted)
    size = check_file(path)
    with reading(path), path.open("rb") as file:
        bound = size * (1 if by is None else DEFLATE_RATIO if by in ("gzip", "zip") else OTHER_RATIO)
        yield unpacked(path, cast(BinaryIO, file), by), bound


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and the packers raise while reading into DataError."""
    try:
        yield
    except EOFError:
        raise refusal(path, "truncated", "the file ends too early", hint="fetch it again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise refusal(path, "damaged", f"damaged gzip data ({error})", hint="fetch it again") from None
    except (lzma.LZMAError, zipfile.BadZipFile) as error:
        raise refusal(path, "damaged", f"damaged packed data ({error})", hint="fetch it again") from None
    except OSError as error:
        if error.errno is None:  # as bzip2 raises it
            raise refusal(path, "damaged", f"damaged packed data ({error})", hint="fetch it again") from None
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

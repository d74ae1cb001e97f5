"""Text files on their way to a parser: unpacked, decoded, and watched for what no table contains."""

from __future__ import annotations

import codecs
import io
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from mlp_core.data.readers.open_file import (
    STDIN,
    check_file,
    open_binary,
    packed_by,
    packing,
    reading,
    refusal,
    refuse_html,
    unpacked,
)
from mlp_core.errors import DataError

BOMB_SIZE = 8 << 20  # text below this size is never taken for a bomb
BOMB_RATIO = 250  # real tables shrink 3 to 50 times
BUFFER = 1 << 18
UTF8 = "utf-8-sig"  # the codec that passes over a byte order mark
WIDE = {"utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)}


def count_lines(data: bytes) -> int:
    """The count of line feeds, at the speed of memory (`bytes.count` looks at one byte after another)."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))


def refuse_bomb(path: Path, count: int, packed: int) -> None:
    """Raise DataError where gzip unpacks to more bytes than a table would."""
    if count > max(BOMB_SIZE, BOMB_RATIO * packed):
        message = f"unpacks to more than {BOMB_RATIO} times its size"
        raise refusal(path, "too_large", message, hint="unpack it first if that is right")


class TextBytes(io.RawIOBase):
    """The bytes of a text file on their way to the decoder, watched for what no table contains.

    Refuses zero bytes (unless the encoding has them), lines longer than `LINE_LIMIT`, gzip bombs.
    """

    LINE_LIMIT = 16 << 20

    def __init__(self, inner: BinaryIO, path: Path, packed: int | None, zeros: bool) -> None:
        super().__init__()
        self.inner, self.path, self.packed, self.zeros = inner, path, packed, zeros
        self.count = self.newlines = self.run = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.inner.read(len(buffer))
        self.watch(data)
        buffer[: len(data)] = data
        return len(data)

    def watch(self, data: bytes) -> None:
        """Look at bytes that come next. Raises DataError for what no table contains."""
        self.count += len(data)
        if self.packed is not None:
            refuse_bomb(self.path, self.count, self.packed)
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
        self.newlines += count_lines(data)


class TextLines:
    """The lines of a text, one by one or a block of them at once, and lines given back for another look.

    Lines that begin with `comment` come out empty, so that line numbers stay true. Text that is UTF-8 is taken as bytes
    from below the decoder of `stream`, which then must not have been read: blocks are never decoded.
    """

    BLOCK = 1 << 20

    def __init__(self, stream: io.TextIOBase, comment: str | None) -> None:
        self.stream, self.comment = stream, comment
        self.bytes: BinaryIO | None = None
        if isinstance(stream, io.TextIOWrapper) and stream.encoding == UTF8:
            self.bytes = cast(BinaryIO, stream.buffer)
        self.held: deque[str] = deque()
        self.first = True

    def __iter__(self) -> TextLines:
        return self

    def __next__(self) -> str:
        if not self.held:
            self._hold()
        if self.held:
            return self.held.popleft()
        raise StopIteration

    def give_back(self, lines: Iterable[str]) -> None:
        """Lines that come next, before all others."""
        self.held.extendleft(reversed(list(lines)))

    def block(self) -> bytes:
        """Whole lines as they stand, in UTF-8, about BLOCK bytes; none at the end, where lines are held, or for
        comments. UTF-8 comes unchecked."""
        if self.held or self.first:
            return b""
        if self.bytes is not None:
            lines = self.bytes.read(self.BLOCK)
            if lines and not lines.endswith(b"\n"):
                lines += self.bytes.readline()
        else:
            text = self.stream.read(self.BLOCK)
            if text and not text.endswith("\n"):
                text += self.stream.readline()
            try:
                lines = text.encode("utf-8")
            except UnicodeEncodeError:
                self.give_back(self._cut(text))
                return b""
        if self.comment is not None and self.comment.encode() in lines:
            self.return_block(lines)
            return b""
        return lines

    def return_block(self, lines: bytes) -> None:
        """A block that is to come again, line by line."""
        self.give_back(self._cut(lines.decode("utf-8")))

    def _hold(self) -> None:
        """Read on to the next line feed; lines may also end with carriage returns, so these may be several."""
        if self.bytes is None:
            line = self.stream.readline()
        else:
            line = self.bytes.readline().decode("utf-8-sig" if self.first else "utf-8")
        self.first = False
        if line.find("\r", 0, -2) >= 0 or line.endswith("\r"):
            self.held.extend(self._cut(line))
        elif line:
            self.held.append(self._uncommented(line))

    def _cut(self, text: str) -> Iterator[str]:
        return map(self._uncommented, io.StringIO(text, newline=""))

    def _uncommented(self, line: str) -> str:
        return "\n" if self.comment is not None and line.startswith(self.comment) else line


def peek_stdin(count: int) -> bytes:
    """The first bytes of standard input, which stay there."""
    return cast(io.BufferedReader, sys.stdin.buffer).peek(count)[:count]


@contextmanager
def open_raw(path: Path, wanted: str) -> Iterator[tuple[BinaryIO, int | None, str | None]]:
    """The bytes of a file, or of standard input for the path `-`, their count if it is known, and what they are packed
    by."""
    if path == STDIN:
        start = peek_stdin(512)
        refuse_html(path, start, wanted)
        if not start:
            raise refusal(path, "empty_file", "nothing on standard input")
        if (by := packed_by(start)) == "zip":
            raise refusal(path, "archive", "a zip archive on standard input", hint="write it to a file first")
        yield cast(BinaryIO, sys.stdin.buffer), None, by
        return
    packed = packing(path, wanted)
    size = check_file(path)
    with path.open("rb") as file:
        if (
            packed == "gzip" and size >= 18
        ):  # what gzip says it holds, which may be a lie: the bytes are counted as well
            file.seek(-4, io.SEEK_END)
            refuse_bomb(path, int.from_bytes(file.read(4), "little"), size)
            file.seek(0)
        yield cast(BinaryIO, file), size, packed


@contextmanager
def open_text(path: Path, encoding: str, wanted: str) -> Iterator[io.TextIOWrapper]:
    """A text file (line ends kept), unpacked when it is packed, its byte order mark skipped.

    A mark of UTF-16 or UTF-32 is believed where the encoding is utf-8, which has no such bytes.
    """
    with reading(path), open_raw(path, wanted) as (file, size, packed):
        inner = unpacked(path, file, packed)
        name = encoding.lower().replace("_", "-")
        if name in ("utf-8", "utf8") and not packed and (marked := _marked(path, file)) is not None:
            encoding = name = marked
        watched = TextBytes(inner, path, size if packed else None, zeros="16" in name or "32" in name)
        codec = UTF8 if name in ("utf-8", "utf8") else encoding
        buffered = io.BufferedReader(watched, BUFFER)
        try:
            text = io.TextIOWrapper(buffered, encoding=codec, errors="strict", newline="")
        except LookupError:
            hint = "for example utf-8, latin-1, cp1252, utf-16"
            raise refusal(path, "unknown_encoding", f'no encoding "{encoding}"', hint=hint) from None
        try:
            yield text
        except UnicodeError as error:
            raise _undecodable(path, watched, codec, error) from None


def _marked(path: Path, file: BinaryIO) -> str | None:
    """The wide encoding that a byte order mark tells, as spreadsheets write it."""
    start = peek_stdin(4) if path == STDIN else file.read(4)
    if path != STDIN:
        file.seek(0)
    return next((name for name, marks in WIDE.items() if start.startswith(marks)), None)


def _undecodable(path: Path, watched: TextBytes, encoding: str, error: UnicodeError) -> DataError:
    """The error for a byte that the encoding does not know, its line found by reading once more."""
    line = None
    if not watched.zeros and path != STDIN:
        with open_binary(path, "text") as (file, _):
            for number, raw in enumerate(iter(lambda: file.readline(TextBytes.LINE_LIMIT), b""), 1):
                try:
                    raw.decode(encoding)
                except UnicodeError:
                    line = number
                    break
    why = str(error)
    if isinstance(error, UnicodeDecodeError):
        why = f"byte 0x{error.object[error.start : error.start + 1].hex()}"
    message = f"not {'utf-8' if encoding == UTF8 else encoding} text ({why})"
    hint = "set data.csv.encoding, for example latin-1 or utf-16"
    return refusal(path, "not_text", message, hint=hint, line=line)

"""Where output goes: the result to stdout, progress and remarks to stderr, JSON instead of both if asked for."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from mlp_core.errors import clean, counted, printable

from .options import settings
from .usage import wrapped

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import ConsoleOptions
    from rich.segment import Segment

    from .render import WorkBar


WINDOW = "MLPBP_WINDOW"
"""Says to workers that what they say is read on a terminal, COLUMNS wide."""


class Screen:
    """A terminal to which data is written: words from files reach it with control characters escaped."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(printable(text))


class Harmless:
    """Something that rich draws, with every character escaped that a terminal would obey; what rich adds stays."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class Console:
    """One command's output. `live` tells whether stderr is a terminal that may be redrawn."""

    def __init__(self, command: str, progress: str = "auto") -> None:
        self.command = command
        self.json, self.quiet = settings.json, settings.quiet or progress == "off"
        self.live = sys.stderr.isatty() and not (self.quiet or settings.no_progress or progress == "plain")
        if progress == "rich" and not self.quiet:
            self.live = True
        self.aside = False  # stdout carries rows of data, so what is shown goes to stderr
        self._read: tuple[Any, float] = (None, 0.0)

    @property
    def columns(self) -> int | None:
        """How wide the terminal is on which remarks are read, also through the process that started several workers;
        None where they are not read on one."""
        seen = sys.stderr.isatty() or WINDOW in os.environ
        return shutil.get_terminal_size((80, 24)).columns if seen else None

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        if not self.quiet:
            self.say(text)

    def reading(self, path: Any, rows: int) -> None:
        """How far a file is read, on stderr: nothing in the first second, then a line now and then."""
        now = time.monotonic()
        if self._read[0] != path:
            self._read = (path, now + 1)
        if self.quiet or self.json or now < self._read[1]:
            return
        self._read = (path, now + (0.2 if self.live else 5))
        end = "\r" if self.live else "\n"
        with contextlib.suppress(OSError):
            print(f"reading {printable(path.name)}: {counted(rows, 'row')}", end=end, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Something that should be known, on stderr, even when quiet."""
        self.say(f"mlpbp: note: {clean(text, 600)}")

    def say(self, text: str) -> None:
        """A line on stderr, whatever is asked for; if nobody can read it, the work goes on all the same."""
        with contextlib.suppress(OSError):
            print(wrapped(printable(text), self.columns is not None), file=sys.stderr, flush=True)

    def show(self, renderable: Any, exact: bool = False) -> None:
        """Part of the result: a table or a text, on stdout, unless JSON was asked for. exact: a text to be copied,
        whose lines a terminal may break, and we do not."""
        if self.json:
            return
        stream = sys.stderr if self.aside else sys.stdout
        if isinstance(renderable, str):
            print(wrapped(printable(renderable), stream.isatty() and not exact), file=stream)
            return
        from rich.console import Console as RichConsole

        if stream.isatty():
            RichConsole(file=stream, highlight=False, markup=False, emoji=False).print(Harmless(renderable))
            return
        drawn = io.StringIO()
        RichConsole(file=drawn, width=80, highlight=False, markup=False, emoji=False).print(Harmless(renderable))
        print("\n".join(line.rstrip(" ") for line in drawn.getvalue().rstrip("\n").split("\n")), file=stream)

    def data_stream(self) -> TextIO:
        """Where data goes that has no file: stdout as it is, with what a terminal would obey escaped if it is one."""
        return cast(TextIO, Screen(sys.stdout)) if sys.stdout.isatty() else sys.stdout

    def check_output(self, output: Path, force: bool) -> None:
        """Refuse before any work what could not be written after it; `-` is stdout, which then carries nothing else.
        Raises UsageError."""
        from mlp_core.data.writers import format_of, refuse

        if str(output) == "-":
            self.aside = True
            return
        format_of(output, None)
        refuse(output, force)

    def write(self, output: Path, columns: dict[str, Any], force: bool, digits: int) -> None:
        """Columns to a file, or as CSV to stdout, where a JSON document has them anyhow. Raises UsageError, OSError."""
        from mlp_core.data.writers import format_of, text_writer, writing

        if str(output) != "-":
            with writing(output, format_of(output, None), force, digits) as write:
                write(columns)
        elif not self.json:
            text_writer(self.data_stream(), "csv", digits)(columns)

    def working(self, what: str) -> AbstractContextManager[WorkBar | None]:
        """A progress bar for long work on a live terminal: called with (done, of); None where nothing is drawn."""
        if not self.live or self.json:
            return contextlib.nullcontext()
        from .render import WorkBar

        return WorkBar(what)

    def result(self, fields: dict[str, Any], exit_code: int = 0) -> int:
        """The one JSON document of a command, if asked for; returns the exit code."""
        if self.json:
            head = {"schema": 1, "command": self.command, "ok": exit_code == 0, "exit_code": exit_code}
            print(json.dumps({**head, **fields}, allow_nan=False))
        return exit_code

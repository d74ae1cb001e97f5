"""What can go wrong, told in one line: WHERE: WHAT (got VALUE); HOW TO MEND."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

VALUE_WIDTH = 60


def clean(value: object, width: int = VALUE_WIDTH) -> str:
    """The text of a value as it may be shown: control characters escaped, cut to `width` characters.

    Values come from users' files, so nothing in them may reach a terminal as a control sequence.
    """
    text = _escaped(str(value))
    return text if len(text) <= width else text[: width - 1] + "…"


def typed(path: object) -> str:
    """A path as it is typed in a command: in quotes where the shell needs them, and never like an option; `-` stays."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") and text != "-" else text)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """How many there are of something: `1 row`, `1,797 rows`, `2 classes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def some(names: Sequence[str], most: int = 6) -> str:
    """The first of some names, and how many there are beside."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def printable(text: str) -> str:
    """A text of one or more lines as it may be shown, with nothing that a terminal would obey."""
    return "\n".join(_escaped(line) for line in text.split("\n"))


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, with its place and its remedy.

    `code` is a stable word for programs (`unknown_key`, `not_a_number`, ...); `file`, `line` and `column`
    (both counted from 1) and `key` say where; `got` is the offending value, `hint` says how to mend it.
    """

    code: str
    message: str
    hint: str | None = None
    got: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        where = ": ".join(clean(part, 200) for part in (place, self.key) if part)
        what = clean(self.message, 300)
        if self.got is not None:
            what += f" (got {clean(self.got)})"
        line = f"{where}: {what}" if where else what
        return f"{line}; {clean(self.hint, 300)}" if self.hint else line


class MlpbpError(Exception):
    """Anything this program reports in plain words; carries every problem found, not only the first."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way between two processes: made again without `__init__`, which takes other arguments."""
        return type(self).__new__, (type(self), *self.args), self.__dict__


class Refused(MlpbpError):
    """Nothing was begun: the request itself cannot be carried out."""

    exit_code: ClassVar[int] = 2


class UsageError(Refused):
    """The command line asks for something that does not exist or does not fit together."""


class ConfigError(Refused):
    """The config cannot be used."""


class DataError(Refused):
    """The data cannot be used."""


class Failed(MlpbpError):
    """Work was begun and could not be finished."""


class CheckpointError(Failed):
    """A checkpoint is damaged, or does not fit."""


class RunDirectoryError(Failed):
    """The run directory cannot be used: in use, not writable, full."""


class Diverged(Failed):
    """The loss or a gradient stopped being a finite number."""

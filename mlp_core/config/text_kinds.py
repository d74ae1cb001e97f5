"""The kinds of text in a config: free text, names from a list, columns, durations."""

from __future__ import annotations

import codecs
import contextlib
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic_core import PydanticCustomError

from mlp_core.config.nearest import nearest, question
from mlp_core.config.nodes import Scalar
from mlp_core.config.value_kinds import Hint, Int, Kind, refusal

_INDEX = re.compile(r"[-+]?[0-9]+", re.ASCII)
_DURATION = re.compile(r"(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """Any text as written, so a number is its own digits; `pattern` must match all of it."""

    what: str = "text"
    pattern: str | None = None
    blank: bool = False

    def read(self, scalar: Scalar) -> str:
        text = scalar.text
        if "\0" in text or (not text and not self.blank):
            raise self.refuse(scalar)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            raise self.refuse(scalar, code="out_of_range")
        return text

    def schema(self) -> dict[str, Any]:
        own: dict[str, Any] = {"type": ["string", "number", "boolean"]}
        return own if self.pattern is None else {**own, "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, kw_only=True)
class Folder(Kind):
    """The path of a folder, or `false` for none."""

    what: str = "a folder, or false"
    WRITTEN: ClassVar = {"anyOf": [{"const": False}, {"type": ["string", "number"]}]}

    def read(self, scalar: Scalar) -> str | bool:
        if scalar.plain and scalar.text == "false":
            return False
        if (scalar.plain and scalar.text == "true") or not scalar.text or "\0" in scalar.text:
            raise self.refuse(scalar)
        return scalar.text


@dataclass(frozen=True, kw_only=True)
class Word(Kind):
    """One of `words`, or a name that `pattern` matches; `synonyms` are pairs of another name and ours.

    `former` are pairs of a word that was one once and what it means now.

    The example says what may stand there instead of a name: "a list such as [loss, accuracy]".
    """

    pattern: str | None = None
    synonyms: tuple[tuple[str, str], ...] = ()
    former: tuple[tuple[str, str], ...] = ()

    @property
    def expected(self) -> str:
        return "one of " + ", ".join(self.words)

    def read(self, scalar: Scalar) -> str:
        if self.pattern is not None and re.fullmatch(self.pattern, scalar.text):
            return scalar.text
        if (now := dict(self.former).get(scalar.text)) is not None:
            return now
        raise self.refuse(scalar, code="unknown_value")

    def refuse(self, got: object, *, hint: Hint | None = None, code: str = "wrong_type") -> PydanticCustomError:
        def meant() -> str:
            text = got.text if isinstance(got, Scalar) else ""
            near = dict(self.synonyms).get(text.lower()) or nearest(text, self.words)
            choices = ", ".join(self.words) + (f", or {self.example}" if self.example else "")
            return f'did you mean "{near}"?' if near else f"choose from {choices}"

        message = "unknown value" if code == "unknown_value" else "expected a name"
        return refusal(message, got, code=code, hint=meant)

    def options(self) -> list[dict[str, Any]]:
        fitting = [] if self.pattern is None else [{"type": "string", "pattern": f"^(?:{self.pattern})$"}]
        return [{"enum": list(self.words)}, *fitting]


@dataclass(frozen=True, kw_only=True)
class Column(Kind):
    """A column by name, or by its position as an integer: 0 is the first, -1 the last; quotes make a name."""

    what: str = "a column name or position"
    WRITTEN: ClassVar = {"type": ["integer", "string"]}

    def read(self, scalar: Scalar) -> int | str:
        if scalar.plain and _INDEX.fullmatch(scalar.text):
            return Int(example=self.example).read(scalar)
        return Text(what=self.what, example=self.example).read(scalar)


@dataclass(frozen=True, kw_only=True)
class Duration(Kind):
    """A time span such as `2h30m`, in days, hours, minutes and seconds."""

    what: str = "a time span such as 2h30m, 45m or 90s"
    WRITTEN: ClassVar = {"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", "minLength": 2}

    def read(self, scalar: Scalar) -> str:
        if not seconds(scalar.text):
            raise self.refuse(scalar, hint=lambda: self._mended(scalar.text))
        return scalar.text

    @staticmethod
    def _mended(text: str) -> str | None:
        if re.fullmatch("[1-9][0-9]{0,5}", text, re.ASCII):
            return f"write {text}s or {text}m, with a unit"
        clock = re.fullmatch("([0-9]{1,2}):([0-9]{2})", text, re.ASCII)
        return f"write {clock[1]}h{clock[2]}m or {clock[1]}m{clock[2]}s" if clock else None


@dataclass(frozen=True, kw_only=True)
class Encoding(Kind):
    """The name of a text encoding that Python knows."""

    what: str = "the name of a text encoding"
    WRITTEN: ClassVar = {"type": "string"}

    def read(self, scalar: Scalar) -> str:
        if len(scalar.text) < 40 and re.fullmatch(r"[A-Za-z0-9][\w.-]*", scalar.text, re.ASCII):
            with contextlib.suppress(LookupError, ValueError):
                "".encode(scalar.text)
                codecs.lookup(scalar.text)
                return scalar.text
        usual = ("utf-8", "utf-16", "latin-1", "cp1252", "ascii", "gb18030", "shift_jis")
        raise self.refuse(scalar, hint=lambda: question(scalar.text, usual) or "for example utf-8 or latin-1")


def seconds(duration: str) -> int:
    """The seconds of a time span such as `2h30m`; 0 if it is not one."""
    match = _DURATION.fullmatch(duration)
    if match is None:
        return 0
    return sum(int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True))

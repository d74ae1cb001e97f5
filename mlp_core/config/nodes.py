"""A config before it has types: scalars as written, lists and mappings, each knowing where it stands."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlp_core.errors import ConfigError, Problem

MAX_DEPTH = 32
COMMAND_LINE = "command line"
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BARE = re.compile(r"[-+]?[0-9.][0-9.eE+-]*|true|false|null|~", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written; line and column count from 1, and are None outside a file."""

    file: str | None = None
    line: int | None = None
    column: int | None = None

    def problem(
        self, code: str, message: str, hint: str | None = None, got: str | None = None, key: str | None = None
    ) -> Problem:
        """A problem that is placed here."""
        return Problem(code, message, hint, got, self.file, self.line, self.column, key)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value exactly as written; `plain` is False inside quotes and in block text."""

    text: str
    plain: bool = True

    @classmethod
    def of(cls, value: object) -> Scalar | None:
        """The scalar that a native value would be written as; None if the value is not a scalar."""
        if isinstance(value, Scalar):
            return value
        if value is None:
            return cls("null")
        if isinstance(value, bool):
            return cls(str(value).lower())
        # Numbers of other libraries count too; their own repr may not be a number.
        if isinstance(value, numbers.Integral):
            return cls(str(int(value)) if int(value).bit_length() <= 64 else hex(value)[:40])
        if isinstance(value, numbers.Real):
            return cls(repr(float(value)))
        return cls(value, plain=False) if isinstance(value, str) else None

    @property
    def is_null(self) -> bool:
        """Whether this says "nothing": empty, `~` or `null`, without quotes."""
        return self.plain and self.text in NULLS

    def __str__(self) -> str:
        """The value for a message: numbers, true, false and null bare, all else in double quotes."""
        return self.text if self.plain and _BARE.fullmatch(self.text) else f'"{self.text}"'


@dataclass(slots=True)
class Node:
    """A scalar, a list or a mapping with the place of its value and, in a mapping, of its key."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place = Place()
    key_place: Place = Place()

    def child(self, part: str | int) -> Node | None:
        """The node under a key, or at a position counted from 0; None if there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and str(part).isdecimal() and len(str(part)) < 9:
            position = int(part)
            return self.value[position] if position < len(self.value) else None
        return None

    def plain(self) -> Any:
        """The same without places: dicts, lists and scalars, as pydantic reads them."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def __str__(self) -> str:
        """The value for a message; of a list or mapping only the kind."""
        if isinstance(self.value, Scalar):
            return str(self.value) if self.value != Scalar("") else "nothing"
        return "a mapping" if isinstance(self.value, dict) else "a list"


def from_native(value: object, place: Place = Place(), depth: int = 0) -> Node:
    """The tree of plain Python or JSON values.

    Raises ConfigError for a value that JSON does not have, for broken text, and beyond `MAX_DEPTH` levels.
    """
    if depth > MAX_DEPTH:
        raise ConfigError(Problem("too_deep", f"nested deeper than {MAX_DEPTH} levels"))
    if isinstance(value, Mapping):
        for key in value:
            check_text(str(key), place)
        return Node({str(key): from_native(v, place, depth + 1) for key, v in value.items()}, place, place)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return Node([from_native(item, place, depth + 1) for item in value], place, place)
    scalar = Scalar.of(value)
    if scalar is None:
        raise ConfigError(Problem("wrong_type", "not a config value", got=f"a {type(value).__name__}"))
    check_text(scalar.text, place)
    return Node(scalar, place, place)


def check_text(text: str, place: Place) -> None:
    """Raise ConfigError for text that no file could hold: half of a surrogate pair."""
    if _SURROGATE.search(text):
        message = "contains a character that is not valid Unicode"
        raise ConfigError(place.problem("not_text", message, got=f'"{text}"'))

"""What the values of a config may be: each kind reads a scalar as written and says what to write instead.

The kinds are metadata of a field, `lr: Annotated[float | Literal["auto"], Float(gt=0, words=("auto",))]`.
They decide by the key, not by YAML's rules: `no` is text in a text field and an error in a boolean field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from mlp_core.config.nearest import mend, question
from mlp_core.config.nodes import Scalar

N = TypeVar("N", int, float)
INT_MAX = 2**63 - 1
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)


# Found only when it is shown: thousands of wrong values must not take seconds.
Hint = Callable[[], str | None]


def refusal(
    message: str, got: object, *, code: str, hint: Hint | None = None, example: str | None = None
) -> PydanticCustomError:
    """The error a validator raises; `example` is shown behind the key when there is no better hint."""
    context = {"code": code, "message": message, "got": str(got), "hint": hint, "example": example}
    return PydanticCustomError("refused", "{message} (got {got})", context)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What every kind shares: `null` admits an empty value, `words` are admitted besides the kind itself, `what` is
    what to write, as in "expected a number > 0"."""

    what: str = ""
    null: bool = False
    words: tuple[str, ...] = ()
    example: str | None = None
    WRITTEN: ClassVar[dict[str, Any]] = {}

    @property
    def expected(self) -> str:
        """The same with what depends on the other settings."""
        return self.what

    def read(self, scalar: Scalar) -> object:
        """The value of a scalar that is neither null nor one of the words."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the kind itself: `WRITTEN` where its settings change nothing."""
        return {**self.WRITTEN}

    def options(self) -> list[dict[str, Any]]:
        """The same, with the words that are admitted besides."""
        return [self.schema(), *([{"enum": list(self.words)}] if self.words else [])]

    def __call__(self, value: object) -> object:
        """The value of a raw scalar or of a native value; raises PydanticCustomError."""
        scalar = Scalar.of(value)
        if scalar is None:
            got = "a mapping" if isinstance(value, dict) else f"a {type(value).__name__}"
            raise self.refuse(got)
        if scalar.is_null:
            if self.null:
                return None
            raise self.refuse("nothing", code="empty")
        return scalar.text if scalar.text in self.words else self.read(scalar)

    def refuse(self, got: object, *, hint: Hint | None = None, code: str = "wrong_type") -> PydanticCustomError:
        """The error for a value that is not of this kind."""

        def meant() -> str | None:
            found = hint() if hint else None
            return found or (question(got.text, self.words) if isinstance(got, Scalar) else None)

        return refusal(f"expected {self.expected}", got, code=code, hint=meant, example=self.example)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        options = [*self.options(), *([{"type": "null"}] if self.null else [])]
        return options[0] if len(options) == 1 else {"anyOf": options}


@dataclass(frozen=True, kw_only=True)
class _Ranged(Kind):
    """A number with bounds: `gt`, `ge` below, `lt`, `le` above."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def within(self, number: N, scalar: Scalar) -> N:
        """The number that a scalar says, if the bounds admit it."""
        above = (self.gt is None or number > self.gt) and (self.ge is None or number >= self.ge)
        below = (self.lt is None or number < self.lt) and (self.le is None or number <= self.le)
        if not above or not below:
            raise self.refuse(scalar, code="out_of_range")
        return number

    @property
    def expected(self) -> str:
        """With the bounds: "a number > 0", "a number in [0, 1)"."""
        low, high = (self.gt if self.ge is None else self.ge), (self.lt if self.le is None else self.le)
        if low is not None and high is not None:
            return f"{self.what} in {'(' if self.ge is None else '['}{low}, {high}{')' if self.le is None else ']'}"
        if low is not None:
            return f"{self.what} {'>' if self.ge is None else '>='} {low}"
        return self.what if high is None else f"{self.what} {'<' if self.le is None else '<='} {high}"

    def schema(self) -> dict[str, Any]:
        names = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
        limits = {name: getattr(self, own) for own, name in names.items() if getattr(self, own) is not None}
        return {"type": "number", **limits}


@dataclass(frozen=True, kw_only=True)
class Int(_Ranged):
    """An integer in decimal, at most 2^63 - 1 in size."""

    what: str = "an integer"

    def read(self, scalar: Scalar) -> int:
        text = scalar.text
        if not scalar.plain or not _INTEGER.fullmatch(text):
            raise self.refuse(scalar, hint=lambda: mend(scalar, whole=True, null=self.null))
        if len(text) > 20 or abs(int(text)) > INT_MAX:
            raise self.refuse(scalar, hint=lambda: f"write at most {INT_MAX}", code="out_of_range")
        return self.within(int(text), scalar)

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "type": "integer"}


@dataclass(frozen=True, kw_only=True)
class Float(_Ranged):
    """A finite decimal number; `1e-3` counts, unlike in YAML 1.1."""

    what: str = "a number"

    def read(self, scalar: Scalar) -> float:
        number = _finite(scalar)
        if number is None:
            raise self.refuse(scalar, hint=lambda: mend(scalar, whole=False, null=self.null))
        return self.within(number, scalar)


@dataclass(frozen=True, kw_only=True)
class ShareOrCount(Kind):
    """A share of the rows in [0, 1), or a number of rows as an integer."""

    what: str = "a share in [0, 1) or a whole number of rows"
    WRITTEN: ClassVar = {
        "anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, {"type": "integer", "minimum": 0}]
    }

    def read(self, scalar: Scalar) -> float | int:
        whole = scalar.plain and _INTEGER.fullmatch(scalar.text) is not None
        number = Int().read(scalar) if whole else _finite(scalar)
        if number is None:
            raise self.refuse(scalar, hint=lambda: mend(scalar, whole=False, null=self.null))
        if number < 0 or (number >= 1 and not whole):
            raise self.refuse(scalar, code="out_of_range")
        return number


_MEANT = {
    "true": "true yes on y t 1 ja wahr oui vrai si sí sim tak да enabled",
    "false": "false no off n f 0 nein falsch non faux não nee nie нет none",
}
"""Words for true and false of other tools and languages."""


@dataclass(frozen=True, kw_only=True)
class Bool(Kind):
    """`true` or `false`, nothing else; with `only` just that one."""

    only: bool | None = None

    @property
    def expected(self) -> str:
        return "true or false" if self.only is None else f"{str(self.only).lower()} or a mapping"

    def read(self, scalar: Scalar) -> bool:
        allowed = {"true": True, "false": False}
        if scalar.plain and scalar.text in allowed and self.only in (None, allowed[scalar.text]):
            return allowed[scalar.text]
        text, quoted = scalar.text.lower(), "" if scalar.plain else ", without quotes"
        word = next((word for word, others in _MEANT.items() if text in others.split()), None)
        if self.only is not None:
            raise self.refuse(scalar)
        raise self.refuse(scalar, hint=lambda: f"write {word}{quoted}" if word else question(text, allowed))

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"} if self.only is None else {"const": self.only}


def _finite(scalar: Scalar) -> float | None:
    """The number a plain scalar says, None if it is not one or too large for double precision."""
    if not scalar.plain or len(scalar.text) > 400 or not _NUMBER.fullmatch(scalar.text):
        return None
    number = float(scalar.text)
    return number if math.isfinite(number) else None

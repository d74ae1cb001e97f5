"""What every section of the config shares: strict keys, frozen values, rules between several keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from mlp_core.config.nodes import Scalar

T = TypeVar("T")
# Tags of the alternatives of a key; they never show, the angle brackets keep them apart from keys.
SCALAR, LIST, MAPPING = "<scalar>", "<list>", "<mapping>"


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong between several keys, told at one of them; `key` is relative to the section."""

    key: str
    message: str
    hint: str | None = None
    code: str = "inconsistent"
    show: bool = True


class Section(BaseModel):
    """A mapping with known keys only; values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def rules(self) -> Iterator[Complaint]:
        """The complaints about keys that do not fit together."""
        return iter(())

    @model_validator(mode="after")
    def _follow_rules(self) -> Self:
        complaints = tuple(self.rules())
        if complaints:
            text = "; ".join(f"{complaint.key}: {complaint.message}" for complaint in complaints)
            raise PydanticCustomError("rules", "{text}", {"text": text, "complaints": complaints})
        return self


def key(default: Any, description: str) -> Any:
    """A key with its default and what it means."""
    return Field(default=default, description=description)


def _none(value: object) -> object:
    return None if isinstance(value, Scalar) and value.is_null else value


def _is_mapping(value: object) -> str:
    return MAPPING if isinstance(value, dict | BaseModel) else SCALAR


def _is_list(value: object) -> str:
    return LIST if isinstance(value, list | tuple) else SCALAR


def _is_any(value: object) -> str:
    return MAPPING if isinstance(value, dict | BaseModel) else _is_list(value)


# A list or mapping that may be left empty; a scalar kind says so itself.
Maybe = Annotated[T | None, BeforeValidator(_none)]
# Which alternative of a key a value is meant as; what fits neither is for the scalar to refuse.
OR_MAPPING, OR_LIST, OR_ANY = Discriminator(_is_mapping), Discriminator(_is_list), Discriminator(_is_any)

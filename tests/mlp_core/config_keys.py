"""The keys of the config, walked in its schema: each with its path, its section and its field."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from mlp_core.config import Config
from mlp_core.config.value_kinds import Kind


class Key(NamedTuple):
    """A key of the schema: its path (0 stands for an item of a list, `any` for a user's own name) and its field."""

    path: tuple[str | int, ...]
    section: type[BaseModel]
    field: Any

    def __str__(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def name(self) -> str:
        return str(self.path[-1])

    @property
    def kinds(self) -> list[Kind]:
        """The scalar kinds that stand directly at this key."""
        return [part for part in self.field.metadata if isinstance(part, Kind)] or [
            part
            for alternative in typing.get_args(self.field.annotation)
            for part in typing.get_args(alternative)
            if isinstance(part, Kind)
        ]

    @property
    def nullable(self) -> bool:
        return any(kind.null for kind in self.kinds) or str(self) == "data.classes"


def sections(annotation: Any, in_list: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections that a type admits, and whether each is an item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, in_list
    for part in typing.get_args(annotation):
        yield from sections(part, in_list or typing.get_origin(annotation) is tuple)


def walk(model: type[BaseModel], path: tuple[str | int, ...] = ()) -> Iterator[Key]:
    """All keys at and below a section."""
    for name, field in model.model_fields.items():
        yield Key((*path, name), model, field)
        for section, in_list in sections(field.annotation):
            named = ("any",) if typing.get_origin(field.annotation) is dict else ()
            yield from walk(section, (*path, name, 0) if in_list else (*path, name, *named))


def name_beside(section: type[BaseModel], key: str | int) -> str:
    """A `name` for a section with which one of its other keys has a meaning."""
    words = [word for kind in section.model_fields["name"].metadata for word in getattr(kind, "words", ())]
    wanted = {"std": "normal", "scale": "uniform"}.get(str(key), "leaky_relu")
    return wanted if wanted in words else words[-1]


KEYS = list(walk(Config))

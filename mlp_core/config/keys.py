"""Every key of a config as people look it up: what it means, what may stand there, what stands there by default."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from mlp_core.config.nearest import nearest
from mlp_core.config.problems import ITEM, SYNONYMS, sections_in
from mlp_core.config.schema import Config
from mlp_core.config.text_kinds import Word
from mlp_core.config.value_kinds import Kind
from mlp_core.errors import Problem, UsageError


@dataclass(frozen=True)
class Key:
    """One key by its dotted name.

    forms: what may stand there. default: a plain value, None with `required` where there is none. section: whether it
    is a section of keys only.
    """

    name: str
    meaning: str
    forms: tuple[str, ...]
    default: Any = None
    required: bool = False
    example: str | None = None
    section: bool = False

    @property
    def range(self) -> str:
        """What may stand there, in words."""
        return ", or ".join(self.forms)


def all_keys() -> list[Key]:
    """Every key, in the order of the sections."""
    return list(_keys_of(Config, ""))


def find_keys(name: str) -> list[Key]:
    """The key of a name, and those inside it. Raises UsageError with the nearest name."""
    keys = all_keys()
    wanted = name.strip(".")
    found = [key for key in keys if key.name == wanted or key.name.startswith((f"{wanted}.", f"{wanted}{ITEM}."))]
    if found:
        return found
    ends = [key.name for key in keys if key.name.rpartition(".")[2] == wanted.rpartition(".")[2]]
    usual = SYNONYMS.get(wanted.lower())
    plain = [key.name for key in keys if ITEM not in key.name]
    near = usual or nearest(wanted, plain) or nearest(wanted, [key.rpartition(".")[2] for key in plain])
    homes = [one for one in plain if one.rpartition(".")[2] == near] if near and near not in plain else [near]
    choices = [one for one in (ends or homes) if one][:4]
    hint = f"did you mean {' or '.join(choices)}?" if choices else "mlpbp config shows them all"
    raise UsageError(Problem("unknown_key", "there is no such key", hint, got=name))


def markdown() -> str:
    """The page `docs/config.md`: every key, section by section."""
    lines = list(_PREFACE)
    for key in all_keys():
        if key.section and "." not in key.name:
            lines += ["", f"## {key.name}", "", f"{key.meaning[:1].upper()}{key.meaning[1:]}.", "", *_HEAD]
        elif not key.section:
            default = "required" if key.required else f"`{said(key.default)}`"
            cells = (f"`{key.name}`", key.range, default, key.meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


_HEAD = ("| key | takes | default | meaning |", "|---|---|---|---|")
_PREFACE = (
    "# The config, key by key",
    "",
    "Every key is optional but `data`. `mlpbp config KEY` tells the same, `mlpbp config --diff FILE` what a config",
    "changes. This page is made from the schema: `python -m mlp_core.config docs > docs/config.md`.",
    "",
    *_HEAD,
)


def said(value: Any) -> str:
    """A config value on one line, about as it would be written."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {said(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(said, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if value == "" else f"{value:.6g}" if isinstance(value, float) else str(value)


def _keys_of(section: type[BaseModel], above: str) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        yield from _key(f"{above}{name}", field)


def _key(name: str, field: FieldInfo) -> Iterator[Key]:
    """A key, and behind it those of the mappings that may stand there."""
    default = None if field.is_required() else to_jsonable_python(field.default)
    forms = tuple(dict.fromkeys(_forms(field.annotation, field.metadata)))
    section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    meaning = field.description or ""
    yield Key(name, meaning, forms, default, field.is_required(), _example(field), section)
    for inner, way in dict(sections_in(field.annotation)).items():
        yield from _keys_of(inner, f"{name}{way}.")


def _forms(annotation: Any, metadata: Iterable[Any]) -> Iterator[str]:
    """What may stand for a type, alternative by alternative."""
    kind = next((one for one in metadata if isinstance(one, Kind)), None)
    if kind is not None:
        yield _form(kind)
        return
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _forms(inner[0], inner[1:])
    elif origin in (typing.Union, types.UnionType):
        for one in inner:
            yield from _forms(one, ())
    elif origin is tuple:
        yield "a list of: " + ", or ".join(_forms(inner[0], ()))
    elif origin is dict:
        yield "a mapping of names to: " + ", or ".join(_forms(inner[1], ()))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "a mapping {" + ", ".join(annotation.model_fields) + "}"
    elif annotation is type(None):
        yield "null"


def _form(kind: Kind) -> str:
    """What a kind takes, with the words that are admitted besides."""
    text = kind.expected
    if not isinstance(kind, Word) and kind.words:
        text += ", or " + ", ".join(kind.words)
    if isinstance(kind, Word) and kind.pattern is not None:
        text += f", or what fits {kind.pattern}"
    return text + (", or null" if kind.null else "")


def _example(field: FieldInfo) -> str | None:
    """An example, from the first kind that has one."""
    todo: list[Any] = [*field.metadata, field.annotation]
    while todo:
        one = todo.pop(0)
        if isinstance(one, Kind) and one.example:
            return one.example
        todo += typing.get_args(one)
    return None

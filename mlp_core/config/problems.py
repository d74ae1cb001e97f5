"""From what pydantic found wrong to what a person reads: every problem with its place, key and remedy."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, ValidationError

from mlp_core.config.nearest import nearest
from mlp_core.config.nodes import Node, Place, Scalar
from mlp_core.config.section import LIST, MAPPING, SCALAR, Complaint
from mlp_core.config.yaml_tree import MOST
from mlp_core.errors import Problem, clean

ITEM, NAMED = "[]", "NAME"
"""Parts of a key: an item of a list, and a name that the user gives, such as a column's."""

# Names that other tools use for a key of ours.
SYNONYMS = {
    "batch": "train.batch_size",
    "batchsize": "train.batch_size",
    "hidden_layer_sizes": "model.hidden",
    "hidden_layers": "model.hidden",
    "layers": "model.hidden",
    "learning_rate": "optimizer.lr",
    "max_epochs": "train.epochs",
    "missing_values": "data.csv.na",
    "n_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "random_state": "seed",
}


def problems_of(error: ValidationError, root: Node, model: type[BaseModel]) -> list[Problem]:
    """The problems behind a validation error of the tree, in the order of the file."""
    found: list[Problem] = []
    for detail in error.errors(include_url=False)[:MOST]:
        path = path_of(root, detail["loc"])
        if detail["type"] == "rules":
            complaints: Iterable[Complaint] = detail["ctx"]["complaints"]
            found += [_complaint(root, path, complaint) for complaint in complaints]
        else:
            found.append(_problem(root, path, detail, model))
    return in_order(found)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems sorted as they stand in their files; those without a line last."""
    return sorted(problems, key=lambda p: (p.line is None, p.file or "", p.line or 0, p.column or 0))


def path_of(root: Node, location: Sequence[str | int]) -> tuple[str, ...]:
    """The keys of a pydantic location, without the tags of alternatives."""
    path: list[str] = []
    node: Node | None = root
    for part in location:
        child = node.child(part) if node else None
        if child is None and part in (SCALAR, LIST, MAPPING):
            continue
        path.append(str(part))
        node = child
    return tuple(path)


def find(root: Node, path: Sequence[str]) -> tuple[Node, bool]:
    """The node at a path and True, or its nearest parent that is there and False."""
    node = root
    for part in path:
        child = node.child(part)
        if child is None:
            return node, False
        node = child
    return node, True


def located(
    root: Node,
    path: Sequence[str],
    code: str,
    message: str,
    hint: str | None = None,
    got: str | None = None,
    *,
    key: str | None = None,
) -> Problem:
    """A problem at the value at a path, or at the nearest parent that is there."""
    return find(root, path)[0].place.problem(code, message, hint, got, key or ".".join(path) or None)


def _complaint(root: Node, section: tuple[str, ...], complaint: Complaint) -> Problem:
    path = (*section, *(complaint.key.split(".") if complaint.key else ()))
    node, present = find(root, path)
    got = str(node) if complaint.show and present and isinstance(node.value, Scalar) else None
    return located(root, path, complaint.code, complaint.message, complaint.hint, got)


def _problem(root: Node, path: tuple[str, ...], detail: Any, model: type[BaseModel]) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    node, present = find(root, path)
    got = str(node) if present else None
    if kind == "refused":
        hint = (context["hint"] and context["hint"]()) or _example(path, context["example"])
        return located(root, path, context["code"], context["message"], hint, context["got"])
    if kind == "extra_forbidden":
        return _unknown(node.key_place, path, model)
    if kind == "missing":
        hint = "for example data: {name: digits}" if path == ("data",) else None
        return located(root, path, "missing", "required", hint)
    empty = isinstance(node.value, Scalar) and node.value.is_null
    if kind in ("tuple_type", "list_type"):
        item = _items(node.value.text) if isinstance(node.value, Scalar) and not empty else "..."
        hint = f"write it as a list: {path[-1]}: [{item}]"
        return located(root, path, "wrong_type", "expected a list", hint, "nothing" if empty else got)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        known = keys_at(path, model, inside=True)
        hint = "fill it in or remove the key" if empty else _mapping(path, node, known)
        return located(root, path, "wrong_type", "expected a mapping", hint, "nothing" if empty else got)
    return located(root, path, "wrong_type", detail["msg"], None, got)


def _example(path: tuple[str, ...], example: str | None) -> str | None:
    if example is None:
        return None
    return f"for example {example}" if not path or path[-1].isdecimal() else f"for example {path[-1]}: {example}"


def _unknown(place: Place, path: tuple[str, ...], model: type[BaseModel]) -> Problem:
    name, known = path[-1], keys_at(path, model)
    homes = [SYNONYMS[name.lower()]] if name.lower() in SYNONYMS else list(_homes(name, model))
    # A key that exists elsewhere is rather misplaced than misspelt.
    near = nearest(name, known, cutoff=0.8 if homes else None)
    elsewhere = " or ".join(homes) if len(homes) <= 3 else ""
    if near:
        hint: str | None = f'did you mean "{near}"' + (f", or {elsewhere}?" if elsewhere else "?")
    elif elsewhere:
        hint = f"write it as {elsewhere}"
    else:
        hint = _keys(known) or "remove it"
    return place.problem("unknown_key", "unknown key", hint, key=".".join(path))


def _mapping(path: tuple[str, ...], node: Node, known: Sequence[str]) -> str | None:
    """How to write a section where one word stands."""
    if path == ("data",) and isinstance(node.value, Scalar) and PurePath(node.value.text).suffix:
        return f"write data: {{train: {clean(node.value.text)}, target: COLUMN}}"
    if "name" in known and path and isinstance(node.value, Scalar):
        return f"write {path[-1]}: {{name: {clean(node.value.text)}}}"
    return _keys(known) or (f"write it as {path[-1]}: {{name: value}}" if path else None)


def _keys(known: Sequence[str]) -> str | None:
    return "known keys: " + ", ".join(known) if known else None


def keys_at(path: Sequence[str], model: type[BaseModel], *, inside: bool = False) -> list[str]:
    """The keys that may stand where the last key of a path stands, or inside it."""
    return [name for one in _sections_at(path if inside else path[:-1], model) for name in one.model_fields]


def _sections_at(path: Sequence[str], model: type[BaseModel]) -> list[type[BaseModel]]:
    """The sections that may stand at a path."""
    models, named = [model], False
    for part in path:
        if named:  # a name the user gave, such as a column's, stands between the key and its section
            named = False
            continue
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        if fields:
            models = [inner for field in fields for inner, _ in sections_in(field.annotation)]
            named = any(typing.get_origin(field.annotation) is dict for field in fields)
        elif not part.isdecimal():
            models = []
    return models


def sections_in(annotation: Any, way: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """The sections inside a type, with the way to them."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, way
    elif origin is tuple:
        yield from sections_in(inner[0], f"{way}{ITEM}")
    elif origin is dict:
        yield from sections_in(inner[1], f"{way}.{NAMED}")
    else:
        for one in inner:
            yield from sections_in(one, way)


def homes(name: str, model: type[BaseModel]) -> list[str]:
    """The dotted keys that a bare name may mean, as other tools or people call them; the outermost first."""
    synonym = SYNONYMS.get(name.lower())
    if synonym or name in model.model_fields:
        return [synonym or name]
    return list(_homes(name.lower(), model))


def words_at(path: Sequence[str], model: type[BaseModel]) -> list[str]:
    """The words that the key at a path may hold, as far as it knows some."""
    sections = _sections_at(path[:-1], model)
    fields = [one.model_fields[path[-1]] for one in sections if path[-1] in one.model_fields]
    return list(dict.fromkeys(word for field in fields for word in _words((field.annotation, *field.metadata))))


def _words(annotation: Any) -> Iterable[str]:
    """The words in a type and in what it is annotated with."""
    if annotation is bool:
        yield from ("true", "false")
    yield from getattr(annotation, "words", ())
    for part in annotation if isinstance(annotation, tuple) else typing.get_args(annotation):
        yield from _words(part)


def _homes(name: str, model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """The dotted keys of that name, the outermost first."""
    if name in model.model_fields:
        yield prefix + name
    for key, field in model.model_fields.items():
        if typing.get_origin(field.annotation) is dict:  # only repeats what stands elsewhere, for single names
            continue
        for section, _ in sections_in(field.annotation):
            yield from _homes(name, section, f"{prefix}{key}.")


def _items(text: str) -> str:
    """What stands in a list that was written without its brackets: 64,32 or (64, 32) or 64 32."""
    parts = [part for part in re.split(r"[,;\s]+", text.strip().strip("()[]{}")) if part]
    plain = all(re.fullmatch(r"[\w.+-]+", part) for part in parts)
    return ", ".join(parts) if plain and parts else json.dumps(text, ensure_ascii=False)

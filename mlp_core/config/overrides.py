"""Changes on the command line: `key.path=value`, `key+=value` to append to a list, `~key` to remove."""

from __future__ import annotations

import json
import re
from typing import Any

from mlp_core.config.nearest import question
from mlp_core.config.nodes import COMMAND_LINE, Node, Place, Scalar, check_text, from_native
from mlp_core.config.problems import find
from mlp_core.config.yaml_tree import MAX_BYTES, parse
from mlp_core.errors import ConfigError, Problem

_OVERRIDE = re.compile(r"(?P<key>[^=~+]+?)(?P<sign>\+?=)(?P<value>.*)", re.DOTALL)
_PLACE = Place(COMMAND_LINE)


def apply(root: Node, override: str, defaults: dict[str, Any]) -> None:
    """Change the tree as one override says; `defaults` are what `+=` appends to where the tree has nothing.

    Raises ConfigError if the override cannot be read or does not fit the tree.
    """
    check_text(override, _PLACE)
    if override.startswith("~"):
        _remove(root, _path(override[1:], override))
        return
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        raise _refuse("not_an_override", "expected key=value, key+=value or ~key", got=f'"{override}"')
    path = _path(match["key"], override)
    value = _value(match["value"], match["key"])
    parent = _parent(root, path)
    if match["sign"] == "+=":
        value = _appended(parent.child(path[-1]), value, path, defaults)
    _set(parent, path, value)


def _path(key: str, override: str) -> list[str]:
    parts = key.split(".")
    if not all(part.strip() == part and part for part in parts):
        raise _refuse("not_an_override", "expected key=value, key+=value or ~key", got=f'"{override}"')
    if len(parts) > 16:
        raise _refuse("too_deep", "too many dots in the key", got=f'"{key}"')
    if parts[0] == "extends":
        raise _refuse("extends", "cannot be given on the command line", "extends", hint="write it in the config file")
    return parts


def _value(text: str, key: str) -> Node:
    """The value after the sign, read as YAML; a single sign such as , | # ; is that sign."""
    if len(text) > MAX_BYTES:
        raise _refuse("too_large", "longer than a config file may be", key)
    if len(text) == 1 and text.isprintable() and not text.isalnum() and text not in "~ ":
        text = json.dumps(text)
    try:
        node, problems = parse(text, COMMAND_LINE)
    except ConfigError as error:
        problems, node = list(error.problems), None
    if problems or node is None:
        first = problems[0]
        quotable = first.code == "not_yaml" and not set("\"'\\") & set(text)
        hint = f"quote it, for the shell too: '{key}=\"{text}\"'" if quotable else first.hint
        where = f"{key}.{first.key}" if first.key else key
        raise _refuse(first.code, first.message, where, f'"{text}"', hint)
    node.key_place = _PLACE
    return node


def _parent(root: Node, path: list[str]) -> Node:
    """The node that holds the last key of the path, made where it is missing."""
    node = root
    for depth, part in enumerate(path[:-1]):
        child = node.child(part)
        if child is None and isinstance(node.value, dict):
            child = node.value[part] = Node({}, _PLACE, _PLACE)
        if child is None or isinstance(child.value, Scalar):
            message, got = "not a mapping, so it has no keys", None if child is None else str(child)
            raise _refuse("not_a_mapping", message, ".".join(path[: depth + 1]), got)
        node = child
    return node


def _set(parent: Node, path: list[str], value: Node) -> None:
    if isinstance(parent.value, dict):
        parent.value[path[-1]] = value
    elif isinstance(parent.value, list) and parent.child(path[-1]) is not None:
        parent.value[int(path[-1])] = value
    else:
        size = len(parent.value) if isinstance(parent.value, list) else 0
        hint = f"positions go from 0 to {size - 1}" if size else "use += to append"
        raise _refuse("no_such_item", "the list has no such position", ".".join(path), hint=hint)


def _appended(present: Node | None, value: Node, path: list[str], defaults: dict[str, Any]) -> Node:
    """The list at the path with the value behind it; a list is appended item by item."""
    if present is None:
        default: Any = defaults
        for part in path:
            default = default.get(part) if isinstance(default, dict) else None
        present = from_native(default if isinstance(default, list | tuple) else [], _PLACE)
    if not isinstance(present.value, list):
        key = ".".join(path)
        raise _refuse("not_a_list", "not a list, so nothing can be appended", key, str(present), f"use {key}=[...]")
    added = value.value if isinstance(value.value, list) else [value]
    return Node([*present.value, *added], present.place, present.key_place)


def _remove(root: Node, path: list[str]) -> None:
    node, present = find(root, path[:-1])
    if not present or node.child(path[-1]) is None:
        hint = question(path[-1], node.value) if present and isinstance(node.value, dict) else None
        raise _refuse("nothing_to_remove", "not given, so it cannot be removed", ".".join(path), hint=hint)
    if isinstance(node.value, dict):
        del node.value[path[-1]]
    elif isinstance(node.value, list):
        del node.value[int(path[-1])]


def _refuse(
    code: str, message: str, key: str | None = None, got: str | None = None, hint: str | None = None
) -> ConfigError:
    return ConfigError(Problem(code, message, hint, got, COMMAND_LINE, key=key))

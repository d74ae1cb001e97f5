"""Config keys as arguments of Python: `optimizer__lr=1e-3` is `optimizer.lr: 1e-3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlp_core.config.keys import all_keys, find_keys
from mlp_core.config.problems import NAMED
from mlp_core.errors import Problem, UsageError

BROUGHT = ("data.train", "data.val", "data.test", "data.name", "data.target", "data.weight", "data.task", "data.id")
"""What fit(X, y) says itself."""


def check_name(name: str) -> None:
    """Raise UsageError for an argument that names no config key, with the nearest one, or one that fit() decides."""
    key = name.replace("__", ".")
    if key in BROUGHT or key.startswith(tuple(f"{one}." for one in BROUGHT)):
        hint = "leave it out; train(config, data) takes everything"
        raise UsageError(Problem("usage", f"{name}: fit(X, y) brings the data", hint))
    known = {one.name for one in all_keys()}
    parents = [key.rsplit(".", depth)[0] for depth in range(key.count(".") + 1)]
    named = tuple(f"{parent}.{NAMED}" for parent in parents[1:])  # a mapping by names that the user gives
    if key in known or any(name.startswith(named) for name in known):
        return
    try:
        find_keys(key)
    except UsageError as error:
        problem = error.problems[0]
        hint = (problem.hint or "").replace(".", "__")
        raise UsageError(Problem("unknown_key", f"unknown argument {name}", hint or None)) from None


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys as a config has them, section in section; a section given whole is taken first."""
    tree: dict[str, Any] = {}
    for name in sorted(keys, key=lambda name: name.count("__")):
        *sections, last = name.split("__")
        place = tree
        for section in sections:
            below = place.get(section)
            place[section] = place = dict(below) if isinstance(below, Mapping) else {}
        place[last] = _plain(keys[name])
    return tree


def _plain(value: Any) -> Any:
    """A value as a config has it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value

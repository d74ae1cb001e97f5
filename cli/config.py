"""`mlpbp config`: what the keys of a config mean, and what in a config is not as it is by default."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean

from .console import Console
from .options import find_config

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.config.keys import Key

HELP = "Look up a key of the config: meaning, range, default; or see what differs from the defaults."
WIDTH = 80


def config(
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="A key or a section, such as optimizer.lr or optimizer.")
    ] = None,
    diff: Annotated[
        list[Path] | None,
        typer.Option("--diff", metavar="CONFIG or RUN", help="What is not as by default; twice: how two differ."),
    ] = None,
) -> int:
    console = Console("config")
    if diff:
        if key is not None or len(diff) > 2:
            message = "--diff takes one config or two, and no key"
            raise UsageError(Problem("usage", message, "for example: mlpbp config --diff a.yaml --diff b.yaml"))
        return _diff(console, diff)
    from mlp_core.config.keys import all_keys, find_keys

    found = all_keys() if key is None else find_keys(key)
    if not console.json:
        if key is None:
            _list(console, [one for one in found if "." not in one.name], None)
            console.show("mlpbp config SECTION shows its keys, mlpbp config KEY all about one")
        elif found[0].section:
            _list(console, found, key)
        else:
            _explain(console, found)
    return console.result({"keys": [_fields(one) for one in found]})


def _fields(key: Key) -> dict[str, Any]:
    fields = {"key": key.name, "meaning": key.meaning, "values": list(key.forms), "default": key.default}
    return {**fields, "required": key.required, "example": key.example, "section": key.section}


def _explain(console: Console, keys: Sequence[Key]) -> None:
    """One key in full, and the keys of the mapping that may stand there."""
    from mlp_core.config.keys import said

    first = keys[0]
    lines = [("", first.meaning), ("takes", first.range)]
    lines.append(("default", "required" if first.required else said(first.default)))
    example = f"{first.name.rpartition('.')[2]}: {first.example}" if first.example else ""
    lines += [("example", example)] if example else []
    console.show(first.name)
    for name, text in lines:
        indent = f"  {name:<9}" if name else "  "
        console.show(textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent)))
    if len(keys) > 1:
        _list(console, keys[1:], None)


def _list(console: Console, keys: Sequence[Key], section: str | None) -> None:
    """Keys with their defaults and meanings, section by section."""
    from mlp_core.config.keys import said

    from .tables import grid

    if section is not None:
        console.show(f"{keys[0].name}: {keys[0].meaning}")
        keys = keys[1:]
    rows = []
    for key in keys:
        default = "required" if key.required else "" if key.section else clean(said(key.default), 18)
        rows.append((key.name, default, key.meaning))
    console.show(grid(("key", "default ", "meaning "), rows))


def _diff(console: Console, paths: Sequence[Path]) -> int:
    """What differs from the defaults, or between two configs, in the order of the config."""
    from mlp_core.config import defaults
    from mlp_core.config.keys import said
    from mlp_core.config.schema import differences

    alone, configs = len(paths) == 1, [_load(path) for path in paths]
    if not alone:  # which may name the same files from different folders
        configs = [one.with_paths_from(Path.cwd()) for one in configs]
    values = [one.model_dump(mode="json") for one in configs]
    found = differences(defaults() if alone else values[0], values[-1])
    if not found:
        console.show("every key is as by default" if alone else "the two say the same")
    elif not console.json:
        from .tables import grid

        heads = ("default", "here") if alone else tuple(clean(path.name or path, 20) for path in paths)
        rows = [(name, *(clean(said(value), 60) for value in pair)) for name, pair in found.items()]
        console.show(grid(("key", *(f"{head} " for head in heads)), rows))
    names = ("default", "here") if alone else ("first", "second")
    differing = {name: dict(zip(names, pair, strict=True)) for name, pair in found.items()}
    return console.result({"files": [str(path) for path in paths], "differs": differing})


def _load(path: Path) -> Config:
    """A config file, or the resolved config of a run."""
    from mlp_core.config import load

    inside = path / "config.resolved.yaml"
    if path.is_dir() and inside.is_file():
        return load(inside)
    return load(find_config(path))

"""From a config file and the command line to a config."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.config import overrides as command_line
from mlp_core.config.data import Data
from mlp_core.config.dump import dump_yaml
from mlp_core.config.files import content, decoded
from mlp_core.config.nodes import Node, Place, Scalar, from_native
from mlp_core.config.problems import in_order, located
from mlp_core.config.schema import Config, Source
from mlp_core.config.yaml_tree import MAX_BYTES, MOST, parse
from mlp_core.errors import ConfigError, Problem

MAX_FILES = 32


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The config in a YAML file, or on standard input for `-`, with the overrides of the command line on top; its
    `content` are the bytes of the file.

    Raises ConfigError with every problem found, each with its place.
    """
    path = Path(path)
    reading = _Reading()
    root = reading.tree(path, ())
    problems = reading.problems
    if isinstance(root.value, dict) and "name" not in root.value:
        root.value["name"] = Node(Scalar(name_after(path), plain=False), Place(str(path)))
    return _overridden(root, overrides, tuple(reading.folders), problems).written_as(reading.content)


def from_text(text: str, name: str, overrides: Sequence[str] = ()) -> Config:
    """The config that a proposed text of YAML gives, with its name, as `load` gives that of a file in the current
    folder."""
    root, problems = parse(text, None)
    _a_mapping(root)
    assert isinstance(root.value, dict)
    root.value.setdefault("name", Node(Scalar(name, plain=False)))
    return _overridden(root, overrides, (), problems).written_as(text.encode(), proposed=True)


def from_mapping(mapping: Mapping[str, Any], overrides: Sequence[str] = (), folders: tuple[Path, ...] = ()) -> Config:
    """The config in plain JSON values, as `Config.model_dump(mode="json")` gives them, with overrides on top.

    folders: where its data files are looked for, before the current one. Raises ConfigError with every problem found.
    """
    return _overridden(_a_mapping(from_native(mapping)), overrides, folders, [])


def sparse(config: Config) -> dict[str, Any]:
    """The keys of a config that were written, or that differ from their defaults, as plain values: `from_mapping` makes
    an equal config of them, which knows too what was left open."""
    return _sparse(config, config.model_dump(mode="json"), defaults(), "")


def _sparse(config: Config, values: dict[str, Any], usual: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key, default = f"{prefix}{name}", usual.get(name)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            if inner := _sparse(config, value, default, f"{key}."):
                kept[name] = inner
        elif value != default or type(value) is not type(default) or config.given(key):
            kept[name] = value
    return kept


def with_overrides(config: Config, overrides: Sequence[str]) -> Config:
    """A config with overrides on top: what they name is in the current folder, all else where it was.

    Raises ConfigError with every problem found.
    """
    changed = from_mapping(sparse(config), overrides, config.source.folders).holding(config.source.held)
    return changed.as_sent() if config.source.sent else changed


def _overridden(root: Node, overrides: Sequence[str], folders: tuple[Path, ...], problems: list[Problem]) -> Config:
    """The config of a tree with overrides; raises ConfigError with the problems there are and those found here."""
    known = defaults() if overrides else {}
    for override in overrides:
        try:
            command_line.apply(root, override, known)
        except ConfigError as error:
            problems += error.problems
    try:
        config = _built(root, folders)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(in_order(problems)[:MOST])
    return config


def _built(root: Node, folders: tuple[Path, ...]) -> Config:
    """The config of a tree, if what `dump_yaml` makes of it could be read again."""
    config = Config.build(root, Source(root, folders))
    written = dump_yaml(config)
    if len(written) > MAX_BYTES // 4:
        try:
            if len(written.encode()) > MAX_BYTES:
                raise ConfigError(Problem("too_large", f"more than {MAX_BYTES // 1024} KiB"))
            parse(written, None)
        except ConfigError as error:
            message = f"with every key written out, {error.problems[0].message}"
            raise ConfigError(located(root, (), "too_large", message, "shorten the longest values")) from None
    return config


class _Reading:
    """The files of one config: the one asked for and those it extends."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.folders: list[Path] = []
        self.files, self.content = 0, b""

    def tree(self, path: Path, above: tuple[str, ...], asked: Node | None = None) -> Node:
        """The tree of a file, merged onto the files it extends; `above` are the files that led here."""
        self.files += 1
        if self.files > MAX_FILES:
            raise _at(asked, "extends", f"more than {MAX_FILES} files extend each other", "use fewer")
        found = content(path, asked.place if asked else None)
        self.content = self.content if above else found
        real = os.path.realpath(path)
        if real in above:
            raise _at(asked, "extends", "a config cannot extend itself", "remove one of the files from extends")
        root, duplicates = parse(decoded(found, path), str(path))
        self.problems += duplicates
        _a_mapping(root)
        if path.parent not in self.folders:
            self.folders.append(path.parent)
        bases = self.bases(root)
        merged = Node({}, root.place)
        for base in bases:
            assert isinstance(base.value, Scalar)
            _merge(merged, self.tree(path.parent / base.value.text, (*above, real), base))
        _merge(merged, root)
        return merged

    def bases(self, root: Node) -> list[Node]:
        """The paths a tree extends, taken out of it."""
        assert isinstance(root.value, dict)
        extends = root.value.pop("extends", None)
        if extends is None or (isinstance(extends.value, Scalar) and extends.value.is_null and extends.value.text):
            return []
        bases = extends.value if isinstance(extends.value, list) else [extends]
        for base in bases:
            if not isinstance(base.value, Scalar) or not base.value.text:
                raise _at(
                    base, "wrong_type", "expected a config file or a list of them", "for example extends: base.yaml"
                )
        return bases


def _merge(below: Node, above: Node) -> None:
    """Put a tree on top of another: mappings key by key, everything else replaced."""
    assert isinstance(below.value, dict)
    assert isinstance(above.value, dict)
    below.place = above.place
    for key, node in above.value.items():
        present = below.value.get(key)
        if present is not None and isinstance(present.value, dict) and isinstance(node.value, dict):
            _merge(present, node)
            present.key_place = node.key_place
        else:
            below.value[key] = node


def _a_mapping(root: Node) -> Node:
    """The root if it is a mapping; raises ConfigError if it is anything else."""
    if isinstance(root.value, dict):
        return root
    hint = "for example data: {name: digits}"
    if isinstance(root.value, Scalar) and root.value.plain and not root.value.text:
        raise ConfigError(located(root, (), "empty", "the config is empty", hint))
    raise ConfigError(located(root, (), "wrong_type", "expected keys and values", hint, str(root)))


def _at(node: Node | None, code: str, message: str, hint: str) -> ConfigError:
    """The error about one of the files in `extends`."""
    return ConfigError(located(node or Node({}), (), code, message, hint, str(node) if node else None, key="extends"))


def name_after(path: Path) -> str:
    """A run's name from the name of its config file, or of its data."""
    name = re.sub(r"[^\w .+-]+", "-", path.stem).lstrip(" .+-")[:60].rstrip(" .")
    return name or "run"


def defaults() -> dict[str, Any]:
    """The defaults of all keys as plain values, section by section."""
    return Config.model_construct(data=Data.model_construct()).model_dump(mode="json")

"""A config from Python: a mapping or a file, with the data in memory bound to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mlp_core.config import Config, dump_yaml, from_mapping
from mlp_core.config import load as load_config
from mlp_core.config.schema import IN_MEMORY
from mlp_core.data.readers.frames import InMemory
from mlp_core.errors import ConfigError, Problem

Wanted: TypeAlias = Mapping[str, Any] | str | Path | Config
PARTS = frozenset({"train", "val", "test"})


def config_of(wanted: Wanted, data: Any = None, overrides: Sequence[str] = ()) -> tuple[Config, bytes]:
    """The config that is wanted, holding `data` where it is given, and its text as a file would have it.

    data: the training rows, a frame that contains the target or a pair (X, y); or a mapping with some of `train`, `val`
    and `test`, each of these. It takes the place of the files that the config names, if it names any. Raises
    ConfigError and DataError with the texts of the command line.
    """
    held = {} if data is None else parts_of(data)
    changes = [*_changes(wanted, held), *overrides]
    if isinstance(wanted, Config):
        config, text = wanted, dump_yaml(wanted).encode()
    elif isinstance(wanted, Mapping):
        config = from_mapping(wanted, changes)
        text = dump_yaml(config).encode()
    else:
        path = Path(wanted)
        config = load_config(path, changes)
        text = config.source.content
    if "train" in held and config.data.name is not None:
        hint = "leave out one of them"
        raise config.refusal("data.name", "names a data set, and data is given", code="two", hint=hint)
    return config.holding(held), text


def parts_of(data: Any) -> dict[str, InMemory]:
    """What is given as data, by the part that it plays."""
    if isinstance(data, Mapping) and data and set(data) <= PARTS:
        return {name: _part(one, name) for name, one in data.items()}
    return {"train": _part(data, "data")}


def _part(data: Any, name: str) -> InMemory:
    if isinstance(data, InMemory):
        return data
    if isinstance(data, tuple):
        if len(data) != 2:
            message = f"a tuple of {len(data)}, expected a frame or a pair (X, y)"
            raise ConfigError(Problem("wrong_type", message, file=name))
        return InMemory.of(*data, name=name)
    return InMemory.of(data, name=name)


def _changes(wanted: Wanted, held: Mapping[str, InMemory]) -> list[str]:
    """What has to be said in a config about data in memory, unless it is said there: where it is, and its target."""
    given = _data_section(wanted)
    taken = {*given, *(["train"] if "name" in given else [])}
    changes = [f"data.{name}='{IN_MEMORY}'" for name in held if name not in taken]
    train = held.get("train")
    if train is not None and train.targets and not train.is_array and "target" not in given:
        names = ", ".join(map(_quoted, train.targets))
        changes.append(f"data.target={names if len(train.targets) == 1 else f'[{names}]'}")
    return changes


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _data_section(wanted: Wanted) -> Mapping[str, Any]:
    """What a config says about its data, as far as that can be told before it is read."""
    if isinstance(wanted, Mapping):
        given = wanted.get("data", {})
        return given if isinstance(given, Mapping) else {}
    try:
        config = wanted if isinstance(wanted, Config) else load_config(Path(wanted))
    except ConfigError:
        return {}
    return {name: True for name, value in config.data.model_dump().items() if value is not None}

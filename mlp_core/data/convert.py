"""Conversion: tables made ready to stay on the disk, and the config that trains on them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlp_core.config import Config
from mlp_core.data.column_types import unread
from mlp_core.data.config_sources import read_options, training_files
from mlp_core.data.readers.convert_table import Converted, convert
from mlp_core.data.readers.format import Reading

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def convert_data(
    config: Config, targets: Sequence[str], folder: Path, force: bool = False, progress: Reading | None = None
) -> Converted:
    """Convert the training files of a config to `folder`, read as the config says. Raises what `convert` does."""
    options = replace(read_options(config), progress=progress)
    wanted, drop = tuple(targets), config.data.drop
    return convert(training_files(config), options, folder, wanted, force, wanted, drop, unread)


def config_for(config: Config, targets: Sequence[str], folder: Path) -> str:
    """The config to train on a converted table, in the fewest lines."""
    names = [_scalar(name) for name in targets]
    lines = ["data:", f"  train: {_scalar(str(folder))}"]
    if names:
        lines.append(f"  target: {names[0] if len(names) == 1 else '[' + ', '.join(names) + ']'}")
    if config.data.types:
        kinds = ", ".join(f"{_scalar(name)}: {kind}" for name, kind in config.data.types.items())
        lines.append(f"  types: {{{kinds}}}")
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    """A text as YAML takes it, quoted where it could be read as something else."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text, ensure_ascii=False)

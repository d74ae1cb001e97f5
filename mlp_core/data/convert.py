"""Conversion: tables made ready to stay on the disk, and the config that trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlp_core.config import Config
from mlp_core.config.dump import flow
from mlp_core.data.column_types import unread
from mlp_core.data.config_sources import read_options, training_files
from mlp_core.data.readers.convert_table import Converted, convert
from mlp_core.data.readers.format import Reading


def convert_data(
    config: Config, targets: Sequence[str], folder: Path, force: bool = False, progress: Reading | None = None
) -> Converted:
    """Convert the training files of a config to `folder`, read as the config says. Raises what `convert` does."""
    options = replace(read_options(config), progress=progress)
    wanted, drop = tuple(targets), config.data.drop
    return convert(training_files(config), options, folder, wanted, force, wanted, drop, unread)


def config_for(config: Config, targets: Sequence[str], folder: Path) -> str:
    """The config to train on a converted table, in the fewest lines."""
    lines = ["data:", f"  train: {flow(str(folder))}"]
    if targets:
        lines.append(f"  target: {flow(targets[0] if len(targets) == 1 else list(targets))}")
    if config.data.types:
        lines.append(f"  types: {flow(config.data.types)}")
    return "\n".join(lines) + "\n"

"""Options that several commands share."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mlp_core.errors import Problem, UsageError

from . import complete

GLOBAL_FLAGS = frozenset({"--json", "-q", "--quiet", "--no-progress", "--debug"})


@dataclass
class Settings:
    """What the flags before the command say; read by `Console` and by the error handler, set once by `main`."""

    json: bool = False
    quiet: bool = False
    no_progress: bool = False
    debug: bool = False


settings = Settings()

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Config values: key.path=value, key+=value to append, ~key to remove.",
        autocompletion=complete.values,
    ),
]
Device = Annotated[str | None, typer.Option("-d", "--device", help="Short for device=...: auto, cpu, cuda, cuda:1.")]
ConfigOrModel = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG or MODEL]",
        help="A config file, a checkpoint, or a run directory.",
        autocompletion=complete.configs_and_models,
    ),
]
ConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="The config file, or a run for its config.", autocompletion=complete.configs_and_models
    ),
]
NewConfig = Annotated[Path, typer.Argument(metavar="CONFIG", help="The config file.", autocompletion=complete.configs)]
ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A checkpoint, a run directory (its best), or a folder of members.",
        autocompletion=complete.models,
    ),
]
EXAMPLES, RESOLVED, MEMBERS = "configs", "config.resolved.yaml", "members.json"
_OVERRIDE = re.compile(r"~?[a-z_]+(\.[\w-]+)*(\+?=.*)?", re.DOTALL)


def split_off(first: str | None, overrides: list[str] | None) -> tuple[Path | None, list[str]]:
    """An optional file before overrides, which may be the first of them: the file, and the overrides."""
    rest = list(overrides or [])
    looks = first is not None and ("=" in first or first.startswith("~")) and _OVERRIDE.fullmatch(first)
    if first is None or (looks and not Path(first).exists()):
        return None, ([] if first is None else [first]) + rest
    return Path(first), rest


def find_config(path: Path) -> Path:
    """The config file meant: the path itself, that of a run (of members: of the first), or the installed example if
    there is no such file here. Raises UsageError for a file of data."""
    from mlp_core.training.misnamed import refuse_data

    if (path / MEMBERS).is_file():
        from mlp_core.runs.members import Members

        members = Members.read(path)
        members.checkpoints()  # which looks for links on the way
        return path / members.runs[0] / RESOLVED
    if (path / RESOLVED).is_file():
        return path / RESOLVED
    refuse_data(path)
    if path.exists() or (path.parts[:1] != (EXAMPLES,) and path.suffix):
        return path
    from importlib.resources import files

    name = path.name if path.suffix else f"{path.name}.yaml"
    installed = Path(str(files("mlpbp.configs") / name))
    return installed if installed.is_file() else path


def new_config(path: Path) -> Path:
    """The config file meant, for work that writes where the config says: never that of a run, which may have been
    sent. Raises UsageError."""
    for name, what in ((RESOLVED, "a run"), (MEMBERS, "a folder of members")):
        if (path / name).is_file():
            hint = "give a config file, for example the config.yaml in it"
            raise UsageError(Problem("usage", f"this is {what}, not a config", hint, file=str(path)))
    return find_config(path)


def as_text(word: str) -> str:
    """A word of the command line as the text it is, also where the system's language has no such letters (LC_ALL=C)."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeDecodeError:
        return word

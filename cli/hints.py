"""What was probably meant by a word that the command line does not know: a config key, a command, a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlp_core.errors import ConfigError, typed

COMMANDS = {
    "resume": "train --resume RUN",
    "continue": "train --resume RUN",
    "fit": "train CONFIG",
    "crossval": "cv CONFIG -k 5",
    "folds": "cv CONFIG -k 5",
    "lr_find": "lr-find CONFIG",
    "search": "sweep CONFIG 'KEY=log(1e-4,1e-1)'",
    "tune": "sweep CONFIG 'KEY=log(1e-4,1e-1)'",
    "optimize": "sweep CONFIG 'KEY=log(1e-4,1e-1)'",
    "run": "train CONFIG",
    "learn": "train CONFIG",
    "evaluate": "eval MODEL",
    "test": "eval MODEL",
    "validate": "eval MODEL",
    "score": "eval MODEL",
    "infer": "predict MODEL DATA",
    "inference": "predict MODEL DATA",
    "apply": "predict MODEL DATA",
    "new": "init DATA --target COLUMN",
    "create": "init DATA --target COLUMN",
    "show": "inspect MODEL",
    "info": "inspect MODEL",
    "list": "runs",
    "ls": "runs",
    "history": "runs",
    "help": "--help",
    "version": "--version",
    "benchmark": "bench CONFIG",
    "profile": "bench CONFIG",
    "gradient": "gradcheck CONFIG",
    "lint": "check CONFIG",
}
"""What other tools call a command of ours."""


def searching(error: ConfigError, config: Path, overrides: Sequence[str]) -> ConfigError:
    """An error about overrides; one that gives several values where one belongs is told of the command that tries them
    all."""
    from mlp_core.search.space import is_search

    several = {key: text for key, _, text in (word.partition("=") for word in overrides) if is_search(text)}
    problems = []
    for problem in error.problems:
        if problem.key in several:
            text = several[problem.key]
            space = text if "(" in text else f"[{text}]"
            word = shlex.quote(f"{problem.key}={space}")
            problem = replace(problem, hint=f"to try them all: mlpbp sweep {typed(config)} {word}")
        problems.append(problem)
    return ConfigError(problems)


def for_option(option: str, arguments: Sequence[str], known: Sequence[str] = ()) -> str | None:
    """How to write an option that there is not: as the one of the `known` that it is nearest to, or as a config value,
    as `--lr 0.1` is `optimizer.lr=0.1`; a target belongs to a table, which becomes a config first, and an epoch is a
    file."""
    from mlp_core.config import Config
    from mlp_core.config.nearest import nearest
    from mlp_core.config.problems import homes
    from mlp_core.training.misnamed import is_data, saved_in

    name, _, value = option.lstrip("-").replace("-", "_").partition("=")
    table = next((word for word in arguments if is_data(Path(word))), None)
    if name == "target" and table is not None:
        return f"this takes a config; to write one: mlpbp init {typed(table)} --target COLUMN"
    if name == "epoch" and "--epochs" not in known:
        files = [file for word in arguments for file in saved_in(Path(word) / "checkpoints") if "-" in file.stem]
        file = typed(files[-1]) if files else "RUN/checkpoints/epoch-0009.safetensors"
        return f"name its file, such as {file}" + ("" if files else ", kept with checkpoint.every: 1")
    keys = homes(name, Config)
    if not keys:
        near = nearest(option, [one for one in known if one.startswith("--")])
        return f'did you mean "{near}"?' if near else None
    for place, word in enumerate(arguments):
        if word == option and place + 1 < len(arguments) and not arguments[place + 1].startswith("-"):
            value = arguments[place + 1]
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
    return "write it as " + " or ".join(shlex.quote(f"{key}={value or '...'}") for key in keys[:3])


def for_command(word: str) -> str | None:
    """The command of ours that another word stands for, or that takes such a file."""
    if word.lower() in COMMANDS:
        return f"write mlpbp {COMMANDS[word.lower()]}"
    if word.lower().endswith((".yaml", ".yml")):
        return f"write mlpbp train {typed(word)}"
    if word.lower().endswith((".csv", ".tsv", ".parquet", ".jsonl")):
        return f"write mlpbp init {typed(word)} --target COLUMN"
    if word.lower().endswith(".safetensors") or "/" in word:
        return f"write mlpbp eval {typed(word)}"
    return None

"""`mlpbp data`: what is in a file, before anything is trained on it."""

from __future__ import annotations

import contextlib
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, counted

from .console import Console
from .options import RESOLVED, Overrides, find_config
from .standard_input import copied

if TYPE_CHECKING:
    from mlp_core.config import Config
    from mlp_core.diagnostics.data_summary import Overview

HELP = "Look at data: types, ranges, missing values, classes, repeated rows, constant and leaking columns."
CONFIGS = (".yaml", ".yml")
CLASSES_LISTED = 30


def data(
    source: Annotated[Path, typer.Argument(metavar="CONFIG or FILE", help="A config, or a file of data.")],
    overrides: Overrides = None,
    target: Annotated[list[str] | None, typer.Option("--target", help="Column to predict, for a file.")] = None,
) -> int:
    from mlp_core.diagnostics.data_summary import overview

    source = copied(source)
    config = _config(source, list(overrides or []), target)
    told = config.data.target is not None or config.data.name is not None or not isinstance(config.data.train, str)
    seen = overview(config, told)
    console = Console("data")
    if not console.json:
        _show(console, seen)
    return console.result(_fields(source, seen))


def _config(source: Path, overrides: list[str], target: list[str] | None) -> Config:
    from mlp_core.config import from_mapping, load

    if _is_config(source):
        path = find_config(source)
        if target:
            raise UsageError(Problem("usage", "--target goes with a file of data", "for a config write data.target="))
        return load(path, overrides)
    return from_mapping({"data": {"train": str(source), **({"target": target} if target else {})}}, overrides)


def _is_config(source: Path) -> bool:
    """Whether a config or a run is meant, and no data: JSON may be either, a config is one object with `data`."""
    if source.is_dir():
        return (source / RESOLVED).is_file()
    if source.suffix.lower() == ".json":
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads(source.read_bytes()[: 1 << 16])
            return isinstance(content, dict) and "data" in content
        return False
    return source.suffix.lower() in CONFIGS or (not source.exists() and find_config(source).exists())


def _show(console: Console, seen: Overview) -> None:
    from .tables import columns_table, counts_table

    size = f"{counted(seen.rows, 'row')} of {counted(seen.columns, 'column')}"
    console.show(f"{size}, {counted(seen.repeated, 'row repeats', 'rows repeat')} an earlier one")
    console.show(columns_table(seen.views))
    if seen.columns > len(seen.views):
        console.show(f"(and {counted(seen.columns - len(seen.views), 'more column')})")
    for note in seen.notes:
        console.show(textwrap.fill(note, 80, subsequent_indent="  "))
    if seen.classes:
        console.show(counts_table(seen.classes, seen.splits, CLASSES_LISTED))
    for problem in seen.problems:
        console.show(textwrap.fill(f"in the way of training: {problem}", 80, subsequent_indent="  "))
    if not seen.targeted:
        console.show("next  --target COLUMN shows the classes, and columns that give the target away")


def _fields(source: Path, seen: Overview) -> dict[str, Any]:
    names = ("code", "file", "line", "column", "key", "message", "hint")
    return {
        "source": str(source),
        "rows": seen.rows,
        "columns": [view.to_json() for view in seen.views],
        "columns_in_all": seen.columns,
        "repeated_rows": seen.repeated,
        "task": seen.task,
        "splits": seen.splits,
        "classes": seen.classes,
        "notes": list(seen.notes),
        "problems": [{name: getattr(problem, name) for name in names} for problem in seen.problems],
    }

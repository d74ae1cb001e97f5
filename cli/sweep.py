"""`mlpbp sweep`: search good values of config keys; every trial a run, one study for any number of processes."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean, counted, typed

from .console import Console
from .options import NewConfig, new_config
from .signals import StopRequest

if TYPE_CHECKING:
    from mlp_core.search.searching import Search
    from mlp_core.search.sweep import TrialDone

HELP = (
    "Search for good values of config keys: KEY=log(1e-4,1e-1), KEY=uniform(0,0.5), KEY=int(1,4), or KEY=[a, b, c]. "
    "Without any, what a strong recipe leaves open. Interrupted or killed, it goes on with the same command; several "
    "processes with one --storage share a search. What comes out is a table, and best.yaml."
)
SHOWN = 10


def sweep(
    config: NewConfig,
    space: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=SPACE]...", help="What is tried, and config values: key.path=value."),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="How many. [default: 50; a grid: all]")] = None,
    folds: Annotated[
        int, typer.Option("--folds", min=0, max=100, help="Judge each trial by so many folds, not by validation rows.")
    ] = 0,
    max_time: Annotated[
        str | None, typer.Option("--max-time", metavar="TIME", help="Stop after this, for example 8h or 90m.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", min=1, help="Trials at once. [default: as the processors allow]"),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", metavar="URL", help="A database of optuna, to share. [default: a file in the folder]"
        ),
    ] = None,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, random or grid.")] = "tpe",
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="End trials early that are worse than the median.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The folder: new, empty or begun. [default: runs/NAME-sweep-NNN]"),
    ] = None,
) -> int:
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise UsageError(Problem("no_optuna", "a sweep needs the package optuna", "pip install 'mlpbp[sweep]'"))
    from mlp_core.config import load
    from mlp_core.search.searching import Search

    path = new_config(config)
    loaded = load(path)
    console = Console("sweep", loaded.logging.progress)
    search = Search.open(
        loaded,
        loaded.source.content,
        list(space or []),
        trials,
        folds,
        sampler,
        prune,
        storage,
        _until(max_time),
        output,
        sys.argv[1:],
    )
    for note in search.notes:
        console.note(note)
    count = search.workers(jobs)
    with StopRequest() as stop, console.working("trials") as progress:

        def hear(done: TrialDone, ended: int) -> None:
            _tell(console, search, done)
            if progress is not None:
                progress(min(ended, search.sweep.trials), search.sweep.trials)

        watch = None if progress is None else partial(progress.runs, total=search.sweep.trials)
        search.run(count, stop, hear, watch)
        interrupted = bool(stop.exit_code)
    return _result(console, search, stop.exit_code if interrupted else 0)


def _until(text: str | None) -> float | None:
    """The moment at which the time is over, in seconds since 1970."""
    if text is None:
        return None
    from mlp_core.config.text_kinds import seconds

    given = seconds(text)
    if given is None or given <= 0:
        raise UsageError(Problem("usage", "--max-time: not a time", "for example 8h, 90m or 1h30m", got=text))
    return time.time() + given


def _tell(console: Console, search: Search, done: TrialDone) -> None:
    """A line about a trial that has ended."""
    from mlp_core.metrics.shown import metric

    value = "" if done.value is None else f"{search.sweep.metric} {metric(search.sweep.metric, done.value)}  "
    params = "  ".join(f"{_short(key)} {_value(given)}" for key, given in done.params.items())
    console.note(f"trial {done.number}: {done.state}  {value}{params}" + (f"  ({done.why})" if done.why else ""))


def _short(key: str) -> str:
    """The last word of a key, which is enough where one knows the space."""
    return key.rpartition(".")[2]


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else clean(value, 16)


def _result(console: Console, search: Search, code: int) -> int:
    """The best trials, what decided, where the best config is."""
    from mlp_core.metrics.shown import metric

    found = search.finish()
    where, name = search.folder.path, search.sweep.metric
    if not console.json:
        from .tables import grid

        keys = [one.key for one in search.sweep.space.dimensions]
        heads = ["trial", "state ", name, "epochs", *(_short(key) + " " for key in keys)]
        rows = [
            (
                f"{one.number}",
                one.state,
                "" if one.value is None else metric(name, one.value),
                f"{one.epochs}" if one.epochs else "",
                *(_value(one.params.get(key, "")) for key in keys),
            )
            for one in found.trials[:SHOWN]
        ]
        if rows:
            console.show(grid(_fitting(heads, rows)[0], _fitting(heads, rows)[1]))
        counts = ", ".join(f"{count} {state}" for state, count in found.counts.items())
        console.show(f"{counted(len(found.trials), 'trial')}: {counts or 'none'}")
        if found.importances:
            shares = "  ".join(f"{_short(key)} {100 * share:.0f} %" for key, share in found.importances.items())
            console.show(f"what decides: {shares}")
        if found.best is not None:
            console.show(f"best  trial {found.best.number}, {name} {metric(name, found.best.value or 0.0)}")
            console.show(f"folder  {where}\nnext    mlpbp train {typed(where / 'best.yaml')}")
    if code:
        console.say(f"mlpbp: interrupted; continue with the same command (folder {where})")
    fields = {**found.to_json(), "folder": str(where), "interrupted": bool(code)}
    if found.best is None and not code:
        problem = Problem("no_trial", "no trial came to its end", "see why in the table of trials")
        if not console.json:
            console.say(f"mlpbp: error: {problem}")
        return console.result({**fields, "errors": [{"code": problem.code, "message": problem.message}]}, 1)
    return console.result(fields, code)


def _fitting(heads: list[str], rows: list[tuple[str, ...]], width: int = 78) -> tuple[list[str], list[tuple[str, ...]]]:
    """As many columns as there is room for."""
    taken, count = 0, 0
    for column in zip(heads, *rows, strict=True):
        taken += max(map(len, column)) + 3
        if taken > width:
            break
        count += 1
    return heads[:count], [row[:count] for row in rows]

"""`mlpbp runs`: the runs of a folder, what differs between them, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean

from .console import Console
from .options import settings

if TYPE_CHECKING:
    from mlp_core.report.listing import Group, Listing
    from mlp_core.report.run_files import RunFiles

HELP = "List runs: what differs between them, how good they are; the best one's path, or seeds together."
WIDTH = 80
BEST_BY = "val_loss"


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder of the runs.")] = Path("runs"),
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="NAME", help="By a metric, a config key, seconds, started, ...")
    ] = None,
    group: Annotated[bool, typer.Option("--group", help="Seeds of one config together, with mean and sd.")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Print the path of the best run only, by --sort. [default: val_loss]")
    ] = False,
) -> int:
    from mlp_core.report.listing import best as best_of
    from mlp_core.report.listing import grouped, list_runs

    console = Console("runs")
    if best and group:
        raise UsageError(Problem("usage", "--best names one run, --group shows several", "leave out one of them"))
    listing = list_runs(folder, sort)
    for problem in listing.skipped:
        console.warn(f"left out: {problem}")
    if best:
        return _best(console, listing, best_of(listing, sort or BEST_BY), sort or BEST_BY)
    if group:
        groups = grouped(listing)
        _show_groups(console, groups, listing, sort or BEST_BY)
        return console.result({"folder": str(folder), "groups": [_group_fields(one) for one in groups]})
    if not listing.runs:
        console.note(f"no runs in {folder}")
    elif not console.json:
        console.show(_table(listing, folder))
        _warn_mixed(console, listing)
    fields = [_fields(run, listing) for run in listing.runs]
    skipped = [{"file": problem.file, "message": problem.message} for problem in listing.skipped]
    return console.result({"folder": str(folder), "runs": fields, "skipped": skipped})


def _best(console: Console, listing: Listing, run: RunFiles, sort: str) -> int:
    """The path alone, so that a shell can take it."""
    _warn_mixed(console, listing)
    if run.status != "finished":
        console.warn(f"{run.path} is not finished ({run.status})")
    if not settings.json:
        print(run.path)
    return console.result({"best": str(run.path), "sort": sort, "value": run.metrics.get(sort, run.config.get(sort))})


def _warn_mixed(console: Console, listing: Listing) -> None:
    if not listing.comparable:
        console.warn("these runs are about different data, so their numbers do not compare")


def _fields(run: RunFiles, listing: Listing) -> dict[str, Any]:
    """A run for programs."""
    return {
        "run": str(run.path),
        "status": run.status,
        "seed": run.seed,
        "differs": {key: run.config.get(key) for key in listing.differing},
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "seconds": run.seconds,
        "started": run.record.get("started"),
        "metrics": run.metrics,
    }


def _group_fields(group: Group) -> dict[str, Any]:
    from mlp_core.metrics import plain

    fields: dict[str, Any] = {
        "runs": [str(run.path) for run in group.runs],
        "seeds": [run.seed for run in group.runs],
        "metrics": {
            name: plain({"mean": spread.mean, "deviation": spread.deviation}) for name, spread in group.metrics.items()
        },
    }
    if group.behind is not None:
        fields["behind"] = plain(dict(zip(("difference", "half_width"), group.behind, strict=True)))
        fields["within_noise"] = group.within_noise
    return fields


def _table(listing: Listing, folder: Path) -> Any:
    """One line per run."""
    from mlp_core.config.keys import said
    from mlp_core.metrics.shown import metric

    from .tables import grid

    unfinished = any(run.status != "finished" for run in listing.runs)
    metrics = listing.metrics
    heads = ["run", *(["status"] if unfinished else []), "best", *(name.replace("_", " ", 1) for name in metrics), "s"]
    cells = []
    for run in listing.runs:
        values = [metric(name, run.metrics[name]) if name in run.metrics else "" for name in metrics]
        seconds = "" if run.seconds is None else f"{run.seconds:.3g}" if run.seconds < 100 else f"{run.seconds:,.0f}"
        status = [run.status] if unfinished else []
        cells.append([_name(run, folder), *status, str(run.best_epoch or ""), *values, seconds])
    keys = listing.differing
    asked = [[clean(said(run.config.get(key)), 24) for key in keys] for run in listing.runs]
    table = [[row[0], *more, *row[1:]] for row, more in zip(cells, asked, strict=True)]
    wide = [heads[0], *keys.values(), *heads[1:]]
    if _width(wide, table) <= WIDTH:
        return grid(wide, table)
    together = [", ".join(f"{name}={value}" for name, value in zip(keys.values(), more, strict=True)) for more in asked]
    table = [[row[0], text, *row[1:]] for row, text in zip(cells, together, strict=True)]
    return grid([heads[0], "what differs ", *heads[1:]], table)


def _width(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How wide a table of these cells would be."""
    return sum(max(map(len, column)) + 3 for column in zip(heads, *rows, strict=True))


def _name(run: RunFiles, folder: Path) -> str:
    inside = run.path.relative_to(folder) if run.path.is_relative_to(folder) and run.path != folder else run.path
    return clean(inside, 30)


def _show_groups(console: Console, groups: Sequence[Group], listing: Listing, sort: str) -> None:
    """One line per group, and what can be said about their differences."""
    if console.json or not groups:
        return
    from mlp_core.config.keys import said
    from mlp_core.metrics.shown import number

    from .tables import grid

    names = [name for name in listing.metrics if any(name in group.metrics for group in groups)]
    rows = []
    for group in groups:
        config = group.runs[0].config
        differs = ", ".join(
            f"{short}={clean(said(config.get(key)), 24)}" for key, short in listing.differing.items() if key != "seed"
        )
        values = [_spread(group, name) for name in names]
        behind = ""
        if group.behind is not None:
            gap, half = group.behind
            behind = f"{number(gap)} ± {number(half)}" if half == half else f"{number(gap)} ± ?"
        rows.append([differs or clean(group.runs[0].path.name, 30), str(len(group.runs)), *values, behind])
    console.show(grid(["config", "seeds", *(name.replace("_", " ", 1) for name in names), "behind the best"], rows))
    _warn_mixed(console, listing)
    noise = [group for group in groups if group.within_noise]
    unknown = [group for group in groups if group.behind is not None and group.behind[1] != group.behind[1]]
    if noise:
        console.show(
            f"{len(noise)} of {len(groups) - 1} differences in {sort} are within the noise of seeds: their interval of"
            "\n95 % (Welch) holds 0."
        )
    if unknown:
        console.show(f"± ?: a single seed has no noise to compare with; train more with seed=1, seed=2, ... ({sort})")


def _spread(group: Group, name: str) -> str:
    """Mean and standard deviation."""
    from mlp_core.metrics.shown import is_share, number

    if name not in group.metrics:
        return ""
    spread = group.metrics[name]
    factor, unit = (100.0, " %") if is_share(name) else (1.0, "")
    mean = f"{factor * spread.mean:.2f}" if unit else number(spread.mean)
    if spread.deviation != spread.deviation:
        return mean + unit
    deviation = f"{factor * spread.deviation:.2f}" if unit else number(spread.deviation)
    return f"{mean} ± {deviation}{unit}"

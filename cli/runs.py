"""`mlpbp runs`: the runs of a folder, what differs between them, and the best of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlp_core.errors import Problem, UsageError, clean, counted, typed

from .console import Console
from .options import settings

if TYPE_CHECKING:
    from mlp_core.report.listing import Group, Listing
    from mlp_core.report.run_files import RunFiles

HELP = "List runs: what differs between them, how good they are; the best one's path, or seeds together."
WIDTH, NARROW = 80, 24
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
    about: Annotated[
        str | None, typer.Option("--about", metavar="WORD", help="Only runs whose data, task or target holds this.")
    ] = None,
) -> int:
    from mlp_core.report.listing import grouped, list_runs
    from mlp_core.report.together import Together

    console = Console("runs")
    if best and group:
        raise UsageError(Problem("usage", "--best names one run, --group shows several", "leave out one of them"))
    listing = list_runs(folder, sort, about)
    for problem in listing.skipped:
        console.warn(f"left out: {problem}")
    if best:
        return _best(console, listing, sort or BEST_BY)
    parts = listing.subjects()
    if not parts:
        console.note(f"no runs in {folder}")
    if group:
        together = [(about, part, grouped(part)) for about, part in parts]
        for about, part, groups in together:
            _show_groups(console, groups, part, sort or BEST_BY, about if len(parts) > 1 else "")
        fields = [{"subject": about, "groups": [_group_fields(g) for g in groups]} for about, _, groups in together]
        return console.result({"folder": str(folder), "subjects": fields, "skipped": _skipped(listing)})
    for about, part in parts if not console.json else []:
        if len(parts) > 1:
            console.show(clean(about, WIDTH))
        console.show(_table(part, folder))
    means = [run for run in listing.runs if isinstance(run, Together) and not run.measured]
    if means:
        where = typed(means[0].path)
        console.note(f"metrics of folds and members are means over them; one by one: mlpbp runs {where}")
    runs = [_fields(run, part, about) for about, part in parts for run in part.runs]
    return console.result({"folder": str(folder), "runs": runs, "skipped": _skipped(listing)})


def _skipped(listing: Listing) -> list[dict[str, Any]]:
    """What is damaged, for programs."""
    return [{"file": problem.file, "line": problem.line, "message": problem.message} for problem in listing.skipped]


def _best(console: Console, listing: Listing, sort: str) -> int:
    """The path alone, so that a shell can take it."""
    subjects = listing.subjects()
    if len(subjects) > 1:
        told = "; ".join(clean(words, 50) for words, _ in subjects[:3]) + ("; ..." if len(subjects) > 3 else "")
        hint = f'choose with --about WORD, such as --about "{clean(subjects[0][0].partition(":")[0], 40)}"'
        raise UsageError(Problem("different_data", f"runs about different things do not compare: {told}", hint))
    from mlp_core.report.listing import best

    run = best(listing, sort)
    if run.status != "finished":
        console.warn(f"{run.path} is not finished ({run.status})")
    if not settings.json:
        print(run.path)
    return console.result({"best": str(run.path), "sort": sort, "value": run.metrics.get(sort, run.config.get(sort))})


def _fields(run: RunFiles, listing: Listing, about: str) -> dict[str, Any]:
    """A run for programs; `parts` are the runs that are one model together."""
    from mlp_core.report.together import Together

    parts = {"parts": [str(part.path) for part in run.parts]} if isinstance(run, Together) else {}
    return {
        "run": str(run.path),
        "subject": about,
        "status": run.status,
        "seed": run.seed,
        "differs": {key: run.config.get(key) for key in listing.differing},
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "seconds": run.seconds,
        "started": run.record.get("started"),
        "metrics": run.metrics,
        **parts,
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
    """One line per run: a column for every key that differs if there is room, at the cost of a metric or two."""
    from mlp_core.report.listing import value_of

    from .tables import grid

    keys, metrics = _keys(listing), listing.metrics
    asked = [[clean(value_of(run, key), 24) for key in keys] for run in listing.runs]
    for count in range(len(metrics), min(1, len(metrics) - 1), -1):
        heads, cells = _facts(listing, metrics[:count], folder)
        wide = [heads[0], *keys.values(), *heads[1:]]
        table = [[row[0], *more, *row[1:]] for row, more in zip(cells, asked, strict=True)]
        if _width(wide, table) <= WIDTH:
            return grid(wide, table)
    words = [", ".join(f"{name}={value}" for name, value in zip(keys.values(), more, strict=True)) for more in asked]
    for count in (2, 1):
        heads, cells = _facts(listing, metrics[:count], folder)
        rest = WIDTH - _width(heads, cells) - 3
        if rest >= NARROW:
            break
    table = [[row[0], _lines(text, max(rest, NARROW)), *row[1:]] for row, text in zip(cells, words, strict=True)]
    return grid([heads[0], "what differs ", *heads[1:]], table)


def _keys(listing: Listing) -> dict[str, str]:
    """The keys to show, with their short names: how many folds or members there are has a column of its own."""
    from mlp_core.report.together import COUNTED, Together

    told = COUNTED if any(isinstance(run, Together) for run in listing.runs) else ()
    return {key: short for key, short in listing.differing.items() if key not in told}


def _lines(text: str, width: int, most: int = 4) -> str:
    """A text in lines that end between words, and no more of them than have room."""
    return "\n".join(textwrap.wrap(text, width, max_lines=most, placeholder=" ...", break_on_hyphens=False))


def _facts(listing: Listing, metrics: Sequence[str], folder: Path) -> tuple[list[str], list[list[str]]]:
    """Headings, and cells for every run: name, of how many it is one, state if one is not finished, best epoch,
    metrics, time."""
    from mlp_core.metrics.shown import metric

    unfinished = any(run.status != "finished" for run in listing.runs)
    counts = [_parts(run) for run in listing.runs]
    several = ["of"] if any(counts) else []
    heads = ["run", *several, *(["status"] if unfinished else []), "best", *(name for name in metrics), "s"]
    cells = []
    for run, count in zip(listing.runs, counts, strict=True):
        values = [metric(name, run.metrics[name]) if name in run.metrics else "" for name in metrics]
        seconds = "" if run.seconds is None else f"{run.seconds:.3g}" if run.seconds < 100 else f"{run.seconds:,.0f}"
        status = [run.status] if unfinished else []
        cells.append(
            [_name(run, folder), *(count for _ in several), *status, str(run.best_epoch or ""), *values, seconds]
        )
    return heads, cells


def _parts(run: RunFiles) -> str:
    """How many folds or members are one model, as `3 folds`; nothing for a run."""
    from mlp_core.report.together import Together

    if not isinstance(run, Together):
        return ""
    have, all_ = len(run.parts), run.expected
    return f"{have} {run.kind}" if have == all_ else f"{have}/{all_} {run.kind}"


def _width(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How wide a table of these cells would be."""
    return sum(max(map(len, column)) + 3 for column in zip(heads, *rows, strict=True))


def _name(run: RunFiles, folder: Path) -> str:
    inside = run.path.relative_to(folder) if run.path.is_relative_to(folder) and run.path != folder else run.path
    return clean(inside, 30)


def _show_groups(console: Console, groups: Sequence[Group], listing: Listing, sort: str, about: str) -> None:
    """One line per group, and what can be said about their differences."""
    if console.json or not groups:
        return
    from mlp_core.metrics.shown import number
    from mlp_core.report.listing import value_of

    from .tables import grid

    rows, metrics = [], [name for name in listing.metrics if any(name in group.metrics for group in groups)]
    keys = [(key, short) for key, short in listing.differing.items() if key != "seed"]
    for group in groups:
        differs = ", ".join(f"{short}={clean(value_of(group.runs[0], key), 24)}" for key, short in keys)
        values = [_spread(group, name) for name in metrics]
        behind = "" if group.behind is None else " ± ".join(map(number, group.behind)).replace("n.a.", "?")
        rows.append(
            [_lines(differs or clean(group.runs[0].path.name, 30), NARROW), str(len(group.runs)), *values, behind]
        )
    heads = ["config", "seeds", *(name for name in metrics), "behind"]
    text = 3 + max(len(line) for row in rows for line in row[0].split("\n"))
    while len(heads) > 4 and _width(heads[1:], [row[1:] for row in rows]) > WIDTH - text:
        heads, rows = [*heads[:-2], heads[-1]], [[*row[:-2], row[-1]] for row in rows]
    if about:
        console.show(clean(about, WIDTH))
    console.show(grid(heads, rows))
    noise = [group for group in groups if group.within_noise]
    unknown = [group for group in groups if group.behind is not None and group.behind[1] != group.behind[1]]
    if noise:
        many = (
            f"Within the noise of seeds: {len(noise)} of {counted(len(groups) - 1, 'difference')} to the best in {sort}"
        )
        console.show(f"{many};\ntheir interval of 95 % (Welch) holds 0.\n")
    if unknown:
        words = f"± ?: a single seed has no noise to compare with; train more with seed=1, seed=2, ... ({sort})"
        console.show(textwrap.fill(words, WIDTH, break_on_hyphens=False))


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

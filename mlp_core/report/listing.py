"""A list of runs: what differs between them, the best of them, and the seeds of one config together."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlp_core.config.keys import said
from mlp_core.config.schema import IN_MEMORY
from mlp_core.errors import Problem, RunDirectoryError, UsageError
from mlp_core.metrics import BRIEF, smaller_is_better
from mlp_core.metrics.intervals import Spread, difference
from mlp_core.report.run_files import RunFiles, find_runs
from mlp_core.report.together import put_together

ASIDE = ("name", "notes", "version", "extends", "output.", "logging.", "threads", "checkpoint.keep")
"""Keys, or beginnings of keys, that change nothing of what is trained."""
FILES = ("data.train", "data.val", "data.test", "data.cache", "model.weights")
"""Keys that name files, from the folder of the run."""
FACTS = ("seconds", "epochs", "best_epoch", "seed", "started", "run")


@dataclass(frozen=True)
class Listing:
    """Runs in order. differing: the keys in which they differ, with names as short as can be told apart.

    skipped: what is wrong with those that are left out. sort: what they are ordered by, None for their names.
    """

    runs: tuple[RunFiles, ...]
    differing: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Problem, ...] = ()
    sort: str | None = None

    @property
    def metrics(self) -> list[str]:
        """What is shown of every run: the loss and the usual metric of the task, of validation and test rows."""
        kinds = dict.fromkeys(run.config.get("data.task") for run in self.runs)
        usual = [name for kind in kinds for name in BRIEF.get(str(kind), [])[:1]]
        wanted = ["val_loss", *(f"{split}_{name}" for name in usual for split in ("val", "test"))]
        if self.sort is not None and any(self.sort in run.metrics for run in self.runs):
            wanted.insert(0, self.sort)
        have = {name for run in self.runs for name in run.metrics}
        return [name for name in dict.fromkeys(wanted) if name in have] or sorted(have)[:1]

    def subjects(self) -> list[tuple[str, Listing]]:
        """The runs about the same data and targets together, under words that say which, in the order they come."""
        together: dict[tuple[str, ...], list[RunFiles]] = {}
        for run in self.runs:
            together.setdefault(subject(run), []).append(run)
        return [
            (subject_words(about), Listing(tuple(runs), differing_keys(runs), sort=self.sort))
            for about, runs in together.items()
        ]


@dataclass(frozen=True)
class Group:
    """Runs of one config with different seeds, and the spread of every metric that all of them have.

    behind: by how much the best group is better in the metric they are sorted by, and the half width of that
    difference's interval (95 %), nan where one of the two has a single run.
    """

    runs: tuple[RunFiles, ...]
    metrics: Mapping[str, Spread]
    behind: tuple[float, float] | None = None

    @property
    def within_noise(self) -> bool:
        """Whether the interval of the difference holds 0."""
        return self.behind is not None and not math.isnan(self.behind[1]) and abs(self.behind[0]) <= self.behind[1]


def list_runs(folder: Path, sort: str | None = None, about: str | None = None) -> Listing:
    """The runs in a folder, those alone whose subject holds the words of `about`. Raises UsageError where there is no
    such folder, nothing to sort by, or nothing about that."""
    if not folder.is_dir():
        hint = "give the folder of your runs, or train one"
        raise UsageError(Problem("no_folder", "there is no such folder", hint, file=str(folder)))
    runs: list[RunFiles] = []
    skipped: list[Problem] = []
    for path in find_runs(folder):
        try:
            run = RunFiles.read(path)
            run.config, run.metrics, run.best_epoch, run.epochs  # noqa: B018 - damage shows here
        except RunDirectoryError as error:
            skipped += error.problems
        except (TypeError, ValueError, OverflowError):
            skipped.append(Problem("damaged", "is no record of a run", file=str(path / "run.json")))
        else:
            runs.append(run)
    runs = list(put_together(runs, folder))
    if about is not None:
        subjects = dict.fromkeys(subject_words(subject(run)) for run in runs)
        runs = [run for run in runs if about.casefold() in subject_words(subject(run)).casefold()]
        if not runs:
            hint = "there are " + "; ".join(list(subjects)[:6]) if subjects else "train one"
            raise UsageError(Problem("no_run", "there is no run about this", hint, got=about))
    if sort is not None:
        runs = _sorted(runs, sort)
    return Listing(tuple(runs), differing_keys(runs), tuple(skipped), sort)


def best(listing: Listing, sort: str = "val_loss") -> RunFiles:
    """The run with the best value of what they are sorted by. Raises UsageError where no run has one."""
    order = [run for run in _sorted(listing.runs, sort) if _value(run, sort) is not None]
    if not order:
        raise UsageError(Problem("no_run", "there are no runs here", "train one"))
    return order[0]


def grouped(listing: Listing, sort: str | None = None) -> list[Group]:
    """Seeds of one config together, the best group first, each compared with it."""
    sort = sort or listing.sort or "val_loss"
    together: dict[str, list[RunFiles]] = {}
    for run in listing.runs:
        together.setdefault(repr(sorted(_trained(run, seeds=False).items())), []).append(run)
    groups = [Group(tuple(runs), _spreads(runs)) for runs in together.values()]
    sign = 1 if smaller_is_better(_metric(sort)) else -1
    have = sorted((g for g in groups if sort in g.metrics), key=lambda g: sign * g.metrics[sort].mean)
    rest = [group for group in groups if sort not in group.metrics]
    compared = have[:1]
    for group in have[1:]:
        gap, half = difference(group.metrics[sort], have[0].metrics[sort])
        compared.append(Group(group.runs, group.metrics, (sign * gap, half)))
    return compared + rest


def _spreads(runs: Sequence[RunFiles]) -> dict[str, Spread]:
    names = [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]
    return {name: Spread.of([run.metrics[name] for run in runs]) for name in names}


def _trained(run: RunFiles, seeds: bool = True) -> dict[str, Any]:
    """The keys of a run that decide what is trained, files by where they are."""
    left_out = ASIDE if seeds else (*ASIDE, "seed")
    whole = {name for name in left_out if not name.endswith(".")}
    start = tuple(name for name in left_out if name.endswith("."))
    config = {key: value for key, value in run.config.items() if key not in whole and not key.startswith(start)}
    return config | {key: _placed(run, config[key]) for key in config if _names_files(key)}


def _names_files(key: str) -> bool:
    return key.startswith(FILES) and any(key == name or key.startswith(f"{name}.") for name in FILES)


def _placed(run: RunFiles, value: Any) -> Any:
    """The places of the files that a run names from its folder, so that two runs name one file alike; of those that
    are not there any more, the names as they are."""
    if isinstance(value, list):
        return [_placed(run, one) for one in value]
    if not isinstance(value, str) or value == IN_MEMORY:
        return value
    try:
        place = os.path.realpath(run.home / value)
        return place if set("*?[") & set(value) or os.path.exists(place) else value  # noqa: PTH110
    except ValueError:  # a text that is no path
        return value


def subject(run: RunFiles) -> tuple[str, ...]:
    """What a run is about: its data, its targets, its kind of task. Numbers compare where these are the same."""
    config = run.config
    train = config.get("data.name") or config.get("data.train") or config.get("data.train.x")
    test = config.get("data.test") or config.get("data.test.x")
    files, tested = (
        tuple(Path(str(file)).name for file in (value if isinstance(value, list) else [value]))
        for value in (train, test)
    )
    target = config.get("data.target")
    targets = target if isinstance(target, list) else [] if target is None else [target]
    return (str(config.get("data.task")), ", ".join(map(str, targets)), *files, ", ".join(tested))


def subject_words(about: tuple[str, ...]) -> str:
    """The same for people."""
    task, targets, *files, _ = about
    of = f" of {targets}" if targets else ""
    return f"{', '.join(files[:3])}{', ...' if len(files) > 3 else ''}: {task}{of}"


def differing_keys(runs: Iterable[RunFiles]) -> dict[str, str]:
    """The keys in which runs differ, in the order of the config, with names as short as can be told apart."""
    configs = [_trained(run) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    differing = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
    return _short([key for key in differing if not any(above in keys for above in _above(key))])


def _above(key: str) -> Iterator[str]:
    """The keys that a key lies in; where one of them stands for itself in a run, what lies in it says no more."""
    parts = key.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def value_of(run: RunFiles, key: str) -> str:
    """The value of a key as it is shown; `on` where it is a mapping, and only elsewhere a single word."""
    if key not in run.config and any(other.startswith(f"{key}.") for other in run.config):
        return "on"
    value = run.config.get(key)
    if value is not None and _names_files(key):
        files = _placed(run, value)
        return ", ".join(map(_from_here, files)) if isinstance(files, list) else _from_here(files)
    return said(value)


def _from_here(file: Any) -> str:
    """A file as it would be typed here, or by its whole name where that is shorter."""
    if not isinstance(file, str) or not os.path.isabs(file):  # noqa: PTH117
        return said(file)
    try:
        return min(os.path.relpath(file), file, key=len)
    except ValueError:  # on another drive
        return file


def _short(keys: Sequence[str]) -> dict[str, str]:
    """Every key with as many of its last parts as tell it apart from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        tails = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        names[key] = next(t for t in tails if sum(f".{other}".endswith(f".{t}") for other in keys) == 1 or t == key)
    return names


def _metric(name: str) -> str:
    return name.split("_", 1)[1] if name.startswith(("val_", "train_", "test_", "data_")) else name


def _value(run: RunFiles, sort: str) -> Any:
    """What a run is sorted by: a metric, a fact about it, or a key of its config."""
    if sort in run.metrics:
        return run.metrics[sort]
    facts = {"seconds": run.seconds, "epochs": run.epochs, "best_epoch": run.best_epoch, "seed": run.seed}
    facts |= {"started": run.record.get("started"), "run": str(run.path)}
    return facts[sort] if sort in facts else run.config.get(sort)


def _sorted(runs: Sequence[RunFiles], sort: str) -> list[RunFiles]:
    """Runs by value, the best first; numbers before words, those without a value last. Raises UsageError."""
    values = [_value(run, sort) for run in runs]
    if runs and all(value is None for value in values) and sort not in FACTS:
        from mlp_core.config.nearest import question

        known = [*{name: None for run in runs for name in (*run.metrics, *run.config)}, *FACTS]
        hint = question(sort, known) or f"there are {_choices(runs)}"
        raise UsageError(Problem("usage", "no run has such a value to sort by", hint, got=sort))
    measured = any(sort in run.metrics for run in runs)
    sign = -1 if measured and not smaller_is_better(_metric(sort)) else 1

    def place(item: tuple[Any, RunFiles]) -> tuple[Any, ...]:
        value = item[0]
        if isinstance(value, int | float):
            return (0, sign * value, "")
        return (2, 0, "") if value is None else (1, 0, str(value))

    return [run for _, run in sorted(zip(values, runs, strict=True), key=place)]


def _choices(runs: Sequence[RunFiles]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.metrics))
    return ", ".join([*names[:12], *FACTS])

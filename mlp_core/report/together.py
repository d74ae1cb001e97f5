"""Runs that are one model together, the folds of a cross-validation or the members of an ensemble, as one of a list.

Each of them was trained on a part of the rows, or is not the model that is used: beside whole runs only what they come
to says something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from mlp_core.documents import read_object
from mlp_core.report.run_files import LARGEST_FILE, RunFiles, by_split
from mlp_core.runs.members import FILE, MEASURED

FOLD = re.compile(r"(?:repeat-\d+-)?fold-\d+")
MEMBER = re.compile(r"member-\d+")
DEALT = {"data.split.fold": None, "data.split.repeat": 1}
COUNTED = ("data.split.folds", "ensemble")
"""The keys that say how many runs there are."""


@dataclass(frozen=True)
class Together(RunFiles):
    """The runs of one folder. parts: those that were begun. kind: `folds` or `members`."""

    parts: tuple[RunFiles, ...] = ()
    kind: str = "folds"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The keys of the first of them, without what says which one it is."""
        first = self.parts[0].config
        if self.kind == "folds":
            return {**first, **DEALT}
        own: dict[str, Any] = {"ensemble": self.expected}
        own |= {"data.split.seed": None} if first.get("data.split.seed") == first.get("seed") else {}
        return {**first, **own}

    @property
    def expected(self) -> int:
        """How many there are to be, as far as is known."""
        if self.kind == "folds":
            count = self.parts[0].config.get("data.split.folds")
            repeats = max(_whole(part.config.get("data.split.repeat")) for part in self.parts)
            return max(_whole(count) * repeats, len(self.parts))
        planned = read_object(self.path / "plan.json", LARGEST_FILE).get("config")
        asked = planned.get("ensemble") if isinstance(planned, Mapping) else None
        return max(_whole(asked), len(self.parts))

    @property
    def home(self) -> Path:
        return self.parts[0].path

    @property
    def epochs(self) -> int | None:
        """Those of all of them."""
        return sum(part.epochs or 0 for part in self.parts)

    @property
    def seconds(self) -> float | None:
        """Those of all of them, in whatever processes they were spent."""
        spent = [part.seconds for part in self.parts]
        return sum(one for one in spent if one is not None) if any(one is not None for one in spent) else None

    @property
    def best_epoch(self) -> int | None:
        return None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Those of an ensemble as it was measured; else the mean of every metric that all of them have."""
        return self.measured or {
            name: sum(part.metrics[name] for part in self.parts) / len(self.parts)
            for name in self.parts[0].metrics
            if all(name in part.metrics for part in self.parts)
        }

    @cached_property
    def measured(self) -> dict[str, float]:
        """Those of the one model, where they are known: else there are only means over its parts."""
        if self.kind == "folds":
            return {}
        metrics = read_object(self.path / MEASURED, LARGEST_FILE).get("metrics")
        return by_split(metrics) if isinstance(metrics, Mapping) else {}

    @cached_property
    def curve(self) -> dict[str, list[Any]]:
        return {}


def put_together(runs: Iterable[RunFiles], listed: Path) -> Iterator[RunFiles]:
    """Runs in the order of their folders, and one for each folder below `listed` that holds folds or members."""
    for above, found in groupby(runs, lambda run: run.path.parent):
        inside = list(found)
        kind = None if above == listed else _kind(above, inside)
        if kind is None:
            yield from inside
        else:
            yield Together(above, _status(above, inside, kind), {"seed": inside[0].seed}, tuple(inside), kind)


def _kind(folder: Path, runs: Sequence[RunFiles]) -> str | None:
    """What the runs of a folder are, where they are one model."""
    if all(FOLD.fullmatch(run.path.name) and run.config.get("data.split.fold") is not None for run in runs):
        return "folds"
    begun = (folder / FILE).is_file() or (folder / "plan.json").is_file()
    return "members" if begun and all(MEMBER.fullmatch(run.path.name) for run in runs) else None


def _status(folder: Path, runs: Sequence[RunFiles], kind: str) -> str:
    """What the one model is: finished once all of it is."""
    states = [run.status for run in runs]
    left = [state for state in states if state != "finished"]
    if left:
        return "running" if "running" in left else left[0]
    whole = (folder / FILE).is_file() or (kind == "folds" and len(runs) >= _whole(runs[0].config["data.split.folds"]))
    return "finished" if whole else "interrupted"


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 1

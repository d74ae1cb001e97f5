"""How far runs are, by what they write down: for the process that waits for others, and draws."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlp_core.documents import parsed
from mlp_core.search.training import Training
from mlp_core.search.workers import Stop, carry_out

EVERY = 0.5  # seconds between two looks
LAST = 1 << 14  # bytes of a log in which its last line is


@dataclass(frozen=True)
class Position:
    """A run on its way: `epoch` of `epochs` is done."""

    name: str
    epoch: int
    epochs: int


Result = TypeVar("Result")
Watch = Callable[[Sequence[Position]], None]


def position(name: str, folders: Sequence[Path], epochs: int) -> Position | None:
    """Where the runs in some directories are together, each of so many epochs; None where none has logged one."""
    found = [epoch for folder in folders if (epoch := last_epoch(folder / "metrics.jsonl")) is not None]
    return Position(name, sum(found), max(sum(found), epochs * len(folders))) if found else None


def last_epoch(log: Path) -> int | None:
    """The last epoch in a log that another process may be writing to; None where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST))
            lines = file.read(LAST).rpartition(b"\n")[0].splitlines()
        return int(parsed(lines[-1])["epoch"]) if lines else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def now_and_then(look: Callable[[], None], stop: Stop) -> Stop:
    """`stop`, which is asked often while others work, and has a look at them now and then."""
    looked = time.monotonic()

    def asked() -> int:
        nonlocal looked
        if time.monotonic() - looked > EVERY:
            looked = time.monotonic()
            look()
        return stop()

    return asked


def watched(
    function: Callable[[Training, Stop], Result | None],
    trainings: Sequence[Training],
    count: int,
    threads: int,
    epochs: int,
    stop: Stop,
    watch: Watch | None,
) -> Iterator[tuple[int, Result]]:
    """`carry_out` for trainings; yields the place and the result of those that come to their end. `watch` hears now and
    then how far the others are."""
    waiting = dict(enumerate(trainings))

    def look() -> None:
        found = (position(one.folder.name, [one.folder], epochs) for one in waiting.values())
        if watch is not None:
            watch([one for one in found if one is not None])

    asked = stop if watch is None else now_and_then(look, stop)
    for place, result in carry_out(function, trainings, count, threads, asked):
        waiting.pop(place)
        if result is not None:
            yield place, result

"""Mutate what trains: `python tests/mutation/run_mutants.py [ROOM ...] [--every N] [--only NAME]`.

Rooms: `engine`, the backward pass and the update rules, and `training`, what else a step passes. Prints for every
function how many mutants there are, and what became of them; ends with 1 if one survived.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from apart import apart
from equivalent import EQUIVALENT, Equivalent
from equivalent_training import EQUIVALENT_TRAINING
from judges import finder, named
from mutants import Mutant, mutants, planted
from targets import Target, targets
from training_targets import training_targets

ROOMS = {"engine": (targets, EQUIVALENT), "training": (training_targets, EQUIVALENT_TRAINING)}
COLUMNS = ("mutants", "killed", "equivalent", "survived")


@dataclass
class Outcome:
    """What became of the mutants of all functions, of which some are `known` to be equivalent: what killed how many;
    `confirmed` are entries of the list that a survivor answers to; `wrong` judges that accuse the sound ones.
    """

    known: Sequence[Equivalent] = EQUIVALENT
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    killers: Counter[str] = field(default_factory=Counter)
    survivors: list[Mutant] = field(default_factory=list)
    confirmed: set[tuple[int, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def total(self, what: str) -> int:
        return sum(count[what] for count in self.counts.values())

    def stale(self) -> list[str]:
        """Entries of the list of equivalent mutants that no surviving mutant answers to."""
        listed = {(i, name) for i, entry in enumerate(self.known) for name in entry.functions}
        return [
            f"{name}: {self.known[i].before} -> {self.known[i].after}" for i, name in sorted(listed - self.confirmed)
        ]

    def add(self, mutant: Mutant, found_by: str) -> None:
        """A mutant, and who found it; nobody did where that is empty."""
        count = self.counts.setdefault(mutant.function, Counter())
        count["mutants"] += 1
        count[self._verdict(mutant, found_by)] += 1

    def _verdict(self, mutant: Mutant, found_by: str) -> str:
        if found_by:
            self.killers[found_by] += 1
            return "killed"
        for i, entry in enumerate(self.known):
            if entry.matches(mutant.function, mutant.before, mutant.after):
                self.confirmed.add((i, mutant.function))
                return "equivalent"
        self.survivors.append(mutant)
        return "survived"


def run(
    chosen: Sequence[Target],
    every: int = 1,
    seed: int = 0,
    known: Sequence[Equivalent] = EQUIVALENT,
    tell: Callable[[str, Counter[str]], None] | None = None,
    at_once: int = 1,
) -> Outcome:
    """Judge every mutant of the targets, or one in `every` of them drawn by the seed; `tell` hears of each target."""
    outcome, rng = Outcome(known), np.random.default_rng(seed)
    sound: dict[str, bool] = {}
    for target in chosen:
        drawn = [mutant for mutant in mutants(target.function) if every == 1 or not rng.integers(every)]
        for mutant, found_by in zip(drawn, _found_by(target, drawn, at_once), strict=True):
            outcome.add(mutant, found_by)
            for judge in target.judges:
                name = named(judge)
                if found_by.endswith(name) and name not in sound:
                    sound[name] = not finder([judge])
                    outcome.wrong += [] if sound[name] else [name]
        if tell is not None:
            tell(target.name, outcome.counts.get(target.name, Counter()))
    return outcome


def _found_by(target: Target, drawn: Iterable[Mutant], at_once: int) -> Iterator[str]:
    """Who finds each mutant."""
    tasks = (partial(_judged, target, mutant) for mutant in drawn)
    return apart(tasks, at_once=at_once) if target.apart else (task() for task in tasks)


def _judged(target: Target, mutant: Mutant) -> str:
    with planted(target.function, mutant.code):
        return finder(target.judges)


def _row(name: str, count: Counter[str]) -> None:
    print(f"{name:32}" + "".join(f"{count[column]:12}" for column in COLUMNS), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help="all unless some are named")
    parser.add_argument("--every", type=int, default=1, help="judge one mutant in so many")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", default="", help="only functions with this in their name")
    parser.add_argument("--at-once", type=int, default=1, help="how many at the same time, where they are judged apart")
    options = parser.parse_args(arguments)
    return max(_room(room, options) for room in options.rooms)


def _room(room: str, options: argparse.Namespace) -> int:
    """Run one room, and tell of it; 1 if there is something to be done."""
    start, (find, known) = time.perf_counter(), ROOMS[room]
    chosen = [target for target in find() if options.only in target.name]
    print(f"{room:32}" + "".join(f"{name:>12}" for name in COLUMNS))
    outcome = run(chosen, options.every, options.seed, known, _row, options.at_once)
    _row("all", Counter({column: outcome.total(column) for column in COLUMNS}))
    print(f"{time.perf_counter() - start:.0f} s")
    for killer, count in outcome.killers.most_common(40):
        print(f"{count:6} killed by {killer}")
    for mutant in outcome.survivors:
        print(f"survived: {mutant}")
    for name in outcome.wrong:
        print(f"accuses what is sound: {name}")
    stale = outcome.stale() if options.every == 1 and not options.only else []
    for line in stale:
        print(f"listed as equivalent, but not among the survivors: {line}")
    return int(bool(outcome.survivors or outcome.wrong or stale or not outcome.total("killed")))


if __name__ == "__main__":
    sys.exit(main())

"""Mutate the backward pass and the update rules: `python tests/mutation/run_mutants.py [--every N] [--only NAME]`.

Prints for every function how many mutants there are, and what became of them; ends with 1 if one survived.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from equivalent import EQUIVALENT, Equivalent
from judges import Judge, survives
from mutants import Mutant, mutants, planted
from targets import Target, targets

COLUMNS = ("mutants", "killed", "equivalent", "survived")


@dataclass
class Outcome:
    """What became of the mutants of all functions; `stale` are entries of the list that were not confirmed."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    survivors: list[Mutant] = field(default_factory=list)
    confirmed: set[tuple[int, str]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def total(self, what: str) -> int:
        return sum(count[what] for count in self.counts.values())

    def stale(self) -> list[str]:
        """Entries of the list of equivalent mutants that no surviving mutant answers to."""
        listed = {(i, name) for i, entry in enumerate(EQUIVALENT) for name in entry.functions}
        return [
            f"{name}: {EQUIVALENT[i].before} -> {EQUIVALENT[i].after}" for i, name in sorted(listed - self.confirmed)
        ]


def run(
    chosen: Sequence[Target], every: int = 1, seed: int = 0, tell: Callable[[str, Counter[str]], None] | None = None
) -> Outcome:
    """Judge every mutant of the targets, or one in `every` of them drawn by the seed; `tell` hears of each target."""
    outcome, rng = Outcome(), np.random.default_rng(seed)
    sound: dict[Judge, bool] = {}
    for target in chosen:
        sound |= {judge: survives([judge]) for judge in target.judges if judge not in sound}
        if not all(sound[judge] for judge in target.judges):
            outcome.wrong.append(target.name)
        count = outcome.counts.setdefault(target.name, Counter())
        for mutant in mutants(target.function):
            if every > 1 and rng.integers(every):
                continue
            count["mutants"] += 1
            with planted(target.function, mutant.code):
                alive = survives(target.judges)
            count[_verdict(mutant, alive, outcome)] += 1
        if tell is not None:
            tell(target.name, count)
    return outcome


def _verdict(mutant: Mutant, alive: bool, outcome: Outcome) -> str:
    if not alive:
        return "killed"
    for i, entry in enumerate(EQUIVALENT):
        if _matches(entry, mutant):
            outcome.confirmed.add((i, mutant.function))
            return "equivalent"
    outcome.survivors.append(mutant)
    return "survived"


def _matches(entry: Equivalent, mutant: Mutant) -> bool:
    return mutant.function in entry.functions and (entry.before, entry.after) == (mutant.before, mutant.after)


def _row(name: str, count: Counter[str]) -> None:
    print(f"{name:32}" + "".join(f"{count[column]:12}" for column in COLUMNS), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="judge one mutant in so many")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", default="", help="only functions with this in their name")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    chosen = [target for target in targets() if options.only in target.name]
    print(f"{'function':32}" + "".join(f"{name:>12}" for name in COLUMNS))
    outcome = run(chosen, options.every, options.seed, _row)
    _row("all", Counter({column: outcome.total(column) for column in COLUMNS}))
    print(f"{time.perf_counter() - start:.0f} s")
    for mutant in outcome.survivors:
        print(f"survived: {mutant}")
    for name in outcome.wrong:
        print(f"its judges find the sound function wrong: {name}")
    stale = outcome.stale() if options.every == 1 and not options.only else []
    for line in stale:
        print(f"listed as equivalent, but not among the survivors: {line}")
    return int(bool(outcome.survivors or outcome.wrong or stale or not outcome.total("killed")))


if __name__ == "__main__":
    sys.exit(main())

"""Mutate the kernels' C: `python tests/mutation/run_c_mutants.py [--count N] [--seed N] [--all] [--only NAME]`.

A mutant is compiled, as far as it reaches, and the proof of `mlpbp gradcheck` judges experiments that go through it;
one that it lets pass is compiled as a whole for the kernels' own tests. Needs a C compiler; of all changes `--count`
are drawn by `--seed`. Prints what became of them by source; ends with 1 if one survived without a reason.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from apart import apart
from c_build import Bench, NoC
from c_cases import KERNEL_CASES, finder, functions, use
from c_mutants import Change
from equivalent_c import REASONS

ROOT = Path(__file__).resolve().parents[2]
COUNT, MOST = 300, 16
"""Mutants that are drawn, and cases that a mutant must pass, beside those of large networks."""
SURELY = ("wide", "large")
COLUMNS = ("mutants", "proof", "tests", "equivalent", "survived", "same code", "no C")
_LEVEL = "test_the_level_of_a_processor_is_what_the_system_says_of_it"
OWN = {
    "products.c": ("test_products.py", "test_kernels.py"),
    "vectors.h": ("test_products.py", "test_kernels.py"),
    "plain.c": (f"test_library.py::{_LEVEL}", "test_kernels.py", "test_whole_native_steps.py"),
    "threads.c": ("test_crew.py", "test_whole_native_steps.py"),
}
USUAL = ("test_kernels.py", "test_whole_native_steps.py")


@dataclass
class Run:
    """What became of the mutants of each source, who found how many, and which nobody found."""

    bench: Bench
    cases: dict[str, set[str]]
    parity: bool = True
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    survivors: list[str] = field(default_factory=list)
    told: dict[object, str] = field(default_factory=dict)

    def judge(self, file: str, change: Change) -> str:
        """Compile a mutant and have it judged; says what became of it."""
        what, who = self._verdict(file, change)
        count = self.counts.setdefault(file, Counter())
        count[what] += 1
        count["mutants"] += what not in ("same code", "no C")
        before, after = change.told(self.bench.sources[file])
        if what == "survived":
            line = self.bench.sources[file].count("\n", 0, change.start) + 1
            self.survivors.append(f"{file}:{line}: {before}  ->  {after}")
        self.kills[who] += 1
        return f"{what:10} {file}: {before}  ->  {after}  {who}"

    def _verdict(self, file: str, change: Change) -> tuple[str, str]:
        out = self.bench.folder / "mutant.so"
        try:
            if not self.bench.build(file, change, out):
                return "same code", ""
        except NoC:
            return "no C", ""
        said = next(apart([partial(_proofs, out, self._order(file, change, out))]))
        if said:
            return "proof", said
        reason = REASONS.get((file, *change.told(self.bench.sources[file])))
        if reason is not None:
            return "equivalent", ""
        if not self.parity:
            return "survived", ""
        files = OWN.get(file, USUAL)
        if self._tested(files, file, Change(0, 0, "")):
            raise RuntimeError(f"tests accuse sound kernels: {' '.join(files)}")
        said = self._tested(files, file, change)
        return ("tests", said) if said else ("survived", "")

    def _tested(self, files: tuple[str, ...], file: str, change: Change) -> str:
        """The test that fails with all kernels compiled anew; of the sound ones it is asked once."""
        key = (files, file if change.text or change.stop else "", change)
        if key not in self.told:
            out = self.bench.folder / "mutant.so"
            self.bench.build(file, change, out, whole=True)
            self.told[key] = next(apart([partial(_tests, out, files)], 300))
        return self.told[key]

    def _order(self, file: str, change: Change, out: Path) -> list[str]:
        """Cases that ask for what was compiled, those first that go through what is called like the change, and that
        have found most."""
        names = {name for piece in self.bench.touched(file, change) for name in piece.names}
        stems = {match.group(1) for name in names if (match := re.match(r"FN\((\w+?)(?:_loss)?(?:_slope)?\)", name))}
        code = out.read_bytes()
        # a linker may keep a name as the end of a longer one: adam_update_f in radam_update_f
        fitting = {case: [one for one in asked if f"{one}\0".encode() in code] for case, asked in self.cases.items()}

        def first(case: str) -> tuple[int, int]:
            named = sum(one.startswith(f"{stem}_") for one in fitting[case] for stem in stems)
            return -min(named, 1), -self.kills[f"the proof of {case!r}"]

        chosen = sorted((case for case, asked in fitting.items() if asked), key=first)
        chosen = chosen or list(self.cases)
        return chosen[:MOST] + [case for case in chosen[MOST:] if case.startswith(SURELY)]


def _proofs(path: Path, cases: list[str]) -> str:
    use(path)
    return finder(cases)


def _tests(path: Path, files: Sequence[str]) -> str:
    """The test that fails with these kernels."""
    import pytest

    use(path)
    failed = list[str]()

    class Heard:
        """What pytest tells."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(report.nodeid.split("::")[-1].split("[")[0])

    folder = ROOT / "tests/mlp_core/backends/cpu"
    ended = pytest.main(["-q", "-x", "-p", "no:cacheprovider", *(str(folder / file) for file in files)], [Heard()])
    return failed[0] if failed else "" if ended == 0 else "pytest"


def noticed(bench: Bench, file: str, before: str, after: str, case: str) -> bool:
    """Whether the proof of a case notices that a text of a source is another one."""
    start = bench.sources[file].index(before)
    out = bench.folder / "slip.so"
    bench.build(file, Change(start, start + len(before), after), out)
    return bool(next(apart([partial(_proofs, out, [case])])))


def drawn(bench: Bench, seed: int = 0, only: str = "") -> list[tuple[str, Change]]:
    """Every change of the sources with this in their name, in an order that a seed draws."""
    places = [one for one in bench.places() if only in one[0]]
    random.Random(seed).shuffle(places)
    return places


def asked_for() -> dict[str, set[str]]:
    """What every case asks the kernels for, as they are."""
    tasks = [partial(functions, case) for case in KERNEL_CASES]
    found = dict(zip(KERNEL_CASES, apart(tasks), strict=True))
    return {case: set(asked.split()) for case, asked in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first of those drawn")
    parser.add_argument("--all", action="store_true", help="every mutant; takes hours")
    parser.add_argument("--only", default="", help="only sources with this in their name")
    parser.add_argument("--proof-alone", action="store_true", help="no tests behind the proof")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Run(Bench(Path(folder)), asked_for(), not options.proof_alone), options, print)


def _run(run: Run, options: argparse.Namespace, tell: Callable[..., None]) -> int:
    begun = time.perf_counter()
    for case, asked in run.cases.items():
        if "update" not in " ".join(asked):
            tell(f"no case to judge by: {case}: {' '.join(asked)}")
    places = drawn(run.bench, options.seed, options.only)
    for file, change in places if options.all else places[options.skip : options.skip + options.count]:
        tell(run.judge(file, change), flush=True)
    tell(f"{'source':16}" + "".join(f"{column:>11}" for column in COLUMNS))
    total = sum(run.counts.values(), Counter[str]())
    for name, count in [*sorted(run.counts.items()), ("all", total)]:
        tell(f"{name:16}" + "".join(f"{count[column]:11}" for column in COLUMNS))
    tell(f"{time.perf_counter() - begun:.0f} s")
    for line in run.survivors:
        tell(f"survived: {line}")
    return int(bool(run.survivors) or not total["proof"])


if __name__ == "__main__":
    sys.exit(main())

"""The test plan with its larger counts, and a table of it: `make soak`, or `python tests/reliability/soak.py K1 K2`.

Every row is a part of the test suite, told how often by environment variables. Writes each row into the table of
docs/reliability.md with the day and the commit; ends with 1 if anything failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
MARKS = "<!-- soak: begin -->", "<!-- soak: end -->"
HEAD = "| id | test | count | failures | seconds | run on |\n|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """One line of the plan: tests, the variables that say how often, and what to print as the count."""

    id: str
    what: str
    tests: str
    count: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    only: str = ""


R, C = "tests/reliability", "tests/mlp_core"
PLAN = (
    Row("G1", "gradient check of everything the schema admits", f"{C}/gradcheck/test_gradcheck.py"),
    Row(
        "A1",
        "kernels under AddressSanitizer and UBSan",
        f"{C}/backends/cpu/test_sanitizers.py",
        variables=(("MLPBP_SANITIZE", "1"),),
    ),
    Row(
        "G2",
        "planted bugs, and broken checkers",
        f"{C}/gradcheck/test_gradcheck_self_test.py",
        "",
        (("MLPBP_MATRIX_SEEDS", "3"),),
    ),
    Row(
        "G5",
        "training of random configs is what its formulas say, on all paths",
        f"{C}/proof/test_proof_of_training.py",
        "300",
        (("MLPBP_PROVED", "300"),),
    ),
    Row(
        "G6",
        "planted slips in training, kernels and use",
        f"{C}/proof/test_self_test.py",
        "all",
        (("MLPBP_SLIPS_EVERY", "1"),),
    ),
    Row(
        "G3",
        "every mutant of the backward pass and the update rules",
        "tests/mutation/test_mutation.py",
        "every mutant",
        (("MLPBP_MUTANTS_EVERY", "1"),),
        "engine",
    ),
    Row(
        "G7",
        "every mutant of the trainer, the schedules, the stages and the shards",
        "tests/mutation/test_mutation.py",
        "every mutant",
        (("MLPBP_MUTANTS_EVERY", "1"),),
        "training",
    ),
    Row(
        "G8",
        "mutants of the kernels' C, drawn by a seed, and slips in it",
        "tests/mutation/test_c_mutants.py",
        "300",
        (("MLPBP_C_MUTANTS", "300"),),
    ),
    Row(
        "G4",
        "random models against PyTorch's autograd",
        f"{C}/nn/test_torch_parity.py",
        "200",
        (("MLPBP_PARITY_MODELS", "200"),),
    ),
    Row("K1", "kill -9 at random times, resume", f"{R}/test_kill.py", "200", (("MLPBP_KILLS", "200"),), "random_time"),
    Row("K2", "kill -9 at every file-system call", f"{R}/test_kill.py", "every call", (), "every_call"),
    Row(
        "K3",
        "chains of kill -9 and resume, up to 10",
        f"{R}/test_kill.py",
        "100",
        (("MLPBP_KILL_CHAINS", "100"),),
        "again_and_again",
    ),
    Row("C1", "checkpoint truncated at every length", f"{R}/test_damage.py", "every length", (), "truncation"),
    Row(
        "C2",
        "every bit flipped, random damage",
        f"{R}/test_damage.py",
        "every bit + 100,000",
        (("MLPBP_DAMAGES", "100000"),),
        "flipped or random_damage or extension",
    ),
    Row(
        "C3",
        "damage through the command line",
        f"{R}/test_damage.py",
        "500",
        (("MLPBP_SHOWN_DAMAGES", "500"),),
        "program",
    ),
    Row("C4", "crafted checkpoints", f"{R}/test_crafted.py"),
    Row("Y1", "YAML pitfalls", f"{C}/config/test_config_pitfalls.py"),
    Row("Y2", "fuzzed configs", f"{C}/config/test_config_fuzz.py", "100,000", (("MLPBP_FUZZ_CASES", "100000"),)),
    Row("Y5", "every key of the schema", f"{C}/config/test_config_every_key.py"),
    Row(
        "I1",
        "the nth file-system call fails",
        f"{R}/test_failing_disk.py",
        "",
        (("MLPBP_EVERY_ERROR", "1"),),
        "nth_call",
    ),
    Row("I2", "a full disk, /dev/full", f"{R}/test_failing_disk.py", "", (), "not nth_call"),
    Row("S1", "signals at random times, twice, in a storm", f"{R}/test_signals.py", "300", (("MLPBP_SIGNALS", "300"),)),
    Row("N1", "NaN, Inf, labels, constants, divergence", f"{R}/test_numbers.py"),
    Row(
        "D1",
        "damaged data files",
        f"{C}/data/readers/test_damaged_files.py",
        "20,000",
        (("MLPBP_DAMAGED_FILES", "20000"),),
    ),
    Row("P1", "several processes on one directory", f"{R}/test_one_directory.py", "200", (("MLPBP_RACES", "200"),)),
    Row(
        "R1",
        "resume: every optimizer, schedule and feature",
        f"{R}/test_resume_matrix.py",
        "500",
        (("MLPBP_RESUMES", "500"),),
    ),
    Row("V1", "golden checkpoints", f"{R}/test_golden.py"),
    Row("E1", "every key at the edges of what numbers hold", f"{R}/test_edges.py", "5,000", (("MLPBP_EDGES", "5000"),)),
    Row(
        "F1",
        "a single forged value in a model or a run",
        f"{R}/test_forged.py",
        "2,000",
        (("MLPBP_FORGERIES", "2000"),),
    ),
    Row("F2", "what was sent: every command, recorded", f"{R}/test_sent_files.py"),
    Row("B1", "bombs of every format, every command", f"{R}/test_bombs.py", "", (("MLPBP_EVERY_BOMB", "1"),)),
    Row("M1", "little memory, full streams, odd systems", f"{R}/test_poor_machine.py", "", (("MLPBP_POOR", "1"),)),
    Row("M2", "the nth system call of a run is refused", f"{R}/test_system_calls.py", "", (("MLPBP_EVERY_CALL", "1"),)),
)


def run(row: Row) -> tuple[str, int, float]:
    """Count, failures and seconds of one row."""
    report = Path(tempfile.gettempdir(), f"mlpbp-soak-{os.getpid()}.xml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", row.tests]
    command += ["-k", row.only] if row.only else []
    begun = time.monotonic()
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", **dict(row.variables)}, check=False)
    seconds = time.monotonic() - begun
    suite = ElementTree.parse(report).getroot()[0]
    report.unlink()
    failures = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    tests = int(suite.get("tests", 0)) - int(suite.get("skipped", 0))
    return row.count or str(tests), failures + (tests == 0), seconds


def written(page: str, lines: Mapping[str, str]) -> str:
    """The page with these rows of the table in the place of the old ones, in the order of the plan."""
    start, end = (page.index(mark) for mark in MARKS)
    old = {line.split("|")[1].strip(): line for line in page[start:end].splitlines() if line.startswith("| ")}
    found = {**old, **lines}
    table = "\n".join([HEAD, *(found.get(row.id, f"| {row.id} | {row.what} | | not run | | |") for row in PLAN)])
    return f"{page[:start]}{MARKS[0]}\n\n{table}\n\n{page[end:]}"


def main() -> None:
    """Run the rows named on the command line, or all, and write each into the table with the day and the commit."""
    wanted, failed = sys.argv[1:], 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    for row in PLAN:
        if wanted and row.id not in wanted:
            continue
        count, failures, seconds = run(row)
        failed += failures
        when = f"{time.strftime('%Y-%m-%d')} at {commit.strip()}"
        line = f"| {row.id} | {row.what} | {count} | {failures} | {seconds:.0f} | {when} |"
        print(line, flush=True)
        PAGE.write_text(written(PAGE.read_text("utf-8"), {row.id: line}), "utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""The test plan with its larger counts, and a table of it: `make soak`.

Every row is a part of the test suite, told how often by environment variables. Writes the table into
docs/reliability.md with the date and the commit; ends with 1 if anything failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
MARKS = "<!-- soak: begin -->", "<!-- soak: end -->"


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
    Row("G1", "gradient check of everything the schema admits", f"{C}/test_gradcheck.py"),
    Row(
        "A1",
        "kernels under AddressSanitizer and UBSan",
        f"{C}/backends/cpu/test_sanitizers.py",
        variables=(("MLPBP_SANITIZE", "1"),),
    ),
    Row("G2", "planted bugs, and broken checkers", f"{C}/test_gradcheck_self_test.py"),
    Row(
        "G5",
        "training of random configs is what its formulas say, on all paths",
        f"{C}/proof/test_training.py",
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
    ),
    Row(
        "G4",
        "random models against PyTorch's autograd",
        f"{C}/test_torch_parity.py",
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
        f"{C}/readers/test_damaged_files.py",
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
)


def run(row: Row) -> tuple[str, int, float]:
    """Count, failures and seconds of one row."""
    report = Path(f"/tmp/mlpbp-soak-{os.getpid()}.xml")
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


def main() -> None:
    """Run the rows named on the command line, or all; write the table when it is whole."""
    wanted = sys.argv[1:]
    lines = ["| id | test | count | failures | seconds |", "|---|---|---|---|---|"]
    failed = 0
    for row in PLAN:
        if wanted and row.id not in wanted:
            continue
        count, failures, seconds = run(row)
        failed += failures
        lines.append(f"| {row.id} | {row.what} | {count} | {failures} | {seconds:.0f} |")
        print(lines[-1], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    head = f"{time.strftime('%Y-%m-%d')}, commit {commit.strip()}, Python {sys.version.split()[0]}:\n"
    table = "\n".join([MARKS[0], "", head, *lines, "", MARKS[1]])
    print("\n".join(lines))
    if not wanted:
        page = PAGE.read_text()
        PAGE.write_text(re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: table, page, flags=re.DOTALL))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

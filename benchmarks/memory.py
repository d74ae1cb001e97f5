"""Data larger than memory: peak memory and speed of training on the disk and in memory, under a limit that is enforced.

    python benchmarks/memory.py --folder FOLDER [--gib 3] [--limit 1024] [--only NAME]

Makes a .npy data set of so many GiB in FOLDER (float32, 100 columns, two classes) and a CSV file of a third of them,
trains, converts and predicts in child processes, and prints a table. What is measured of a child:

- limit: RLIMIT_AS, so the kernel refuses every byte of address space beyond it (program, libraries and threads
  included); a mapping of a file would count in full, its pages in the system's cache do not.
- peak: VmHWM, the most resident memory at any instant (file pages that are mapped included), as `wait4` reports it.
- own: the largest RssAnon seen (memory that belongs to the process alone), looked at every 10 ms.
- rows/s: training rows per second of the fastest epoch, evaluation and reading before training left out; for other
  commands, rows per second of the whole command, its start included.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLUMNS = 100
BLOCK = 100_000
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """What a child did: exit code, seconds, peak and own memory in bytes, its last line on stderr."""

    code: int
    seconds: float
    peak: int
    own: int
    said: str


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--gib", type=float, default=3.0)
    options.add_argument("--limit", type=int, default=1024, help="MiB of address space for the child")
    options.add_argument("--only", choices=("arrays", "small", "csv"), default=None)
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    print("| data | command | inputs | limit MiB | result | peak MiB | own MiB | s | rows/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    if given.only in (None, "arrays"):
        arrays(given.folder, given.gib, given.limit)
    if given.only in (None, "small"):
        small(given.folder)
    if given.only in (None, "csv"):
        tables(given.folder, given.gib / 3, given.limit)


def arrays(folder: Path, gib: float, limit: int) -> None:
    """Larger than the limit: on the disk it trains, in memory it is refused."""
    rows = make_arrays(folder / "large", gib)
    name = f".npy {gib:g} GiB, {rows:,} rows"
    for memory in ("memmap", "ram"):
        trained(name, folder / "large", memory, limit, 2)
    run = folder / "large" / "run-memmap"
    done = child(["predict", str(run), str(folder / "large/x.npy"), "-o", str(folder / "p.csv"), "--force"], limit)
    show(name, "predict", "-", limit, done, rows / done.seconds)
    done = child(["eval", str(run)], limit)
    show(name, "eval", "-", limit, done, rows / done.seconds)


def small(folder: Path) -> None:
    """Small enough for memory: what leaving it on the disk costs."""
    rows = make_arrays(folder / "small", 0.25)
    for memory in ("ram", "memmap"):
        trained(f".npy 0.25 GiB, {rows:,} rows", folder / "small", memory, None, 3)


def tables(folder: Path, gib: float, limit: int) -> None:
    """A text table: converted, then trained on."""
    path, converted = folder / "large.csv", folder / "converted"
    rows = make_csv(path, gib)
    name = f"CSV {gib:g} GiB, {rows:,} rows"
    done = child(["convert", str(path), "-o", str(converted), "--target", "y", "--force"], limit // 2)
    show(name, "convert", "-", limit // 2, done, rows / done.seconds)
    config = folder / "converted.yaml"
    config.write_text(f"data: {{train: {converted}, target: y, memory: memmap, task: binary}}\n{TRAINING}")
    trained_with(name, config, "memmap", 3 * limit // 4, folder / "run-csv", 1)


def make_arrays(folder: Path, gib: float) -> int:
    """x.npy and y.npy, written in blocks; the number of rows."""
    rows = int(gib * (1 << 30)) // (4 * COLUMNS)
    folder.mkdir(exist_ok=True)
    (folder / "c.yaml").write_text(f"data:\n  train: {{x: {folder}/x.npy, y: {folder}/y.npy}}\n{TRAINING}")
    if (folder / "y.npy").exists() and (folder / "x.npy").stat().st_size == 128 + 4 * rows * COLUMNS:
        return rows
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (rows, COLUMNS))
    y, rng = np.empty(rows, np.int64), np.random.default_rng(0)
    for start in range(0, rows, BLOCK):
        block = rng.standard_normal((min(BLOCK, rows - start), COLUMNS), np.float32)
        x[start : start + len(block)] = block
        y[start : start + len(block)] = block[:, 0] * block[:, 1] + block[:, 2] > 0
    np.save(folder / "y.npy", y)
    del x
    return rows


def make_csv(path: Path, gib: float) -> int:
    """Numbers of six digits and a column of words; blocks of 10,000 rows that differ in their order only."""
    rng = np.random.default_rng(0)
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), ("red", "green", "blue")[i % 3], str(int(row[0] > 0))]) + "\n"
        for i, row in enumerate(rng.standard_normal((10_000, 30)))
    ]
    header = ",".join([*(f"x{i}" for i in range(30)), "colour", "y"]) + "\n"
    size, rows = int(gib * (1 << 30)), 0
    with path.open("w") as file:
        file.write(header)
        while file.tell() < size:
            file.write("".join(lines[i] for i in rng.permutation(len(lines))))
            rows += len(lines)
    return rows


TRAINING = """model: {hidden: [64, 64]}
train: {batch_size: 1024, epochs: 2, preflight: quick}
kernels: numpy
threads: 1
"""


def trained(name: str, folder: Path, memory: str, limit: int | None, epochs: int) -> None:
    """Train and show a line."""
    trained_with(name, folder / "c.yaml", memory, limit, folder / f"run-{memory}", epochs)


def trained_with(name: str, config: Path, memory: str, limit: int | None, run: Path, epochs: int) -> None:
    shutil.rmtree(run, ignore_errors=True)
    words = ["train", str(config), f"data.memory={memory}", "-o", str(run), "-e", str(epochs)]
    done, speed = child(words, limit), 0.0
    if done.code == 0:
        with (run / "metrics.csv").open() as file:
            speed = max(float(row["rows_per_second"]) for row in csv.DictReader(file))
    show(name, "train", memory, limit, done, speed)


def child(words: list[str], limit: int | None) -> Measured:
    """Run mlpbp in a child under a limit of address space (MiB), and watch its memory."""

    def confine() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit * MIB, limit * MIB))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    with tempfile.TemporaryFile() as said:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "mlpbp", "-q", *words],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
            preexec_fn=confine,
        )
        own = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            own = max(own, rss_anon(process.pid))
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    return Measured(process.returncode, seconds, usage.ru_maxrss * 1024, own, text.splitlines()[-1] if text else "")


def rss_anon(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def show(name: str, command: str, inputs: str, limit: int | None, done: Measured, speed: float) -> None:
    result = "done" if done.code == 0 else f"exit {done.code}: {json.dumps(done.said[:110])}"
    numbers = f"{done.peak / MIB:,.0f} | {done.own / MIB:,.0f} | {done.seconds:.1f} | {speed:,.0f}"
    print(f"| {name} | {command} | {inputs} | {'-' if limit is None else limit} | {result} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()

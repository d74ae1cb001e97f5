"""What folds and searches cost besides their trainings: `mlpbp cv` and `mlpbp sweep` beside a loop of the same runs.

    python benchmarks/search.py [--rows 20000] [--epochs 30] [--times 3]

The loop is one process that imports what it needs and carries out the same runs, one after another, with the same one
thread. Seconds from start to end of each process, and those of the processor, which other work on the machine changes
less; both are the least of several times, taken in turns.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

COLUMNS, FOLDS = 20, 5
RATES = ("1e-3", "3e-3", "1e-2", "3e-2")
CONFIG = """
data: {{train: train.csv, target: y}}
model: {{hidden: [64, 64]}}
train: {{epochs: {epochs}}}
threads: 1
"""
LOOP = """
import sys
from pathlib import Path
from mlp_core.config import load
from mlp_core.runs.run import Run
for k, words in enumerate(sys.argv[1:]):
    path = Path("c.yaml")
    for _ in Run.start(load(path, words.split()), path.read_bytes(), Path(f"loop/{k}")).execute():
        pass
"""
SWEEP = ("sweep", "c.yaml", f"optimizer.lr=[{','.join(RATES)}]", "--sampler", "grid", "--no-prune", "-o", "sweep")
CV = ("cv", "c.yaml", "-k", str(FOLDS), "-o", "cv")
LOOPS = {
    "cv": [f"data.split.folds={FOLDS} data.split.fold={k + 1}" for k in range(FOLDS)],
    "sweep": [f"optimizer.lr={rate}" for rate in RATES],
}


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """How long a command takes, on the clock and on the processor, with its children."""
    for name in ("loop", "cv", "sweep"):
        shutil.rmtree(folder / name, ignore_errors=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        X = rng.normal(size=(asked.rows, COLUMNS))
        table = np.column_stack([X, X[:, 0] * X[:, 1] + X[:, 2] > 0])
        head = ",".join([*(f"x{k}" for k in range(COLUMNS)), "y"])
        np.savetxt(folder / "train.csv", table, "%.6g", ",", header=head, comments="")
        (folder / "c.yaml").write_text(CONFIG.format(epochs=asked.epochs))
        print(f"load {os.getloadavg()[0]:.1f}\n")
        print("| what | trainings | clock | processor | beside the loop |\n|---|---|---|---|---|")
        for kind, words in {"cv": CV, "sweep": SWEEP}.items():
            ways = {
                "a loop of them": ["-c", LOOP, *LOOPS[kind]],
                f"mlpbp {kind} -j 1": ["-m", "mlpbp", *words, "-j", "1"],
                f"mlpbp {kind} -j 2": ["-m", "mlpbp", *words, "-j", "2"],
            }
            found = {way: [(1e9, 1e9)] for way in ways}
            for _ in range(asked.times):
                for way, command in ways.items():
                    found[way].append(seconds(command, folder))
            least = {way: [min(one) for one in zip(*times, strict=True)] for way, times in found.items()}
            clock, processor = least["a loop of them"]
            for way, (mine, own) in least.items():
                beside = f"{mine / clock:.2f} x, processor {own / processor:.2f} x ({own - processor:+.2f} s)"
                print(f"| {way} | {len(LOOPS[kind])} | {mine:.2f} s | {own:.2f} s | {beside} |", flush=True)


if __name__ == "__main__":
    main()

"""Several workers: what sharing a step out gains, what it costs to talk, and a model of more machines than there are.

`python benchmarks/workers.py` measures, side by side, a step of one worker with two threads and no shards, of one with
one thread and 8 shards, and of two of those (needs the extra `mpi` and an MPI). `python benchmarks/workers.py model`
prints the expected speed-up of 16 and 256 workers, and how well the same formula tells what was measured.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

CASES = {
    "small": (784, "[128]", 10, 128, "plain"),
    "medium": (784, "[512, 512]", 10, 128, "plain"),
    "tall": (784, "[512, 512]", 10, 1024, "plain"),
    "large": (784, "[2048, 2048]", 10, 256, "plain"),
    "strong": (20, "[256, 256, 256]", 2, 256, "strong"),
}
"""Inputs, hidden layers, classes, batch, recipe."""
ROUNDS, SECONDS, FEWEST = 3, 2.0, 10


def measure(case: str, shards: int, threads: int) -> None:
    """In a worker: the seconds of a step, of processor time in it, of waiting for others, and the bytes sent in it."""
    from mlp_core.config.loader import from_text
    from mlp_core.training.experiment import Experiment
    from mlp_core.workers.launch import launched
    from mlp_core.workers.world import ALONE

    if launched() is None:
        world = ALONE
    else:
        from mlp_core.workers.mpi import Mpi

        world = Mpi()
    inputs, hidden, classes, batch, recipe = CASES[case]
    folder = Path(os.environ["WORKERS_DATA"])
    config = from_text(
        f"recipe: {recipe}\n"
        f"data: {{train: {{x: {folder}/x{inputs}.npy, y: {folder}/y{classes}.npy}}, task: multiclass}}\n"
        f"model: {{hidden: {hidden}}}\noptimizer: {{name: adam}}\nthreads: {threads}\n"
        f"train: {{epochs: 1000000, batch_size: {batch}, shards: {shards}, preflight: off, early_stopping: false}}\n",
        "case",
        [],
    )
    experiment = Experiment.build(config, world=world)
    steps, trainer = 0, experiment.trainer
    begun, busy, first = math.inf, 0.0, 0
    for event in trainer.run():
        if not hasattr(event, "loss") or event.step != trainer.progress.step:
            continue
        if begun == math.inf:
            world.sent, world.seconds, first, begun = 0, 0.0, event.step, time.perf_counter()
            busy = time.process_time()
        steps = event.step - first
        if steps >= FEWEST and world.agreed(time.perf_counter() - begun > SECONDS):
            break
    took, busy = time.perf_counter() - begun, time.process_time() - busy
    size = experiment.model.network.parameters.theta.nbytes
    if world.writes:
        found = {
            "step": took / steps,
            "busy": busy / steps,
            "waiting": world.seconds / steps,
            "sent": world.sent / steps,
            "vector": size,
        }
        print(json.dumps(found), flush=True)


def one(case: str, workers: int, shards: int, threads: int) -> dict[str, float]:
    from mlp_core.workers.launch import find_mpiexec

    mpiexec = find_mpiexec()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for library in (mpiexec.parent.parent / "lib").glob("libmpi.so.*"):
        environment.setdefault("MPI4PY_LIBMPI", str(library))
    start = [str(mpiexec), "-n", str(workers)] if workers > 1 else []
    command = [*start, sys.executable, __file__, "measure", case, str(shards), str(threads)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.loads(told.splitlines()[-1])


def table(cases: list[str]) -> None:
    """Every way in turn, several rounds; medians."""
    from mlp_core.workers.tree import least_bytes

    print(
        "| network | whole, 2 threads | shards, 1 worker | 2 workers | gain | waiting | sent / least | busy ms: 1, 2 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        rounds = [[one(case, 1, 1, 2), one(case, 1, 8, 1), one(case, 2, 8, 1)] for _ in range(ROUNDS)]
        whole, single, double = (median(found[way]["step"] for found in rounds) for way in range(3))
        last = [found[2] for found in rounds]
        share = median(found["waiting"] / found["step"] for found in last)
        sent = last[0]["sent"] / least_bytes(2, last[0]["vector"])
        ways = " | ".join(f"{1 / seconds:,.0f}" for seconds in (whole, single, double))
        busy = ", ".join(f"{1e3 * median(found[way]['busy'] for found in rounds):.2f}" for way in (1, 2))
        print(f"| {case} | {ways} | {single / double:.2f} | {share:.0%} | {sent:.3f} | {busy} |", flush=True)


MEASURED = {(128, 1): 23.75e-3, (1024, 1): 49.34e-3, (128, 2): 15.92e-3, (1024, 2): 32.13e-3}
"""Seconds of processor time in a step of 784-512-512-10 over 8 shards, by batch and workers, on a busy machine."""
VECTOR = 4 * 669_706.0  # its gradient, in bytes
HERE = 4e9  # bytes a second through shared memory, 2 workers


@dataclass(frozen=True)
class Step:
    """A step in seconds: of a row of a batch, of a shard beside its rows, and of what every worker does for itself."""

    row: float
    shard: float
    fixed: float

    def seconds(self, batch: int, workers: int, bandwidth: float, latency: float, shards: int = 8) -> float:
        """Rows and shards are shared out, what is fixed is not; halves are exchanged in log2 N rounds, sums in as many;
        losses and the question whether to stop are two messages more, of as many rounds."""
        rounds = math.log2(workers)
        talking = 2 * VECTOR * (workers - 1) / workers / bandwidth + 4 * rounds * latency
        return (self.row * batch + self.shard * max(shards, workers)) / workers + self.fixed + talking


def fitted() -> Step:
    """The three numbers of a step from three of what was measured."""
    row = (MEASURED[1024, 1] - MEASURED[128, 1]) / (1024 - 128)
    shard = (MEASURED[128, 1] - MEASURED[128, 2] - 64 * row + VECTOR / HERE) / 4
    return Step(row, shard, MEASURED[128, 1] - 128 * row - 8 * shard)


def model() -> None:
    """What the formula says of the fourth measurement, and of many workers with a thread each."""
    step = fitted()
    told, found = step.seconds(1024, 2, HERE, 5e-6), MEASURED[1024, 2]
    print(f"row {step.row * 1e6:.1f} us, shard {step.shard * 1e3:.2f} ms, fixed {step.fixed * 1e3:.2f} ms")
    print(f"batch 1,024, 2 workers: {told * 1e3:.1f} ms by the formula, {found * 1e3:.1f} ms measured\n")
    print("| between workers | batch | 16 workers | 256 workers | best number |")
    print("|---|---|---|---|---|")
    for gigabits in (25, 100):
        bandwidth, latency = gigabits * 1e9 / 8, 20e-6
        for batch in (1024, 4096, 16_384, 65_536):
            alone = step.seconds(batch, 1, bandwidth, latency)
            gains = {2**k: alone / step.seconds(batch, 2**k, bandwidth, latency) for k in range(11)}
            best = max(gains, key=lambda n: gains[n])
            print(
                f"| {gigabits} Gbit/s | {batch:,} | {gains[16]:.1f} | {gains[256]:.1f} | {best} ({gains[best]:.1f}) |"
            )


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    if sys.argv[1:2] == ["model"]:
        model()
        return
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKERS_DATA"] = folder
        rng = np.random.default_rng(0)
        for inputs in {case[0] for case in CASES.values()}:
            np.save(Path(folder, f"x{inputs}.npy"), rng.standard_normal((8192, inputs)).astype(np.float32))
        for classes in {case[2] for case in CASES.values()}:
            np.save(Path(folder, f"y{classes}.npy"), rng.integers(0, classes, 8192))
        table(sys.argv[1:] or list(CASES))


if __name__ == "__main__":
    main()

"""Several workers: what sharing a step out gains, what it costs to talk, and a model of more machines than there are.

`python benchmarks/workers.py` prints the tables of `docs/workers.md`. First, side by side, steps of one process without
shards, of one over 8 shards with as many threads, and of one and two workers with a thread each (needs the extra `mpi`
and an MPI). Then, by a formula whose numbers come from those, the speed-up that many workers should have. With the word
`overlap` it measures whether it pays to send a part of the gradient while the rest is made.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

CASES = {
    "small": (784, "[128]", 10, 128, "plain"),
    "medium": (784, "[512, 512]", 10, 128, "plain"),
    "tall": (784, "[512, 512]", 10, 1024, "plain"),
    "large": (784, "[2048, 2048]", 10, 256, "plain"),
    "strong": (20, "[256, 256, 256]", 2, 256, "strong"),
}
"""Inputs, hidden layers, classes, batch, recipe."""
WAYS = ((1, 1, 2), (1, 8, 2), (1, 8, 1), (2, 8, 1))
"""Workers, shards, threads of each."""
ROUNDS, SECONDS, FEWEST = 3, 2.0, 10


def here() -> Any:
    """The workers that this process is one of."""
    from mlp_core.workers.launch import launched
    from mlp_core.workers.world import ALONE

    if launched() is None:
        return ALONE
    from mlp_core.workers.mpi import Mpi

    return Mpi()


def measure(case: str, shards: int, threads: int) -> None:
    """In a worker: the seconds of a step, of processor time in it, of waiting for others, and the bytes sent in it."""
    from mlp_core.config.loader import from_text
    from mlp_core.training.experiment import Experiment

    world, (inputs, hidden, classes, batch, recipe) = here(), CASES[case]
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
        found = {"step": took, "busy": busy, "waiting": world.seconds, "sent": world.sent}
        print(json.dumps({name: value / steps for name, value in found.items()} | {"vector": size}), flush=True)


def started(workers: int, threads: int, *words: str) -> Any:
    """What so many workers of this file print in the end."""
    from mlp_core.workers.launch import find_mpiexec

    mpiexec = find_mpiexec()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for library in (mpiexec.parent.parent / "lib").glob("libmpi.so.*"):
        environment.setdefault("MPI4PY_LIBMPI", str(library))
    start = [str(mpiexec), "-n", str(workers)] if workers > 1 else []
    command = [*start, sys.executable, __file__, *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(cases: list[str]) -> dict[str, list[dict[str, float]]]:
    """Every way in turn, several rounds; medians, which are also given back for each case and way."""
    heads = "network", "batch", "no shards, 2 threads", "8 shards, 2 threads", "1 worker", "2 workers", "gain"
    print(f"| {' | '.join(heads)} | waiting | sent |\n{'|---' * 9}|")
    known = {}
    for case in cases:
        inputs, hidden, classes, batch, recipe = CASES[case]
        rounds = [[started(n, t, "measure", case, str(s), str(t)) for n, s, t in WAYS] for _ in range(ROUNDS)]
        found = [list(runs) for runs in zip(*rounds, strict=True)]
        ways = [{name: median(run[name] for run in runs) for name in runs[0]} for runs in found]
        known[case] = ways
        name = f"{inputs}-{hidden.strip('[]').replace(', ', '-')}-{classes}"
        speeds = " | ".join(f"{1 / way['step']:,.0f}" for way in ways)
        gain, waiting = ways[2]["step"] / ways[3]["step"], ways[3]["waiting"] / ways[3]["step"]
        sent = ways[3]["sent"] / ways[3]["vector"]  # which is the least that each of two must send
        name = name if recipe == "plain" else f"{recipe}, {name}"
        print(f"| {name} | {batch:,} | {speeds} | {gain:.2f} | {100 * waiting:.0f} % | {sent:.3f} |", flush=True)
    return known


HERE = 4e9  # bytes a second through shared memory, 2 workers


@dataclass(frozen=True)
class Step:
    """A step in seconds: of a row of a batch, and of what every worker does for itself; the bytes of its gradient."""

    row: float
    fixed: float
    vector: float

    def seconds(self, batch: int, workers: int, bandwidth: float, latency: float) -> float:
        """Rows are shared out, what is fixed is not; halves are exchanged in log2 N rounds, sums in as many; losses and
        the question whether to stop are two messages more, of as many rounds."""
        talking = 2 * self.vector * (workers - 1) / workers / bandwidth + 4 * math.log2(workers) * latency
        return self.row * batch / workers + self.fixed + talking


def model(known: dict[str, list[dict[str, float]]]) -> None:
    """The formula, from the processor time of one worker at two sizes of a batch, held against that of two workers at
    the larger one; and what it says of many workers with a thread each."""
    few, many = (known[case][2] for case in ("medium", "tall"))
    sizes = CASES["medium"][3], CASES["tall"][3]
    row = (many["busy"] - few["busy"]) / (sizes[1] - sizes[0])
    step = Step(row, max(0.0, few["busy"] - sizes[0] * row), few["vector"])  # noise may be larger than it
    print(f"\na = {1e6 * row:.1f} us, f = {1e3 * step.fixed:.2f} ms; a batch of {sizes[1]:,}, two workers: ", end="")
    print(f"{1e3 * step.seconds(sizes[1], 2, HERE, 5e-6):.1f} ms by the formula, ", end="")
    print(f"{1e3 * known['tall'][3]['busy']:.1f} ms measured\n")
    print("| between workers | batch | 16 workers | 256 workers | best number of workers |")
    print("|---|---|---|---|---|")
    for gigabits in (25, 100):
        bandwidth, latency = gigabits * 1e9 / 8, 20e-6
        for batch in (1024, 4096, 16_384, 65_536):
            alone = step.seconds(batch, 1, bandwidth, latency)
            gains = {2**k: alone / step.seconds(batch, 2**k, bandwidth, latency) for k in range(11)}
            best = max(gains, key=lambda n: gains[n])
            said = f"{best:,}" if best < 1024 else "1,024 and more"
            print(f"| {gigabits} Gbit/s | {batch:,} | {gains[16]:.1f} | {gains[256]:.1f} | {said} |")


def overlap() -> None:
    """In one of two workers: seconds of the last product of a step, that of the first layer of `tall`, of the sum over
    workers, of one after the other, and of both where the sum of the upper layers begins before that product."""
    import numpy as np

    from mlp_core.backends.cpu import program as do
    from mlp_core.backends.cpu.crew import Crew
    from mlp_core.workers.tree import add_across

    world, crew, rng = here(), Crew(1), np.random.default_rng(0)
    inputs, units, rows = 784, 512, 512
    X, Delta = (rng.standard_normal((rows, n)).astype(np.float32) for n in (inputs, units))
    lower, upper = inputs * units, 512 * 512 + 512 * 10 + 512 * 2 + 10
    vector, room = (np.zeros(lower + upper, np.float32) for _ in range(2))
    ends = np.array([rows // 4 * (i + 1) for i in range(4)])
    dW = vector[:lower].reshape(units, inputs)
    records = [do.product(Delta[i : i + 256].T, X[i : i + 256], dW, crew.scratch, ends=ends[:2]) for i in (0, 256)]
    product = do.assemble(crew.library, records)
    halves = [slice(lower, lower + upper // 2), slice(lower + upper // 2, lower + upper)]
    mine, theirs = halves if world.rank == 0 else halves[::-1]

    def begun_before() -> None:
        there, comm = 1 - world.rank, world._comm
        requests = [comm.Irecv(room[mine], there, 9), comm.Isend(vector[theirs], there, 9)]
        crew.run(product)
        world._wait(requests)
        vector[mine] += room[mine]
        world.exchange(1 - world.rank, vector[mine], vector[theirs])
        add_across(world, vector[:lower], room[:lower])

    def one_after_the_other() -> None:
        crew.run(product)
        add_across(world, vector, room)

    ways: dict[str, Callable[[], Any]] = {
        "the product": lambda: crew.run(product),
        "the sum": lambda: add_across(world, vector, room),
        "one after the other": one_after_the_other,
        "begun before": begun_before,
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(60):
        for name, way in ways.items():
            world.numbers([0.0])
            start = time.perf_counter()
            way()
            took[name].append(time.perf_counter() - start)
            vector[:] = 0
    if world.writes:
        print(json.dumps({name: median(seconds) for name, seconds in took.items()}))


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:] == ["overlap", "here"]:
        overlap()
    elif sys.argv[1:] == ["overlap"]:
        found = started(2, 1, "overlap", "here")
        print(", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in found.items()))
    else:
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            os.environ["WORKERS_DATA"] = folder
            rng = np.random.default_rng(0)
            for inputs in {case[0] for case in CASES.values()}:
                np.save(Path(folder, f"x{inputs}.npy"), rng.standard_normal((8192, inputs)).astype(np.float32))
            for classes in {case[2] for case in CASES.values()}:
                np.save(Path(folder, f"y{classes}.npy"), rng.integers(0, classes, 8192))
            known = table(sys.argv[1:] or list(CASES))
        if {"medium", "tall"} <= known.keys():
            model(known)


if __name__ == "__main__":
    main()

"""Every peer on the same training in the same session: what a step costs, what it takes, how soon a network is good.

    python benchmarks/cpu.py steps [--cases tiny,small] [--peers ours,torch] [--rounds 7] [--clock processor]
    python benchmarks/cpu.py accuracy [--mnist FOLDER] [--rounds 3]
    python benchmarks/cpu.py table              600 rows of a CSV file, 256 epochs, from start to end, beside PyTorch
    python benchmarks/cpu.py scaling            time per step against batch, width, depth; per epoch against rows
    python benchmarks/cpu.py neighbours         a step beside zero, one and two busy processes

Each peer is a process of its own that waits while the others work; rounds take turns, and medians are compared.
Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import CASES, PEERS

from mlp_core.machine import environment
from mlp_core.nn.network import Architecture, Block, parameter_count

HERE = Path(__file__).parent
NEEDS = {"torch": "torch", "compiled": "torch", "jax": "jax", "sklearn": "sklearn"}
ROUND_SECONDS = 0.3
EPOCH = 32  # steps in an epoch of every case; some peers know only whole epochs


class Worker:
    """A peer in a process of its own, warm and waiting."""

    def __init__(self, name: str, case: str, threads: int, clock: str = "wall") -> None:
        count = str(threads)
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "peers.py"), name, case, count, clock],
            env={**os.environ, **dict.fromkeys(variables, count), "JAX_PLATFORMS": "cpu"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer("ready")
        self.steps = EPOCH
        self.steps = EPOCH * max(1, round(ROUND_SECONDS / max(self.seconds(), 1e-9)))

    def _answer(self, expected: str | None = None) -> str:
        line = self.process.stdout.readline().strip()  # type: ignore[union-attr]
        if not line or (expected and line != expected):
            raise RuntimeError(f"{self.process.args} broke off")
        return line

    def ask(self, line: str) -> float:
        self.process.stdin.write(line + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return float(self._answer())

    def seconds(self) -> float:
        """Seconds of one round."""
        return self.ask(str(self.steps))

    def microseconds(self) -> float:
        """Microseconds per step over one round."""
        return 1e6 * self.seconds() / self.steps

    def memory(self) -> float:
        return self.ask("memory")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def installed(names: list[str]) -> list[str]:
    return [name for name in names if name not in NEEDS or importlib.util.find_spec(NEEDS[name])]


def take_turns(workers: dict[str, Worker], rounds: int) -> dict[str, list[float]]:
    """Microseconds per step of every worker and round; whoever begins a round ends the next one."""
    names = list(workers)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            times[name].append(workers[name].microseconds())
    return times


def bandwidth(size: int) -> float:
    """Bytes per microsecond that a copy of `size` bytes reads and writes."""
    source = np.random.default_rng(0).random(size // 8)
    target, best = np.empty_like(source), float("inf")
    for _ in range(20):
        begun = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - begun)
    return 2e-6 * source.nbytes / best


def parameters(sizes: tuple[int, ...]) -> int:
    from mlp_core.nn.activations import Relu

    return parameter_count(Architecture(sizes[0], sizes[-1], tuple(Block(units, Relu()) for units in sizes[1:-1])))


def one_case(case: str, names: list[str], rounds: int, threads: int, clock: str) -> dict[str, Any]:
    """Times and memory of all peers on one case."""
    workers = {name: Worker(name, case, threads, clock) for name in names}
    try:
        times = take_turns(workers, rounds)
        memory = {name: worker.memory() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    sizes, batch = CASES[case]
    size = 4 * parameters(sizes)
    update = 7 * size / bandwidth(size)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"case": case, "sizes": sizes, "batch": batch, "us": medians, "all": times, "mib": memory, "update": update}


def line_of(result: dict[str, Any]) -> str:
    """One row of the table: microseconds, in brackets how many times our step fits into theirs."""
    us = result["us"]
    ours, floor = us["ours"], us["products"] + result["update"]
    cells = [f"{result['case']}", f"{'-'.join(map(str, result['sizes']))}, {result['batch']}", f"{ours:,.0f}"]
    cells += [
        f"{us[name]:,.0f} ({us[name] / ours:.1f}x)" if name in us else "-" for name in PEERS if name in us and
        name not in ("ours", "products")
    ]  # fmt: skip
    cells += [f"{us['products']:,.0f}", f"{ours / floor:.2f}"]
    cells += [" / ".join(f"{result['mib'][name]:.0f}" for name in ("ours", "numpy", "torch") if name in us)]
    return "| " + " | ".join(cells) + " |"


def steps(options: argparse.Namespace) -> None:
    names = installed(options.peers.split(","))
    if "products" not in names or "ours" not in names:
        raise SystemExit("ours and products are needed for the ratios")
    describe()
    others = [name for name in PEERS if name in names and name not in ("ours", "products")]
    titles = ["case", "sizes, batch", "ours", *others, "products", "ours / floor", "MiB: ours / numpy / torch"]
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles), flush=True)
    results = []
    for case in options.cases.split(","):
        results.append(one_case(case, names, options.rounds, options.threads, options.clock))
        print(line_of(results[-1]), flush=True)
    if options.save:
        options.save.write_text(json.dumps(results))


def describe() -> None:
    """The machine and the versions."""
    facts = environment()
    versions = {"python": facts["python"], "numpy": facts["numpy"], "blas": facts["blas"]}
    for name in ("torch", "jax", "sklearn"):
        if importlib.util.find_spec(name):
            result = subprocess.run(
                [sys.executable, "-c", f"import {name}; print({name}.__version__)"], capture_output=True, text=True
            )
            versions[name] = result.stdout.strip()
    cpu = next((x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")), "unknown")
    load = _lines("/proc/loadavg")[0].split()[0] if _lines("/proc/loadavg") else "unknown"
    print(f"{os.cpu_count()} processors, {cpu}, load {load}; " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def neighbours(options: argparse.Namespace) -> None:
    """A step of ours on one and on several threads, beside processes that never rest."""
    describe()
    print("| case | threads | alone | one neighbour | two neighbours |\n|---|---|---|---|---|")
    for case in options.cases.split(","):
        workers = {threads: Worker("ours", case, threads) for threads in (1, options.threads)}
        times: dict[tuple[int, int], list[float]] = {}
        for count in range(3):
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
            try:
                for _ in range(options.rounds):
                    for threads, worker in workers.items():
                        times.setdefault((threads, count), []).append(worker.microseconds())
            finally:
                for process in busy:
                    process.kill()
                    process.wait()
        for threads in workers:
            alone = statistics.median(times[threads, 0])
            ratios = [statistics.median(times[threads, count]) / alone for count in (1, 2)]
            print(f"| {case} | {threads} | {alone:,.0f} us | {ratios[0]:.1f}x | {ratios[1]:.1f}x |", flush=True)
        for worker in workers.values():
            worker.close()


def scaling(options: argparse.Namespace) -> None:
    """Time against size, with the slope on doubly logarithmic axes: 1 is linear in the work."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot
    from peers import make_ours

    sweeps = {
        "batch": [((784, 256, 256, 10), b) for b in (32, 64, 128, 256, 512, 1024, 2048)],
        "width": [((784, n, n, 10), 256) for n in (64, 128, 256, 512, 1024, 2048)],
        "depth": [((256, *[256] * d, 10), 256) for d in (1, 2, 4, 8, 16, 32)],
    }
    figure, axes = pyplot.subplots(1, 4, figsize=(15, 3.6), layout="constrained")
    for axis, (name, cases) in zip(axes, sweeps.items(), strict=False):
        flops = [batch * (6 * parameters(s) - 2 * s[0] * s[1]) for s, batch in cases]
        runs = [make_ours(sizes, batch, options.threads) for sizes, batch in cases]
        _draw(axis, f"a step against {name}", "floating-point operations", flops, _timed(runs, options.rounds))
    rows = [1000, 4000, 16_000, 64_000, 256_000]
    _draw(axes[3], "an epoch against rows", "rows", rows, _epochs(rows, options))
    path = HERE / "scaling.png"
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def _timed(runs: list[Any], rounds: int) -> list[float]:
    """Seconds per step of each run, in turns."""
    counts = []
    for run in runs:
        run(3)
        begun = time.perf_counter()
        run(3)
        counts.append(max(1, round(0.1 / ((time.perf_counter() - begun) / 3))))
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, count, seconds in zip(runs, counts, times, strict=True):
            begun = time.perf_counter()
            run(count)
            seconds.append((time.perf_counter() - begun) / count)
    return [statistics.median(seconds) for seconds in times]


def _epochs(rows: list[int], options: argparse.Namespace) -> list[float]:
    """Seconds per epoch of a 64-64-10 network in batches of 64."""
    import peers

    runs = []
    for count in rows:
        peers.BATCHES = count // 64
        run, steps = peers.make_ours((64, 64, 10), 64, options.threads), -(-count // 64)
        runs.append(lambda times, run=run, steps=steps: run(times * steps))
    return _timed(runs, options.rounds)


def _draw(axis: Any, title: str, label: str, x: list[int], y: list[float]) -> None:
    slope = np.polyfit(np.log(x[-4:]), np.log(y[-4:]), 1)[0]
    axis.loglog(x, y, "o-")
    axis.loglog(x, [y[-1] * value / x[-1] for value in x], ":", color="grey")
    axis.set(title=f"{title}: slope {slope:.2f}", xlabel=label, ylabel="seconds")
    axis.grid(alpha=0.3)
    print(f"{title}: slope {slope:.2f} over the last four points, {[round(1e6 * t) for t in y]} us", flush=True)


def accuracy(options: argparse.Namespace) -> None:
    """Seconds from the start of the process to the first epoch with this validation accuracy, and its peak memory."""
    describe()
    tasks = {"digits": 0.97} | ({"mnist": 0.975} if options.mnist else {})
    print("| data | goal | " + " | ".join(SCRIPTS) + " |\n|---|" + "---|" * (len(SCRIPTS) + 1))
    for task, goal in tasks.items():
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in SCRIPTS}
        for _ in range(options.rounds):
            for name in SCRIPTS:
                runs[name].append(_until(name, task, goal, options))
        medians = [[statistics.median(column) for column in zip(*values, strict=True)] for values in runs.values()]
        cells = [f"{seconds:.2f} s, {mib:.0f} MiB" for seconds, mib in medians]
        print(f"| {task} | {goal:.1%} | " + " | ".join(cells) + " |", flush=True)


SCRIPTS = ("ours", "torch", "jax", "sklearn")


def _until(name: str, task: str, goal: float, options: argparse.Namespace) -> tuple[float, float]:
    """Start a training from nothing, and read its lines until one says that the goal is reached: seconds and MiB."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "ours":
            files = "mnist.yaml" if task == "mnist" else "digits.yaml"
            more = (
                [f"data.{part}.{axis}={options.mnist}/{file}" for part, axis, file in MNIST] if task == "mnist" else []
            )
            plain = ["model.dropout=0", "regularization.input_noise=0"] if task == "digits" else []
            command = [
                "-m",
                "mlpbp",
                "train",
                str(HERE.parent / "configs" / files),
                "-o",
                f"{folder}/run",
                *more,
                *plain,
            ]
            command += ["schedule.name=constant", "--no-progress", "optimizer.lr=1e-3", *SHAPES[task]]
        else:
            command = [str(HERE / "scripts.py"), name, task, *([str(options.mnist)] if task == "mnist" else [])]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in process.stdout:  # type: ignore[union-attr]
            words = line.split()
            if "val_accuracy" in words and float(words[words.index("val_accuracy") + 1].rstrip("%")) >= 100 * goal:
                seconds = time.perf_counter() - begun
                process.kill()
                return seconds, _peak(process)
        process.wait()
        return float("nan"), float("nan")


def table(options: argparse.Namespace) -> None:
    """Wall and processor seconds of a whole training on a small table, from the start of the process to its end."""
    describe()
    keys = ["model.hidden=[256, 256, 256]", "model.dropout=0.15", "train.batch_size=128", "train.epochs=256"]
    keys += [
        "optimizer.lr=1e-3",
        "train.early_stopping=false",
        "recipe=plain",
        "data.split.test=0",
        "data.split.val=0.2",
    ]
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((600, 20))
        rows = np.column_stack([X, X @ rng.standard_normal(20) > 0])
        names = ",".join([*(f"x{i}" for i in range(20)), "y"])
        np.savetxt(f"{folder}/table.csv", rows, ["%.6f"] * 20 + ["%d"], ",", header=names, comments="")
        ours = ["-m", "mlpbp", "train", f"{folder}/table.csv", "--target", "y", "--no-progress", *keys]
        commands = {"ours": ours, "torch": [str(HERE / "scripts.py"), "torch", "table", folder]}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(_whole([sys.executable, *command], options.threads, folder))
    print("| 600 x 20, 256-256-256 with dropout, batch 128, 256 epochs | wall s | processor s |\n|---|---|---|")
    for name, values in times.items():
        wall, processor = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {name} | {wall:.2f} | {processor:.2f} |", flush=True)


def _whole(command: list[str], threads: int, folder: str) -> tuple[float, float]:
    """Wall and processor seconds of a process that works in this folder."""
    begun, before = time.perf_counter(), os.times()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, env=environment, cwd=folder, check=True, **silent)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, used


def _peak(process: subprocess.Popen[str]) -> float:
    """MiB that a process which has been killed held at most."""
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # so that nobody waits for it again
    return float(usage.ru_maxrss / 1024)


MNIST = (
    ("train", "x", "train-images-idx3-ubyte.gz"),
    ("train", "y", "train-labels-idx1-ubyte.gz"),
    ("test", "x", "t10k-images-idx3-ubyte.gz"),
    ("test", "y", "t10k-labels-idx1-ubyte.gz"),
)
SHAPES = {
    "digits": ["model.hidden=[256, 256]", "train.batch_size=64", "train.epochs=40"],
    "mnist": ["model.hidden=[512, 512]", "train.batch_size=128", "train.epochs=10"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "accuracy", "table", "scaling", "neighbours"])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="processor: for busy machines")
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    choices = {"steps": steps, "accuracy": accuracy, "table": table, "scaling": scaling, "neighbours": neighbours}
    choices[options.what](options)


if __name__ == "__main__":
    main()

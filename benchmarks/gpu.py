"""Steps per second on a GPU, ours and PyTorch's, at equal precision; one command of under ten minutes.

    python benchmarks/gpu.py             on a machine with an NVIDIA GPU, `mlpbp[cuda12]` and PyTorch
    python benchmarks/gpu.py --dry       everything but the GPU: small networks on the CPU, the same programs and checks

Work: shuffled batches gathered on the device, ReLU, softmax cross-entropy, Adam, float32 without TF32, on the network
784-512-512-10. Everybody starts from the same weights and sees the same batches; before anything is timed the mean
losses of two epochs must be those of the engine on the CPU. Every program runs in a process of its own, its rate is the
median of five rounds, and a round ends when the device has finished. Prints a table for benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

LIMIT, ROUNDS, EPOCHS, BATCHES, RATE = 570.0, 5, 2, 8, 1e-3
CLOSE = 2e-4  # relative, of a mean loss over an epoch in float32
WORKERS = ("gemms", "ours", "ours, no kernels", "torch", "torch compiled")


@dataclass(frozen=True)
class Work:
    """What is trained: widths from the inputs to the classes, rows per batch, seconds per round, on the CPU if dry."""

    widths: tuple[int, ...]
    batch: int
    seconds: float
    dry: bool

    @property
    def parameters(self) -> int:
        return sum(n * m + m for n, m in zip(self.widths, self.widths[1:], strict=False))

    @property
    def flops(self) -> float:
        """Of the matrix products of a step; the first layer has no gradient to its inputs."""
        products = [n * m for n, m in zip(self.widths, self.widths[1:], strict=False)]
        return self.batch * (6.0 * sum(products) - 2.0 * products[0])

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a class that depends on them, so that gradients neither vanish nor explode."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((BATCHES * self.batch, self.widths[0]), dtype=np.float32)
        Y = (X @ rng.standard_normal((self.widths[0], self.widths[-1]), dtype=np.float32)).argmax(axis=1)
        return X, Y.astype(np.int64)


def works(dry: bool) -> list[Work]:
    if dry:
        return [Work((20, 16, 12, 10), batch, 0.02, True) for batch in (8, 32)]
    return [Work((784, 512, 512, 10), batch, 1.0, False) for batch in (128, 1024, 8192)]


@dataclass
class Program:
    """Something that trains: `epoch` gives its mean loss, `steps` makes some and waits until they are done."""

    epoch: Callable[[], float] | None
    steps: Callable[[int], None]
    about: str


def make_trainer(work: Work, backend: Any) -> Any:
    """The engine's own trainer, as `mlpbp train` runs it."""
    from mlp_core.activations import Relu
    from mlp_core.batches import Batches
    from mlp_core.losses import CrossEntropy
    from mlp_core.network import Architecture, Block, Network
    from mlp_core.objective import Objective
    from mlp_core.optimizers import OPTIMIZERS
    from mlp_core.schedules import Schedule
    from mlp_core.trainer import Limits, Trainer

    X, Y = work.data()
    hidden = tuple(Block(units, Relu()) for units in work.widths[1:-1])
    network = Network(Architecture(work.widths[0], work.widths[-1], hidden), backend, "float32", work.batch)
    network.initialize(0)
    optimizer = OPTIMIZERS["adam"](network.parameters, backend, beta1=0.9, beta2=0.999, eps=1e-8)
    batches = Batches(backend, backend.asarray(X), backend.asarray(Y), None, size=work.batch)
    schedule = Schedule("constant", RATE, 10**9, batches.count)
    return Trainer(Objective(network, CrossEntropy()), optimizer, schedule, batches, Limits(10**9), 0, dict)


def make_ours(work: Work, fused: bool) -> Program:
    """The engine on cupy, with its fused kernels or with cupy's own operations; dry: on numpy, by the same way."""
    from mlp_core.cuda import Unusable, cuda_backend, device_backend, find_device
    from mlp_core.cuda.detection import cuda
    from mlp_core.events import EpochDone

    if work.dry:
        backend, about = device_backend(np, "dry"), f"numpy {np.__version__}"
    else:
        found = find_device()
        if isinstance(found, Unusable):
            raise SystemExit(f"{found.reason}; {found.fix}")
        backend = cuda_backend(found.index, fused)
        about = f"{found.name}, {cuda(found.runtime)}, cupy {backend.xp.__version__}"
    trainer = make_trainer(work, backend)
    events = trainer.run()

    def steps(count: int) -> None:
        end = trainer.progress.step + count
        while trainer.progress.step < end:
            next(events)
        trainer.settle()  # reads losses, so it waits for the device

    return Program(lambda: next(e for e in events if isinstance(e, EpochDone)).metrics["train_loss"], steps, about)


def make_gemms(work: Work) -> Program:
    """The matrix products of a step, called one by one: no program that calls them so can be faster."""
    xp: Any = np
    if not work.dry:
        import cupy as xp
    pairs = list(zip(work.widths, work.widths[1:], strict=False))
    W = [xp.ones((m, n), dtype=xp.float32) / n for n, m in pairs]  # so that repeated products stay in range
    A = [xp.ones((work.batch, n), dtype=xp.float32) for n in work.widths]
    dW = [xp.empty((m, n), dtype=xp.float32) for n, m in pairs]

    def steps(count: int) -> None:
        for _ in range(count):
            for layer, weights in enumerate(W):
                xp.matmul(A[layer], weights.T, out=A[layer + 1])
            for layer in range(len(W) - 1, -1, -1):
                xp.matmul(A[layer + 1].T, A[layer], out=dW[layer])
                if layer:
                    xp.matmul(A[layer + 1], W[layer], out=A[layer])
        float(dW[0][0, 0])

    return Program(None, steps, "")


def make_torch(work: Work, compiled: bool) -> Program:
    """PyTorch: fused Adam, losses kept on the device, compiled for reduced overhead where asked."""
    import torch

    from mlp_core.backend import numpy_backend
    from mlp_core.random import generator

    device = torch.device("cpu" if work.dry else "cuda")
    torch.set_float32_matmul_precision("highest")
    X, Y = (torch.from_numpy(array).to(device) for array in work.data())
    layers: list[Any] = []
    for n, m in zip(work.widths, work.widths[1:], strict=False):
        layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    values = make_trainer(work, numpy_backend()).objective.network.parameters.values
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in values.items()})
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def forward(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), y)

    if compiled:
        forward = torch.compile(forward, **({"backend": "eager"} if work.dry else {"mode": "reduce-overhead"}))

    def step(rows: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(X[rows], Y[rows])
        loss.backward()
        optimizer.step()
        return loss.detach().clone()

    def orders() -> Iterator[Any]:
        epoch = 0
        while True:
            order = torch.from_numpy(generator(0, "shuffle", epoch).permutation(len(X))).to(device)
            yield from order.split(work.batch)
            epoch += 1

    batches = orders()

    def steps(count: int) -> None:
        for _ in range(count):
            last = step(next(batches))
        last.item()

    mean = lambda: torch.stack([step(next(batches)) for _ in range(BATCHES)]).double().mean().item()  # noqa: E731
    return Program(mean, steps, f"torch {torch.__version__}")


def make(name: str, work: Work) -> Program:
    if name == "gemms":
        return make_gemms(work)
    return make_ours(work, name == "ours") if name.startswith("ours") else make_torch(work, name == "torch compiled")


def worker(name: str, work: Work) -> dict[str, Any]:
    """In a process of its own: the losses of the first epochs, then steps per second, round by round."""
    program = make(name, work)
    losses = [program.epoch() for _ in range(EPOCHS)] if program.epoch else []
    count, rates = 1, []
    while True:  # warm up, and find how many steps fill a round
        started = time.perf_counter()
        program.steps(count)
        passed = time.perf_counter() - started
        if passed > work.seconds / 2:
            break
        count = max(count + 1, min(10 * count, int(count * work.seconds / max(passed, 1e-9))))
    for _ in range(ROUNDS):
        started = time.perf_counter()
        program.steps(count)
        rates.append(count / (time.perf_counter() - started))
    return {
        "losses": losses,
        "rate": statistics.median(rates),
        "spread": max(rates) / min(rates),
        "about": program.about,
    }


def reference(work: Work) -> list[float]:
    """The mean losses of the first epochs on the CPU."""
    from mlp_core.backend import numpy_backend
    from mlp_core.events import EpochDone

    events = make_trainer(work, numpy_backend()).run()
    return [next(e for e in events if isinstance(e, EpochDone)).metrics["train_loss"] for _ in range(EPOCHS)]


def measure(name: str, work: Work, left: float) -> dict[str, Any]:
    """The answer of a worker, or `error`."""
    command = [sys.executable, __file__, "--worker", name, "--batch", str(work.batch), *(["--dry"] if work.dry else [])]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, left))
    except subprocess.TimeoutExpired:
        return {"error": "no time was left"}
    lines = (result.stdout if result.returncode == 0 else result.stderr).strip().splitlines() or ["no answer"]
    return json.loads(lines[-1]) if result.returncode == 0 else {"error": lines[-1][:100]}


def row(work: Work, name: str, answer: dict[str, Any], losses: list[float], rates: dict[str, float]) -> str:
    """A line of the table: rate, what share of the bare products' rate, times PyTorch's, whether the losses agree."""
    if "error" in answer:
        return f"| {work.batch} | {name} | {answer['error']} | | | | |"
    rate, agree = rates[name], "-"
    if answer["losses"]:
        agree = "yes" if np.allclose(answer["losses"], losses, rtol=CLOSE, atol=0) else "NO"
    share = f"{rate / rates['gemms']:.2f}" if "gemms" in rates else ""
    times = f"{rate / rates['torch']:.2f}" if "torch" in rates else ""
    teraflops = f"{rate * work.flops / 1e12:.3g}"
    return f"| {work.batch} | {name} | {rate:,.0f} | {teraflops} | {share} | {times} | {agree} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="small networks on the CPU: a check of this program")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work = next(work for work in works(options.dry) if work.batch == options.batch)
        print(json.dumps(worker(options.worker, work)))
        return 0
    started, failed, about, lines = time.monotonic(), [], {}, []
    for work in works(options.dry):
        losses = reference(work)
        answers = {name: measure(name, work, LIMIT - (time.monotonic() - started)) for name in WORKERS}
        rates = {name: answer["rate"] for name, answer in answers.items() if "rate" in answer}
        for name, answer in answers.items():
            lines.append(row(work, name, answer, losses, rates))
            print(lines[-1], file=sys.stderr, flush=True)
            about |= {answer["about"]: None} if answer.get("about") else {}
            if name.startswith("ours") and not lines[-1].endswith("| yes |"):
                failed.append(f"{name} at batch {work.batch}")
    widths = "-".join(map(str, works(options.dry)[0].widths))
    print(
        f"{datetime.date.today()}, {'; '.join(about)}; {widths}, float32{', DRY, on the CPU' if options.dry else ''}\n"
    )
    print("| batch | program | steps/s | TFLOP/s | of the bare products | times torch | losses as on the CPU |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

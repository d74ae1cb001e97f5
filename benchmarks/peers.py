"""One training program per peer, all on the same work: shuffled batches, ReLU, softmax cross-entropy, Adam, float32.

`python peers.py NAME CASE THREADS [processor]` is a worker: it prints `ready` after its warm-up, then for every number
of steps that comes in on a line of its own the seconds that these steps took (of processor time, if asked for), and for
`memory` its peak memory in MiB.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

CASES = {
    "tiny": ((64, 64, 10), 32),
    "thin": ((784, 128, 10), 32),
    "small": ((784, 128, 10), 128),
    "medium": ((784, 512, 512, 10), 128),
    "tall": ((784, 512, 512, 10), 1024),
    "large": ((784, 2048, 2048, 10), 256),
    "tabular": ((32, 256, 256, 256, 2), 256),
    "three layers": ((20, 256, 256, 256, 2), 128),
    "dropout": ((20, 256, 256, 256, 2), 128),
    "strong 128": ((20, 256, 256, 256, 2), 128),
    "strong": ((20, 256, 256, 256, 2), 256),
}
WAVES = 4
"""Numbers that the periodic embedding of a strong case makes of each input."""
RATE, BATCHES = 1e-3, 32
Run = Callable[[int], None]


def data(sizes: tuple[int, ...], batch: int):
    """Rows with a class that depends on them, so that gradients neither vanish nor explode."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.standard_normal((BATCHES * batch, sizes[0]), dtype=np.float32)
    Y = (X @ rng.standard_normal((sizes[0], sizes[-1]), dtype=np.float32)).argmax(axis=1)
    return X, Y


def make_ours(
    sizes: tuple[int, ...], batch: int, threads: int, kernels: str = "native", strong: bool = False, dropout: float = 0
) -> Run:
    """The engine's own trainer, as `mlpbp train` runs it; `strong` with the ingredients of that recipe."""
    from mlp_core.backends.job import Job
    from mlp_core.data.batches.batches import Batches
    from mlp_core.machine import single_thread_blas
    from mlp_core.nn.activations import Mish, Relu
    from mlp_core.nn.backend import numpy_backend
    from mlp_core.nn.losses import CrossEntropy
    from mlp_core.nn.network import Architecture, Block, Network
    from mlp_core.nn.numeric_embedding import Periodic
    from mlp_core.nn.objective import Objective
    from mlp_core.nn.optimizers import OPTIMIZERS
    from mlp_core.nn.schedules import Schedule
    from mlp_core.nn.step_options import Limits
    from mlp_core.training.events import StepDone
    from mlp_core.training.steps import make_steps
    from mlp_core.training.trainer import Trainer

    if kernels == "native":
        from mlp_core.backends.cpu.steps import native_backend

        backend = native_backend(threads)
    else:
        backend = numpy_backend()
    single_thread_blas()
    X, Y = data(sizes, batch)
    block = Block(0, Mish(), dropout=0.15, parametric=True) if strong else Block(0, Relu(), dropout=dropout)
    hidden = tuple(replace(block, units=units) for units in sizes[1:-1])
    inputs = {"periodic": Periodic(sizes[0], size=WAVES), "input_scale": True, "ntk": True} if strong else {}
    network = Network(Architecture(sizes[0], sizes[-1], hidden, **inputs), backend, "float32", batch)
    network.initialize(0)
    optimizer = OPTIMIZERS["adam"](network.parameters, backend, beta1=0.9, beta2=0.999, eps=1e-8)
    batches = Batches(backend, X, Y, None, size=batch)
    schedule = Schedule("constant", RATE, 10**9, batches.count)
    job = Job(Objective(network, CrossEntropy()), optimizer, batches, Limits(10**9), 0)
    trainer = Trainer(make_steps(job), schedule, dict)
    events = trainer.run()

    def run(steps: int) -> None:
        while steps > 0:
            steps -= isinstance(next(events), StepDone)

    return run


def make_numpy(sizes: tuple[int, ...], batch: int, threads: int, **more: Any) -> Run:
    return make_ours(sizes, batch, threads, "numpy", **more)


def make_torch(sizes: tuple[int, ...], batch: int, threads: int, compiled: bool = False, dropout: float = 0) -> Run:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    X, Y = (torch.from_numpy(array) for array in data(sizes, batch))
    layers: list[nn.Module] = []
    for n, m in pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    model, loss = nn.Sequential(*layers[: -2 if dropout else -1]), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)

    def objective(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(model(x), y)

    if compiled:
        objective = torch.compile(objective)

    def run(steps: int) -> None:
        done = 0
        while done < steps:
            order = torch.randperm(len(X))
            for start in range(0, len(X), batch):
                rows = order[start : start + batch]
                optimizer.zero_grad()
                objective(X[rows], Y[rows]).backward()
                optimizer.step()
                done += 1
                if done == steps:
                    return

    return run


def make_compiled(sizes: tuple[int, ...], batch: int, threads: int, **more: Any) -> Run:
    return make_torch(sizes, batch, threads, compiled=True, **more)


def make_jax(sizes: tuple[int, ...], batch: int, threads: int) -> Run:
    """Everything compiled into one program: a scan over the steps of an epoch, the gather in it."""
    os.environ["XLA_FLAGS"] = (
        f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    )
    import jax
    import jax.numpy as jnp
    import numpy as np

    X, Y = (jnp.asarray(array) for array in data(sizes, batch))
    rng = np.random.default_rng(0)
    theta = [
        (jnp.asarray(rng.standard_normal((n, m), dtype=np.float32) * (2 / n) ** 0.5), jnp.zeros(m))
        for n, m in pairwise(sizes)
    ]
    state = (theta, *(jax.tree.map(jnp.zeros_like, theta) for _ in range(2)), jnp.zeros(()))

    def objective(theta, x, y):
        for i, (W, b) in enumerate(theta):
            x = x @ W + b
            x = jax.nn.relu(x) if i < len(theta) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    def step(state, rows):
        theta, m, v, t = state
        t += 1
        loss, g = jax.value_and_grad(objective)(theta, X[rows], Y[rows])
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = RATE / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        theta = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), theta, m, v)
        return (theta, m, v, t), loss

    epoch = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)

    def run(steps: int) -> None:
        nonlocal state
        for _ in range(-(-steps // BATCHES)):
            state, losses = epoch(state, jnp.asarray(rng.permutation(len(X)).reshape(BATCHES, batch)))
            losses.block_until_ready()

    return run


def make_sklearn(sizes: tuple[int, ...], batch: int, threads: int) -> Run:
    import numpy as np
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    X, Y = data(sizes, batch)
    threadpool_limits(threads)
    model = MLPClassifier(sizes[1:-1], batch_size=batch, alpha=0.0, random_state=0)
    model.partial_fit(X, Y, classes=np.arange(sizes[-1]))

    def run(steps: int) -> None:
        for _ in range(-(-steps // BATCHES)):  # one call is one epoch
            model.partial_fit(X, Y)

    return run


def make_products(sizes: tuple[int, ...], batch: int, threads: int) -> Run:
    """The matrix products of a step and nothing else: what nobody who uses this BLAS can go below."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    A, D, Z, dA = ([draw(batch, n) for n in sizes] for _ in range(4))
    W = [draw(m, n) for n, m in pairwise(sizes)]
    dW = [np.empty_like(w) for w in W]

    def run(steps: int) -> None:
        for _ in range(steps):
            for i, w in enumerate(W):
                np.matmul(A[i], w.T, out=Z[i + 1])
            for i in reversed(range(len(W))):
                np.matmul(D[i + 1].T, A[i], out=dW[i])
                if i:
                    np.matmul(D[i + 1], W[i], out=dA[i])

    return run


PEERS: dict[str, Callable[..., Run]] = {
    "ours": make_ours,
    "numpy": make_numpy,
    "torch": make_torch,
    "compiled": make_compiled,
    "jax": make_jax,
    "sklearn": make_sklearn,
    "products": make_products,
}


def peak_mib() -> float:
    """The most memory this process has had at once, as the system counts it."""
    with open("/proc/self/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024


def work(name: str, case: str, threads: int, clock: Callable[[], float]) -> None:
    sizes, batch = CASES[case]
    if case.startswith("strong") and name in ("ours", "numpy"):
        run: Run = PEERS[name](sizes, batch, threads, strong=True)
    elif case == "dropout" and name in ("ours", "numpy", "torch", "compiled"):
        run = PEERS[name](sizes, batch, threads, dropout=0.15)
    else:  # the others train the same layers without the ingredients; the products are those with them
        inputs = sizes[0] * (WAVES if case.startswith("strong") and name == "products" else 1)
        run = PEERS[name]((inputs, *sizes[1:]), batch, threads)
    run(BATCHES)
    run(BATCHES)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(peak_mib(), flush=True)
            continue
        begun = clock()
        run(int(line))
        print(clock() - begun, flush=True)


if __name__ == "__main__":
    wanted = time.process_time if "processor" in sys.argv else time.perf_counter
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), wanted)

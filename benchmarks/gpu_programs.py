"""The programs that `gpu.py` compares: each trains the same network from the same weights on the same batches."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

RATE, BATCHES = 1e-3, 8
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Work:
    """What is trained: widths from the inputs to the classes, rows per batch, rows in all; on the CPU if dry."""

    widths: tuple[int, ...]
    batch: int
    rows: int
    seconds: float
    dry: bool

    @property
    def parameters(self) -> int:
        return sum(n * m + m for n, m in itertools.pairwise(self.widths))

    @property
    def flops(self) -> float:
        """Of the matrix products of a step; the first layer has no gradient to its inputs."""
        products = [n * m for n, m in itertools.pairwise(self.widths)]
        return self.batch * (6.0 * sum(products) - 2.0 * products[0])

    @property
    def bytes(self) -> float:
        """What a step must move: theta, gradient and Adam's two vectors, 7 times 4 bytes, and the rows it gathers."""
        return 28.0 * self.parameters + 8.0 * self.batch * self.widths[0]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a class that depends on them, so that gradients neither vanish nor explode."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.rows, self.widths[0]), dtype=np.float32)
        Y = (X @ rng.standard_normal((self.widths[0], self.widths[-1]), dtype=np.float32)).argmax(axis=1)
        return X, Y.astype(np.int64)

    def order(self, epoch: int) -> np.ndarray:
        """The batches of an epoch [batches, batch], as the engine deals them."""
        from mlp_core.rng import generator

        return generator(0, "shuffle", epoch).permutation(self.rows).reshape(-1, self.batch)


def works(dry: bool) -> list[Work]:
    if dry:
        return [Work((20, 16, 12, 10), batch, BATCHES * batch, 0.02, True) for batch in (8, 32)]
    return [Work((784, 512, 512, 10), batch, 65_536, 0.5, False) for batch in (128, 1024, 8192)]


@dataclass
class Program:
    """Something that trains: `losses` are those of the next steps; `steps` makes at least so many, waits until they are
    done, and says how many there were."""

    losses: Callable[[int], list[float]]
    steps: Callable[[int], int]
    about: str


def make_trainer(work: Work, backend: Any) -> Any:
    """The engine's own trainer, as `mlpbp train` runs it."""
    from mlp_core.backends.job import Job
    from mlp_core.data.batches.batches import Batches
    from mlp_core.nn.activations import Relu
    from mlp_core.nn.losses import CrossEntropy
    from mlp_core.nn.network import Architecture, Block, Network
    from mlp_core.nn.objective import Objective
    from mlp_core.nn.optimizers import OPTIMIZERS
    from mlp_core.nn.schedules import Schedule
    from mlp_core.nn.step_options import Limits
    from mlp_core.training.steps import make_steps
    from mlp_core.training.trainer import Trainer

    X, Y = work.data()
    hidden = tuple(Block(units, Relu()) for units in work.widths[1:-1])
    network = Network(Architecture(work.widths[0], work.widths[-1], hidden), backend, "float32", work.batch)
    network.initialize(0)
    optimizer = OPTIMIZERS["adam"](network.parameters, backend, beta1=0.9, beta2=0.999, eps=1e-8)
    batches = Batches(backend, backend.asarray(X), backend.asarray(Y), None, size=work.batch)
    schedule = Schedule("constant", RATE, 10**9, batches.count)
    job = Job(Objective(network, CrossEntropy()), optimizer, batches, Limits(10**9), 0)
    return Trainer(make_steps(job), schedule, dict)


def own_backend(work: Work, precision: str) -> tuple[Any, str]:
    """The engine's backend on the GPU; dry: on the stand-ins of the tests, kernels and graphs among them."""
    if work.dry:
        sys.path.insert(0, str(HERE.parent / "tests" / "mlp_core"))
        from fake_cuda import backend, equip
        from strict_xp import StrictDevice

        return backend(equip(StrictDevice()), precision), f"stand-ins, numpy {np.__version__}"
    from mlp_core.backends.cuda import Unusable, cuda_backend, find_device
    from mlp_core.backends.cuda.detect import cuda

    found = find_device()
    if isinstance(found, Unusable):
        raise SystemExit(f"{found.reason}; {found.fix}")
    backend = cuda_backend(found.index, precision=precision)
    return backend, f"{found.name}, {cuda(found.runtime)}, cupy {backend.xp.__version__}"


def make_ours(work: Work, precision: str, way: str) -> Program:
    """The engine: by graphs, by the launches of whole steps, or layer by layer."""
    backend, about = own_backend(work, precision)
    trainer = make_trainer(work, replace(backend, recorder=None) if way == "layers" else backend)
    return trained(trainer, about, way)


def make_reference(work: Work, precision: str) -> Program:
    """The engine on the CPU."""
    from mlp_core.nn.backend import numpy_backend

    return trained(make_trainer(work, numpy_backend()), f"numpy {np.__version__}", "layers")


def trained(trainer: Any, about: str, way: str) -> Program:
    """A trainer as a program."""
    from mlp_core.training.events import StepDone

    if way == "launches":
        trainer.steps.failure = "not asked for"
    events = trainer.run()

    def losses(count: int) -> list[float]:
        trainer.read_every, found = 1, []
        while len(found) < count:
            event = next(events)
            if isinstance(event, StepDone):
                found.append(trainer.settle() if event.loss is None else event.loss)
        trainer.read_every = 0
        return found

    def steps(count: int) -> int:
        begun = trainer.progress.step
        while trainer.progress.step < begun + count:
            next(events)
        trainer.settle()
        trainer.job.optimizer.backend.to_host(trainer.job.optimizer.parameters.theta[:1])  # waits for the device
        return int(trainer.progress.step - begun)

    if way == "graph":
        assert trainer.steps.hindrance is None
    return Program(losses, steps, about)


class _Torch:
    """PyTorch's model, data and optimizer; `capturable` keeps Adam's step count on the device."""

    def __init__(self, work: Work, precision: str, capturable: bool = False) -> None:
        import torch

        from mlp_core.nn.backend import numpy_backend

        torch.set_float32_matmul_precision(precision)
        if work.dry:
            torch.set_num_threads(1)
        self.torch, self.work = torch, work
        self.device = torch.device("cpu" if work.dry else "cuda")
        self.X, self.Y = (torch.from_numpy(array).to(self.device) for array in work.data())
        layers: list[Any] = []
        for n, m in itertools.pairwise(work.widths):
            layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*layers[:-1])
        values = make_trainer(work, numpy_backend()).job.network.parameters.values
        self.model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in values.items()})
        self.model.to(self.device)
        capturable = capturable and not work.dry
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE, fused=True, capturable=capturable)
        self.batches = self._batches()

    def _batches(self) -> Iterator[Any]:
        for epoch in itertools.count():
            yield from self.torch.from_numpy(self.work.order(epoch)).to(self.device)

    def forward(self, x: Any, y: Any) -> Any:
        return self.torch.nn.functional.cross_entropy(self.model(x), y)

    def program(self, step: Callable[[Any], Any]) -> Program:
        """`step` takes the rows of a batch and returns its loss on the device."""

        def steps(count: int) -> int:
            for _ in range(count):
                last = step(next(self.batches))
            last.item()
            return count

        losses = lambda count: [step(next(self.batches)).item() for _ in range(count)]  # noqa: E731
        return Program(losses, steps, f"torch {self.torch.__version__}")


def make_torch(work: Work, precision: str, compiled: bool = False) -> Program:
    """PyTorch, operation by operation or compiled for reduced overhead; fused Adam."""
    run = _Torch(work, precision)
    forward = run.forward
    if compiled:
        how = {"backend": "eager"} if work.dry else {"mode": "reduce-overhead"}
        forward = run.torch.compile(forward, **how)

    def step(rows: Any) -> Any:
        run.optimizer.zero_grad(set_to_none=True)
        loss = forward(run.X[rows], run.Y[rows])
        loss.backward()
        run.optimizer.step()
        return loss.detach().clone()

    return run.program(step)


def make_torch_graph(work: Work, precision: str) -> Program:
    """PyTorch at its best by hand: gather, forward, backward and Adam captured in one graph with static inputs."""
    run = _Torch(work, precision, capturable=True)
    torch, model, optimizer = run.torch, run.model, run.optimizer
    rows = torch.zeros(work.batch, dtype=torch.int64, device=run.device)

    def whole() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = run.forward(run.X[rows], run.Y[rows])
        loss.backward()
        optimizer.step()
        return loss

    if work.dry:
        replay, static = None, None
    else:
        kept = [p.detach().clone() for p in model.parameters()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                whole()
        torch.cuda.current_stream().wait_stream(side)
        with torch.no_grad():  # back to the start: the warm-up has trained
            for p, value in zip(model.parameters(), kept, strict=True):
                p.copy_(value)
                for state in optimizer.state[p].values():
                    state.zero_()
        optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            static = whole()
        replay = graph.replay

    def step(chosen: Any) -> Any:
        rows.copy_(chosen)
        if replay is None:
            return whole().detach().clone()
        replay()
        return static.detach()

    return run.program(step)


def make_jax(work: Work, precision: str) -> Program:
    """JAX: a scan over the steps of an epoch, all of it compiled into one program."""
    import jax
    import jax.numpy as jnp

    from mlp_core.nn.backend import numpy_backend

    name = {"highest": "highest", "high": "tensorfloat32"}[precision]
    jax.config.update("jax_default_matmul_precision", name)
    X, Y = (jnp.asarray(array) for array in work.data())
    values = make_trainer(work, numpy_backend()).job.network.parameters.values
    names = [name.removesuffix(".weight") for name in values if name.endswith(".weight")]
    theta = [(jnp.asarray(values[f"{n}.weight"].T.copy()), jnp.asarray(values[f"{n}.bias"].copy())) for n in names]
    state = (theta, *(jax.tree.map(jnp.zeros_like, theta) for _ in range(2)), jnp.zeros(()))

    def objective(theta: Any, x: Any, y: Any) -> Any:
        for i, (W, b) in enumerate(theta):
            x = x @ W + b
            x = jax.nn.relu(x) if i < len(theta) - 1 else x
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    def step(state: Any, rows: Any) -> Any:
        theta, m, v, t = state
        t += 1
        loss, g = jax.value_and_grad(objective)(theta, X[rows], Y[rows])
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate, root = RATE / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        theta = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), theta, m, v)
        return (theta, m, v, t), loss

    scan = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)
    epochs = itertools.count()

    def epoch() -> Any:
        nonlocal state
        state, found = scan(state, jnp.asarray(work.order(next(epochs)).astype(np.int32)))
        return found

    def losses(count: int) -> list[float]:
        found: list[float] = []
        while len(found) < count:
            found += [float(loss) for loss in np.asarray(epoch())]
        return found[:count]

    def steps(count: int) -> int:
        whole = -(-count // (work.rows // work.batch))
        for _ in range(whole):
            last = epoch()
        last.block_until_ready()
        return whole * (work.rows // work.batch)

    return Program(losses, steps, f"jax {jax.__version__} on {jax.devices()[0].device_kind}")


def limits(work: Work, precision: str) -> tuple[float, float]:
    """Operations per second of one large product, bytes per second of one large copy (read and written)."""
    backend, _ = own_backend(work, precision)
    from mlp_core.nn.layers import product

    xp, n, multiply = backend.xp, 64 if work.dry else 8192, backend.primitive(product)
    rng = np.random.default_rng(0)
    A, B = (backend.asarray(rng.standard_normal((n, n), dtype=np.float32)) for _ in range(2))
    C, x = backend.empty((n, n), np.float32), backend.zeros((1 << (12 if work.dry else 27),), np.float32)
    y = x.copy()

    def best(call: Callable[[], Any], there: Any) -> float:
        seconds = []
        for _ in range(6):
            backend.to_host(there.ravel()[:1])
            begun = time.perf_counter()
            for _ in range(5):
                call()
            backend.to_host(there.ravel()[:1])
            seconds.append((time.perf_counter() - begun) / 5)
        return min(seconds[1:])

    return 2.0 * n**3 / best(lambda: multiply(A, B, C), C), 2.0 * x.nbytes / best(lambda: xp.copyto(y, x), y)


PROGRAMS: dict[str, Callable[[Work, str], Program]] = {
    "ours, graphs": lambda work, precision: make_ours(work, precision, "graph"),
    "ours, launches": lambda work, precision: make_ours(work, precision, "launches"),
    "ours, layer by layer": lambda work, precision: make_ours(work, precision, "layers"),
    "torch": make_torch,
    "torch compiled": lambda work, precision: make_torch(work, precision, compiled=True),
    "torch graph": make_torch_graph,
    "jax": make_jax,
}

"""The engine as it runs on a GPU, on a strict stand-in for cupy: numpy's bits, and nothing that makes it wait."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from engine_models import CLASSES, outputs, targets
from strict_xp import UFUNCS, StrictArray, StrictDevice

from mlp_core.backends.cuda.backend import WHOLE, device_backend
from mlp_core.backends.job import Job as TrainingJob
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.errors import Diverged
from mlp_core.nn.activations import ACTIVATIONS, Relu, Tanh
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, CrossEntropy, Mse, Quantile
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.events import EpochDone, Finished, StepDone
from mlp_core.training.steps import LOSSES_AT_ONCE, make_steps
from mlp_core.training.trainer import Trainer

ROWS, BATCH, INPUTS = 21, 6, 5
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "rho": 0.9}


@dataclass
class Job:
    """A training to be done twice: on numpy, and on the device."""

    hidden: tuple[Block, ...] = (Block(7, Relu()),)
    loss: Loss = field(default_factory=CrossEntropy)
    optimizer: str = "adam"
    dtype: str = "float32"
    weighted: bool = False
    soft: bool = False
    shuffle: bool = True
    epochs: int = 2
    lr: float = 0.01
    limits: dict[str, Any] = field(default_factory=dict)
    penalty: Penalty = field(default_factory=Penalty)
    augment: dict[str, float] = field(default_factory=dict)
    input_dropout: float = 0.0
    embeddings: tuple[tuple[int, int], ...] = ()
    parts: dict[str, Any] = field(default_factory=dict)

    def trainer(self, backend: Backend) -> Trainer:
        rng = np.random.default_rng(1)
        X = rng.standard_normal((ROWS, INPUTS)).astype(self.dtype)
        for k, (words, _) in enumerate(self.embeddings):
            X[:, INPUTS - len(self.embeddings) + k] = rng.integers(0, words, ROWS)
        Y = targets(self.loss, ROWS, rng, soft=self.soft)
        Y = Y.astype(self.dtype) if Y.dtype.kind == "f" else Y
        w = backend.asarray((rng.random(ROWS) + 0.5).astype(self.dtype)) if self.weighted else None
        architecture = Architecture(
            INPUTS, outputs(self.loss), self.hidden, self.input_dropout, embeddings=self.embeddings, **self.parts
        )
        network = Network(architecture, backend, self.dtype, BATCH)
        network.initialize(3)
        batches = Batches(backend, backend.asarray(X), backend.asarray(Y), w, size=BATCH, seed=3, shuffle=self.shuffle)
        whole = Segment(slice(0, network.parameters.size), weight_decay=0.01)
        steps = TrainingJob(
            objective=Objective(network, self.loss, self.penalty),
            optimizer=OPTIMIZERS[self.optimizer](network.parameters, backend, [whole], **SETTINGS),
            batches=batches,
            limits=Limits(self.epochs, **self.limits),
            seed=3,
            augment=Augment(backend, classes=CLASSES, **self.augment) if self.augment else None,
        )
        return Trainer(make_steps(steps), Schedule("constant", self.lr, 100, batches.count), evaluate=dict)


def state(trainer: Trainer) -> dict[str, np.ndarray]:
    """Everything a training leaves behind, on the host."""
    network = trainer.job.objective.network
    arrays = {"theta": network.parameters.theta, "kept": network.statistics.theta, **trainer.job.optimizer.state}
    if trainer.job.average is not None:
        arrays["average"] = trainer.job.average
    return {name: network.backend.to_host(array) for name, array in arrays.items()}


def train_twice(job: Job) -> tuple[list[tuple[int, int, int]], list[float]]:
    """Train on both, demand equal bits; per step (syncs, uploads, downloads), and the losses of the epochs."""
    host, device = job.trainer(Backend("numpy", np, block=WHOLE)), StrictDevice()
    trainer = job.trainer(device_backend(device.xp, "cuda:0"))
    expected = [event.metrics["train_loss"] for event in host.run() if isinstance(event, EpochDone)]
    losses, steps, counts = [], [], device.counts
    before = (counts.syncs, counts.uploads, counts.downloads)
    for event in trainer.run():
        now = (counts.syncs, counts.uploads, counts.downloads)
        if isinstance(event, StepDone):
            steps.append(tuple(b - a for a, b in zip(before, now, strict=True)))
        if isinstance(event, EpochDone):
            losses.append(event.metrics["train_loss"])
        before = now
    assert losses == expected
    wanted, got = state(host), state(trainer)
    assert wanted.keys() == got.keys()
    for name, array in wanted.items():
        assert np.isfinite(array).all(), name
        assert array.tobytes() == got[name].tobytes(), name
    return steps, losses


BLOCKS = {
    "plain": (Block(7, Relu()), Block(4, Tanh())),
    "no hidden layer": (),
    "no bias": (Block(7, Relu(), bias=False),),
    "prelu": (Block(7, None),),
    "batch norm": (Block(7, Relu(), norm="batch"), Block(5, Tanh(), norm="batch", norm_first=False)),
    "layer norm": (Block(7, Relu(), norm="layer"), Block(5, None, norm="layer", norm_first=False)),
    "rms norm": (Block(7, Relu(), norm="rms"), Block(5, Tanh(), norm="rms", norm_first=False)),
    "residual": (Block(INPUTS, Relu(), residual=True), Block(INPUTS, None, norm="batch", residual=True)),
}
DROPOUT = {
    "dropout": ({"hidden": (Block(7, Relu(), dropout=0.4), Block(6, Relu(), dropout=0.2))}, 2),
    "input dropout": ({"input_dropout": 0.3}, 1),
    "dropout in a residual block": ({"hidden": (Block(INPUTS, Tanh(), dropout=0.4, residual=True),)}, 1),
    "input noise": ({"augment": {"noise": 0.1}}, 1),
    "mixup": ({"augment": {"mixup": 0.4}}, 1),
    "mixup of weighted rows": ({"augment": {"mixup": 0.4}, "weighted": True}, 1),
}
LIMITS = {
    "clip_norm": {"clip_norm": 0.05},
    "clip_norm that is never reached": {"clip_norm": 1e6},
    "clip_value": {"clip_value": 0.01},
    "max_norm": {"max_norm": 0.5},
    "average": {"ema": 0.9},
    "accumulate": {"accumulate": 2},
    "all": {"clip_norm": 0.5, "clip_value": 0.2, "max_norm": 1.0, "ema": 0.9, "accumulate": 3},
}
JOBS = {
    **{f"layers: {name}": Job(hidden=blocks) for name, blocks in BLOCKS.items()},
    "layers: learned words": Job(embeddings=((4, 2), (3, 3))),
    "layers: many learned words": Job(embeddings=((600, 2),)),
    "layers: strong": Job(
        hidden=(Block(7, Relu(), parametric=True), Block(6, Tanh(), parametric=True, residual=True)),
        parts={"periodic": Periodic(3, 4, 3), "input_scale": True, "ntk": True},
    ),
    **{f"activation: {name}": Job(hidden=(Block(7, kind()),)) for name, kind in ACTIVATIONS.items()},
    **{f"loss: {name}": Job(loss=kind()) for name, kind in LOSSES.items()},
    **{f"loss: {name}, weighted": Job(loss=kind(), weighted=True, dtype="float64") for name, kind in LOSSES.items()},
    "loss: soft targets, smoothed": Job(loss=CrossEntropy(0.1), soft=True),
    "loss: three quantiles": Job(loss=Quantile((0.1, 0.5, 0.9))),
    **{f"optimizer: {name}": Job(optimizer=name, lr=0.001) for name in OPTIMIZERS if name != "lbfgs"},
    **{f"limits: {name}": Job(limits=limits) for name, limits in LIMITS.items()},
    "limits: all, weighted": Job(limits=LIMITS["all"], weighted=True),
    "penalties": Job(penalty=Penalty(0.01, 0.001)),
    "penalties of everything": Job(penalty=Penalty(0.01, 0.001, bias=True), dtype="float64"),
    "rows in order": Job(shuffle=False, weighted=True),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())
def test_a_step_gives_numpys_bits_and_neither_waits_nor_transfers(job):
    steps, _ = train_twice(job)
    per_epoch = len(steps) // job.epochs
    for number, (syncs, uploads, downloads) in enumerate(steps):
        order = int(job.shuffle and number % per_epoch == 0)  # the order of the rows, once per epoch
        assert (syncs, uploads, downloads) == (0, order, 0), f"step {number}"


@pytest.mark.parametrize(("settings", "draws"), DROPOUT.values(), ids=DROPOUT.keys())
def test_what_is_drawn_is_all_that_is_transferred(settings, draws):
    steps, _ = train_twice(Job(**settings))
    assert steps[1:4] == [(0, draws, 0)] * 3


def test_lbfgs_looks_at_its_curvature_but_transfers_nothing():
    steps, _ = train_twice(Job(optimizer="lbfgs", lr=0.1, dtype="float64"))
    assert all(syncs > 0 and uploads <= 1 and not downloads for syncs, uploads, downloads in steps)


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_the_weight_of_a_batch_is_known_without_asking_the_device(shuffle):
    device = StrictDevice()
    batches = Job(weighted=True, shuffle=shuffle).trainer(device_backend(device.xp, "cuda:0")).job.batches
    for epoch in (0, 1):
        for position in range(batches.count):
            before = device.counts.syncs, device.counts.downloads
            weight = batches.weight(epoch, position)
            assert (device.counts.syncs, device.counts.downloads) == before
            assert weight == float(batches.batch(epoch, position)[2].get().sum())
    assert Job().trainer(device_backend(device.xp, "cuda:0")).job.batches.weight(0, 3) == ROWS - 3 * BATCH


def test_losses_are_read_together():
    job = Job(epochs=LOSSES_AT_ONCE // 2)  # four steps each
    events = list(job.trainer(device_backend(StrictDevice().xp, "cuda:0")).run())
    assert [event.loss for event in events if isinstance(event, StepDone)] == [None] * 4 * job.epochs
    job = Job(limits={"max_steps": LOSSES_AT_ONCE + 3}, epochs=1)
    trainer = job.trainer(device_backend(StrictDevice().xp, "cuda:0"))
    trainer.job.batches.count = LOSSES_AT_ONCE + 3
    trainer.job.batches.batch = lambda epoch, position, batch=trainer.job.batches.batch: batch(epoch, position % 4)
    trainer.job.batches.weight = lambda epoch, position, weight=trainer.job.batches.weight: weight(epoch, position % 4)
    losses = [event.loss for event in trainer.run() if isinstance(event, StepDone)]
    assert [number for number, loss in enumerate(losses, 1) if loss is not None] == [LOSSES_AT_ONCE]


def test_a_run_that_is_stopped_has_read_its_losses():
    host = Job().trainer(Backend("numpy", np, block=WHOLE))
    trainer = Job().trainer(device_backend(StrictDevice().xp, "cuda:0"))
    for one in (host, trainer):
        events = list(one.run(stop=lambda one=one: one.progress.step == 3))
        assert events[-1] == Finished("stopped")
    assert trainer.progress == host.progress
    assert trainer.progress.loss_sum > 0


def test_a_loss_that_is_not_finite_is_found_and_its_step_is_named():
    job = Job(loss=Mse(), optimizer="sgd", lr=1e18, epochs=40)
    with pytest.raises(Diverged) as expected:
        list(job.trainer(Backend("numpy", np, block=WHOLE)).run())
    with np.errstate(all="ignore"), pytest.raises(Diverged) as found:
        list(job.trainer(device_backend(StrictDevice().xp, "cuda:0")).run())
    where, _, what = expected.value.problems[0].message.partition(":")
    assert found.value.problems[0].message.startswith(f"{where}:")
    assert "loss became" in what


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_evaluation_gives_numpys_bits(dtype):
    device = StrictDevice()
    values = []
    for backend in (Backend("numpy", np, block=WHOLE), device_backend(device.xp, "cuda:0")):
        trainer = Job(hidden=BLOCKS["batch norm"], dtype=dtype).trainer(backend)
        batches = trainer.job.batches
        values.append(float(trainer.job.objective.value(batches.X[:BATCH], batches.Y[:BATCH], None, Pass())))
    assert values[0] == values[1]


NUMPY_TAKES_IT = {
    "asarray": lambda a: np.asarray(a),
    "a function": lambda a: np.exp(a),
    "a function of two": lambda a: np.add(np.ones(2), a),
    "an operator": lambda a: np.ones(2) + a,
    "the other operator": lambda a: a + np.ones(2),
    "in place": lambda a: np.ones(2).__iadd__(a),
    "on the device, in place": lambda a: a.__iadd__(np.ones(2)),
    "assignment": lambda a: np.ones(2).__setitem__(slice(None), a),
    "assignment on the device": lambda a: a.__setitem__(slice(None), np.ones(2)),
    "an index": lambda a: a[np.array([0, 1])],
    "an element at a time": lambda a: list(a),
    "a sum": lambda a: np.sum(a),
    "joined": lambda a: np.concatenate([a, a]),
    "the buffer": lambda a: memoryview(a),
}


@pytest.mark.parametrize("use", NUMPY_TAKES_IT.values(), ids=NUMPY_TAKES_IT.keys())
def test_the_stand_in_refuses_to_mix_with_the_host(use):
    with pytest.raises(TypeError):
        use(StrictDevice().xp.ones(2))


def test_the_stand_in_counts():
    device = StrictDevice()
    array = device.xp.asarray(np.arange(3.0))
    assert (device.counts.syncs, device.counts.uploads, device.counts.downloads) == (0, 1, 0)
    assert float(array.sum()) == 3
    assert bool((array > 1).any())
    assert len(array[array > 0]) == 2
    assert array.get().tolist() == [0, 1, 2]
    assert (device.counts.syncs, device.counts.uploads, device.counts.downloads) == (4, 1, 1)


def test_cupy_has_all_that_the_stand_in_has():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed (it can be, without a GPU)")
    from inspect import signature

    functions = StrictDevice().xp.functions
    for name, parameters in functions.items():
        if name != "matmul":  # an object without a signature
            missing = set(parameters) - set(signature(getattr(cupy, name)).parameters)
            assert not missing - {"operands", "subscripts"}, f"cupy.{name} has no {missing}"
    assert all(isinstance(getattr(cupy, name), cupy.ufunc) for name in UFUNCS)
    assert all(word in cupy.RawModule.__doc__ for word in ("code", "options"))  # an extension type, no signature
    assert hasattr(cupy.RawModule, "get_function")
    assert {"use", "begin_capture", "end_capture", "record", "wait_event"} <= set(dir(cupy.cuda.Stream))
    assert {"non_blocking", "ptr"} <= set(
        re.findall(r"\w+", cupy.cuda.Stream.__doc__ + cupy.cuda.Stream.__init__.__doc__)
    )
    assert {"launch", "upload"} <= set(dir(cupy.cuda.Graph))
    assert {"ptr", "copy_from_host_async"} <= set(dir(cupy.cuda.MemoryPointer))
    assert cupy.cuda.runtime.streamCaptureModeThreadLocal == 1
    assert callable(cupy.cuda.alloc_pinned_memory)
    public = {name for name in dir(StrictArray) if not name.startswith("_")}
    assert not {name for name in public if not hasattr(cupy.ndarray, name)}

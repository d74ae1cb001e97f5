"""Whole steps as compiled instructions: the steps of the primitives, for every part that there are instructions for."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import needs_kernels

from mlp_core.backends.cpu import step_program as step_list
from mlp_core.backends.cpu import steps as compiled_step
from mlp_core.backends.cpu.steps import WholeSteps, native_backend
from mlp_core.backends.job import Job
from mlp_core.config import load
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.errors import Diverged
from mlp_core.nn.activations import ACTIVATIONS, LeakyRelu, Relu
from mlp_core.nn.backend import Backend, numpy_backend
from mlp_core.nn.losses import Bce, CrossEntropy, Focal, Loss, Mse
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizers import OPTIMIZERS, Segment
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone, Finished, StepDone
from mlp_core.training.steps import StageSteps, make_steps
from mlp_core.training.trainer import Trainer

pytestmark = needs_kernels


@pytest.fixture(autouse=True)
def _share_everything(monkeypatch):
    monkeypatch.setattr(compiled_step, "SHARED_FLOPS", 1)


ROWS, INPUTS, OUTPUTS, BATCH = 75, 9, 5, 16  # the last batch has 11 rows
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "rho": 0.9}


def make(
    backend: Backend,
    *,
    loss: Loss = CrossEntropy(),
    hidden: tuple[Block, ...] = (Block(40, Relu()), Block(7, Relu())),
    rule: str = "adam",
    dtype: str = "float64",
    weighted: bool = False,
    shuffle: bool = True,
    segments: bool = False,
    penalty: Penalty = Penalty(),
    rate: float = 1e-2,
    input_dropout: float = 0.0,
    **limits,
) -> Trainer:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, INPUTS)).astype(dtype)
    classes = (X @ rng.standard_normal((INPUTS, OUTPUTS))).argmax(axis=1)
    Y = classes if isinstance(loss, CrossEntropy | Focal) else np.eye(OUTPUTS, dtype=dtype)[classes]
    w = rng.uniform(0.1, 2, ROWS).astype(dtype) if weighted else None
    network = Network(Architecture(INPUTS, OUTPUTS, hidden, input_dropout), backend, dtype, BATCH)
    network.initialize(0)
    parameters = network.parameters
    parts = None
    if segments:
        cut = parameters.slices["2.weight"].start
        parts = [Segment(slice(0, cut), 0.5, 0.1), Segment(slice(cut, parameters.weights.stop))]
    optimizer = OPTIMIZERS[rule](parameters, backend, parts, **SETTINGS)
    batches = Batches(backend, X, Y, w, size=BATCH, shuffle=shuffle)
    schedule = Schedule("cosine", rate, 100, batches.count, warmup=3)
    objective = Objective(network, loss, penalty)
    return Trainer(make_steps(Job(objective, optimizer, batches, Limits(3, **limits), 0)), schedule, dict)


def trained(trainer: Trainer):
    """The events of a training, and the parameters and the optimizer's state it ends with."""
    events = list(trainer.run())
    theta = trainer.job.network.parameters.theta
    return events, [theta.copy(), *(vector.copy() for vector in trainer.job.optimizer.state.values())]


def assert_equal_trainings(settings: dict, threads: int = 1) -> None:
    plain, whole = make(numpy_backend(), **settings), make(native_backend(threads), **settings)
    assert isinstance(plain.steps, StageSteps)
    assert isinstance(whole.steps, WholeSteps)
    (events, state), (compiled_events, compiled_state) = trained(plain), trained(whole)
    tolerance = TOLERANCE[settings.get("dtype", "float64")]
    for expected, actual in zip(events, compiled_events, strict=True):
        assert type(actual) is type(expected)
        if isinstance(expected, StepDone):
            assert actual.loss == pytest.approx(expected.loss, rel=10 * tolerance)
            shared = ("step", "epoch", "position", "steps_per_epoch", "lr")
            assert all(getattr(actual, name) == getattr(expected, name) for name in shared)
        if isinstance(expected, EpochDone):
            assert actual.metrics["train_loss"] == pytest.approx(expected.metrics["train_loss"], rel=10 * tolerance)
    for expected, actual in zip(state, compiled_state, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=100 * tolerance, atol=100 * tolerance)
    assert plain.job.optimizer.t == whole.job.optimizer.t


BLOCKS = (Block(40, LeakyRelu(0.2)), Block(7, Relu(), bias=False))
CASES = {
    "cross entropy": {},
    "float32": {"dtype": "float32"},
    "label smoothing": {"loss": CrossEntropy(0.1)},
    "one output for each class": {"loss": Bce(2.0)},
    "squares": {"loss": Mse()},
    "weights": {"weighted": True},
    "weights, squares": {"weighted": True, "loss": Mse()},
    "weights, outputs": {"weighted": True, "loss": Bce()},
    "leaky relu, no bias": {"hidden": BLOCKS},
    "no hidden layer but one": {"hidden": (Block(33, Relu()),)},
    "no hidden layer": {"hidden": ()},
    "in order": {"shuffle": False},
    "segments, one of them frozen": {"segments": True},
    "segments of momentum": {"segments": True, "rule": "momentum"},
    "few steps at most": {"max_steps": 8},
    "l2": {"penalty": Penalty(l2=0.1)},
    "l1 and l2 of everything, momentum": {"penalty": Penalty(l2=0.1, l1=0.01, bias=True), "rule": "momentum"},
    "l1, segments": {"penalty": Penalty(l1=0.01), "segments": True},
    "dropout": {"hidden": (Block(37, Relu(), dropout=0.5), Block(7, Relu(), dropout=0.2))},
    "dropout, float32": {"hidden": (Block(37, Relu(), dropout=0.3), Block(7, Relu())), "dtype": "float32"},
    "dropout of the inputs": {"input_dropout": 0.3},
    "dropout of everything": {"hidden": (Block(37, Relu(), dropout=0.5),), "input_dropout": 0.2},
    "dropout, segments": {"hidden": (Block(37, Relu(), dropout=0.5), Block(7, Relu())), "penalty": Penalty(l2=0.1)},
    **{
        name: {"hidden": (Block(37, ACTIVATIONS[name](), dropout=0.1), Block(7, ACTIVATIONS[name]()))}
        for name in ACTIVATIONS
    },
}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_whole_steps_are_the_steps_of_the_primitives(settings, threads):
    assert_equal_trainings(settings, threads)


@pytest.mark.parametrize("rule", sorted(OPTIMIZERS.keys() - {"lbfgs", "muon"}))
def test_every_rule_moves_as_its_primitive_does(rule):
    assert_equal_trainings({"rule": rule})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_do_not_depend_on_the_threads(dtype):
    trainings = [trained(make(native_backend(threads), dtype=dtype)) for threads in (1, 2, 3)]
    losses = [[event.loss for event in events if isinstance(event, StepDone)] for events, _ in trainings]
    assert losses[0] == losses[1] == losses[2]
    for one, *others in zip(*(state for _, state in trainings), strict=True):
        for other in others:
            np.testing.assert_array_equal(other, one)


OTHERS = {
    "a norm": {"hidden": (Block(8, Relu(), norm="batch"), Block(7, Relu()))},
    "batches in parts": {"accumulate": 2},
    "short gradients": {"clip_norm": 1.0},
    "an average": {"ema": 0.9},
}


@pytest.mark.parametrize("settings", OTHERS.values(), ids=OTHERS.keys())
def test_what_has_no_instructions_is_left_to_the_primitives(settings):
    assert isinstance(make(native_backend(), **settings).steps, StageSteps)


def test_augmented_rows_are_left_to_the_primitives():
    job, backend = make(native_backend()).job, native_backend()
    steps = make_steps(replace(job, augment=Augment(backend, noise=0.1)))
    assert isinstance(steps, StageSteps)
    assert steps.hindrance == "regularization.input_noise and mixup"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loss_that_is_no_number_stops_at_its_step(threads):
    plain, whole = make(numpy_backend(), rate=1e200, rule="sgd"), make(native_backend(threads), rate=1e200, rule="sgd")
    found = []
    for trainer in (plain, whole):
        events = []
        with pytest.raises(Diverged) as error:
            events.extend(trainer.run())
        found.append((str(error.value), trainer.progress.step, trainer.job.optimizer.t))
    assert found[0] == found[1]


def test_steps_are_made_several_at_once_and_told_one_by_one():
    trainer = make(native_backend())
    assert isinstance(trainer.steps, WholeSteps)
    events = trainer.run()
    first = next(events)
    assert isinstance(first, StepDone)
    assert first.step == 1
    assert trainer.progress.step == ROWS // BATCH  # all batches alike of the epoch
    assert [event.step for event in itertools.islice(events, 3)] == [2, 3, 4]


def test_a_gradient_is_that_of_the_primitives():
    plain, whole = make(numpy_backend()), make(native_backend(2))
    X, Y, _ = plain.job.batches.batch(0, 0)
    loss, _ = plain.job.objective.value_and_gradient(X, Y)
    before = whole.job.objective.network.parameters.theta.copy()
    assert whole.steps.compiled.gradient(whole.job.batches.numbers(0, 0, 1)[0]) == pytest.approx(float(loss), rel=1e-12)
    network = whole.job.objective.network
    np.testing.assert_allclose(
        network.parameters.grad, plain.job.objective.network.parameters.grad, rtol=1e-10, atol=1e-14
    )
    np.testing.assert_array_equal(network.parameters.theta, before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"penalty": Penalty(l2=0.1, l1=0.01)}, {"segments": True}], ids=str)
@pytest.mark.parametrize("rule", ["adam", "sgd", "amsgrad"])
def test_long_weights_change_strip_by_strip_with_the_same_bits(rule, settings, threads, monkeypatch):
    """201 units in strips of 16, the last one of 9; in the second layer 83."""
    shape = {"hidden": (Block(201, Relu()), Block(83, Relu())), "rule": rule, **settings}
    results, gradients = [], []
    for strip in (1, 1 << 40):
        monkeypatch.setattr(step_list, "STRIP", strip)
        trainer = make(native_backend(threads), **shape)
        results.append(trained(trainer)[1])
        gradients.append(trainer.job.network.parameters.gradients["0.weight"].any())
        names = {name for name, _ in trainer.steps.compiled.list.step(BATCH)}
        assert ("product 0 weight gradient, optimizer" in names) == (strip == 1)
    for strips, at_once in zip(*results, strict=True):
        np.testing.assert_array_equal(strips, at_once)
    assert gradients == [False, True]  # the memory of the gradient was never touched


def test_few_units_are_no_strips(monkeypatch):
    """Threads meet over the gradient of few units, which they cannot do within the instruction for strips."""
    monkeypatch.setattr(step_list, "CACHE", 0)
    results = []
    for strip in (1, 1 << 40):
        monkeypatch.setattr(step_list, "STRIP", strip)
        results.append(trained(make(native_backend(1), hidden=(Block(20, Relu()), Block(24, Relu()))))[1])
    for strips, at_once in zip(*results, strict=True):
        np.testing.assert_array_equal(strips, at_once)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_units_and_long_weights_are_shared_out_by_columns(threads, monkeypatch):
    shape = {"hidden": (Block(64, Relu()), Block(128, Relu(), dropout=0.2)), "penalty": Penalty(l2=0.1)}
    results = []
    for cache in (0, 1 << 40):
        monkeypatch.setattr(step_list, "CACHE", cache)
        trainer = make(native_backend(threads), **shape)
        results.append(trained(trainer)[1])
        products = [record[0] for _, record in trainer.steps.compiled.list.step(BATCH)]
        assert ("outer_by_columns_d" in products) == (cache == 0)
    for by_columns, by_rows in zip(*results, strict=True):
        np.testing.assert_array_equal(by_columns, by_rows)


def test_steps_take_no_memory_of_their_own():
    trainer = make(native_backend(2), hidden=(Block(600, Relu()), Block(600, Relu())))
    events = trainer.run()
    for _ in range(10):
        next(events)
    tracemalloc.start()
    for _ in range(4):
        next(events)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < trainer.job.network.parameters.theta.nbytes / 50


CONFIG = """
data: {name: digits, limit: 300, split: {val: 0.2}}
model: {hidden: [40, 24]}
train: {epochs: 4, batch_size: 32, preflight: full}
kernels: native
threads: 2
"""


@pytest.mark.parametrize("stop", [1, 6, 7, 11])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path: Path, stop):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    for directory, last in (("whole", 10**9), ("parts", stop)):
        run = Run.start(load(path), path.read_bytes(), tmp_path / directory)
        assert isinstance(run.experiment.trainer.steps, WholeSteps)
        run.experiment.trainer.steps.compiled.most = 3
        steps = itertools.count(1)
        events = list(run.execute(lambda steps=steps, last=last: next(steps) >= last))
    assert events[-1] == Finished("stopped")
    assert 0 < run.experiment.trainer.progress.step < 32
    resumed = Run.resume(tmp_path / "parts")
    list(resumed.execute())
    for name in (
        "metrics.jsonl",
        "config.resolved.yaml",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
    ):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert math.isfinite(resumed.summary.metrics["val"]["loss"])

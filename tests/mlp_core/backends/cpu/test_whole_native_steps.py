"""Whole steps by the kernels: the steps of the primitives, for everything that a config can ask of them."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import every_library, needs_kernels

from mlp_core.backends.cpu import row_pass, step_program, steps
from mlp_core.backends.cpu.steps import WholeSteps, native_backend
from mlp_core.backends.job import Job
from mlp_core.config import load
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.errors import Diverged
from mlp_core.nn.activations import ACTIVATIONS, LeakyRelu, Relu
from mlp_core.nn.backend import Backend, numpy_backend
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Focal, Mse, Quantile
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizers import OPTIMIZERS, Segment
from mlp_core.nn.schedules import Fade, Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone, Finished, StepDone
from mlp_core.training.steps import StageSteps, make_steps
from mlp_core.training.trainer import Trainer

pytestmark = needs_kernels


@pytest.fixture(autouse=True)
def _share_everything(monkeypatch):
    monkeypatch.setattr(steps, "SHARED_FLOPS", 1)


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
    embeddings: tuple[tuple[int, int], ...] = (),
    classes_as: str = "numbers",
    drop_last: bool = False,
    noise: float = 0.0,
    mixup: float = 0.0,
    fades: bool = False,
    whole: dict | None = None,
    **limits,
) -> Trainer:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, INPUTS)).astype(dtype)
    classes = (X @ rng.standard_normal((INPUTS, OUTPUTS))).argmax(axis=1)
    outputs = loss.outputs(OUTPUTS)
    Y = np.eye(OUTPUTS, dtype=dtype)[classes]
    if isinstance(loss, CrossEntropy | Focal) or loss.per_output:
        Y = classes if classes_as == "numbers" else Y
    for k, (words, _) in enumerate(embeddings):
        X[:, INPUTS - len(embeddings) + k] = rng.integers(0, words, ROWS)
    w = rng.uniform(0.1, 2, ROWS).astype(dtype) if weighted else None
    network = Network(
        Architecture(INPUTS, outputs, hidden, input_dropout, embeddings=embeddings, **(whole or {})),
        backend,
        dtype,
        BATCH,
    )
    network.initialize(0)
    parameters = network.parameters
    parts = None
    if segments:
        cut = parameters.slices[[name for name in parameters.slices if name.endswith("weight")][1]].start
        parts = [Segment(slice(0, cut), 0.5, 0.1), Segment(slice(cut, parameters.weights.stop))]
    optimizer = OPTIMIZERS[rule](parameters, backend, parts, **SETTINGS)
    batches = Batches(backend, X, Y, w, size=BATCH, shuffle=shuffle, drop_last=drop_last)
    schedule = Schedule("cosine", rate, 100, batches.count, warmup=3)
    objective = Objective(network, loss, penalty)
    augment = Augment(backend, noise, mixup, outputs, len(embeddings)) if noise or mixup else None
    fade = Fade("flat_cos", 15) if fades else Fade()
    job = Job(objective, optimizer, batches, Limits(3, **limits), 0, augment, dropout=fade, decay=fade)
    return Trainer(make_steps(job), schedule, dict)


def trained(trainer: Trainer):
    """The events of a training, and the parameters and the optimizer's state it ends with."""
    events = list(trainer.run())
    theta = trainer.job.network.parameters.theta
    state = [theta, *trainer.job.optimizer.state.values(), trainer.job.network.statistics.theta]
    state += [] if trainer.job.average is None else [trainer.job.average]
    return events, [vector.copy() for vector in state]


def assert_equal_trainings(settings: dict) -> None:
    """Whole steps are those of the primitives to rounding, with the same bits on any number of threads."""
    plain = make(numpy_backend(), **settings)
    assert isinstance(plain.steps, StageSteps)
    events, state = trained(plain)
    tolerance = TOLERANCE[settings.get("dtype", "float64")]
    first = None
    for threads in (1, 2, 3):
        whole = make(native_backend(threads), **settings)
        assert isinstance(whole.steps, WholeSteps)
        found_events, found = trained(whole)
        if first is not None:
            for one, other in zip(first, found, strict=True):
                np.testing.assert_array_equal(other, one)
            continue
        first = found
        for expected, actual in zip(events, found_events, strict=True):
            assert type(actual) is type(expected)
            if isinstance(expected, StepDone):
                assert actual.loss == pytest.approx(expected.loss, rel=10 * tolerance)
                shared = ("step", "epoch", "position", "steps_per_epoch", "lr")
                assert all(getattr(actual, name) == getattr(expected, name) for name in shared)
            if isinstance(expected, EpochDone):
                assert actual.metrics["train_loss"] == pytest.approx(expected.metrics["train_loss"], rel=10 * tolerance)
        for expected, actual in zip(state, found, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=100 * tolerance, atol=100 * tolerance)
        assert plain.job.optimizer.t == whole.job.optimizer.t


BLOCKS = (Block(40, LeakyRelu(0.2)), Block(7, Relu(), bias=False))


def mixing(name: str, **settings) -> tuple[Block, ...]:
    """Two layers of units that learn how much of an activation they take."""
    return tuple(Block(units, ACTIVATIONS[name](), parametric=True, **settings) for units in (37, 7))


STRONG = {"periodic": Periodic(7), "input_scale": True, "ntk": True}
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
    **{f"loss {name}": {"loss": kind()} for name, kind in LOSSES.items()},
    "two quantiles": {"loss": Quantile((0.1, 0.7)), "weighted": True},
    "distributions over classes": {"loss": CrossEntropy(0.1), "classes_as": "columns"},
    "an output for each column": {"loss": Bce(2.0), "classes_as": "columns"},
    "batch norm": {"hidden": (Block(37, Relu(), norm="batch"), Block(7, Relu(), norm="batch", norm_first=False))},
    "layer norm": {"hidden": (Block(37, Relu(), norm="layer", dropout=0.2), Block(7, Relu(), norm="layer"))},
    "rms norm, without bias": {"hidden": (Block(37, Relu(), bias=False, norm="rms"), Block(7, Relu(), norm="rms"))},
    "norms, momentum, frozen": {"hidden": (Block(9, Relu(), norm="batch"),), "rule": "momentum", "segments": True},
    "prelu": {"hidden": (Block(37, None), Block(7, None, norm="layer"))},
    "skips": {"hidden": (Block(9, Relu(), residual=True), Block(9, None, residual=True, norm="layer", dropout=0.1))},
    "skips over batch norms": {"hidden": (Block(9, Relu()), Block(9, Relu(), residual=True, norm="batch"))},
    "embeddings": {"embeddings": ((7, 3), (40, 5)), "weighted": True},
    "embeddings of nothing but words": {"embeddings": ((3, 2),) * INPUTS, "input_dropout": 0.1, "rule": "adagrad"},
    "entries cut": {"clip_value": 0.01},
    "lengths cut": {"clip_norm": 0.1},
    "both cut, penalties": {"clip_norm": 0.05, "clip_value": 0.01, "penalty": Penalty(l2=0.1, l1=0.01, bias=True)},
    "lengths cut, segments": {"clip_norm": 0.1, "segments": True, "hidden": (Block(37, None), Block(7, Relu()))},
    "short weights": {"max_norm": 0.5, "rule": "sgd", "rate": 0.5},
    "short weights, embeddings": {"max_norm": 0.2, "embeddings": ((7, 3),), "segments": True},
    "an average": {"ema": 0.9},
    "an average of everything": {"ema": 0.99, "max_norm": 0.7, "clip_value": 0.1, "segments": True},
    "sums over two batches": {"accumulate": 2},
    "sums over three batches": {
        **{"accumulate": 3, "hidden": (Block(37, Relu(), norm="batch", dropout=0.2),), "weighted": True},
        **{"penalty": Penalty(l2=0.1, l1=0.01), "clip_norm": 0.1, "ema": 0.9},
    },
    "sums, embeddings, the last rows dropped": {"accumulate": 2, "embeddings": ((7, 3),), "drop_last": True},
    "noise": {"noise": 0.1},
    "noise, float32": {"noise": 0.1, "dtype": "float32", "embeddings": ((7, 3),)},
    "mixup": {"mixup": 0.4, "weighted": True},
    "mixup of squares, noise": {"mixup": 0.4, "noise": 0.1, "loss": Mse(), "weighted": True},
    "sums over mixed batches": {"mixup": 0.4, "noise": 0.1, "accumulate": 2, "loss": Bce(2.0)},
    "ntk": {"whole": {"ntk": True}},
    "ntk, no bias, a norm": {
        "whole": {"ntk": True},
        "hidden": (Block(37, Relu(), bias=False), Block(7, Relu(), norm="layer")),
    },
    "input scale": {"whole": {"input_scale": True}, "input_dropout": 0.2},
    "input scale, embeddings": {"whole": {"input_scale": True}, "embeddings": ((7, 3), (40, 5))},
    "waves": {"whole": {"periodic": Periodic(INPUTS)}},
    "waves, float32": {"whole": {"periodic": Periodic(INPUTS)}, "dtype": "float32"},
    "waves of many frequencies": {"whole": {"periodic": Periodic(2, 37, 2, 1.0)}},
    "waves of one frequency, many numbers": {"whole": {"periodic": Periodic(8, 1, 10)}, "rule": "momentum"},
    "waves, sums, lengths cut": {
        "whole": {"periodic": Periodic(4, 5, 6)},
        "accumulate": 2,
        "clip_norm": 0.1,
        "ema": 0.9,
    },
    "waves beside embeddings": {"whole": {"periodic": Periodic(7)}, "embeddings": ((7, 3), (40, 5)), "weighted": True},
    **{f"a learned share of {name}": {"hidden": mixing(name)} for name in ACTIVATIONS if name != "identity"},
    "a learned share, dropout": {"hidden": mixing("mish", dropout=0.3)},
    "a learned share behind norms": {"hidden": mixing("selu", norm="batch", dropout=0.1), "dtype": "float32"},
    "a learned share between skips": {"hidden": (Block(9, Relu(), residual=True, parametric=True, norm="layer"),)},
    "dropout and decay that fade": {"fades": True, "hidden": (Block(37, Relu(), dropout=0.5),), "segments": True},
    "all ingredients": {
        **{"whole": STRONG, "hidden": mixing("mish", dropout=0.15), "embeddings": ((7, 3), (40, 5)), "fades": True},
        **{"segments": True, "loss": CrossEntropy(0.1)},
    },
    "all ingredients, float32": {"whole": STRONG, "hidden": mixing("selu", dropout=0.15), "dtype": "float32"},
    "all ingredients, two batches to a step": {
        **{"whole": STRONG, "hidden": mixing("mish", dropout=0.15), "accumulate": 2, "clip_norm": 0.5, "ema": 0.9},
        **{"loss": Mse(), "fades": True, "penalty": Penalty(l2=0.01, bias=True)},
    },
    "sums over all batches": {"accumulate": 100, "hidden": (Block(9, None, residual=True),)},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_whole_steps_are_the_steps_of_the_primitives(settings):
    assert_equal_trainings(settings)


@pytest.mark.parametrize("rule", sorted(OPTIMIZERS.keys() - {"lbfgs", "muon"}))
def test_every_rule_moves_as_its_primitive_does(rule):
    assert_equal_trainings({"rule": rule})


@every_library
@pytest.mark.parametrize(
    "case",
    ["gelu", "float32", "sums over three batches", "two quantiles", "skips", "all ingredients", "waves, float32"],
)
def test_every_set_of_instructions_makes_these_steps(case, library):
    settings, states = CASES[case], []
    for backend in (numpy_backend(), native_backend(2, library)):
        states.append(trained(make(backend, **settings))[1])
    tolerance = 100 * TOLERANCE[settings.get("dtype", "float64")]
    for expected, actual in zip(*states, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", ["muon", "lbfgs"])
def test_rules_that_see_more_than_one_entry_are_left_to_the_primitives(rule):
    trainer = make(native_backend(), rule=rule)
    assert isinstance(trainer.steps, StageSteps)
    assert trainer.steps.hindrance == f"optimizer.name {rule}"


def test_mixed_rows_of_a_loss_that_takes_numbers_of_classes_are_left_to_the_primitives():
    job, backend = make(native_backend(), loss=Focal()).job, native_backend()
    steps = make_steps(replace(job, augment=Augment(backend, mixup=0.4, classes=OUTPUTS)))
    assert isinstance(steps, StageSteps)
    assert steps.hindrance == "regularization.mixup with such targets"


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


NORMED = {"hidden": (Block(9, Relu(), norm="batch", dropout=0.1), Block(7, None)), "weighted": True}


def test_a_gradient_is_that_of_the_primitives():
    plain, whole = make(numpy_backend(), **NORMED), make(native_backend(2), **NORMED)
    before = whole.job.network.parameters.theta.copy()
    for trainer in (plain, whole):
        trainer.steps.gradient(3)
    found, expected = (trainer.job.network.parameters for trainer in (whole, plain))
    np.testing.assert_allclose(found.grad, expected.grad, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(found.theta, before)
    np.testing.assert_array_equal(
        whole.job.network.statistics.theta, make(numpy_backend(), **NORMED).job.network.statistics.theta
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"penalty": Penalty(l2=0.1, l1=0.01)}, {"segments": True}], ids=str)
@pytest.mark.parametrize("rule", ["adam", "sgd", "amsgrad"])
def test_long_weights_change_strip_by_strip_with_the_same_bits(rule, settings, threads, monkeypatch):
    """201 units in strips of 16, the last one of 9; in the second layer 83."""
    shape = {"hidden": (Block(201, Relu()), Block(83, Relu())), "rule": rule, **settings}
    results, gradients = [], []
    for strip in (1, 1 << 40):
        monkeypatch.setattr(step_program, "STRIP", strip)
        trainer = make(native_backend(threads), **shape)
        results.append(trained(trainer)[1])
        gradients.append(trainer.job.network.parameters.gradients["0.weight"].any())
        names = {name for name, _ in trainer.steps.program.step(BATCH)}
        assert ("product 0 weight gradient, optimizer" in names) == (strip == 1)
    for strips, at_once in zip(*results, strict=True):
        np.testing.assert_array_equal(strips, at_once)
    assert gradients == [False, True]  # the memory of the gradient was never touched


def test_few_units_are_no_strips(monkeypatch):
    """Threads meet over the gradient of few units, which they cannot do within the instruction for strips."""
    monkeypatch.setattr(row_pass, "CACHE", 0)
    results = []
    for strip in (1, 1 << 40):
        monkeypatch.setattr(step_program, "STRIP", strip)
        results.append(trained(make(native_backend(1), hidden=(Block(20, Relu()), Block(24, Relu()))))[1])
    for strips, at_once in zip(*results, strict=True):
        np.testing.assert_array_equal(strips, at_once)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_units_and_long_weights_are_shared_out_by_columns(threads, monkeypatch):
    shape = {"hidden": (Block(64, Relu()), Block(128, Relu(), dropout=0.2)), "penalty": Penalty(l2=0.1)}
    results = []
    for cache in (0, 1 << 40):
        monkeypatch.setattr(row_pass, "CACHE", cache)
        trainer = make(native_backend(threads), **shape)
        results.append(trained(trainer)[1])
        products = [record[0] for _, record in trainer.steps.program.step(BATCH)]
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
        run.experiment.trainer.steps.most = 3
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

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
from small_trainings import BATCH, CASES, OUTPUTS, ROWS, TOLERANCE, make, trained

from mlp_core.backends.cpu import programs, row_pass, step_program
from mlp_core.backends.cpu.steps import WholeSteps, native_backend
from mlp_core.config import load
from mlp_core.data.batches.batches import Augment
from mlp_core.errors import Diverged
from mlp_core.nn.activations import Relu
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.losses import Focal
from mlp_core.nn.network import Block
from mlp_core.nn.objective import Penalty
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone, Finished, StepDone
from mlp_core.training.steps import StageSteps, make_steps

pytestmark = needs_kernels


@pytest.fixture(autouse=True)
def _share_everything(monkeypatch):
    monkeypatch.setattr(programs, "SHARED_FLOPS", 1)


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
        products = [record for _, record in trainer.steps.program.step(BATCH) if record[0] == "outer_d"]
        assert any(record[-1] for record in products) == (cache == 0)  # what is shared out is the last word
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

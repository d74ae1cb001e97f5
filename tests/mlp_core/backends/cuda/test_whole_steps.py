"""Whole steps on a device: written down, carried out, captured: always the numbers of the engine on numpy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_shim import AT_ONCE, COMPILER, FIRST_TO_LAST, LAST_TO_FIRST, RawModule
from fake_cuda import backend, equip
from strict_xp import StrictDevice
from test_cuda_engine import BATCH, LIMITS, ROWS, Job, state

from mlp_core.backends.cuda import Unusable, cuda_backend, find_device
from mlp_core.backends.cuda.kernels import WHOLE, Kernels
from mlp_core.backends.cuda.steps import LEDGER, steps_at_once
from mlp_core.errors import Diverged
from mlp_core.nn.activations import ACTIVATIONS, Relu, Tanh
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Huber, Mse
from mlp_core.nn.network import Block
from mlp_core.nn.norm import Norm
from mlp_core.nn.objective import Penalty
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.training.events import EpochDone, Finished, Noticed, StepDone
from mlp_core.training.steps import StageSteps, make_steps
from mlp_core.training.trainer import Trainer

GPU = pytest.param("gpu", marks=pytest.mark.gpu)
WHERE = pytest.mark.parametrize("where", ["stand-in", GPU])
DEEP = (Block(7, Relu(), dropout=0.3), Block(6, Tanh()), Block(6, Tanh(), dropout=0.2, residual=True))
SOME = {name: limits for name, limits in LIMITS.items() if "accumulate" not in limits}
JOBS = {
    **{f"optimizer: {name}": Job(optimizer=name) for name in OPTIMIZERS if name not in ("muon", "lbfgs")},
    **{f"activation: {name}": Job(hidden=(Block(7, kind()),)) for name, kind in ACTIVATIONS.items()},
    **{f"limits: {name}": Job(limits=limits) for name, limits in SOME.items()},
    **{f"loss: {loss.name}": Job(loss=loss) for loss in (Mse(), Huber(0.3), Bce(2.0), CrossEntropy(0.1))},
    **{f"loss: {name}": Job(loss=LOSSES[name](), weighted=True) for name in ("mae", "log_cosh", "poisson")},
    "no hidden layer": Job(hidden=()),
    "no bias": Job(hidden=(Block(7, Relu(), bias=False),)),
    "deep, dropout, residual": Job(hidden=DEEP, input_dropout=0.2),
    **{f"norm: {norm}": Job(hidden=(Block(7, Relu(), norm=norm), Block(7, Tanh()))) for norm in ("layer", "rms")},
    "norm: batch": Job(hidden=(Block(7, Relu(), norm="batch"), Block(6, Tanh())), optimizer="nesterov"),
    "norm: batch, last, residual": Job(
        hidden=(Block(7, Relu()), Block(7, Tanh(), norm="batch", norm_first=False, residual=True)), optimizer="nesterov"
    ),
    "activation: prelu": Job(hidden=(Block(7, None, dropout=0.1), Block(6, None, norm="layer"))),
    "learned words": Job(embeddings=((4, 2), (3, 3)), optimizer="nesterov"),
    "words alone": Job(embeddings=((4, 2), (3, 1), (600, 2), (2, 2), (5, 1))),
    "penalties": Job(penalty=Penalty(0.01, 0.001)),
    "penalties of everything": Job(penalty=Penalty(0.0, 0.01, bias=True), hidden=DEEP),
    "weighted": Job(hidden=DEEP, weighted=True),
    "rows in order": Job(shuffle=False, weighted=True),
    "everything": Job(hidden=DEEP, weighted=True, optimizer="radam", limits={"clip_norm": 0.5, "ema": 0.9}),
}
EVERY = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())


def a_backend(where: str = "stand-in", **settings: Any) -> Backend:
    if where == "gpu":
        found = find_device()
        if isinstance(found, Unusable):
            pytest.skip(found.reason)
        return cuda_backend(0, **settings)
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return backend(equip(StrictDevice()), **settings)


def by_layers(used: Backend) -> Backend:
    return replace(used, recorder=None)


def refuse(*_: Any) -> Any:
    raise RuntimeError("no captures today")


def losses_of(trainer: Trainer) -> list[float]:
    """The loss of every step, in order, and all that was said."""
    trainer.read_every = 1
    return [event.loss for event in trainer.run() if isinstance(event, StepDone)]


def same(one: Trainer, other: Trainer) -> None:
    expected, got = state(one), state(other)
    for name, array in expected.items():
        assert array.tobytes() == got[name].tobytes(), name
    assert one.progress == other.progress
    assert one.job.optimizer.t == other.job.optimizer.t


@WHERE
@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_steps_follow_numpy(where, job, dtype):
    job = replace(job, dtype=dtype, lr=0.003, epochs=4)
    host, there = job.trainer(Backend("numpy", np, block=WHOLE)), job.trainer(a_backend(where))
    assert there.steps.hindrance is None
    expected = [event.metrics["train_loss"] for event in host.run() if isinstance(event, EpochDone)]
    got = [event.metrics["train_loss"] for event in there.run() if isinstance(event, EpochDone)]
    bound = 1e-5 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(got, expected, rtol=bound)
    wanted, found = state(host), state(there)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=100 * bound, atol=10 * bound, err_msg=name)
    assert there.steps.failure is None
    assert there.steps._graphs


@WHERE
@EVERY
def test_a_graph_gives_the_bits_of_its_launches_and_of_the_layers(where, job):
    used, job = a_backend(where), replace(job, epochs=3)
    graphs, listed, layers = job.trainer(used), job.trainer(used), job.trainer(by_layers(used))
    listed.steps.failure = "not asked for"
    expected = losses_of(graphs)
    assert None not in expected
    assert losses_of(listed) == expected
    assert not listed.steps._graphs
    assert graphs.steps._graphs
    same(graphs, listed)
    list(layers.run())
    assert isinstance(layers.steps, StageSteps)
    assert layers.progress.step == len(expected)
    for name, array in state(graphs).items():
        if job.penalty == Penalty():
            assert array.tobytes() == state(layers)[name].tobytes(), name
        else:  # between layers a penalty is summed up by the array module
            np.testing.assert_allclose(state(layers)[name], array, rtol=1e-4, atol=1e-6)


@WHERE
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_graphs_give_the_same_bits_in_every_precision(where, precision):
    used, job = a_backend(where, precision=precision), Job(hidden=DEEP, epochs=3)
    graphs, layers = job.trainer(used), job.trainer(by_layers(used))
    expected = losses_of(graphs)
    list(layers.run())
    assert None not in expected
    for name, array in state(graphs).items():
        assert array.tobytes() == state(layers)[name].tobytes(), name
    exact = losses_of(job.trainer(a_backend(where)))
    np.testing.assert_allclose(expected, exact, rtol=0.05)


@pytest.mark.parametrize("at_once", [1, 2])
def test_how_many_steps_are_taken_at_once_changes_nothing(at_once):
    used, job = a_backend(), Job(hidden=DEEP, epochs=3, weighted=True)
    one, other = job.trainer(used), job.trainer(used)
    assert other.steps.at_once == 3
    one.steps.at_once = at_once
    assert losses_of(one) == losses_of(other)
    same(one, other)


@pytest.mark.parametrize(("full", "flops", "steps"), [
    *((0, 1e6, 1), (1, 1e6, 1), (3, 1e6, 3), (16, 1e6, 16), (45, 1e6, 45), (64, 1e6, 64), (65, 1e6, 65 // 2)),
    *((468, 5e8, 52), (100_000, 1e6, 64), (100, 1e11, 10), (100, 1e13, 1)),
])  # fmt: skip
def test_an_epoch_takes_few_launches(full, flops, steps):
    found = steps_at_once(full, flops)
    launches = full // found + full % found
    assert launches <= full // steps + full % steps
    assert 1 <= found <= 64
    assert found * flops <= 1e12 or found == 1


# --- what the host does meanwhile ---


def long_job(**settings: Any) -> tuple[Trainer, StrictDevice]:
    """Twenty full batches and a short one in every epoch."""
    device = equip(StrictDevice())
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return _longer(Job(hidden=DEEP, **settings), backend(device)), device


def _longer(job: Job, used: Backend) -> Trainer:
    rows = 20 * BATCH + 5
    rng = np.random.default_rng(5)
    trainer = job.trainer(used)
    kind = type(trainer.job.batches)
    X, Y = rng.standard_normal((rows, 5)).astype(job.dtype), rng.integers(0, 3, rows)
    batches = kind(used, used.asarray(X), used.asarray(Y), None, size=BATCH, seed=3)
    steps = make_steps(replace(trainer.job, batches=batches))
    return replace(trainer, steps=steps, progress=type(trainer.progress)())


def test_a_launch_costs_one_small_transfer_and_the_host_waits_only_to_read_losses():
    trainer, device = long_job(epochs=30)
    counts, seen = device.counts, []
    for event in trainer.run():
        if isinstance(event, StepDone) and event.step == trainer.progress.step:
            seen.append((event.step, counts.launches, counts.uploads, counts.syncs, counts.downloads))
        if isinstance(event, EpochDone):
            seen.append(None)
    assert trainer.steps.at_once == 20
    launches = [(b[1] - a[1], b[2] - a[2], b[3] - a[3], b[4] - a[4]) for a, b in itertools.pairwise(seen) if a and b]
    assert len(launches) == 30
    assert launches[1:] == [(1, 1, 0, 0)] * 29  # from 20 steps at once to the short batch, in every epoch
    epochs = [(a, b) for a, _, b in zip(seen, seen[1:], seen[2:], strict=False) if a and b and a[0] % 21 == 0]
    for before, after in epochs[1:]:  # across the end of an epoch: its losses, a check of the weights, the new order
        assert after[1] - before[1] == 1
        assert after[2] - before[2] == 2
        assert after[3] - before[3] <= 2
        assert after[4] - before[4] == 1


def test_losses_are_read_when_the_ledger_is_full():
    trainer, device = long_job(epochs=1)
    kind, used, rows = type(trainer.job.batches), trainer.job.objective.network.backend, 3 * LEDGER
    X, Y = used.asarray(np.ones((rows, 5), np.float32)), used.asarray(np.zeros(rows, np.int64))
    steps = make_steps(replace(trainer.job, batches=kind(used, X, Y, None, size=1, seed=0)))
    trainer = replace(trainer, steps=steps)
    known = {event.step for event in trainer.run() if isinstance(event, StepDone) and event.loss is not None}
    assert device.counts.downloads == 3
    ends = range(LEDGER, rows + 1, LEDGER)
    assert known == {step for end in ends for step in range(end - trainer.steps.at_once + 1, end + 1)}


@contextmanager
def still(device: StrictDevice, monkeypatch: Any) -> Iterator[None]:
    """Nothing but memory may be asked of the array module while a step is written down."""
    writing_down = Kernels.writing_down

    @contextmanager
    def quietly(self: Kernels, given: Any) -> Iterator[Any]:
        with writing_down(self, given) as launches:
            device.still = True
            try:
                yield launches
            finally:
                device.still = False

    monkeypatch.setattr(Kernels, "writing_down", quietly)
    yield


@EVERY
def test_nothing_is_computed_while_a_step_is_written_down(job, monkeypatch):
    device = equip(StrictDevice())
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    with still(device, monkeypatch):
        trainer = job.trainer(backend(device))
        before = state(trainer)
        trainer.steps._launches(BATCH, 0)
        for name, array in state(trainer).items():
            assert array.tobytes() == before[name].tobytes(), name
        list(trainer.run())


def test_a_step_of_a_plain_network_is_as_short_as_it_can_be():
    trainer = Job(hidden=(Block(7, Relu()), Block(6, Relu()))).trainer(a_backend())
    names = [launch.name for launch in trainer.steps._launches(BATCH, 0)]
    assert names == [
        *("gather_float", "gather_Int"),
        *("gemm", "forward_relu", "gemm", "forward_relu", "gemm", "forward_identity"),
        *("cross_entropy", "mean_loss"),
        *("gradient_identity", "gemm", "gemm", "gradient_relu", "gemm", "gemm", "gradient_relu", "gemm"),
        "adam",
    ]
    trainer = Job(hidden=(Block(7, Relu()), Block(6, Relu()))).trainer(a_backend(precision="medium"))
    names = [launch.name for launch in trainer.steps._launches(BATCH, 0)]
    assert names.count("narrow") == 9  # each of X, A1, A2, three W and three Delta once


# --- the trainer remains a generator of events that can be stopped anywhere ---


def test_events_are_those_of_single_steps():
    trainer, _ = long_job(epochs=2)
    host = _longer(Job(hidden=DEEP, epochs=2), Backend("numpy", np, block=WHOLE))
    expected, got = list(host.run()), list(trainer.run())
    assert [type(event) for event in got] == [type(event) for event in expected]
    for one, other in zip(expected, got, strict=True):
        if isinstance(one, StepDone):
            assert (one.step, one.epoch, one.position, one.lr) == (other.step, other.epoch, other.position, other.lr)


@pytest.mark.parametrize("every", [1, 7, 20, 33])
def test_losses_are_known_where_they_are_to_be_logged(every):
    trainer, _ = long_job(epochs=3)
    trainer.read_every = every
    expected = _longer(Job(hidden=DEEP, epochs=3), Backend("numpy", np, block=WHOLE))
    wanted = {event.step: event.loss for event in expected.run() if isinstance(event, StepDone)}
    checked = 0
    for event in trainer.run():
        if isinstance(event, StepDone) and event.step % every == 0:
            assert event.loss == pytest.approx(wanted[event.step], rel=1e-4)
            checked += 1
    assert checked == 63 // every


@pytest.mark.parametrize("at", [1, 5, 20, 21, 22, 41, 42, 50])
def test_a_training_goes_on_bit_for_bit_from_wherever_it_was_stopped(at):
    whole, _ = long_job(epochs=3, limits={"ema": 0.9, "clip_norm": 1.0})
    list(whole.run())
    first, _ = long_job(epochs=3, limits={"ema": 0.9, "clip_norm": 1.0})
    events = list(first.run(stop=lambda: first.progress.step >= at))
    assert events[-1] == Finished("stopped")
    assert at <= first.progress.step < at + 20
    second, _ = long_job(epochs=3, limits={"ema": 0.9, "clip_norm": 1.0})
    moved = state(first)
    live = {"theta": second.job.network.parameters.theta, **second.job.optimizer.state, "average": second.job.average}
    for name, array in live.items():
        array[...] = second.job.backend.asarray(moved[name])
    second.progress, second.job.optimizer.t = first.progress, first.job.optimizer.t
    list(second.run())
    same(whole, second)


@pytest.mark.parametrize("steps", [1, 19, 20, 21, 30, 45])
def test_the_number_of_steps_is_kept(steps):
    trainer, _ = long_job(epochs=9, limits={"max_steps": steps})
    events = list(trainer.run())
    assert trainer.progress.step == steps
    assert events[-1] == Finished("max_steps")


def test_a_loss_that_is_not_finite_is_found_and_its_step_is_named():
    job = Job(loss=Mse(), optimizer="sgd", lr=1e18, epochs=40)
    with pytest.raises(Diverged) as expected:
        list(job.trainer(Backend("numpy", np, block=WHOLE)).run())
    with pytest.raises(Diverged) as found:
        list(job.trainer(a_backend()).run())
    where = expected.value.problems[0].message.partition(":")[0]
    assert found.value.problems[0].message.startswith(f"{where}:")


def test_where_no_graph_can_be_made_it_is_said_once_and_the_launches_go_one_by_one(monkeypatch):
    expected, _ = long_job(epochs=3)
    list(expected.run())
    trainer, device = long_job(epochs=3)
    monkeypatch.setattr(trainer.steps._recorder.graphs.stream, "begin_capture", refuse)
    said = [event.message for event in trainer.run() if isinstance(event, Noticed)]
    assert said == [
        "steps are given to the device one by one: no CUDA graph can be made (RuntimeError: no captures today)"
    ]
    assert device.counts.launches == 0
    same(expected, trainer)


HINDERED = {
    "optimizer.name muon": Job(optimizer="muon"),
    "optimizer.name lbfgs": Job(optimizer="lbfgs"),
    "optimizer.accumulate": Job(limits={"accumulate": 2}),
    "regularization.input_noise and mixup": Job(augment={"noise": 0.1}),
    "loss.name cross_entropy with such targets": Job(soft=True),
    "loss.name focal with such targets": Job(loss=LOSSES["focal"]()),
    "loss.name gaussian_nll with such targets": Job(loss=LOSSES["gaussian_nll"]()),
}


@pytest.mark.parametrize(("reason", "job"), HINDERED.items(), ids=HINDERED.keys())
def test_what_is_in_no_graph_is_named_and_trained_all_the_same(reason, job):
    trainer = job.trainer(a_backend())
    assert trainer.steps.hindrance == reason
    assert trainer.steps.name == f"steps: one by one, operation by operation ({reason} is not in whole steps yet)"
    assert sum(isinstance(event, StepDone) for event in trainer.run()) == trainer.steps_per_epoch * 2
    assert Job().trainer(a_backend()).steps.name == f"steps: whole ones, up to {ROWS // BATCH} in a CUDA graph"
    assert Job().trainer(Backend("numpy", np)).steps.name is None


# --- sums do not depend on who comes first ---


@pytest.fixture
def order(request):
    before, RawModule.order = RawModule.order, request.param
    yield request.param
    RawModule.order = before


@pytest.mark.parametrize("order", [LAST_TO_FIRST, AT_ONCE], indirect=True)
@pytest.mark.parametrize("rows", [1, 7, 8, 31, 32, 33, 1000, 5000])
def test_sums_are_the_same_whatever_thread_comes_first(order, rows):
    results = []
    for now in (FIRST_TO_LAST, order):
        RawModule.order = now
        used = a_backend()
        kernels, rng = used.recorder.kernels, np.random.default_rng(rows)
        Z, Y = used.asarray(rng.standard_normal((rows, 3)).astype("float32")), used.asarray(rng.integers(0, 3, rows))
        Delta, db = used.empty((rows, 3), "float32"), used.empty((3,), "float32")
        grad = used.asarray(rng.standard_normal(3 * rows).astype("float32"))
        for _ in range(2):  # the counters are left as they were found
            loss = kernels.loss_and_gradient(CrossEntropy(), Z, Y, None, float(rows), Delta)
            kernels.activation_gradient(Delta, Relu(), Z, Z, db)
            kernels.clip_norm(grad, 0.5)
        norm, gradients = Norm(0, 3, "batch"), {name: used.zeros((3,), "float32") for name in ("0.weight", "0.bias")}
        norm.allocate(used, np.dtype("float32"), rows, True)
        kept = {name: used.zeros((3,), "float32") for name in ("0.running_mean", "0.running_var")}
        norm.bind({name: used.zeros((3,), "float32") + 1 for name in gradients}, gradients, kept)
        arrays = [loss, Delta, db, grad, norm.forward(Z, Pass(True)), norm.backward(Delta.copy())]
        arrays += [*gradients.values(), *kept.values()]
        results.append([used.to_host(array).tobytes() for array in arrays])
        if now == FIRST_TO_LAST:
            exact = used.to_host(Delta).astype(np.float64).sum(axis=0)
            np.testing.assert_allclose(used.to_host(db), exact, rtol=1e-5, atol=1e-6)
            assert np.linalg.norm(used.to_host(grad).astype(np.float64)) <= 0.5 * (1 + 1e-6)
    assert results[0] == results[1]

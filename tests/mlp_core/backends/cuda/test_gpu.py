"""On a real GPU (`pytest -m gpu`): whole runs, the gradient check, and a host that never waits nor takes memory.

Primitives, products, precisions and whole steps are tested where their stand-ins are, by the same tests with `gpu`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cuda_engine import Job
from test_whole_steps import DEEP, _longer, by_layers

from mlp_core.backends.cuda import Unusable, cuda_backend, find_device
from mlp_core.backends.cuda.kernels import WHOLE
from mlp_core.config import from_mapping
from mlp_core.diagnostics.doctor import examine
from mlp_core.gradcheck import check
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import Pass
from mlp_core.runs.run import Run
from mlp_core.training.checkpoint import load
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment
from mlp_core.training.trainer import Trainer

pytestmark = pytest.mark.gpu
CONFIG = {
    "data": {"name": "digits", "limit": 400},
    "model": {"hidden": [{"units": 32, "dropout": 0.2}, 16]},
    "optimizer": {"name": "adamw", "weight_decay": 0.01, "clip_norm": 1.0, "ema": 0.9},
    "loss": {"class_weight": "balanced"},
    "train": {"epochs": 4, "batch_size": 8},
    "logging": {"every_steps": 5},
    "device": "cuda",
}
OTHERS = {
    "whole steps": {},
    # not with adam, which makes a step of the rounding error that is the gradient of a bias before a batch norm
    "batch norm": {"model": {"hidden": [{"units": 32, "norm": "batch"}, 16]}, "optimizer": {"name": "nesterov"}},
    "layer norm, prelu": {"model": {"hidden": [{"units": 32, "norm": "layer", "activation": "prelu"}, 16]}},
    "cupy alone": {"kernels": "numpy"},
    "muon": {"optimizer": {"name": "muon"}},
    "mixup, noise": {"regularization": {"mixup": 0.2, "input_noise": 0.1}},
    "penalties": {"regularization": {"l2": 1e-3, "l1": 1e-4, "max_norm": 3.0}},
}
EVERY = pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())


@pytest.fixture(scope="module", autouse=True)
def device() -> Any:
    found = find_device()
    if isinstance(found, Unusable):
        pytest.skip(found.reason)
    return found


def begin(path: Path, **changes: Any) -> Run:
    return Run.start(from_mapping({**CONFIG, **changes}), b"", path)


def finish(run: Run, steps: int | None = None) -> Run:
    progress = run.experiment.trainer.progress
    list(run.execute(lambda: 130 if steps is not None and progress.step >= steps else 0))
    return run


def tensors(run: Run) -> dict[str, bytes]:
    found = load(run.directory.checkpoints / "last.safetensors").tensors
    return {name: tensor.tobytes() for name, tensor in found.items()}


@EVERY
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-3), ("float64", 1e-8)])
def test_a_run_follows_the_cpu(tmp_path, changes, dtype, bound):
    there = finish(begin(tmp_path / "there", dtype=dtype, **changes)).summary
    host = finish(begin(tmp_path / "host", dtype=dtype, **changes, device="cpu")).summary
    for name in ("train", "val"):
        assert there.metrics[name]["loss"] == pytest.approx(host.metrics[name]["loss"], rel=bound)


@EVERY
def test_two_runs_are_equal_and_a_stopped_one_goes_on_bit_for_bit(tmp_path, changes):
    whole, again = finish(begin(tmp_path / "whole", **changes)), finish(begin(tmp_path / "again", **changes))
    assert tensors(whole) == tensors(again)
    for at in (3, 45):
        finish(begin(tmp_path / f"stopped{at}", **changes), steps=at)
        assert tensors(finish(Run.resume(tmp_path / f"stopped{at}"))) == tensors(whole)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_other_precisions_go_on_bit_for_bit(tmp_path, precision):
    whole = finish(begin(tmp_path / "whole", matmul_precision=precision))
    finish(begin(tmp_path / "stopped", matmul_precision=precision), steps=30)
    assert tensors(finish(Run.resume(tmp_path / "stopped"))) == tensors(whole)
    exact = finish(begin(tmp_path / "exact"))
    assert whole.summary.metrics["val"]["loss"] == pytest.approx(exact.summary.metrics["val"]["loss"], rel=0.1)


def test_logged_losses_are_those_of_the_cpu(tmp_path):
    for name, where in (("there", "cuda"), ("host", "cpu")):
        finish(begin(tmp_path / name, device=where, dtype="float64"))
    lines = [(tmp_path / name / "steps.jsonl").read_text().splitlines() for name in ("there", "host")]
    assert len(lines[0]) == len(lines[1]) > 10
    for one, other in zip(*lines, strict=True):
        assert json.loads(one)["loss"] == pytest.approx(json.loads(other)["loss"], rel=1e-8)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_check_proves_what_the_gpu_computes(changes, dtype):
    experiment = Experiment.build(from_mapping({**CONFIG, **changes, "dtype": dtype}))
    train, to_host = experiment.splits["train"], experiment.model.network.backend.to_host
    X, Y, w = (to_host(array[:8]) for array in (train.X, train.Y, train.w))
    report = check(experiment.model.objective, X, Y, w, mode=Pass(True, 0, 0, False), method="fast")
    assert report.passed, report.failures()


def test_the_doctor_names_the_gpu(device):
    assert device.name in json.dumps(examine())


# --- the host never waits, and takes no memory ---

SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    long long begun = clock64();
    while (clock64() - begun < cycles) {}
}
"""


class Busy:
    """Keeps the stream of the engine busy for about two seconds; `passed` says whether it has got beyond that."""

    def __init__(self, used: Backend) -> None:
        cupy, stream = used.xp, used.recorder.graphs.stream
        function = cupy.RawModule(code=SPIN).get_function("spin")
        function((1,), (1,), (np.int64(1),))
        stream.synchronize()
        function((1,), (1,), (np.int64(4_000_000_000),))
        self._event = stream.record()

    @property
    def passed(self) -> bool:
        return bool(self._event.done)


class Takings:
    """Counts what is taken from the device's memory, by a hook of cupy."""

    def __init__(self, cupy: Any) -> None:
        takings = self

        class Hook(cupy.cuda.MemoryHook):
            name = "takings"

            def malloc_preprocess(self, **_: Any) -> None:
                takings.count += 1

        self.count, self.hook = 0, Hook()


def warm(job: Job, used: Backend) -> tuple[Trainer, Any]:
    """A training of 21 steps an epoch, three epochs on."""
    trainer = _longer(job, used)
    events = trainer.run()
    while trainer.progress.epoch < 3:
        next(events)
    return trainer, events


def test_the_host_never_waits_for_whole_steps_and_takes_no_memory():
    used = cuda_backend(0)
    trainer, events = warm(Job(hidden=DEEP, epochs=100), used)
    takings = Takings(used.xp)
    busy = Busy(used)
    with takings.hook:
        while trainer.progress.epoch == 3 and trainer.progress.position < 21:
            assert isinstance(next(events), StepDone)
    assert not busy.passed, "the host has waited for the device"
    assert takings.count == 0


def test_the_host_never_waits_between_layers_either():
    used = cuda_backend(0)
    _, events = warm(Job(hidden=DEEP, epochs=100), by_layers(used))
    busy = Busy(used)
    for _ in range(10):
        assert isinstance(next(events), StepDone)
    assert not busy.passed, "the host has waited for the device"


def test_a_capture_that_takes_memory_fails_and_training_goes_on():
    used = cuda_backend(0)
    trainer = Job(hidden=DEEP, epochs=4).trainer(used)
    graphs = used.recorder.graphs
    capture = graphs.capture

    def disturbed(launches: Any) -> Any:
        launches = list(launches)
        bad = type(launches[0])("take", used.xp.cuda.runtime.malloc, (1 << 20,), (), ())
        return capture([*launches, bad])

    graphs.capture = disturbed
    said = [event.message for event in trainer.run() if hasattr(event, "message")]
    assert len(said) == 1
    expected = Job(hidden=DEEP, epochs=4).trainer(cuda_backend(0))
    list(expected.run())
    theta = [one.job.network.parameters.theta.get().tobytes() for one in (trainer, expected)]
    assert theta[0] == theta[1]


def test_whole_networks_of_either_kind_agree_after_many_steps():
    job = Job(hidden=DEEP, epochs=30, dtype="float64")
    there, host = _longer(job, cuda_backend(0)), _longer(job, Backend("numpy", np, block=WHOLE))
    for trainer in (there, host):
        list(trainer.run())
    one, other = (trainer.job.objective.network for trainer in (there, host))
    np.testing.assert_allclose(one.parameters.theta.get(), other.parameters.theta, rtol=1e-7, atol=1e-9)

"""Whole runs with device: cuda, on the stand-in: the checkpoints of the CPU, and runs that move between the two."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from cuda_shim import COMPILER
from fake_cuda import FakeCublas, equip
from fake_cupy import Driver, fake_cupy
from strict_xp import StrictDevice

import mlp_core.training.prepared
from mlp_core.backends.cuda import find_device
from mlp_core.backends.cuda.backend import _stream
from mlp_core.backends.cuda.steps import WholeSteps
from mlp_core.config import from_mapping
from mlp_core.data.batches.inputs import OnHost, Scaled
from mlp_core.errors import ConfigError
from mlp_core.gradcheck import check
from mlp_core.nn.layers import Pass
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.runs.prove import check_experiment
from mlp_core.runs.run import Run
from mlp_core.training.auto import check_memory
from mlp_core.training.checkpoint import load
from mlp_core.training.experiment import Experiment

CONFIG = {
    "data": {"name": "digits", "limit": 200},
    "model": {"hidden": [{"units": 16, "norm": "batch", "dropout": 0.2}, 8]},
    "optimizer": {"name": "adamw", "weight_decay": 0.01, "clip_norm": 1.0, "ema": 0.9},
    "loss": {"class_weight": "balanced"},
    "train": {"epochs": 3, "batch_size": 32},
    "kernels": "numpy",  # on a device: its own operations without fused kernels
    "threads": 1,
}


@pytest.fixture
def device(monkeypatch) -> Iterator[StrictDevice]:
    """A machine with a GPU that is the stand-in."""
    device = equip(StrictDevice())
    _stream.cache_clear()
    monkeypatch.setattr("mlp_core.backends.cuda.backend.load_cublas", lambda: FakeCublas(device))
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(device, count=2))
    look = lambda index=0: find_device(index, {}, lambda name: Driver(), lambda: True)  # noqa: E731
    monkeypatch.setattr("mlp_core.training.devices.find_device", look)
    yield device
    _stream.cache_clear()


def start(tmp_path, name: str, where: str) -> Run:
    return Run.start(from_mapping({**CONFIG, "device": where}), b"", tmp_path / name)


def finish(run: Run, steps: int | None = None) -> Run:
    """Train to the end, or stop after `steps` steps in all."""
    progress = run.experiment.trainer.progress
    list(run.execute(lambda: 130 if steps is not None and progress.step >= steps else 0))
    return run


def last(run: Run):
    return load(run.directory.checkpoints / "last.safetensors")


def same_tensors(one, other) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        assert tensor.tobytes() == other.tensors[name].tobytes(), name


def test_a_checkpoint_of_the_device_is_that_of_the_cpu(tmp_path, device):
    host, gpu = last(finish(start(tmp_path, "host", "cpu"))), last(finish(start(tmp_path, "gpu", "cuda:1")))
    assert device.counts.uploads > 0
    same_tensors(host, gpu)
    documents = [json.loads(json.dumps(one.document)) for one in (host, gpu)]
    assert [one["config"].pop("device") for one in documents] == ["cpu", "cuda:1"]
    assert [one["environment"].pop("device") for one in documents] == [
        "cpu",
        "cuda:1 NVIDIA Stand-in, CUDA 12.9, cupy 14.2.0",
    ]
    for one in documents:
        del one["sha256"]
    assert documents[0] == documents[1]


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_run_moves_between_devices_within_an_epoch(tmp_path, device, first, second):
    whole = last(finish(start(tmp_path, "whole", "cpu")))
    finish(start(tmp_path, "moved", first), steps=7)
    moved = finish(Run.resume(tmp_path / "moved", [f"device={second}"]))
    assert moved.experiment.trainer.progress.epoch == 3
    same_tensors(whole, last(moved))
    assert whole.document["metrics"] == last(moved).document["metrics"]


def test_a_model_of_the_device_is_used_where_there_is_none(tmp_path, device, monkeypatch):
    run = finish(start(tmp_path, "gpu", "cuda"))
    monkeypatch.setitem(sys.modules, "cupy", None)
    results = evaluate_model(open_model(run.directory.path)[0]).splits
    assert results["val"].metrics["loss"] == run.summary.metrics["val"]["loss"]


def test_a_run_of_the_device_is_not_resumed_where_there_is_none(tmp_path, device, monkeypatch):
    finish(start(tmp_path, "gpu", "cuda"), steps=7)
    monkeypatch.setattr(
        "mlp_core.training.devices.find_device", lambda index=0: find_device(index, {}, installed=lambda: False)
    )
    with pytest.raises(ConfigError) as caught:
        Run.resume(tmp_path / "gpu")
    assert caught.value.problems[0].code == "no_cuda"
    assert finish(Run.resume(tmp_path / "gpu", ["device=cpu"])).summary is not None


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_a_run_with_fused_kernels_follows_the_cpu_and_goes_on_bit_for_bit(tmp_path, device):
    fused = {**CONFIG, "device": "cuda", "kernels": "auto"}
    whole = finish(Run.start(from_mapping(fused), b"", tmp_path / "whole"))
    assert whole.experiment.config.kernels == "auto"
    assert "kernels: the device's own" in whole.experiment.notes
    finish(Run.start(from_mapping(fused), b"", tmp_path / "stopped"), steps=7)
    same_tensors(last(whole), last(finish(Run.resume(tmp_path / "stopped"))))
    precise = {**fused, "dtype": "float64"}  # roundings of float32 grow where Adam divides small numbers by themselves
    there = last(finish(Run.start(from_mapping(precise), b"", tmp_path / "precise")))
    host = last(
        finish(Run.start(from_mapping({**precise, "device": "cpu", "kernels": "numpy"}), b"", tmp_path / "host"))
    )
    for name, value in host.document["metrics"].items():
        assert there.document["metrics"][name] == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize(
    ("kernels", "precision"), [("numpy", "highest"), ("auto", "highest"), ("auto", "high"), ("auto", "medium")]
)
def test_the_gradient_check_proves_what_the_device_computes(device, kernels, precision):
    if kernels == "auto" and COMPILER is None:
        pytest.skip("g++ is not installed")
    settings = {**CONFIG, "device": "cuda", "kernels": kernels, "matmul_precision": precision}
    experiment = Experiment.build(from_mapping(settings))
    train, network = experiment.splits["train"], experiment.model.network
    X, Y, w = (network.backend.to_host(array[:4]) for array in (train.X, train.Y, train.w))
    report = check(experiment.model.objective, X, Y, w, mode=Pass(True, 0, 0, False), method="fast", probes=("init",))
    assert report.passed
    said = next(row.detail for row in report.preconditions if row.name == "training precision")
    assert re.match(
        r"float32 on cuda:0.*: worst \S+ in .*, tolerance 1e-03; float64 on cuda:0.*: .*, tolerance 1e-09", said
    )
    wrong = dict(network.backend.kernels)
    wrong["activation_gradient"] = lambda Delta, f, Z, A, db=None: db.fill(0) if db is not None else None
    object.__setattr__(network, "backend", replace(network.backend, kernels=wrong))
    report = check(experiment.model.objective, X, Y, w, mode=Pass(True, 0, 0, False), method="fast", probes=("init",))
    assert not report.passed


def test_a_network_larger_than_the_device_is_refused(device):
    wide = {**CONFIG, "device": "cuda", "model": {"hidden": [20_000, 20_000]}, "optimizer": {"name": "adam"}}
    with pytest.raises(ConfigError) as caught:
        Experiment.build(from_mapping(wide))
    assert "3.0 GiB are free" in caught.value.problems[0].message


def test_the_arrays_of_a_run_are_on_the_device(device):
    experiment = Experiment.build(from_mapping({**CONFIG, "device": "cuda"}))
    arrays = [experiment.model.network.parameters.theta, experiment.splits["train"].X]
    arrays += list(experiment.trainer.job.optimizer.state.values())
    assert not any(isinstance(array, np.ndarray) for array in arrays)


@pytest.mark.parametrize("shuffle", [True, False])
def test_inputs_on_the_disk_reach_the_device_in_the_order_of_the_cpu(tmp_path, device, monkeypatch, shuffle):
    for room in ("mlp_core.data.batches.from_disk", "mlp_core.proof.draws"):
        monkeypatch.setattr(f"{room}.CHUNK", 10 * 64)
        monkeypatch.setattr(f"{room}.TOGETHER", 4)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (150, 64), np.uint8))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 150))
    arrays = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}
    train = {**CONFIG["train"], "shuffle": shuffle}
    wish = {**CONFIG, "data": {"train": arrays, "memory": "memmap"}, "train": train}
    runs = []
    for where in ("cpu", "cuda:1"):
        run = Run.start(from_mapping({**wish, "device": where}), b"", tmp_path / where.replace(":", ""))
        runs.append(last(finish(run)))
    same_tensors(*runs)


WHOLE = {
    **{key: value for key, value in CONFIG.items() if key != "kernels"},
    "model": {"hidden": [{"units": 16, "dropout": 0.2}, 8]},
    "train": {"epochs": 3, "batch_size": 8},
    "logging": {"every_steps": 3},
    "device": "cuda",
}


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
class TestWholeSteps:
    """Runs whose steps go to the device many at a time."""

    def begin(self, path, **changes) -> Run:
        return Run.start(from_mapping({**WHOLE, **changes}), b"", path)

    def files(self, path) -> dict[str, bytes]:
        return {name: (path / name).read_bytes() for name in ("steps.jsonl", "metrics.jsonl")}

    def test_the_run_says_how_its_steps_go(self, tmp_path, device):
        run = self.begin(tmp_path / "run")
        assert isinstance(run.experiment.trainer.steps, WholeSteps)
        assert "steps: whole ones, up to 20 in a CUDA graph" in run.experiment.notes

    def test_it_follows_the_cpu(self, tmp_path, device):
        there, host = finish(self.begin(tmp_path / "there")), finish(self.begin(tmp_path / "host", device="cpu"))
        for name, value in last(host).document["metrics"].items():
            assert last(there).document["metrics"][name] == pytest.approx(value, rel=1e-4), name
        logged = [(tmp_path / name / "steps.jsonl").read_text().splitlines() for name in ("host", "there")]
        assert len(logged[0]) == 3 * 20 // 3
        for one, other in zip(*([json.loads(line) for line in lines] for lines in logged), strict=True):
            assert one.pop("loss") == pytest.approx(other.pop("loss"), rel=1e-4)
            assert one == other

    @pytest.mark.parametrize("at", [1, 20, 21, 33, 59])
    def test_a_run_that_was_stopped_goes_on_bit_for_bit(self, tmp_path, device, at):
        whole = finish(self.begin(tmp_path / "whole"))
        finish(self.begin(tmp_path / "stopped"), steps=at)
        same_tensors(last(whole), last(finish(Run.resume(tmp_path / "stopped"))))
        assert self.files(tmp_path / "whole") == self.files(tmp_path / "stopped")

    @pytest.mark.parametrize("at", [2, 22, 30, 41])
    def test_a_run_that_was_killed_between_the_events_of_a_launch_goes_on_bit_for_bit(self, tmp_path, device, at):
        often = {"checkpoint": {"every_minutes": 1e-9}}
        whole = finish(self.begin(tmp_path / "whole", **often))
        run = self.begin(tmp_path / "killed", **often)
        events = run.execute()
        for event in events:
            if getattr(event, "step", None) == at:
                break
        events.close()
        newest = last(run).document["progress"]["step"]
        assert newest <= run.experiment.trainer.progress.step
        same_tensors(last(whole), last(finish(Run.resume(tmp_path / "killed"))))
        assert self.files(tmp_path / "whole") == self.files(tmp_path / "killed")

    @pytest.mark.parametrize("room", [True, False], ids=["on the device", "on the host"])
    def test_where_the_rows_lie_changes_nothing(self, tmp_path, device, monkeypatch, room):
        """Images as stored, on the device or sent from the host."""
        made = finish(self.begin(tmp_path / "made"))
        load, asked = mlp_core.training.prepared.load, mlp_core.training.prepared.check_memory

        def as_bytes(config, *rest, **more):
            data = load(config, *rest, **more)
            for name, part in data.splits.items():
                assert (part.X.astype(np.uint8) == part.X).all()
                data.splits[name] = replace(part, X=part.X.astype(np.uint8))
            return data

        for reader in ("mlp_core.training.prepared", "mlp_core.proof.saved"):
            monkeypatch.setattr(f"{reader}.load", as_bytes)
        monkeypatch.setattr("mlp_core.training.prepared.check_memory", lambda *given: asked(*given) and room)
        run = finish(self.begin(tmp_path / "run"))
        kind = Scaled if room else OnHost
        assert all(isinstance(split.X, kind) for split in run.experiment.splits.values())
        said = "data: stays on the host, the device has no room for it; batches are sent"
        assert (said in run.experiment.notes) != room
        assert isinstance(run.experiment.trainer.steps, WholeSteps) == room
        for name, value in last(made).document["metrics"].items():
            assert last(run).document["metrics"][name] == pytest.approx(value, rel=1e-5), name
        assert check_experiment(run.experiment, run.experiment.config, "").report.passed
        finish(self.begin(tmp_path / "stopped"), steps=7)
        same_tensors(last(run), last(finish(Run.resume(tmp_path / "stopped"))))

    def test_rows_stay_on_the_host_where_only_the_network_fits(self, device, monkeypatch):
        experiment, answers = Experiment.build(from_mapping(WHOLE)), []
        data = mlp_core.training.prepared.load(experiment.config)
        for free in range(10_000, 10**7, 10_000):
            monkeypatch.setattr("mlp_core.training.auto.device_memory", lambda config, free=free: free)
            try:
                answers.append(check_memory(experiment.config, data, experiment.model.inputs, 8))
            except ConfigError:
                answers.append(None)
        assert [answer for answer, _ in itertools.groupby(answers)] == [None, False, True]

    def test_a_run_moves_from_graphs_to_the_cpu_and_back(self, tmp_path, device):
        finish(self.begin(tmp_path / "moved"), steps=21)
        finish(Run.resume(tmp_path / "moved", ["device=cpu"]), steps=50)
        moved = finish(Run.resume(tmp_path / "moved", ["device=cuda"]))
        whole = finish(self.begin(tmp_path / "whole"))
        for name, value in last(whole).document["metrics"].items():
            assert last(moved).document["metrics"][name] == pytest.approx(value, rel=1e-3), name

    @pytest.mark.parametrize("precision", ["high", "medium"])
    def test_other_precisions_train_about_as_well_and_go_on_bit_for_bit(self, tmp_path, device, precision):
        asked = {"matmul_precision": precision}
        run = finish(self.begin(tmp_path / "run", **asked))
        assert f"matrix products: {precision} precision" in run.experiment.notes
        exact = finish(self.begin(tmp_path / "exact"))
        assert last(run).tensors["0.weight"].tobytes() != last(exact).tensors["0.weight"].tobytes()
        assert run.summary.metrics["val"]["loss"] == pytest.approx(exact.summary.metrics["val"]["loss"], rel=0.05)
        finish(self.begin(tmp_path / "stopped", **asked), steps=7)
        same_tensors(last(run), last(finish(Run.resume(tmp_path / "stopped"))))
        assert last(run).document["config"]["matmul_precision"] == precision
        with pytest.raises(ConfigError, match="matmul_precision"):
            Run.resume(tmp_path / "stopped", ["matmul_precision=highest"])


WRONG_PRECISION = {
    "float64": ({"dtype": "float64", "device": "cpu"}, "rounds factors of float32, and dtype is float64"),
    "numpy": ({"kernels": "numpy", "device": "cuda"}, "is not to be had with kernels: numpy"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_PRECISION.values(), ids=WRONG_PRECISION.keys())
def test_a_precision_that_cannot_be_had_is_refused(device, changes, message):
    with pytest.raises(ConfigError) as caught:
        Experiment.build(from_mapping({**CONFIG, "matmul_precision": "high", **changes}))
    assert str(caught.value.problems[0]).startswith(f"matmul_precision: {message} (got high); remove")


def test_on_the_cpu_products_are_more_precise_than_asked_for(device):
    experiment = Experiment.build(from_mapping({**CONFIG, "matmul_precision": "medium", "device": "cpu"}))
    assert "matrix products: highest precision, the CPU knows no other" in experiment.notes
    assert experiment.config.matmul_precision == "medium"

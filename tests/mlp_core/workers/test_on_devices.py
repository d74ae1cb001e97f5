"""Steps over shards on stand-ins for GPUs, one for each worker: the same bytes for any number of them, however they
exchange their sums."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import local
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_shim import COMPILER
from fake_cuda import FakeCublas, equip
from fake_cupy import Driver, fake_cupy
from fake_nccl import FakeNccl
from strict_xp import StrictDevice
from test_sharded import Many, config_of, files, trained
from threads import together

from mlp_core.backends.cuda import Unusable, find_device
from mlp_core.backends.cuda.backend import device_backend, fused_backend
from mlp_core.errors import ConfigError, Failed
from mlp_core.runs.run import Run
from mlp_core.runs.run_directory import RunDirectory
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.experiment import Experiment
from mlp_core.training.sharding import for_workers
from mlp_core.workers.devices import between_devices
from mlp_core.workers.world import World

GPUS = 8
CASES = {
    "plain": (),
    "batch norm": ("model.norm=batch", "model.residual=true", "optimizer.accumulate=2"),
    "drawn": ("model.dropout=0.3", "model.input_dropout=0.2", "regularization.input_noise=0.1"),
    "mixed": ("regularization.mixup=0.4", "regularization.l2=0.01", "regularization.l1=0.001"),
    "weights": ("data.weight=v", "loss.class_weight=balanced", "optimizer.clip_norm=0.1", "optimizer.ema=0.9"),
    "words": ("preprocess.categorical.encode=embedding", "regularization.max_norm=0.5", "optimizer.clip_value=0.05"),
}
PINNED, NCCL = "between GPUs through the host's memory", "between GPUs by NCCL"


class Machine:
    """A machine with GPUs that are stand-ins; a worker, a thread, works with the one that it was given last."""

    def __init__(self) -> None:
        self.devices = [equip(StrictDevice()) for _ in range(GPUS)]
        self.mine = local()
        self.nccl = FakeNccl(lambda: self.mine.device)

    def backend(self, index: int, fused: bool = True, precision: str = "highest") -> Any:
        device = self.mine.device = self.devices[index]
        cupy, name = fake_cupy(device), f"cuda:{index}"
        stream = device.xp.cuda.Stream(non_blocking=True).use()
        if not fused:
            return device_backend(cupy, name, None, f"{name} Stand-in")
        return fused_backend(device.xp, name, FakeCublas(device), stream, precision, f"{name} Stand-in")


@pytest.fixture
def machine(monkeypatch) -> Iterator[Machine]:
    machine = Machine()
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(machine.devices[0], count=GPUS))
    look = lambda index=0: find_device(index, {}, lambda name: Driver(), lambda: True)  # noqa: E731
    monkeypatch.setattr("mlp_core.training.devices.find_device", look)
    monkeypatch.setattr("mlp_core.training.devices.cuda_backend", machine.backend)
    return machine


@pytest.fixture
def nccl(monkeypatch, machine) -> FakeNccl:
    """The machine's cupy has NCCL."""
    monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(nccl=machine.nccl))
    return machine.nccl


def on_gpus(folder: Path, *overrides: str) -> Any:
    return config_of(folder, "device=cuda", "kernels=numpy", *overrides)


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_do_not_depend_on_the_number_of_gpus(tmp_path, machine, name):
    config = on_gpus(tmp_path, *CASES[name])
    one = trained(config, tmp_path / "one", 1)
    for workers in (2, 8) if name == "plain" else (4,):
        assert trained(config, tmp_path / str(workers), workers) == one
    host = trained(config_of(tmp_path, "kernels=numpy", *CASES[name]), tmp_path / "host", 2)
    assert host["metrics"] != b""
    there, here = (load_checkpoint(tmp_path / run / "checkpoints" / "last.safetensors") for run in ("one", "host"))
    for tensor, values in here.tensors.items():
        np.testing.assert_allclose(there.tensors[tensor], values, rtol=1e-4, atol=1e-6, err_msg=tensor)


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", ["auto", "numpy"])
def test_shards_on_a_real_gpu_follow_the_cpu(tmp_path, kernels):
    if isinstance(found := find_device(), Unusable):
        pytest.skip(found.reason)
    changes = (
        "model.norm=batch",
        "model.dropout=0.3",
        "optimizer.name=momentum",
        "dtype=float64",
        f"kernels={kernels}",
    )
    for device in ("cuda", "cpu"):
        trained(config_of(tmp_path, f"device={device}", *changes), tmp_path / device, 1)
    there, here = (load_checkpoint(tmp_path / run / "checkpoints" / "last.safetensors") for run in ("cuda", "cpu"))
    for tensor, values in here.tensors.items():
        np.testing.assert_allclose(there.tensors[tensor], values, rtol=1e-9, atol=1e-11, err_msg=tensor)


def test_by_nccl_they_are_the_same(tmp_path, machine, nccl):
    config = on_gpus(tmp_path, "model.norm=batch")
    one = trained(config, tmp_path / "one", 1)
    assert nccl.sent == 0
    for workers in (2, 4):
        assert trained(config, tmp_path / str(workers), workers) == one
    assert nccl.sent > 0
    assert all(device.counts.downloads < 200 for device in machine.devices[1:])


@pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")
def test_with_fused_kernels_they_are_the_same(tmp_path, machine, nccl):
    """The last batch has rows for half of the shards: some workers have none."""
    config = config_of(tmp_path, "device=cuda", "model.norm=layer", "model.dropout=0.3")
    one = trained(config, tmp_path / "one", 1)
    for workers in (2, 8):
        assert trained(config, tmp_path / str(workers), workers) == one


def test_every_worker_has_a_gpu_of_its_own_and_it_is_said_how_they_talk(tmp_path, machine, monkeypatch):
    config = on_gpus(tmp_path, "train.epochs=1")

    def work(place: str, world: World) -> tuple[str, str]:
        run = Run.start(config, b"", tmp_path / place, world=world)
        list(run.execute())
        return run.experiment.model.network.backend.name, next(n for n in run.experiment.notes if "between" in n)

    for place, way in (("pinned", PINNED), ("nccl", NCCL)):
        told = together(2, lambda world, place=place: work(place, world))
        assert [name for name, _ in told] == ["cuda:0", "cuda:1"]
        assert all(said.endswith(f"summed in an order of theirs, {way}") for _, said in told)
        record = RunDirectory(tmp_path / place).read_json("run.json")
        assert record["environment"]["device"] == "cuda:0 Stand-in"
        assert any(way in line for line in record["inferred"])
        monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(nccl=machine.nccl))


def test_where_one_worker_has_no_nccl_all_do_without(machine):
    def way(world: World) -> str:
        backend = machine.backend(world.rank, fused=False)
        return between_devices(world, backend.xp, 64, machine.nccl if world.rank else None).way

    assert together(2, way) == ["through the host's memory"] * 2


def test_an_nccl_that_cannot_begin_is_told_of_in_one_line(machine, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("NCCL_ERROR_SYSTEM_ERROR: unhandled system error")

    monkeypatch.setattr(machine.nccl, "NcclCommunicator", fail)
    with pytest.raises(Failed, match="NCCL failed: NCCL_ERROR_SYSTEM_ERROR: unhandled system error; set NCCL_DEBUG"):
        together(2, lambda world: between_devices(world, machine.backend(world.rank, False).xp, 64, machine.nccl))


def test_a_run_is_proved_before_its_first_step(tmp_path, machine, nccl):
    config = on_gpus(tmp_path, "train.preflight=quick", "model.norm=batch", "model.dropout=0.3")

    def stamp(world: World) -> str | None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        list(run.execute())
        return run.experiment.stamp

    first, second = together(2, stamp)
    assert first == second
    assert "1 step as printed" in str(first)


def test_resumed_by_another_number_it_ends_with_the_same_bytes(tmp_path, machine):
    config = on_gpus(tmp_path, "model.norm=batch", "optimizer.ema=0.9")
    whole = trained(config, tmp_path / "whole", 1)

    def stopped(world: World) -> None:
        steps = iter(range(2))
        run = Run.start(config, b"", tmp_path / "run", world=world)
        list(run.execute(lambda: 0 if next(steps, None) is not None or world.rank else 143))

    together(4, stopped)
    together(2, lambda world: list(Run.resume(tmp_path / "run", world=world).execute()))
    assert files(tmp_path / "run") == whole


def test_weights_that_drift_apart_end_the_run(tmp_path, machine):
    config = on_gpus(tmp_path, "train.epochs=5")

    def work(world: World) -> None:
        run = Run.start(config, b"", tmp_path / "run", world=world)
        for _ in run.execute():
            if world.rank:
                run.experiment.model.network.parameters.theta[3] += 1e-3

    with pytest.raises(Failed, match="worker 1 has another weights than worker 0"):
        together(2, work)


@pytest.mark.parametrize(
    ("device", "size", "said"),
    [
        ("cuda", 16, "16 workers need as many GPUs, this machine has 8 GPUs (got cuda); take fewer of them"),
        ("cuda:1", 2, "each of several workers takes a GPU of its own (got cuda:1); write device: cuda"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, machine, device, size, said):
    config, world = config_of(tmp_path, f"device={device}", "train.shards=16", "train.batch_size=16"), Many(size)
    world.local_size = size
    for refused in (for_workers, lambda config, world: Experiment.build(config, world=world)):
        with pytest.raises(ConfigError) as caught:
            refused(config, world)
        assert said in str(caught.value.problems[0])


def test_auto_takes_the_gpus_for_any_number_of_workers(tmp_path, machine, monkeypatch):
    monkeypatch.setattr("mlp_core.training.devices.WORTH_STEP", 1.0)
    monkeypatch.setattr("mlp_core.training.devices.WORTH_RUN", 1.0)
    config = config_of(tmp_path, "device=auto", "kernels=numpy")
    devices = together(2, lambda world: Experiment.build(config, world=world).config.device)
    assert devices == ["cuda", "cuda"]
    assert Experiment.build(config).config.device == "cuda"
    assert (
        Experiment.build(config_of(tmp_path, "device=auto", "kernels=numpy", "train.shards=1")).config.device
        == "cuda:0"
    )

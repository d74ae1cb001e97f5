"""Whether a GPU can be used: every way in which it cannot, each with its reason and its remedy."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from fake_cupy import CUDARuntimeError, Driver, DynamicLibNotFoundError, OutOfMemoryError, fake_cupy
from strict_xp import StrictDevice

from mlp_core.backends.cuda import Unusable, find_device
from mlp_core.backends.cuda import detect as detection
from mlp_core.backends.cuda.detect import Device, cuda, driver_release, driver_version, extra_for, without_paths
from mlp_core.config import from_mapping
from mlp_core.errors import ConfigError
from mlp_core.training.devices import WORTH_RUN, WORTH_STEP, decide_device, open_cuda, step_flops

CUDA12 = "pip install 'mlpbp[cuda12]'"


def no_driver(name: str) -> None:
    raise OSError(f"{name}: cannot open shared object file")


def look(monkeypatch, *, index=0, environ=None, driver=12080, cupy=None):
    """find_device on a machine with this driver (None: none) and this cupy (None: not installed)."""
    if cupy is not None:
        monkeypatch.setitem(sys.modules, "cupy", cupy)
    load = no_driver if driver is None else lambda name: Driver(driver)
    return find_device(index, environ or {}, load, installed=lambda: cupy is not None)


def test_a_usable_gpu_is_found(monkeypatch):
    found = look(monkeypatch, cupy=fake_cupy(StrictDevice(), count=2), index=1)
    assert found == Device(1, "NVIDIA Stand-in", 4 << 30, 3 << 30, 12080, 12090)


MISSING = {
    "hidden": ({"environ": {"CUDA_VISIBLE_DEVICES": ""}}, "CUDA_VISIBLE_DEVICES hides every GPU", "unset", True),
    "hidden by -1": ({"environ": {"CUDA_VISIBLE_DEVICES": "-1"}}, "CUDA_VISIBLE_DEVICES hides", "unset", True),
    "neither cupy nor driver": ({"driver": None}, "cupy is not installed", CUDA12, False),
    "no cupy": ({"driver": 12080}, "cupy is not installed", CUDA12, True),
    "no cupy, new driver": ({"driver": 13000}, "cupy is not installed", "pip install 'mlpbp[cuda13]'", True),
}


@pytest.mark.parametrize(("machine", "reason", "fix", "meant"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_before_cupy_is_imported(monkeypatch, machine, reason, fix, meant):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it raises
    found = look(monkeypatch, **machine)
    assert isinstance(found, Unusable)
    assert found.reason.startswith(reason)
    assert found.fix.startswith(fix)
    assert found.meant == meant


def test_cupy_without_a_driver(monkeypatch):
    found = look(monkeypatch, driver=None, cupy=fake_cupy(StrictDevice()))
    assert isinstance(found, Unusable)
    assert "no NVIDIA driver" in found.reason
    assert found.meant


FAILURES = {
    "old driver": (
        {"getDeviceCount": CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")},
        ("the driver (CUDA 12.8) is too old for the installed cupy", f"update the driver, or {CUDA12}"),
    ),
    "no device": (
        {"getDeviceCount": CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")},
        ("the driver sees no GPU", "check nvidia-smi"),
    ),
    "another error of the runtime": (
        {"ones": CUDARuntimeError("cudaErrorDevicesUnavailable: busy or unavailable")},
        ("CUDA reports cudaErrorDevicesUnavailable", "check nvidia-smi"),
    ),
    "no cuBLAS": (
        {"matmul": ImportError("libcublas.so.12: cannot open shared object file: No such file or directory")},
        ("a library of CUDA is missing (libcublas.so.12", CUDA12),
    ),
    "no NVRTC": (
        {"matmul": DynamicLibNotFoundError('Failure finding "libnvrtc.so.12" in /home/someone/env/lib')},
        ('a library of CUDA is missing (Failure finding "libnvrtc.so.12" in lib)', CUDA12),
    ),
    "full": (
        {"ones": OutOfMemoryError("Out of memory allocating 256 bytes")},
        ("the GPU's memory is taken", "end the"),
    ),
    "anything else": ({"ones": AttributeError("no such thing")}, ("cupy failed with AttributeError", "reinstall it")),
}


@pytest.mark.parametrize(("fails", "expected"), FAILURES.values(), ids=FAILURES.keys())
def test_each_family_of_failures_has_a_reason_and_a_remedy(monkeypatch, fails, expected):
    found = look(monkeypatch, cupy=fake_cupy(StrictDevice(), **fails))
    assert isinstance(found, Unusable)
    assert (found.reason[: len(expected[0])], found.fix[: len(expected[1])]) == expected
    assert found.meant
    assert "/home" not in found.reason


@pytest.mark.parametrize(("count", "words"), [(1, "1 GPU"), (2, "2 GPUs")])
def test_a_number_that_no_gpu_has(monkeypatch, count, words):
    found = look(monkeypatch, index=3, cupy=fake_cupy(StrictDevice(), count=count))
    assert isinstance(found, Unusable)
    assert found.reason == f"there is no cuda:3, this machine has {words}"


def test_a_device_that_computes_wrong_numbers_is_not_used(monkeypatch):
    cupy = fake_cupy(StrictDevice())
    cupy.matmul = lambda a, b: a
    found = look(monkeypatch, cupy=cupy)
    assert isinstance(found, Unusable)
    assert "wrong numbers" in found.reason


def test_the_driver_tells_its_version(tmp_path):
    assert driver_version(lambda name: Driver(12080)) == 12080
    assert driver_version(lambda name: Driver(12080, fails=True)) == 0
    assert driver_version(lambda name: object()) == 0
    assert driver_version(no_driver) is None
    assert [extra_for(version) for version in (None, 0, 12080, 13000)] == ["cuda12", "cuda12", "cuda12", "cuda13"]
    assert (cuda(12080), cuda(13000), cuda(0)) == ("CUDA 12.8", "CUDA 13.0", "of unknown version")
    file = tmp_path / "version"
    assert driver_release(file) is None
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n")
    assert driver_release(file) == "550.54.15"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/env/lib/libcublas.so.12: not found\nmore", "libcublas.so.12: not found"),
        (r"C:\Users\ann\cudart.dll failed", "cudart.dll failed"),
        ("", "no message"),
        ("x" * 300, "x" * 119 + "…"),
    ],
)
def test_messages_are_shown_without_folders(text, shown):
    assert without_paths(text) == shown


def config(device: str, **train: int):
    return from_mapping({"device": device, "data": {"name": "digits"}, "train": {"epochs": 1000, **train}})


LARGE = [784, 4096, 4096, 10]


def test_the_size_of_a_job():
    assert step_flops([3, 5, 2], 7) == 6 * 7 * (15 + 10)
    assert step_flops(LARGE, 128) > WORTH_STEP
    assert step_flops(LARGE, 128) * 1000 * 400 > WORTH_RUN


@pytest.mark.parametrize(
    ("widths", "train"),
    [([64, 32, 10], {}), (LARGE, {"max_steps": 2})],
    ids=["small steps", "few steps"],
)
def test_auto_takes_the_cpu_for_a_small_job_without_a_look_at_the_gpu(monkeypatch, widths, train):
    monkeypatch.setattr("mlp_core.training.devices.find_device", lambda: pytest.fail("looked"))
    monkeypatch.setattr("mlp_core.training.devices.cupy_installed", lambda: False)
    assert decide_device(config("auto", **train), widths, 128, 50_000) == ("cpu", None)
    monkeypatch.setattr("mlp_core.training.devices.cupy_installed", lambda: True)
    device, note = decide_device(config("auto", **train), widths, 128, 50_000)
    assert (device, note) == ("cpu", "device: cpu (too little work for a GPU to pay)")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Device(0, "NVIDIA X", 1, 1, 12080, 12080), ("cuda:0", "device: cuda:0 (NVIDIA X)")),
        (Unusable("why", "how", True), ("cpu", "device: cpu (why; how)")),
        (Unusable("why", "how", False), ("cpu", None)),
    ],
    ids=["usable", "meant", "not meant"],
)
def test_auto_for_a_large_job(monkeypatch, found, expected):
    monkeypatch.setattr("mlp_core.training.devices.find_device", lambda: found)
    assert decide_device(config("auto"), LARGE, 128, 50_000) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_named_is_kept(monkeypatch, device):
    monkeypatch.setattr("mlp_core.training.devices.find_device", lambda: pytest.fail("looked"))
    assert decide_device(config(device), LARGE, 128, 50_000) == (device, None)


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_that_is_asked_for_and_cannot_be_used_is_refused(monkeypatch, device, index):
    asked = []
    monkeypatch.setattr(
        "mlp_core.training.devices.find_device", lambda i: asked.append(i) or Unusable("why", "how", False)
    )
    with pytest.raises(ConfigError) as caught:
        open_cuda(config(device))
    (problem,) = caught.value.problems
    assert (problem.code, problem.key, problem.got) == ("no_cuda", "device", device)
    assert (problem.message, problem.hint) == ("why", "how, or write device: cpu")
    assert caught.value.exit_code == 2
    assert asked == [index]


def test_nothing_of_cupy_is_imported_for_the_cpu(tmp_path):
    (tmp_path / "cupy.py").write_text("raise SystemExit('cupy was imported')")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from mlp_core.config import from_mapping\n"
        "from mlp_core.training.experiment import Experiment\n"
        "for device in ('cpu', 'auto'):\n"
        "    given = {'device': device, 'data': {'name': 'digits'}, 'train': {'epochs': 1}}\n"
        "    experiment = Experiment.build(from_mapping(given))\n"
        "    list(experiment.trainer.run())\n"
        "    assert experiment.config.device == 'cpu'\n"
        "assert 'cupy' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_real_cupy_on_this_machine_gives_a_device_or_a_reason():
    pytest.importorskip("cupy", reason="cupy is not installed (it can be, without a GPU)")
    found = detection.find_device()
    assert isinstance(found, Device) or (found.meant and found.reason and found.fix)
    found = detection.find_device(load=lambda name: Driver(12080))  # past the driver, into cupy itself
    assert isinstance(found, Device) or (found.meant and found.reason and found.fix)


def test_the_extras_that_are_recommended_exist_and_exclude_each_other():
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for version, extra in ((12080, "cuda12"), (13000, "cuda13")):
        assert extra_for(version) == extra
        assert extras[extra] == [f"cupy-{extra}x[ctk]>=14.0.1,!=14.1.0"]
    assert [{"extra": "cuda12"}, {"extra": "cuda13"}] in project["tool"]["uv"]["conflicts"]

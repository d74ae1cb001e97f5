"""`mlpbp doctor`: facts for a bug report that say nothing private."""

from __future__ import annotations

import getpass
import json
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest
from mlpbp import doctor
from mlpbp.main import app
from mlpbp.options import settings
from typer.testing import CliRunner

from mlp_core import __version__
from mlp_core.backends.cuda.detect import Device, Unusable
from mlp_core.diagnostics import doctor as facts


@pytest.fixture(autouse=True)
def plain_settings():
    yield
    settings.json = settings.quiet = settings.no_progress = settings.debug = False


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "doctor"])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_report_fits_80_columns_and_names_what_matters():
    text = run()
    assert all(len(line) <= 80 for line in text.splitlines())
    for word in (__version__, platform.python_version(), metadata.version("numpy"), "linear algebra", "usable"):
        assert word in text


def test_the_report_says_nothing_private():
    text = run() + run("--json")
    private = [socket.gethostname(), str(Path.home()), str(Path.cwd()), sys.prefix, "site-packages"]
    user = getpass.getuser()
    private += [f"/{user}/"] if user != "root" else []
    for word in private:
        assert word in ("", "/") or word not in text


def test_json_is_one_document_with_every_section():
    document = json.loads(run("--json"))
    assert document["ok"]
    assert document["exit_code"] == 0
    assert document["command"] == "doctor"
    for section in ("program", "packages", "extras", "machine", "linear algebra", "environment", "gpu"):
        assert section in document
    assert document["packages"]["numpy"] == metadata.version("numpy")
    gpu = document["gpu"]
    assert gpu["usable"] or (gpu["reason"] and gpu["remedy"])


def test_extras_are_those_of_the_package_with_what_is_installed(monkeypatch):
    lines = [
        "numpy>=1.26",
        "cupy-cuda12x[ctk]!=14.1.0,>=14.0.1; extra == 'cuda12'",
        'numpy>=2; extra == "fast"',
        "pytest>=8; extra == 'test'",
        "mlpbp[test]; extra == 'dev'",
    ]
    installed = {"numpy": "2.0.0"}
    monkeypatch.setattr(facts.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(facts, "_version", installed.get)
    report = facts.examine()
    assert report["packages"] == {"numpy": "2.0.0"}
    assert report["extras"] == {"cuda12": {"cupy-cuda12x": None}, "fast": {"numpy": "2.0.0"}}


def test_a_program_that_is_not_installed_has_no_requirements(monkeypatch):
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(facts.metadata, "requires", missing)
    monkeypatch.setattr(facts.metadata, "version", missing)
    report = facts.examine()
    assert report["packages"] == report["extras"] == {}
    assert facts._version("numpy") is None


GPUS = {
    "usable": (
        Device(0, "NVIDIA X", 80 << 30, 79 << 30, 12080, 12090),
        {"usable": True, "device": "cuda:0 NVIDIA X", "memory": "80 GiB, 79.0 free", "runtime": "CUDA 12.9"},
    ),
    "unusable": (
        Unusable("there is no NVIDIA driver (libcuda.so.1)", "install the driver", True),
        {"usable": False, "reason": "there is no NVIDIA driver (libcuda.so.1)", "remedy": "install the driver"},
    ),
}


@pytest.mark.parametrize(("found", "expected"), GPUS.values(), ids=GPUS.keys())
@pytest.mark.parametrize(
    ("driver", "supports"), [(None, None), (12080, "up to CUDA 12.8"), (0, "of unknown version")], ids=str
)
def test_the_gpu_or_why_not(monkeypatch, found, expected, driver, supports):
    monkeypatch.setattr(facts, "find_device", lambda: found)
    monkeypatch.setattr(facts, "driver_version", lambda: driver)
    monkeypatch.setattr(facts, "driver_release", lambda: "550.54.15")
    gpu = facts.examine()["gpu"]
    assert gpu == {"driver": "550.54.15", "driver supports": supports, **expected}


def test_long_facts_are_wrapped():
    shown = list(doctor.lines({"gpu": {"reason": "because " * 30, "usable": False, "driver": None}, "extras": {}}))
    assert shown[0] == "gpu"
    assert all(len(line) <= 80 for line in shown)
    assert shown[2].startswith(" " * doctor.INDENT + "because")
    assert "no" in shown[-2]
    assert shown[-1].split() == ["driver", "not", "there"]

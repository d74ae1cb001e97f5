"""`--device` on the command line: a GPU that cannot be used is refused, and `auto` says why it takes the CPU."""

from __future__ import annotations

import json

import pytest
from mlpbp.errors import run_safely
from mlpbp.main import app
from mlpbp.options import settings

from mlp_core.backends.cuda import Unusable


@pytest.fixture(autouse=True)
def plain_settings():
    yield
    settings.json = settings.quiet = settings.no_progress = settings.debug = False


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine on which a GPU seems meant, for jobs of any size."""
    monkeypatch.setattr("mlp_core.training.devices.find_device", lambda index=0: Unusable("why", "how", True))
    monkeypatch.setattr("mlp_core.training.devices.WORTH_STEP", 0.0)
    monkeypatch.setattr("mlp_core.training.devices.WORTH_RUN", 0.0)


def mlpbp(*arguments: str) -> int:
    words = list(arguments)
    return run_safely(lambda: app(args=words, prog_name="mlpbp", standalone_mode=False), words)


@pytest.mark.parametrize("asked", ["device=cuda:1", "--device=cuda:1"])
def test_a_gpu_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path, no_gpu, capsys, asked):
    assert mlpbp("train", "configs/digits.yaml", asked, "-o", str(tmp_path / "run")) == 2
    expected = "mlpbp: error: command line: device: why (got cuda:1); how, or write device: cpu\n"
    assert capsys.readouterr().err.endswith(expected)
    assert not (tmp_path / "run").exists()


def test_the_refusal_as_json(tmp_path, no_gpu, capsys):
    assert mlpbp("--json", "train", "configs/digits.yaml", "device=cuda", "-o", str(tmp_path / "run")) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["exit_code"]) == (False, 2)
    (error,) = document["errors"]
    assert (error["code"], error["key"], error["hint"]) == ("no_cuda", "device", "how, or write device: cpu")


def test_auto_says_in_one_line_why_it_takes_the_cpu(tmp_path, no_gpu, capsys):
    run = tmp_path / "run"
    assert mlpbp("train", "configs/digits.yaml", "device=auto", "train.epochs=1", "-o", str(run)) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("device:")]
    assert lines == ["device: cpu (why; how)"]
    assert json.loads((run / "run.json").read_text())["environment"]["device"] == "cpu"

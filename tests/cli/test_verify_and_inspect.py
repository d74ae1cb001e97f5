"""`mlpbp verify` and `mlpbp inspect` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """
data: {name: digits, limit: 200, split: {val: 0.2}}
model: {hidden: [8], dropout: 0.2}
train: {epochs: 2, batch_size: 32}
threads: 1
kernels: numpy
"""


def mlpbp(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)
    assert result.returncode == code, result.stderr
    assert max((len(line) for line in result.stdout.splitlines() if not line.startswith("{")), default=0) <= 80
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "small.yaml").write_text(SMALL)
    mlpbp("-q", "train", "small.yaml", "-o", "one", cwd=folder)
    mlpbp("-q", "train", "small.yaml", "-o", "other", "seed=1", cwd=folder)
    return folder


def test_verify_compares_an_interrupted_run_with_a_whole_one(folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = mlpbp("verify", "small.yaml", cwd=folder)
    assert result.stdout.rstrip().endswith("identical, byte for byte")
    document = json.loads(mlpbp("verify", "small.yaml", "-e", 2, "--times", 2, "--json", cwd=folder).stdout)
    assert document["same"]
    assert document["steps"] == 10
    assert len(document["stops"]) == 2
    assert {file["name"] for file in document["files"]} == {
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "metrics.jsonl",
    }
    assert sorted(folder.iterdir()) == before


def test_verify_trains_as_many_epochs_as_asked_for_and_interrupts_them_anywhere(tmp_path: Path) -> None:
    """Of a table too, for which the recipe would have others; also after the best epoch; few rows keep no best."""
    lines = ["x,y", *(f"{k % 5},{'ab'[k % 2]}" for k in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.yaml").write_text("data: {train: t.csv, target: y, split: {val: 0.15}}\nmodel: {hidden: [8]}\n")
    told = mlpbp("verify", "t.yaml", "recipe=strong", "-e", 9, "--times", 8, "--json", cwd=tmp_path).stdout
    document = json.loads(told)
    assert document["same"]
    assert document["steps"] == 9
    assert document["stops"] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_verify_says_what_is_not_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a resumption that forgets the optimizer's state."""
    from mlp_core.config import load
    from mlp_core.runs.verify_resume import verify_resumption
    from mlp_core.training.experiment import Experiment

    (tmp_path / "small.yaml").write_text(SMALL)
    restore = Experiment.restore

    def forgetful(self: Experiment, checkpoint: object, path: str) -> None:
        restore(self, checkpoint, path)  # type: ignore[arg-type]
        self.trainer.job.optimizer.state["m"][:] = 0

    monkeypatch.setattr(Experiment, "restore", forgetful)
    found = verify_resumption(load(tmp_path / "small.yaml"), tmp_path, 2, 2)
    assert found is not None
    assert not found.same
    assert not found.files[0].same


def test_inspect_tells_what_a_checkpoint_holds(folder: Path) -> None:
    result = mlpbp("inspect", "one", cwd=folder)
    for text in ("multiclass of", "64-8-10", "adam", "epoch 2, step 10", "proved, worst error", "0.weight", "8×64"):
        assert text in result.stdout
    document = json.loads(mlpbp("inspect", "one/checkpoints/last.safetensors", "--json", cwd=folder).stdout)
    assert document["format"] == 1
    assert document["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert document["progress"]["step"] == 10
    tensors = {tensor["name"]: tensor for tensor in document["tensors"]}
    assert tensors["0.weight"]["shape"] == [8, 64]
    assert set(tensors["0.weight"]) == {"name", "shape", "dtype", "norm", "sha256"}
    assert list(tensors)[-1].startswith("optimizer.")


def test_inspect_tells_how_two_differ(folder: Path) -> None:
    result = mlpbp("inspect", "one", "other", cwd=folder)
    assert "config: seed" in result.stdout
    document = json.loads(mlpbp("inspect", "one", "other", "--json", cwd=folder).stdout)
    assert not document["same"]
    assert document["differences"]["config"] == {"seed": [0, 1]}
    changed = {tensor["name"]: tensor for tensor in document["differences"]["tensors"]}
    assert changed["0.weight"]["changed"] > 400
    assert changed["0.weight"]["largest"] > 0
    assert json.loads(mlpbp("inspect", "one", "one", "--json", cwd=folder).stdout)["same"]


def test_inspect_refuses_a_damaged_one(folder: Path, tmp_path: Path) -> None:
    blob = bytearray((folder / "one/checkpoints/best.safetensors").read_bytes())
    blob[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(blob)
    result = mlpbp("inspect", "x.safetensors", cwd=tmp_path, code=1)
    assert result.stderr.startswith("mlpbp: error: x.safetensors: digest mismatch, the file is damaged")
    mlpbp("inspect", "nowhere", cwd=tmp_path, code=2)

"""`mlpbp check` as a user runs it: errors of a config at once, its data, and whether it can learn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = "data: {name: digits, limit: 200}\nmodel: {hidden: [16]}\nthreads: 1\n"


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def test_every_error_at_once(folder: Path) -> None:
    (folder / "bad.yaml").write_text("data: {train: no.csv}\nmodel: {hiden: [3]}\noptimizer: {lr: fast}\n")
    result = mlpbp("check", "bad.yaml", cwd=folder)
    assert result.returncode == 2
    assert re.fullmatch(
        r"mlpbp: error: bad\.yaml:2:9: model\.hiden: .*\nmlpbp: error: bad\.yaml:3:17: optimizer\.lr: .*\n",
        result.stderr,
    )
    assert result.stdout == ""


def test_a_file_that_is_not_there(folder: Path) -> None:
    (folder / "bad.yaml").write_text("data:\n  train: no.csv\n  target: y\n")
    result = mlpbp("check", "bad.yaml", cwd=folder)
    assert result.returncode == 2
    assert re.fullmatch(r"mlpbp: error: bad\.yaml:2:10: data\.train: no such file \(got .*no\.csv\)\n", result.stderr)


def test_a_fine_config(folder: Path) -> None:
    result = mlpbp("check", "good.yaml", "--no-data", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("good.yaml: the config is fine; not looked at: the data (--data)")


def test_small_data_is_looked_at_without_being_asked_to(folder: Path) -> None:
    result = mlpbp("check", "good.yaml", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert "task: multiclass" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("good.yaml: config and data are fine; not looked at")
    (folder / "small.csv").write_text("a,b\n" + "1,2\n3,4\n" * 20)
    (folder / "wrong.yaml").write_text("data: {train: small.csv, target: c}\n")
    assert 'no column "c" in the data' in mlpbp("check", "wrong.yaml", cwd=folder).stderr
    (folder / "small.csv").write_text("a,b\n" + "1,2\n3,4\n" * 600_000)
    result = mlpbp("check", "wrong.yaml", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert "nothing is inferred yet" in result.stdout


def test_what_the_data_says(folder: Path) -> None:
    result = mlpbp("check", "good.yaml", "--data", cwd=folder)
    assert result.returncode == 0
    for line in ("task: multiclass", "rows: train 160, val 40", "learning rate: 0.001", "network: 64-16-10"):
        assert line in result.stdout
    document = json.loads(mlpbp("check", "good.yaml", "--data", "--json", cwd=folder).stdout)
    assert document["data"] == {"task": "multiclass", "rows": {"train": 160, "val": 40}}
    assert document["parameters"] == 64 * 16 + 16 + 16 * 10 + 10


def test_a_deep_look_at_a_sound_config(folder: Path) -> None:
    result = mlpbp("check", "good.yaml", "--deep", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert len(re.findall(r"^ (ok|note) +\w", result.stdout, re.M)) == 8
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stdout.splitlines()[-1] == "ready; next  mlpbp train good.yaml"
    assert sorted(path.name for path in folder.iterdir()) == ["good.yaml"]


def test_a_deep_look_at_a_broken_config(folder: Path) -> None:
    result = mlpbp("check", "good.yaml", "model.init=zeros", "--deep", "--json", cwd=folder)
    assert result.returncode == 1
    document = json.loads(result.stdout)
    assert not document["ok"]
    wrong = [row["name"] for row in document["checks"] if row["verdict"] == "wrong"]
    assert {"gradients", "hidden units", "8 rows learned"} <= set(wrong)
    assert document["errors"][0]["message"].startswith("wrong: gradients")
    assert all(row["advice"] for row in document["checks"] if row["verdict"] == "wrong")

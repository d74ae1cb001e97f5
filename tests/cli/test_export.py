"""`mlpbp export` as a user runs it: what it prints, what it refuses, what it keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small run."""
    folder = tmp_path_factory.mktemp("export")
    config = "data: {name: diabetes}\nmodel: {hidden: [4]}\ntrain: {epochs: 1}\nthreads: 1\n"
    (folder / "c.yaml").write_text(config)
    assert mlpbp("train", "c.yaml", "-o", "run", cwd=folder).returncode == 0
    return folder


def test_the_files_the_check_and_the_document(folder: Path, tmp_path: Path) -> None:
    result = mlpbp("export", "run", "--to", "numpy", "-o", tmp_path / "net.py", cwd=folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [str(tmp_path / "net.py"), str(tmp_path / "net.npz")]
    assert lines[2] == "takes raw columns (10), gives prediction"
    assert lines[3].startswith("checked by numpy: 16 rows, labels agree, largest difference ")
    assert result.stderr == ""
    result = mlpbp("export", "run", "-o", tmp_path / "net.py", "--to", "numpy", "--force", "--json", cwd=folder)
    document = json.loads(result.stdout)
    assert (document["ok"], document["to"], document["rows"]) == (True, "numpy", 16)
    assert document["check"]["difference"] <= document["check"]["limit"] == 1e-5
    assert document["answers"] == ["prediction"]
    assert {name: (tmp_path / name).stat().st_size for name in ("net.py", "net.npz")} == {
        Path(name).name: size for name, size in document["files"].items()
    }
    result = mlpbp("export", "--check", tmp_path / "net.py", cwd=folder)
    assert (result.returncode, result.stdout.split(":")[1][:18]) == (0, " passes, by numpy;")


def test_folds_and_ensembles_leave_as_one_model(folder: Path, tmp_path: Path) -> None:
    assert mlpbp("cv", "c.yaml", "-k", "2", "-o", tmp_path / "folds", cwd=folder).returncode == 0
    (tmp_path / "e.yaml").write_text((folder / "c.yaml").read_text() + "ensemble: 2\n")
    assert mlpbp("train", tmp_path / "e.yaml", "-o", tmp_path / "both", cwd=folder).returncode == 0
    for members in ("folds", "both"):
        output = tmp_path / f"{members}_net.py"
        result = mlpbp("export", tmp_path / members, "--to", "numpy", "-o", output, "--json", cwd=folder)
        document = json.loads(result.stdout)
        assert (result.returncode, document["check"]["by"]) == (0, "numpy"), result.stderr
        assert document["check"]["difference"] <= 1e-5
        assert "by the average of 2 networks" in output.read_text()
    (name, _) = json.loads((tmp_path / "both/members.json").read_text())["members"]
    target = tmp_path / "both" / name / "checkpoints/best.py"
    kept = target.with_suffix(".safetensors").read_bytes()
    result = mlpbp("export", tmp_path / "both", "--to", "torch", "-o", target, "--force", cwd=folder)
    assert (result.returncode, "this is the model itself" in result.stderr) == (2, True)
    assert target.with_suffix(".safetensors").read_bytes() == kept


BAD = {
    "nothing": ((), "no model given"),
    "no file": (("run",), "no file to write given"),
    "no format": (("run", "-o", "x.py"), "--to: no format is named; choose from onnx, c, numpy, torch"),
    "no folder": (("run", "-o", "none/x.c"), "none: there is no such folder"),
    "no run": (("nowhere", "-o", "x.c"), "nowhere: no such file or directory"),
    "there": (("run", "--to", "torch", "-o", "there.py"), "there.py: there is such a file already"),
    "half there": (("run", "--to", "numpy", "-o", "half.py"), "half.npz: there is such a file already"),
    "the model": (
        ("run/checkpoints/best.safetensors", "--to", "torch", "--force", "-o", "run/checkpoints/best.py"),
        "best.safetensors: this is the model itself",
    ),
    "check what": (("--check", "none.py"), "none.py: no such file"),
    "check that": (("--check", "c.yaml"), "not an exported model by its name"),
    "both": (("run", "--check", "none.py"), "--check takes an exported file alone"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_use_is_one_line_and_changes_nothing(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    for name in ("there.py", "half.npz"):
        (folder / name).write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = mlpbp("export", *arguments, cwd=folder)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_model_of_a_newer_version_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    from mlp_core.training import checkpoint

    saved = checkpoint.load(folder / "run/checkpoints/best.safetensors")
    newer = checkpoint.FORMAT + 1
    data = b"".join(checkpoint.serialize(saved)).replace(
        b'\\"format\\":%d' % checkpoint.FORMAT, b'\\"format\\":%d' % newer
    )
    place = 8 + len(checkpoint._BEGINNING)
    blank = data[:place] + checkpoint._BLANK.encode() + data[place + 64 :]
    import hashlib

    path = tmp_path / "newer.safetensors"
    path.write_bytes(data[:place] + hashlib.sha256(blank).hexdigest().encode() + data[place + 64 :])
    result = mlpbp("export", path, "-o", tmp_path / "x.c", cwd=folder)
    assert result.returncode == 1
    assert f"written in checkpoint format {newer}" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x.c").exists()

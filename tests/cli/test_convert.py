"""`mlpbp convert` as a user runs it, and everything that then works on the folder."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def mlpbp(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f"r{i},{i % 7},{['oak', 'elm', ''][i % 3]},{['yes', 'no'][i % 2]}\n" for i in range(300))
    (tmp_path / "trees.csv").write_text("id,size,kind,cut\n" + rows)
    return tmp_path


def test_what_is_shown_can_be_trained_with(folder: Path) -> None:
    result = mlpbp("convert", "trees.csv", "-o", "trees", "--target", "cut", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("trees: 300 rows of 4 columns, 0.0 MiB (float32 cells)\n\ndata:\n  train: trees\n")
    config = result.stdout.split("\n\n")[1]
    (folder / "c.yaml").write_text(config + "\ntrain: {epochs: 2}\n")
    trained = mlpbp("train", "c.yaml", "-o", "run", cwd=folder)
    assert trained.returncode == 0, trained.stderr
    for command in (
        ["data", "trees", "--target", "cut"],
        ["init", "trees", "--target", "cut", "-o", "i.yaml"],
        ["check", "c.yaml", "--deep", "data.memory=memmap"],
        ["predict", "run", "trees", "--proba"],
        ["eval", "run", "trees"],
        ["eval", "run", "--by", "kind"],
        ["gradcheck", "c.yaml", "data.memory=memmap"],
        ["trace", "c.yaml", "data.memory=memmap"],
        ["bench", "c.yaml", "data.memory=memmap"],
    ):
        result = mlpbp(*command, cwd=folder)
        assert result.returncode == 0, (command, result.stderr)


def test_the_document(folder: Path) -> None:
    result = mlpbp("convert", "trees.csv", "-o", "trees", "--json", "data.drop=[id]", cwd=folder)
    document = json.loads(result.stdout)
    assert (document["ok"], document["command"], document["rows"]) == (True, "convert", 300)
    assert document["columns"] == ["size", "kind", "cut"]
    assert document["bytes"] == (folder / "trees/values.npy").stat().st_size
    assert np.load(folder / "trees/values.npy").shape == (300, 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no.csv", "-o", "x"], "no such file"),
        (["trees.csv", "-o", "trees.csv"], "there is such a file or folder"),
        (["trees.csv", "-o", "trees.csv", "--force"], "no converted table, and is not written over"),
        (["trees.csv", "-o", "x", "--target", "cutt"], 'no column "cutt" in the data; did you mean "cut"?'),
        (["trees.csv", "-o", "x", "data.csv.delimitr=;"], "unknown key"),
        (["data.csv.decimal=,", "-o", "x"], "no file given"),
        (["https://example.org/a.csv", "-o", "x"], "addresses are not fetched"),
        (["trees.csv"], "missing option"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], says: str, folder: Path) -> None:
    result = mlpbp("convert", *arguments, cwd=folder)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["trees.csv"]


def test_a_converted_table_is_not_converted_again(folder: Path) -> None:
    assert mlpbp("convert", "trees.csv", "-o", "a b/trees", cwd=folder).returncode == 0
    for name in ("a b/trees", "a b/trees/table.json"):
        result = mlpbp("convert", name, "-o", "again", cwd=folder)
        says = f"mlpbp: error: {name}: this is a converted table already; name it in data.train as it is\n"
        assert (result.returncode, result.stderr) == (2, says)


def test_a_disk_that_is_full_leaves_nothing(folder: Path) -> None:
    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    import signal

    def ignore() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        little()

    result = mlpbp("convert", "trees.csv", "-o", "trees", cwd=folder, preexec_fn=ignore)
    assert result.returncode == 1
    assert "cannot be written" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["trees.csv"]


def test_several_files_are_one_table(folder: Path) -> None:
    text = (folder / "trees.csv").read_text()
    (folder / "more.csv").write_text(text)
    result = mlpbp("convert", "trees.csv", "more.csv", "-o", "all", "--json", cwd=folder)
    assert json.loads(result.stdout)["rows"] == 600
    result = mlpbp("convert", "*e*.csv", "-o", "same", "--json", cwd=folder)
    assert json.loads(result.stdout)["rows"] == 600


def test_it_takes_a_bounded_memory(tmp_path: Path) -> None:
    """A table of 45 MB is converted and trained on in memory that does not grow with it."""
    rng = np.random.default_rng(0)
    lines = "".join(",".join(f"{x:.3f}" for x in row) + "\n" for row in rng.standard_normal((2000, 10)))
    with (tmp_path / "t.csv").open("w") as file:
        file.write(",".join(f"c{i}" for i in range(10)) + "\n")
        for _ in range(320):
            file.write(lines)

    def peak(*arguments: object) -> int:
        code = (
            "import re, sys; sys.argv[0] = 'mlpbp'\n"
            "from mlpbp.main import main\n"
            "try:\n    main()\n"
            "except SystemExit as end:\n    assert not end.code, end.code\n"
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1])\n"  # ru_maxrss is inherited
        )
        command = [sys.executable, "-c", code, "-q", *map(str, arguments)]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        return int(result.stdout.split()[-1]) // 1024

    assert peak("convert", "t.csv", "-o", "t") < 260
    (tmp_path / "c.yaml").write_text(
        "data: {train: t, target: c0, memory: memmap}\ntrain: {epochs: 1}\nkernels: numpy\n"
    )
    assert peak("train", "c.yaml", "-o", "run") < 460

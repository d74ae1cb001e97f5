"""`-` where a file is meant: rows and configs that come through a pipe, results that go into one."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CONFIG = "data: {train: t.csv, target: y}\nmodel: {hidden: [4]}\ntrain: {epochs: 1}\nthreads: 1\nkernels: numpy\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, its config and a run."""
    folder = tmp_path_factory.mktemp("stdin")
    rng = np.random.default_rng(0)
    rows = (f"{a:.3f},{'xy'[k % 2]},{'no' if a < 0 else 'yes'}" for k, a in enumerate(rng.normal(size=60)))
    (folder / "t.csv").write_text("a,word,y\n" + "\n".join(rows) + "\n")
    (folder / "c.yaml").write_text(CONFIG)
    assert mlpbp(folder, "", "train", "c.yaml", "-o", "run").returncode == 0
    return folder


def mlpbp(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, env=environment, timeout=120)


def test_rows_come_through_a_pipe_and_go_into_one(folder: Path, tmp_path: Path) -> None:
    table = (folder / "t.csv").read_text()
    cases = {
        ("eval", "run", "-", "--worst", "3", "-o", "-"): (3, "loss"),
        ("importance", "run", "-", "-o", "-"): (2, "column"),
        ("importance", "run", "--rows", "-", "-o", "-"): (60, "adds.word"),
    }
    for words, (count, column) in cases.items():
        done = mlpbp(folder, table, *words)
        assert done.returncode == 0, done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert len(rows) == count
        assert column in rows[0]
        with_name = [("t.csv" if word == "-" else word) for word in words[:-1]]
        assert mlpbp(folder, "", *with_name, str(tmp_path / f"{count}.csv")).returncode == 0
        again = list(csv.DictReader(io.StringIO((tmp_path / f"{count}.csv").read_text())))
        assert [{k: v for k, v in row.items() if k != "place"} for row in again] == [
            {k: v for k, v in row.items() if k != "place"} for row in rows
        ]
    objects = [dict(zip(("a", "word", "y"), line.split(","), strict=True)) for line in table.split("\n")[1:-1]]
    done = mlpbp(folder, json.dumps(objects), "--json", "data", "-", "--target", "y")
    assert json.loads(done.stdout)["rows"] == 60, done.stderr


@pytest.mark.parametrize("words", [("cv", "-", "-k", "2", "-o", "folds"), ("lr-find", "-"), ("check", "-")])
def test_a_config_comes_through_a_pipe(words: tuple[str, ...], folder: Path) -> None:
    done = mlpbp(folder, CONFIG, *words)
    assert done.returncode == 0, done.stderr
    if words[0] == "lr-find":
        assert "mlpbp train - optimizer.lr=" in done.stdout


@pytest.mark.parametrize(
    "words", [("init", "-", "--target", "y"), ("convert", "-", "-o", "x"), ("train", "-", "--target", "y")]
)
def test_a_table_that_has_to_stay_is_refused_from_a_pipe(words: tuple[str, ...], folder: Path) -> None:
    done = mlpbp(folder, (folder / "t.csv").read_text(), *words)
    assert done.returncode == 2
    assert done.stderr.startswith("mlpbp: error: a table on standard input is not kept, and ")
    assert done.stderr.count("\n") == 1

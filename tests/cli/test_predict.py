"""`mlpbp predict` as a user runs it: files and standard input, every format, labels and units of the data."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLASSES = """
data: {train: pets.csv, target: kind, id: [name], split: {val: 0.2}}
model: {hidden: [8]}
train: {epochs: 30}
threads: 1
"""
PRICES = """
data: {train: pets.csv, target: weight, drop: [name, kind], split: {val: 0.2}}
model: {hidden: [8]}
loss: LOSS
train: {epochs: 30}
threads: 1
"""


def mlpbp(*arguments: object, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, env=environment, timeout=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a classifier, and regressions with quantiles and with a deviation."""
    folder = tmp_path_factory.mktemp("pets")
    rng = np.random.default_rng(0)
    lines = ["name,legs,coat,weight,kind"]
    for k in range(120):
        cat = k % 2
        coat = rng.choice(["short", "long", ""]) if cat else rng.choice(["scales", "short"])
        legs, kind = (4, "cat") if cat else (rng.integers(0, 3), '"fish, dry"')
        lines.append(f"pet-{k},{legs},{coat},{rng.normal(40 + 10 * cat):.3f},{kind}")
    (folder / "pets.csv").write_text("\n".join(lines) + "\n")
    (folder / "classes.yaml").write_text(CLASSES)
    for name, loss in (
        ("quantiles", "{name: quantile, quantiles: [0.1, 0.5, 0.9]}"),
        ("spread", "{name: gaussian_nll}"),
    ):
        (folder / f"{name}.yaml").write_text(PRICES.replace("LOSS", loss))
    for name in ("classes", "quantiles", "spread"):
        result = mlpbp("train", f"{name}.yaml", "-o", name, cwd=folder)
        assert result.returncode == 0, result.stderr
    return folder


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_labels_probabilities_and_kept_columns(folder: Path) -> None:
    result = mlpbp("predict", "classes", "pets.csv", "--proba", "--keep", "coat", cwd=folder)
    assert result.returncode == 0, result.stderr
    rows, source = table(result.stdout), table((folder / "pets.csv").read_text())
    assert list(rows[0]) == ["coat", "name", "prediction", "p_cat", "p_fish, dry"]
    assert [(row["name"], row["coat"]) for row in rows] == [(row["name"], row["coat"]) for row in source]
    assert sum(row["prediction"] == true["kind"] for row, true in zip(rows, source, strict=True)) > 110
    assert all(abs(float(row["p_cat"]) + float(row["p_fish, dry"]) - 1) < 1e-6 for row in rows)
    assert "120 rows: accuracy" in result.stderr


def test_one_row_without_a_target_on_standard_input(folder: Path) -> None:
    for text in (
        "coat,legs,weight,name,more\nlong,4,50,x,9\n",
        '{"legs": 4, "coat": "long", "weight": 50, "name": "x"}\n',
    ):
        result = mlpbp("predict", "classes", "-", cwd=folder, stdin=text)
        assert (result.returncode, result.stdout, result.stderr) == (0, "name,prediction\nx,cat\n", "")


def test_json_holds_the_predictions(folder: Path) -> None:
    result = mlpbp("predict", "classes", "-", "--json", cwd=folder, stdin="coat,legs,weight\nfur,4,50\n")
    document = json.loads(result.stdout)
    assert (document["rows"], document["predictions"]) == (1, [{"prediction": "cat"}])
    assert document["unseen"] == {"coat": 1}
    assert 'column "coat": 1 row with a word that is rare or unseen in training ("fur")' in result.stderr


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".npz":
        arrays = np.load(path)
        return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
        return rows
    return list(table(path.read_text()))


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.npz", "out.parquet"])
def test_every_format_holds_the_same(name: str, folder: Path, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs pyarrow, which writes Parquet")
    result = mlpbp("predict", "classes", "pets.csv", "--proba", "-o", tmp_path / name, cwd=folder)
    assert result.returncode == 0, result.stderr
    expected = table(mlpbp("predict", "classes", "pets.csv", "--proba", cwd=folder).stdout)
    found = read(tmp_path / name)
    assert [row["prediction"] for row in found] == [row["prediction"] for row in expected]
    np.testing.assert_allclose(
        [float(row["p_cat"]) for row in found], [float(row["p_cat"]) for row in expected], rtol=1e-8
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_regressions_answer_in_the_units_of_the_data(folder: Path) -> None:
    rows = table(mlpbp("predict", "quantiles", "pets.csv", cwd=folder).stdout)
    assert list(rows[0]) == ["prediction", "q0.1", "q0.5", "q0.9"]
    low, middle, high = (np.array([float(row[name]) for row in rows]) for name in ("q0.1", "q0.5", "q0.9"))
    assert ((low < middle) & (middle < high)).mean() > 0.9
    assert 38 < middle.mean() < 52
    rows = table(mlpbp("predict", "spread", "pets.csv", cwd=folder).stdout)
    assert list(rows[0]) == ["prediction", "std"]
    assert 0.3 < np.mean([float(row["std"]) for row in rows]) < 10


def test_a_file_that_is_there_is_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine")
    result = mlpbp("predict", "classes", "pets.csv", "-o", tmp_path / "out.csv", cwd=folder)
    assert result.returncode == 2
    assert "there is such a file already; choose another, or --force" in result.stderr
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert mlpbp("predict", "classes", "pets.csv", "-o", tmp_path / "out.csv", "--force", cwd=folder).returncode == 0
    assert (tmp_path / "out.csv").read_text().startswith("name,prediction\n")


BAD = {
    "missing column": ("coat,legs\nlong,4\n", [], 'no column "weight"'),
    "kept column": ("coat,legs,weight\nlong,4,1\n", ["--keep", "age"], 'no column "age" to keep'),
    "bad cell": ("coat,legs,weight\nlong,4,1\nlong,four,1\n", [], 'standard input:3:2: not a number ("four")'),
    "ragged": ("coat,legs,weight\nlong,4,1\nlong,4\n", [], "standard input:3:3: 2 cells, expected 3"),
    "nothing": ("", [], "nothing on standard input"),
    "format": ("coat,legs,weight\nlong,4,1\n", ["-o", "out.xyz"], "the name tells no format"),
}


@pytest.mark.parametrize(("text", "options", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(text: str, options: list[str], message: str, folder: Path) -> None:
    result = mlpbp("predict", "classes", "-", *options, cwd=folder, stdin=text)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_failure_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("coat,legs,weight\n" + "long,4,1\n" * 70_000 + "long,4\n")
    result = mlpbp("predict", "classes", tmp_path / "in.csv", "-o", tmp_path / "out.csv", cwd=folder)
    assert result.returncode == 2
    assert "in.csv:70002:3: 2 cells" in result.stderr
    assert not list(tmp_path.glob("*out*"))


def test_arrays_without_targets_and_tables_without_names(tmp_path: Path) -> None:
    from mlp_core.data.readers.embedded import read_embedded

    config = "data: {name: digits, limit: 300}\nmodel: {hidden: [8]}\ntrain: {epochs: 2}\nthreads: 1\n"
    (tmp_path / "digits.yaml").write_text(config)
    assert mlpbp("train", "digits.yaml", "-o", "run", cwd=tmp_path).returncode == 0
    values = read_embedded("digits").cells[:40]
    np.save(tmp_path / "x.npy", values[:, :64])
    np.savez(tmp_path / "x.npz", x=values[:, :64].reshape(40, 8, 8))
    np.savetxt(tmp_path / "x.csv", values, fmt="%d", delimiter=",")
    answers = [mlpbp("predict", "run", name, "--proba", cwd=tmp_path).stdout for name in ("x.npy", "x.npz", "x.csv")]
    assert answers[0].count("\n") == 41
    assert len(set(answers)) == 1


def test_a_single_absurd_number_is_told_with_its_line(folder: Path, tmp_path: Path) -> None:
    """By predict and eval alike, whatever lies around it; the lines before it have a gap in the file."""
    lines = (folder / "pets.csv").read_text().splitlines()
    (tmp_path / "odd.csv").write_text(
        "\n".join([*lines[:5], "", *lines[5:40], "p,4,short,1e9,cat", *lines[40:]]) + "\n"
    )
    told = "mlpbp: note: numbers far outside all of training: weight 1e+09 (odd.csv:42; in training "
    for command in ("predict", "eval"):
        result = mlpbp(command, folder / "classes", "odd.csv", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert [line for line in result.stderr.splitlines() if "far" in line and line.startswith(told)], result.stderr


def test_the_data_itself_is_kept_whatever_is_asked(folder: Path) -> None:
    before = (folder / "pets.csv").read_bytes()
    result = mlpbp("predict", "classes", "pets.csv", "-o", "pets.csv", "--force", cwd=folder)
    assert result.returncode == 2
    assert "this is what the predictions are made from" in result.stderr
    assert (folder / "pets.csv").read_bytes() == before


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_open_pipe_is_answered_line_by_line(kind: str, folder: Path) -> None:
    rows = [("long", 4, 50), ("scales", 0, 35), ("short", 4, 52)]
    lines = [f"{coat},{legs},{weight}\n" for coat, legs, weight in rows]
    if kind == "jsonl":
        lines = [json.dumps({"coat": coat, "legs": legs, "weight": weight}) + "\n" for coat, legs, weight in rows]
    command = [sys.executable, "-m", "mlpbp", "predict", "classes", "-", "-o", "-"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, bufsize=1, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        if kind == "csv":
            process.stdin.write("coat,legs,weight\n")
            process.stdin.flush()
        for line in lines:
            process.stdin.write(line)
            process.stdin.flush()
            if not answers:
                assert process.stdout.readline() == "prediction\n"
            answers.append(process.stdout.readline())  # comes although the pipe is still open
        process.stdin.close()
        assert process.stdout.read() == ""
    assert answers == ["cat\n", '"fish, dry"\n', "cat\n"]


def test_an_array_of_objects_is_taken_as_well_as_lines(folder: Path) -> None:
    rows = [{"coat": "long", "legs": 4, "weight": 50}, {"coat": None, "legs": 0, "weight": 35.5}]
    texts = [json.dumps(rows), json.dumps(rows, indent=2), "\n".join(map(json.dumps, rows))]
    answers = {mlpbp("predict", "classes", "-", cwd=folder, stdin=text).stdout for text in texts}
    assert answers == {'prediction\ncat\n"fish, dry"\n'}
    for text, message in (
        ("[{]", "standard input:1:2: not JSON"),
        ('[\n{"coat": "a"}\n', "standard input:2: not JSON (the array"),
    ):
        result = mlpbp("predict", "classes", "-", cwd=folder, stdin=text)
        assert result.returncode == 2
        assert message in result.stderr

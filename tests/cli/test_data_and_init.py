"""`mlpbp data` and `mlpbp init` as a user runs them on a file that nobody has cleaned."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


def document(*arguments: object, cwd: Path) -> dict:
    result = mlpbp(*arguments, "--json", cwd=cwd)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People and whether they buy: an identifier, a date, gaps, words, a constant, a leak, ten repeated rows."""
    folder = tmp_path_factory.mktemp("messy")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(400):
        age, town, income = rng.integers(18, 80), rng.choice(["Bonn", "Köln", "Ulm"]), rng.lognormal(3, 1)
        buys = rng.random() < 1 / (1 + np.exp(-(0.1 * (age - 50) + (town == "Ulm") * 2)))
        age_cell = "" if i % 20 == 0 else age
        rows.append(
            f"{i + 7000},{age_cell},{town},{income:.2f},2024-01-{i % 28 + 1:02d},1,{int(buys)},{'yn'[1 - buys]}"
        )
    rows += rows[:10]
    (folder / "people.csv").write_text("id,age,town,income,joined,one,paid,buys\n" + "\n".join(rows), "utf-8")
    return folder


def test_a_file_alone(folder: Path) -> None:
    result = mlpbp("data", "people.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("410 rows of 8 columns, 10 rows repeat an earlier one\n")
    assert max(map(len, result.stdout.splitlines())) <= 80
    for line in (
        r" age +numeric +21 +62 +18 \.\. 79 \([\d.]+\)",
        r" town +categorical +3 +\w+, \w+, \w+",
        r" joined +date +28 +2024",
        r"next  --target COLUMN",
    ):
        assert re.search(line, result.stdout), result.stdout


def test_a_file_of_words_alone(tmp_path: Path) -> None:
    (tmp_path / "words.jsonl").write_text('{"a": "x", "b": "u"}\n{"a": "z", "b": "v"}\n', encoding="utf-8")
    result = mlpbp("data", "words.jsonl", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "a        categorical" in result.stdout


def test_a_file_with_a_target(folder: Path) -> None:
    found = document("data", "people.csv", "data.drop=[joined]", "--target", "buys", cwd=folder)
    assert found["task"] == "binary"
    assert sum(sum(counts.values()) for counts in found["classes"].values()) == 410
    assert found["repeated_rows"] == 10
    notes = "\n".join(found["notes"])
    assert re.search(r"note: one: constant", notes)
    assert re.search(r"note: paid.*tells the target almost by itself", notes)
    parts = {column["name"]: column["part"] for column in found["columns"]}
    assert (parts["buys"], parts["age"], parts["joined"]) == ("target", "input", "left out")
    age = next(column for column in found["columns"] if column["name"] == "age")
    assert (age["low"], age["high"], age["missing"]) == (18, 79, 21)


@pytest.mark.parametrize("name", ["xy.npz", "xy.libsvm"])
def test_a_file_that_has_its_targets_inside(name: str, tmp_path: Path) -> None:
    rows = "".join(f"{row % 2} 1:{row} 3:{row * row}\n" for row in range(20))
    (tmp_path / "xy.libsvm").write_text(rows)
    np.savez(tmp_path / "xy.npz", x=np.arange(60.0).reshape(20, 3), y=np.arange(20) % 2)
    result = mlpbp("data", name, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "task: binary" in result.stdout
    assert "--target" not in result.stdout


def test_what_training_would_refuse_is_shown(folder: Path) -> None:
    words = ("data", "people.csv", "data.task=regression", "--target", "buys")
    result = mlpbp(*words, cwd=folder)
    assert result.returncode == 0
    assert "in the way of training: people.csv:2:" in result.stdout
    assert document(*words, cwd=folder)["problems"][0]["code"] == "not_a_number"


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_the_data_of_a_config(folder: Path, name: str) -> None:
    (folder / "e.yaml").write_text(f"data: {{name: {name}}}\n")
    result = mlpbp("data", "e.yaml", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert f"data: embedded {name}" in result.stdout


def test_no_target_is_asked_for(folder: Path) -> None:
    result = mlpbp("init", "people.csv", cwd=folder)
    assert result.returncode == 2
    assert re.fullmatch(
        r"mlpbp: error: which column is to be predicted\? columns are id, age, .*; for example --target buys\n",
        result.stderr,
    )
    assert not (folder / "people.yaml").exists()


def test_a_config_is_written_once_and_trains(folder: Path) -> None:
    result = mlpbp("init", "people.csv", "--target", "buys", "-o", "p.yaml", cwd=folder)
    assert result.returncode == 0, result.stderr
    text = (folder / "p.yaml").read_text()
    assert result.stdout == f"{text}\nwritten to p.yaml; next  mlpbp train p.yaml\n"
    assert max(map(len, text.splitlines())) <= 80
    for line in ("    - id  # names the rows", "    # predicting\n    - paid"):
        assert f"{line}\n" in text
    assert "train: people.csv\n" in text
    again = mlpbp("init", "people.csv", "--target", "buys", "-o", "p.yaml", cwd=folder)
    assert again.returncode == 2
    assert "there is such a file" in again.stderr
    assert mlpbp("init", "people.csv", "--target", "buys", "-o", "p.yaml", "--force", cwd=folder).returncode == 0
    trained = document("train", "p.yaml", "-o", "run", cwd=folder)
    assert trained["metrics"]["test"]["accuracy"] > 0.65


def test_the_positive_class_is_said_once(folder: Path) -> None:
    shown = mlpbp("init", "people.csv", "--target", "buys", "-o", "-", cwd=folder)
    task = next(line for line in shown.stderr.splitlines() if line.startswith("task:"))
    assert task.count("positive") == 1


def test_the_data_is_never_written_over(tmp_path: Path) -> None:
    table = "".join(f"{i},{i % 2}\n" for i in range(40))
    (tmp_path / "t.csv").write_text(table)
    result = mlpbp("init", "t.csv", "--target", "1", "-o", tmp_path / "t.csv", "--force", cwd=tmp_path)
    assert result.returncode == 2
    assert "this is the data itself; choose another with -o FILE" in result.stderr
    assert (tmp_path / "t.csv").read_text() == table


def test_the_next_command_is_one_that_works_as_it_stands(tmp_path: Path) -> None:
    """A name with a dash in front is no option, and one with blanks is in quotes."""
    (tmp_path / "-x y.csv").write_text("a,y\n" + "".join(f"{k},{'pq'[k % 2]}\n" for k in range(40)))
    result = mlpbp("init", "./-x y.csv", "--target", "y", cwd=tmp_path)
    assert result.stdout.endswith("written to -x y.yaml; next  mlpbp train './-x y.yaml'\n")


def test_names_that_yaml_would_misread(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = "\n".join(f"{a:.3f},{b:.3f},{'on' if a > b else 'off'}" for a, b in rng.normal(size=(80, 2)))
    (tmp_path / "my data.csv").write_text('"a: b",#c,yes\n' + rows)
    result = mlpbp("init", "my data.csv", "--target", "yes", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'target: "yes"' in result.stdout
    found = document("train", "my data.yaml", "train.epochs=30", cwd=tmp_path)
    assert found["metrics"]["train"]["accuracy"] > 0.8


REFERENCES = [
    ("seaborn/penguins.csv", "species", "accuracy", 0.96),
    ("seaborn/titanic.csv", "survived", "accuracy", 0.76),
    ("wine-quality/winequality-red.csv", "quality", "accuracy", 0.57),
    ("uci-regression/concrete/data.txt", "c8", "r2", 0.85),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "target", "metric", "least"), REFERENCES, ids=[case[0] for case in REFERENCES])
def test_written_configs_train_well(tmp_path: Path, file: str, target: str, metric: str, least: float) -> None:
    if not (SHARED / file).exists():
        pytest.skip("the data is not here")
    assert mlpbp("init", SHARED / file, "--target", target, "-o", "c.yaml", cwd=tmp_path).returncode == 0
    assert document("train", "c.yaml", "-o", "run", cwd=tmp_path)["metrics"]["test"][metric] >= least


def test_the_embedded_digits_as_a_file(tmp_path: Path) -> None:
    from importlib.resources import files

    source = next(item for item in files("mlp_core.datasets").iterdir() if item.name.startswith("digits"))
    (tmp_path / source.name).write_bytes(source.read_bytes())
    result = mlpbp("init", source.name, "--target", "c64", "-o", "c.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = document("train", "c.yaml", "train.epochs=40", "-o", "run", cwd=tmp_path)
    assert found["metrics"]["test"]["accuracy"] >= 0.955


def test_a_config_on_the_screen_is_only_that(tmp_path: Path) -> None:
    (tmp_path / "pets.csv").write_text("legs,kind\n" + "4,cat\n0,fish\n" * 30)
    result = mlpbp("init", "pets.csv", "--target", "kind", "-o", "-", cwd=tmp_path)
    assert result.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pets.csv"]
    (tmp_path / "c.yaml").write_text(result.stdout)
    assert mlpbp("check", "c.yaml", cwd=tmp_path).returncode == 0


def test_train_on_a_table_tells_which_columns_it_leaves_out(folder: Path) -> None:
    result = mlpbp("train", "people.csv", "--target", "buys", "--dry-run", cwd=folder)
    assert result.returncode == 0, result.stderr
    how = "mlpbp init people.csv writes a config to change"
    assert f"left out: id (names the rows); {how}\n" in result.stderr
    why = "tells the target almost by itself; keep it only if it is known when predicting"
    assert f"left out: paid ({why}); {how}\n" in result.stderr

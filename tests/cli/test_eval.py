"""`mlpbp eval` beyond its table: by class, by group, calibrated, with a chosen threshold, for every kind of task."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def mlpbp(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


def document(*arguments: object, cwd: Path) -> dict:
    result = mlpbp(*arguments, "--json", cwd=cwd)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


REST = "model: {hidden: [16]}\ntrain: {epochs: 30, early_stopping: false}\nthreads: 1\nrecipe: plain\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary task with groups of unequal difficulty, and a regression; both trained."""
    folder = tmp_path_factory.mktemp("eval")
    rng = np.random.default_rng(0)
    X, g = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    yes = rng.random(300) < 1 / (1 + np.exp(-(2 * X[:, 0] - X[:, 1] + g - 3)))
    rows = zip(X, g, yes, strict=True)
    lines = [f"{a:.3f},{b:.3f},{c:.3f},{k},{'yes' if y else 'no'}" for (a, b, c), k, y in rows]
    (folder / "b.csv").write_text("a,b,c,grp,label\n" + "\n".join(lines))
    (folder / "b.yaml").write_text("data: {train: b.csv, target: label, split: {val: 0.3, test: 0.2}}\n" + REST)
    (folder / "r.yaml").write_text("data: {name: diabetes}\n" + REST)
    for name in ("b", "r"):
        assert mlpbp("-q", "train", f"{name}.yaml", "-o", name, cwd=folder).returncode == 0
    return folder


def test_everything_fits_a_narrow_screen(folder: Path) -> None:
    result = mlpbp("eval", "b", "--calibrate", "--threshold", "f1", "--by", "grp", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    for text in (r"^temperature \d\.\d{4}: the model was ", r"on validation rows +before +after", "test: by class"):
        assert re.search(text, result.stdout, re.M)
    assert re.search(r"^ ?no( +[\d.]+){5} *$", result.stdout, re.M)
    assert re.search(r"^threshold 0\.\d{4}$", result.stdout, re.M)


def test_a_chosen_threshold_and_a_temperature_are_better_where_they_were_fitted(folder: Path) -> None:
    found = document("eval", "b", "--calibrate", "--threshold", "balanced_accuracy", cwd=folder)
    before, after = found["calibration"]["before"], found["calibration"]["after"]
    assert after["log_loss"] <= before["log_loss"]
    assert after["balanced_accuracy"] >= before["balanced_accuracy"]
    assert found["calibration"]["temperature"] == pytest.approx(1 / found["calibration"]["slope"])
    plain = document("eval", "b", "--split", "val", cwd=folder)
    assert before["log_loss"] == pytest.approx(plain["metrics"]["log_loss"])
    assert found["metrics"]["roc_auc"] == pytest.approx(document("eval", "b", cwd=folder)["metrics"]["roc_auc"])


def test_the_parts_agree_with_the_whole(folder: Path) -> None:
    found = document("eval", "b", "--by", "grp", cwd=folder)
    cells = np.array(found["confusion"])
    assert cells.sum() == found["rows"] == sum(group["rows"] for group in found["groups"])
    assert np.trace(cells) / cells.sum() == pytest.approx(found["metrics"]["accuracy"])
    right = sum(group["rows"] * group["metrics"]["accuracy"] for group in found["groups"])
    assert right / found["rows"] == pytest.approx(found["metrics"]["accuracy"])
    positive = found["per_class"][1]
    assert positive["class"] == "yes"
    assert positive["f1"] == pytest.approx(found["metrics"]["f1"])


def test_a_further_file_is_grouped_too(folder: Path) -> None:
    found = document("eval", "b", "b.csv", "--by", "grp", "--calibrate", cwd=folder)
    assert found["split"] == "data"
    assert sum(group["rows"] for group in found["groups"]) == 300
    assert found["calibration"]["method"] == "temperature"


def test_the_config_can_ask_for_it(folder: Path) -> None:
    mlpbp("-q", "train", "b.yaml", "eval={threshold: mcc, calibrate: platt, bins: 5}", "-o", "c", cwd=folder)
    found = document("eval", "c", cwd=folder)
    assert found["calibration"]["method"] == "platt"
    assert found["calibration"]["offset"] != 0
    assert "accuracy" in found["metrics"]


def test_regression_tells_about_its_errors(folder: Path) -> None:
    result = mlpbp("eval", "r", cwd=folder)
    assert re.search(r"predicted - true +mean +sd", result.stdout, re.M)
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = document("eval", "r", cwd=folder)
    row = found["residuals"][0]
    assert row["bias"] ** 2 + row["spread"] ** 2 == pytest.approx(found["metrics"]["rmse"] ** 2, rel=1e-6)
    assert {"medae", "mape", "explained_variance"} <= set(found["metrics"])


def test_any_metric_of_the_task_can_be_required(folder: Path) -> None:
    found = document("eval", "b", "--require", "f1_micro>=0.1", "--require", "top_k(2)>=1", cwd=folder)
    assert found["metrics"]["top_k(2)"] == 1
    assert found["metrics"]["f1_micro"] == pytest.approx(found["metrics"]["accuracy"])


def test_many_classes_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    letters = [f"class {k:02d}" for k in np.digitize(X[:, 0], np.linspace(-1.5, 1.5, 14))]
    table = zip(X, letters, (X > 0).astype(int), strict=True)
    lines = [",".join([*(f"{v:.3f}" for v in x), name, *map(str, flags)]) for x, name, flags in table]
    (tmp_path / "t.csv").write_text("a,b,c,letter,p,q,r\n" + "\n".join(lines))
    (tmp_path / "many.yaml").write_text("data: {train: t.csv, target: letter, drop: [p, q, r]}\n" + REST)
    (tmp_path / "labels.yaml").write_text("data: {train: t.csv, target: [p, q, r], drop: [letter]}\n" + REST)
    for name in ("many", "labels"):
        assert mlpbp("-q", "train", f"{name}.yaml", "-o", name, cwd=tmp_path).returncode == 0
    many = mlpbp("eval", "many", cwd=tmp_path)
    assert re.search(r"val: most frequent mistakes\n.*\n true +predicted +rows", many.stdout)
    assert "top_k(5)" in many.stdout
    labels = mlpbp("eval", "labels", "--by", "letter", "--calibrate", cwd=tmp_path)
    assert labels.returncode == 0, labels.stderr
    assert re.search(r"^ ?q( +[\d.]+){5}", labels.stdout, re.M)
    assert "(others)" in labels.stdout
    assert max(map(len, (many.stdout + labels.stdout).splitlines())) <= 80


REFUSED = [
    (("b", "--by", "gpr"), r'b\.csv:1: no column "gpr"; did you mean "grp"\?'),
    (("b", "--threshold", "2"), r"--threshold: expected a probability or a metric \(got 2\); for example f1"),
    (("b", "--threshold", "beauty"), r"no such rule for a threshold \(got beauty\); use one of accuracy, .*"),
    (("r", "--calibrate"), "a regression task has no probabilities to calibrate; leave it out"),
    (
        ("b", "--calibrate", "platt"),
        r"--calibrate takes no value \(got platt\); write --calibrate eval\.calibrate=platt",
    ),
    (("r", "--threshold", "f1"), r"no threshold is chosen for a regression task \(got f1\); leave it out"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    result = mlpbp("eval", *arguments, "-q", cwd=folder)
    assert result.returncode == 2, result.stderr
    assert re.fullmatch(f"mlpbp: error: .*{message}\n", result.stderr)


def test_what_a_run_was_told_to_fit_is_kept_in_its_model(folder: Path) -> None:
    config = "eval={threshold: f1, calibrate: temperature}"
    trained = document("train", "b.yaml", config, "-o", "kept", cwd=folder)
    found = document("eval", "kept", cwd=folder)
    assert found["metrics"] == trained["metrics"]["test"]
    assert found["threshold"] != 0.5
    assert found["calibration"].keys() == {"method", "slope", "offset", "temperature"}
    again = document("eval", "kept", "--calibrate", "--threshold", "f1", cwd=folder)
    assert again["metrics"] == pytest.approx(found["metrics"])
    assert "temperature" in mlpbp("eval", "kept", cwd=folder).stdout
    predicted = document("predict", "kept", "b.csv", "--proba", cwd=folder)["predictions"]
    assert all((row["prediction"] == "yes") == (row["p_yes"] >= found["threshold"]) for row in predicted)
    plain = document("predict", "b", "b.csv", "--proba", cwd=folder)["predictions"]
    assert [row["p_yes"] for row in plain] != [row["p_yes"] for row in predicted]


def test_a_run_that_cannot_be_calibrated_is_not_begun(folder: Path) -> None:
    result = mlpbp("train", "r.yaml", "eval.calibrate=temperature", "-o", "never", cwd=folder)
    assert result.returncode == 2
    assert "eval.calibrate: a regression task has no probabilities to calibrate" in result.stderr
    assert not (folder / "never").exists()


def test_what_was_fitted_is_kept_in_the_model_and_predict_uses_it(folder: Path) -> None:
    shutil.copytree(folder / "b", folder / "ours")
    arguments = ("eval", "ours", "--calibrate", "--threshold", "f1")
    said = mlpbp(*arguments, cwd=folder)
    assert "to keep it: mlpbp eval ours --calibrate --threshold f1 --keep" in said.stderr
    assert (folder / "ours/checkpoints/best.safetensors").read_bytes() == (
        folder / "b/checkpoints/best.safetensors"
    ).read_bytes()
    new = document(*arguments, "--keep-as", "new.safetensors", cwd=folder)
    assert new["kept"] == "new.safetensors"
    kept = document(*arguments, "--keep", cwd=folder)
    again = document("eval", "ours", cwd=folder)
    assert again["threshold"] == kept["threshold"] != 0.5
    assert (
        again["metrics"]
        == kept["metrics"]
        == document("eval", "new.safetensors", "data.train=b.csv", cwd=folder)["metrics"]
    )
    assert again["calibration"]["temperature"] == pytest.approx(kept["calibration"]["temperature"])
    temperature = kept["calibration"]["temperature"]
    rows = [document("predict", model, "b.csv", "--proba", cwd=folder)["predictions"] for model in ("b", "ours")]
    for before, after in zip(*rows, strict=True):
        odds = [np.log(row["p_yes"] / row["p_no"]) for row in (before, after)]
        assert odds[1] == pytest.approx(odds[0] / temperature, abs=1e-5)
        assert after["prediction"] == ("yes" if after["p_yes"] >= kept["threshold"] else "no")
    moved = document("eval", "ours", "--threshold", "0.3", cwd=folder)  # the temperature stays
    assert moved["calibration"]["temperature"] == pytest.approx(temperature)
    assert moved["threshold"] == 0.3
    assert mlpbp("eval", "ours", "--keep", cwd=folder).returncode == 2
    taken = mlpbp(*arguments, "--keep-as", "new.safetensors", cwd=folder)
    assert (taken.returncode, "there is a file of this name already" in taken.stderr) == (2, True)


def test_rows_that_were_trained_on_are_told(folder: Path) -> None:
    said = mlpbp("-q", "eval", "b", "b.csv", cwd=folder)
    assert "mlpbp: note: 150 of 300 rows were trained on" in said.stderr
    assert document("eval", "b", "b.csv", cwd=folder)["trained_on"] == 150
    assert document("predict", "b", "b.csv", cwd=folder)["trained_on"] == 150
    assert document("eval", "b", cwd=folder)["trained_on"] is None

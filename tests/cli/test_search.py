"""Folds and searches from the command line: the screen, the document, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from test_second_day import document, mlpbp

CONFIG = "name: d\ndata: {name: digits, limit: 200}\nmodel: {hidden: [8]}\ntrain: {epochs: 2}\nkernels: numpy\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d.yaml").write_text(CONFIG)
    return tmp_path


def test_cv_fits_the_screen_and_tells_programs_the_same(folder: Path) -> None:
    shown = mlpbp("cv", "d.yaml", "-k", "3", "-j", "1", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "3 folds, 200 rows held out once in each" in shown.stdout
    assert "mlpbp predict runs/d-cv-001 FILE" in shown.stdout
    assert shown.stderr.count("fold-") == 3
    told = document("cv", "d.yaml", "-k", "3", "-o", "runs/d-cv-001", "-j", "1", cwd=folder)
    saved = json.loads((folder / "runs" / "d-cv-001" / "cv.json").read_text())
    assert told["metrics"] == saved["metrics"]
    assert [one["rows"]["test"] for one in told["folds"]] == [67, 67, 66]
    with (folder / told["oof"]).open() as file:
        assert len(list(csv.DictReader(file))) == 200
    found = document("eval", "runs/d-cv-001", cwd=folder)
    assert (found["split"], found["rows"]) == ("folds", 200)
    facts = document("inspect", "runs/d-cv-001", cwd=folder)
    assert [one["run"] for one in facts["members"]] == ["fold-1", "fold-2", "fold-3"]
    listed = document("runs", "runs/d-cv-001", cwd=folder)
    assert len(listed["runs"]) == 3


def test_what_is_no_config_is_refused(folder: Path) -> None:
    assert mlpbp("cv", "d.yaml", "-k", "2", "-o", "c", "-j", "1", cwd=folder).returncode == 0
    for words, told in (
        (("train", "c"), "this is a folder of members, not a config"),
        (("cv", "c"), "this is a folder of members, not a config"),
        (("lr-find", "c/fold-1"), "this is a run, not a config"),
        (("inspect", "c", "c"), "not compared as a whole"),
        (("importance", "c"), "trained on by some members"),
        (("report", "c"), "this is a folder of members, not a run; name one of them, such as c/fold-1"),
        (("train", "d.yaml", "ensemble=2", "--report"), "leave out --report"),
        (("cv", "d.yaml", "-k", "3", "-o", "c"), "something else was begun here (other folds)"),
        (("cv", "d.yaml", "optimizer.lrr=1"), 'did you mean "lr"?'),
    ):
        refused = mlpbp(*words, cwd=folder)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_a_search_takes_no_run_for_a_config(folder: Path) -> None:
    pytest.importorskip("optuna")
    assert mlpbp("train", "d.yaml", "-o", "r", cwd=folder).returncode == 0
    refused = mlpbp("sweep", "r", cwd=folder)
    assert refused.returncode == 2
    assert "this is a run, not a config" in refused.stderr


def test_lr_find_draws_a_curve_and_tells_the_line(folder: Path) -> None:
    shown = mlpbp("lr-find", "d.yaml", "train.batch_size=16", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    told = document("lr-find", "d.yaml", "train.batch_size=16", cwd=folder)
    assert f"config  optimizer: {{lr: {told['lr']:g}}}" in lines
    assert f"next    mlpbp train d.yaml optimizer.lr={told['lr']:g}" in lines
    assert len(told["points"]) > 50
    assert document("train", "d.yaml", f"optimizer.lr={told['lr']}", cwd=folder)["best"]["loss"] > 0


def test_train_tells_who_tries_several_values(folder: Path) -> None:
    refused = mlpbp("train", "d.yaml", "optimizer.lr=1e-2,1e-3", cwd=folder)
    assert refused.returncode == 2
    assert "to try them all: mlpbp sweep d.yaml 'optimizer.lr=[1e-2,1e-3]'" in refused.stderr
    refused = mlpbp("train", "d.yaml", "optimizer.lr=log(1e-3,1)", cwd=folder)
    assert "mlpbp sweep d.yaml 'optimizer.lr=log(1e-3,1)'" in refused.stderr


def test_sweep_fits_the_screen_and_tells_programs_the_same(folder: Path) -> None:
    pytest.importorskip("optuna")
    words = ("sweep", "d.yaml", "optimizer.lr=[1e-3,1e-2]", "model.hidden=[[4],[8]]", "--sampler", "grid", "--no-prune")
    shown = mlpbp(*words, "-o", "s", "-j", "1", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "4 trials: 4 complete" in shown.stdout
    assert "next    mlpbp train s/best.yaml" in shown.stdout
    told = document(*words, "-o", "s", cwd=folder)
    assert told["counts"] == {"complete": 4}
    assert told["best"]["value"] == min(one["value"] for one in told["trials"])
    again = document("train", "s/best.yaml", cwd=folder)
    assert again["best"]["loss"] == pytest.approx(told["best"]["value"], rel=1e-6)


def test_a_space_of_few_values_is_gone_through_once(folder: Path) -> None:
    pytest.importorskip("optuna")
    told = document("sweep", "d.yaml", "optimizer.lr=0.1,0.01", "train.epochs=1", "-j", "1", cwd=folder)
    assert told["counts"] == {"complete": 2}
    assert len({one["value"] for one in told["trials"]}) == 2


def test_a_sweep_without_optuna_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else find(name, *rest)
    )
    refused = mlpbp("sweep", "d.yaml", cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr == "mlpbp: error: a sweep needs the package optuna; pip install 'mlpbp[sweep]'\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("optimizer.lrr=log(1e-4,1)",), 'did you mean "lr"?'),
        (("optimizer.lr=log(1,1e-4)",), "the first number has to be the smaller one"),
        (("--sampler", "bayes"), "choose from tpe, random, grid"),
        (("optimizer.lr=log(1e-4,1)", "--sampler", "grid"), "a grid takes lists of values only"),
        (("--max-time", "soon"), "not a time"),
        (("--folds", "1"), "one is none"),
        (("--storage", "quark"), "not the address of a database"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_and_leaves_nothing(folder: Path, words: tuple[str, ...], told: str) -> None:
    pytest.importorskip("optuna")
    refused = mlpbp("sweep", "d.yaml", *words, cwd=folder)
    assert refused.returncode == 2, refused.stderr
    assert told in refused.stderr
    assert not list(folder.glob("runs/*"))

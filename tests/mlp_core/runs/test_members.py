"""A folder of members is one model: averages by hand, folds judged by what they held out, strangers refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.diagnostics.explain_rows import explain_rows
from mlp_core.diagnostics.importance import importance
from mlp_core.errors import CheckpointError, MlpbpError, RunDirectoryError, UsageError
from mlp_core.runs.evaluate import Wishes, evaluate_model, keep_calibration, open_model, rows_of
from mlp_core.runs.members import FILE, Members, trained_rows
from mlp_core.runs.predict import Predictor
from mlp_core.runs.prove import check_model
from mlp_core.runs.run import Run
from mlp_core.runs.trained_rows import trained_rows as rows_of_run
from mlp_core.training.ensemble import Ensemble

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a class, a word, gaps and a quantity; and an ensemble and folds trained on it."""
    folder = tmp_path_factory.mktemp("members")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 3)) * [1, 10, 100]
    lines = ["a,b,c,word,y,q"]
    for i, x in enumerate(X):
        cells = [*x.round(3), rng.choice(["red", "green", "blue"]), "yes" if x[0] + x[1] / 10 > 0 else "no"]
        lines.append(",".join(map(str, [*cells, round(float(x[0] * 3 + x[2] / 50 + 7), 3)])))
        if i % 11 == 0:
            lines[-1] = "," + lines[-1].split(",", 1)[1]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    for i, name in enumerate(NAMES):
        _train(folder, f"e/{name}", "y", {"seed": i, "eval": {"calibrate": "temperature"}})
        _train(folder, f"r/{name}", "q", {"seed": i, "loss": {"name": "gaussian_nll"}})
        split = {"folds": 3, "fold": i + 1}
        _train(folder, f"cv/{name}", "y", {"data": {"split": split}, "eval": {"threshold": "f1"}})
    Members(folder / "e", "ensemble", NAMES, "binary").write()
    Members(folder / "r", "ensemble", NAMES, "regression").write()
    Members(folder / "cv", "cv", NAMES, "binary").write()
    return folder


def _train(folder: Path, name: str, target: str, more: dict[str, object]) -> None:
    data = {"train": str(folder / "t.csv"), "target": target, "features": ["a", "b", "c", "word"]}
    data |= more.get("data", {})  # type: ignore[arg-type, operator]
    given = {"model": {"hidden": [6]}, "train": {"epochs": 4, "batch_size": 16, "preflight": "off"}, "threads": 1}
    (folder / name).parent.mkdir(exist_ok=True)
    for _ in Run.start(from_mapping({**given, **more, "data": data}), b"", folder / name).execute():
        pass


def _models(folder: Path) -> list[object]:
    return [open_model(folder / name)[0] for name in NAMES]


@pytest.mark.parametrize("kind", ["e", "cv"])
def test_probabilities_are_the_mean_of_the_members(folder: Path, kind: str) -> None:
    model, file = open_model(folder / kind)
    assert file == folder / kind / FILE
    mine = list(Predictor(model, probabilities=True).predict(folder / "t.csv"))
    theirs = [list(Predictor(m, probabilities=True).predict(folder / "t.csv")) for m in _models(folder / kind)]
    p = np.mean([parts[0]["p_yes"] for parts in theirs], axis=0)
    assert mine[0]["p_yes"] == pytest.approx(p, abs=1e-12)
    report = evaluate_model(model, Wishes(data=folder / "t.csv")).splits["data"]
    assert report.outcome.P[:, 1] == pytest.approx(p, abs=1e-12)
    wishes = Wishes(data=folder / "t.csv")
    losses = [evaluate_model(m, wishes).splits["data"].metrics["loss"] for m in _models(folder / kind)]
    assert report.metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    thresholds = [m.calibration.threshold for m in _models(folder / kind)]
    assert model.calibration.threshold == pytest.approx(np.mean(thresholds))
    assert mine[0]["prediction"] == np.where(p >= np.mean(thresholds), "yes", "no").tolist()


def test_deviations_are_those_of_the_mixture(folder: Path) -> None:
    model, _ = open_model(folder / "r")
    (mine,) = Predictor(model).predict(folder / "t.csv")
    theirs = [next(iter(Predictor(m).predict(folder / "t.csv"))) for m in _models(folder / "r")]
    means, deviations = (np.array([part[name] for part in theirs]) for name in ("prediction", "std"))
    assert mine["prediction"] == pytest.approx(means.mean(axis=0), rel=1e-6)
    second = (deviations**2 + means**2).mean(axis=0)  # E[y^2] of the mixture
    assert mine["std"] == pytest.approx(np.sqrt(second - means.mean(axis=0) ** 2), rel=1e-4)


def test_own_splits_of_an_ensemble_are_those_of_its_runs(folder: Path) -> None:
    report = evaluate_model(open_model(folder / "e")[0])
    assert {name: len(one.outcome.y) for name, one in report.splits.items()} == {"train": 128, "val": 32}


def test_folds_are_judged_by_what_each_held_out(folder: Path) -> None:
    model, _ = open_model(folder / "cv")
    report = evaluate_model(model, Wishes(by="word", worst=3))
    found = report.splits["folds"]
    alone = [evaluate_model(replace(m, calibration=replace(m.calibration, threshold=model.calibration.threshold)),
                            Wishes(split="test")).splits["test"] for m in _models(folder / "cv")]  # fmt: skip
    assert len(found.outcome.y) == 160
    assert pytest.approx(np.concatenate([one.outcome.P for one in alone]), abs=1e-12) == found.outcome.P
    sizes = [len(one.outcome.y) for one in alone]
    for name in ("loss", "accuracy"):
        assert found.metrics[name] == pytest.approx(np.average([one.metrics[name] for one in alone], weights=sizes))
    assert sum(row.rows for row in report.groups) == 160
    assert len({row.row for row in report.worst}) == 3
    truth = [line.split(",")[4] for line in (folder / "t.csv").read_text().splitlines()[1:]]
    assert all(truth[row.row] == row.truth for row in report.worst)
    for wishes in (Wishes(split="train"), Wishes(split="val")):
        with pytest.raises(UsageError, match="trained on by a member"):
            evaluate_model(model, wishes)
    with pytest.raises(UsageError, match="give a file"):
        rows_of(model, Wishes())


def test_importance_is_the_mean_of_the_members(folder: Path) -> None:
    model, _ = open_model(folder / "e")
    _, split, _ = rows_of(model, Wishes(data=folder / "t.csv"))
    mine = {one.column: one for one in importance(model, split, repeats=3).columns}
    theirs = []
    for m in _models(folder / "e"):
        _, part, _ = rows_of(m, Wishes(data=folder / "t.csv"))
        theirs.append({one.column: one for one in importance(m, part, repeats=3).columns})
    for name, one in mine.items():
        assert one.loss == pytest.approx(np.mean([found[name].loss for found in theirs]), abs=1e-9)
    parts = explain_rows(model, folder / "t.csv", [4], wanted="yes")[0].parts
    alone = [explain_rows(m, folder / "t.csv", [4], wanted="yes")[0].parts for m in _models(folder / "e")]
    assert parts.complete
    assert parts.columns == pytest.approx(np.mean([one.columns for one in alone], axis=0), abs=1e-12)


def test_gradients_of_every_member_are_proved(folder: Path) -> None:
    proof = check_model(folder / "e", ["gradcheck.mode=fast"])
    assert proof.report.passed
    assert {one.name.split(":")[0] for one in proof.report.tensors} == set(NAMES)


def test_what_any_member_was_trained_on_is_known(folder: Path) -> None:
    all_rows = trained_rows(folder / "cv" / FILE)
    each = [rows_of_run(folder / "cv" / name / "checkpoints" / "best.safetensors") for name in NAMES]
    assert set(all_rows.tolist()) == set().union(*(rows.tolist() for rows in each))
    assert len(all_rows) > max(map(len, each))


def test_a_calibration_of_the_average_is_kept_in_the_list(folder: Path) -> None:
    model, file = open_model(folder / "e")
    report = evaluate_model(model, Wishes(calibrate="temperature"))
    assert report.after["log_loss"] <= report.before["log_loss"]
    before = file.read_bytes()
    keep_calibration(file, report.calibration)
    again, _ = open_model(folder / "e")
    assert again.calibration == report.calibration
    assert [m.calibration for m in again.members] == [m.calibration for m in model.members]
    Members(folder / "e", "ensemble", NAMES, "binary").write()
    assert file.read_bytes() == before


def test_members_that_predict_something_else_are_refused(folder: Path) -> None:
    one, other = (open_model(folder / kind / "one")[0] for kind in ("e", "r"))
    with pytest.raises(CheckpointError, match="does not fit one: it has another kind of task"):
        Ensemble.of([one, other], ["one", "two"])
    narrow = replace(one, task=replace(one.task, features=("a", "b", "c", "words")))
    with pytest.raises(CheckpointError, match="another list of input columns"):
        Ensemble.of([one, narrow], ["one", "two"])
    Members(folder / "e", "ensemble", NAMES, "regression").write()
    with pytest.raises(CheckpointError, match="tells of a regression task"):
        open_model(folder / "e")
    Members(folder / "e", "ensemble", NAMES, "binary").write()


GOOD = {"format": 1, "kind": "ensemble", "task": "binary", "members": ["one"]}


@pytest.mark.parametrize(
    "changes",
    [
        *({"members": [name]} for name in ("../e/one", "/etc", ".", "one/..", "one//two", "C:\\x", "a\nb", "", "one/")),
        {"members": []},
        {"members": ["one", "one"]},
        {"members": ["one"] * 2000},
        {"members": [7]},
        {"members": "one"},
        {"members": None},
        {"format": 2},
        {"kind": "stack"},
        {"calibration": {"method": "evil", "slope": 1, "offset": 0, "threshold": 0.5}},
        {"calibration": 3},
    ],
    ids=str,
)
def test_a_list_that_is_none_is_refused(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "one").symlink_to(folder / "e" / "one")
    (tmp_path / FILE).write_text(json.dumps({**GOOD, **changes}))
    with pytest.raises(CheckpointError, match="no list of members"):
        open_model(tmp_path)


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps(GOOD))
    with pytest.raises(CheckpointError, match="no such member"):
        open_model(tmp_path)
    (tmp_path / "one").symlink_to(folder / "e" / "one")
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        open_model(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).symlink_to(folder / "e" / FILE)
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        open_model(tmp_path / "other")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 50_000, b'"\xff"', b"7"])
def test_no_bytes_are_an_error_of_ours(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    with pytest.raises(MlpbpError):
        open_model(tmp_path)

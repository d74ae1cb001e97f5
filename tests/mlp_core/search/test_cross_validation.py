"""Cross-validation: scores as scikit-learn computes them, every row once, the same bytes however it was carried out."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from waiting import wait_for, wait_until

from mlp_core.config import from_mapping
from mlp_core.errors import CheckpointError, ConfigError, DataError, RunDirectoryError, UsageError
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.search.folds import CrossValidation, Outcome, held_out
from mlp_core.search.intervals import spread

CONFIG = {"model": {"hidden": [6]}, "train": {"epochs": 3, "batch_size": 16, "preflight": "off"}, "name": "t"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cv")
    rng = np.random.default_rng(0)
    lines = ["a,b,word,y,q,patient"]
    for i in range(90):
        a, b = rng.normal(size=2).round(3)
        lines.append(f"{a},{b},{rng.choice(['x', 'y'])},{'yes' if a + b > 0 else 'no'},{3 * a + 7:.3f},p{i % 13}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def opened(folder: Path, name: str, k: int = 3, repeats: int = 1, target: str = "y", **data: object) -> CrossValidation:
    told = {"train": str(folder / "t.csv"), "target": target, "features": ["a", "b", "word"], **data}
    return CrossValidation.open(from_mapping({**CONFIG, "data": told}), b"", k, repeats, folder / name)


def carried_out(work: CrossValidation) -> Outcome:
    return work.finish(list(work.run(1)))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "oof.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file but those that tell of the clock."""
    names = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", ".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in names if path.name != "metrics.csv"}


def test_every_row_is_predicted_once_by_a_model_that_did_not_see_it(folder: Path) -> None:
    outcome = carried_out(opened(folder, "whole"))
    found = rows(folder / "whole")
    assert [int(row["row"]) for row in found] == list(range(90))
    table = [line.split(",") for line in (folder / "t.csv").read_text().splitlines()[1:]]
    assert [row["truth"] for row in found] == [cells[3] for cells in table]
    for fold in (1, 2, 3):
        split = json.loads((folder / "whole" / f"fold-{fold}" / "split.json").read_text())
        mine = {int(row["row"]) for row in found if row["fold"] == str(fold)}
        assert mine == set(split["test"])
        assert not mine & {*split["train"], *split["val"]}
    model, _ = open_model(folder / "whole")
    report = evaluate_model(model).splits["folds"]
    p = np.array([float(row["p_yes"]) for row in found])
    splits = [json.loads((folder / "whole" / f"fold-{fold}" / "split.json").read_text()) for fold in (1, 2, 3)]
    order = np.argsort([row for split in splits for row in split["test"]])
    assert report.outcome.P[order, 1] == pytest.approx(p, abs=1e-8)
    assert outcome.rows == 90
    assert Outcome.read(folder / "whole") == outcome


def test_metrics_are_those_of_scikit_learn_fold_by_fold(folder: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    outcome = carried_out(opened(folder, "scored"))
    found = rows(folder / "scored")
    wanted = {"accuracy": [], "roc_auc": [], "log_loss": []}
    for fold in ("1", "2", "3"):
        mine = [row for row in found if row["fold"] == fold]
        truth, p = [row["truth"] for row in mine], np.array([float(row["p_yes"]) for row in mine])
        wanted["accuracy"].append(metrics.accuracy_score(truth, [row["prediction"] for row in mine]))
        wanted["roc_auc"].append(metrics.roc_auc_score(truth, p))
        wanted["log_loss"].append(metrics.log_loss(truth, np.stack([1 - p, p], axis=1), labels=["no", "yes"]))
    for name, values in wanted.items():
        one = outcome.metrics[name]
        assert one.folds == pytest.approx(values, rel=1e-6)
        assert one.mean == pytest.approx(np.mean(values), rel=1e-6)
        assert one.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-5)


def test_the_interval_is_the_corrected_one() -> None:
    stats = pytest.importorskip("scipy.stats")
    values, share = [0.8, 0.9, 0.85, 0.95, 0.7], 30 / 48
    found = spread(values, share)
    low, high = stats.t.interval(0.95, 4, np.mean(values), math.sqrt(1 / 5 + share) * np.std(values, ddof=1))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert math.isnan(spread([0.5], 0.2).deviation)


def test_repeats_deal_anew_and_a_quantity_is_predicted(folder: Path) -> None:
    outcome = carried_out(opened(folder, "repeats", k=2, repeats=2, target="q"))
    found = rows(folder / "repeats")
    assert [int(row["row"]) for row in found] == [*range(90), *range(90)]
    assert [row["repeat"] for row in found] == ["1"] * 90 + ["2"] * 90
    first, second = ({row["row"] for row in found if (row["repeat"], row["fold"]) == (r, "1")} for r in "12")
    assert first != second
    truth, told = (np.array([float(row[name]) for row in found]) for name in ("truth", "prediction"))
    places = np.array([(row["repeat"], row["fold"]) for row in found])
    errors = [np.sqrt(np.mean(np.square(truth - told)[(places == place).all(axis=1)])) for place in
              (("1", "1"), ("1", "2"), ("2", "1"), ("2", "2"))]  # fmt: skip
    assert outcome.metrics["rmse"].folds == pytest.approx(errors, rel=1e-5)


def test_groups_stay_together_and_time_goes_forward(folder: Path) -> None:
    carried_out(opened(folder, "groups", split={"method": "group", "column": "patient"}))
    patients = [line.split(",")[5] for line in (folder / "t.csv").read_text().splitlines()[1:]]
    folds = {}
    for row in rows(folder / "groups"):
        folds.setdefault(patients[int(row["row"])], set()).add(row["fold"])
    assert all(len(where) == 1 for where in folds.values())
    carried_out(opened(folder, "ordered", split={"method": "ordered"}))
    assert [int(row["row"]) for row in rows(folder / "ordered")] == list(range(24, 90))  # the first block is in no fold
    for fold in (1, 2, 3):
        split = json.loads((folder / "ordered" / f"fold-{fold}" / "split.json").read_text())
        assert max(split["train"]) < min(split["val"]) <= max(split["val"]) < min(split["test"])


def test_preprocessing_is_fitted_on_the_training_rows_of_each_fold(folder: Path) -> None:
    carried_out(opened(folder, "fitted"))
    a = np.array([float(line.split(",")[0]) for line in (folder / "t.csv").read_text().splitlines()[1:]])
    for fold in (1, 2, 3):
        train = json.loads((folder / "fitted" / f"fold-{fold}" / "split.json").read_text())["train"]
        model, _ = open_model(folder / "fitted" / f"fold-{fold}")
        assert model.inputs.numbers.scaler.shift[0] == pytest.approx(a[train].mean(), rel=1e-9)


@pytest.mark.parametrize("more", [{}, {"preprocess": {"numeric": {"scale": "quantile"}}}, {"kernels": "numpy"}])
def test_what_is_at_hand_is_what_is_read_again(more: dict[str, object], folder: Path, tmp_path: Path) -> None:
    """Rows as numbers alone, which are written over as inputs, and with words."""
    for name, features in (("numbers", ["a", "b"]), ("words", ["a", "b", "word"])):
        data = {"train": str(folder / "t.csv"), "target": "y", "features": features}
        config = from_mapping({**CONFIG, **more, "data": data})
        work = CrossValidation.open(config, b"", 3, 1, tmp_path / name)
        for one in work.run(1):
            again = held_out(one.fold.training.folder)
            assert list(again) == list(one.predictions)
            for column, cells in one.predictions.items():
                assert np.asarray(cells).tobytes() == np.asarray(again[column]).tobytes(), column


def test_stopped_anywhere_it_ends_with_the_same_bytes(folder: Path) -> None:
    carried_out(opened(folder, "undisturbed"))
    steps = 0

    def stop() -> int:
        nonlocal steps
        steps += 1
        return int(steps % 7 == 0)

    for _ in range(60):
        work = opened(folder, "disturbed")
        done = list(work.run(1, stop))
        if len(done) == 3:
            work.finish(done)
            break
    assert steps > 14  # so it was stopped at least twice
    mine, theirs = bytes_of(folder / "disturbed"), bytes_of(folder / "undisturbed")
    assert sorted(mine) == sorted(theirs)
    assert [name for name in theirs if mine[name] != theirs[name]] == []


def command(folder: Path, name: str, jobs: int, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    data = f"{{train: {folder / 't.csv'}, target: y, features: [a, b, word]}}"
    (folder / "c.yaml").write_text(
        f"name: t\ndata: {data}\nmodel: {{hidden: [6]}}\ntrain: {{epochs: 60, batch_size: 2, preflight: 'off'}}\n"
    )
    words = ["-m", "mlpbp", "cv", str(folder / "c.yaml"), "-k", "3", "-o", str(folder / name), "-j", str(jobs)]
    return subprocess.Popen([sys.executable, "-P", *words], stdout=subprocess.DEVNULL, stderr=stderr)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_and_kills_change_no_byte(folder: Path) -> None:
    alone = command(folder, "alone", 1)
    assert alone.wait() == 0
    killed = command(folder, "killed", 2)
    wait_for(folder / "killed" / "fold-1" / "metrics.jsonl")
    workers = psutil.Process(killed.pid).children(recursive=True)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert workers
    wait_until(lambda: not any(is_alive(one) for one in workers))  # none is left waiting for work
    asked = command(folder, "killed", 2, stderr=subprocess.PIPE)
    assert asked.stderr is not None
    assert asked.stderr.readline().startswith(b"going on with ")
    asked.send_signal(signal.SIGINT)
    asked.communicate()
    assert asked.returncode in (130, 0)  # 0: it was done before it heard
    again = command(folder, "killed", 2)
    assert again.wait() == 0
    mine, theirs = bytes_of(folder / "killed"), bytes_of(folder / "alone")
    assert sorted(mine) == sorted(theirs)
    assert [name for name in theirs if mine[name] != theirs[name]] == []


def test_what_cannot_be_begun_leaves_nothing_behind(folder: Path) -> None:
    work = opened(folder, "wrong", features=["a", "nothing"])
    with pytest.raises(DataError):
        list(work.run(1))
    assert not (folder / "wrong").exists()
    with pytest.raises(ConfigError, match="says itself"):
        opened(folder, "column", split={"method": "column", "column": "word"})
    work = opened(folder, "taken")
    work.folder.take()
    with pytest.raises(RunDirectoryError, match="in use"):
        list(opened(folder, "taken").run(1))
    work.folder.close()
    with pytest.raises(UsageError, match="something else was begun here"):
        opened(folder, "taken", k=4)
    (folder / "full").mkdir()
    (folder / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty"):
        opened(folder, "full")


def test_a_result_is_read_back_and_refused_where_it_is_damaged(tmp_path: Path) -> None:
    one = {"mean": 0.5, "deviation": None, "low": 0.25, "high": 1, "folds": [0.25, None]}
    told = {"task": "binary", "rows": 9, "metrics": {"accuracy": {**one, "further": 1}}, "folds": [{}, {}]}
    (tmp_path / "cv.json").write_text(json.dumps(told))
    found = Outcome.read(tmp_path)
    assert found is not None
    assert repr(vars(found.metrics["accuracy"]).values()) == "dict_values([0.5, nan, 0.25, 1.0, (0.25, nan)])"
    for damage in ({"folds": 3}, {"mean": [1, 2]}, {"folds": [[1, 2], 3]}, {"low": "x"}, {"folds": None}):
        (tmp_path / "cv.json").write_text(json.dumps({**told, "metrics": {"accuracy": {**one, **damage}}}))
        with pytest.raises(CheckpointError, match="this is no result of mlpbp cv"):
            Outcome.read(tmp_path)


def test_folders_are_numbered_and_an_unfinished_one_is_found_again(folder: Path) -> None:
    told = {"train": str(folder / "t.csv"), "target": "y", "features": ["a", "b", "word"]}
    config = from_mapping({**CONFIG, "data": told, "output": {"dir": str(folder / "runs")}})
    first = CrossValidation.open(config, b"", 3, 1, None)
    assert first.folder.path.name == "t-cv-001"
    assert CrossValidation.open(config, b"", 3, 1, None).folder.path == first.folder.path
    assert CrossValidation.open(config, b"", 4, 1, None).folder.path.name == "t-cv-002"
    carried_out(first)
    assert CrossValidation.open(config, b"", 3, 1, None).folder.path.name == "t-cv-003"

"""What people do after the first training, from the command line: runs, report, importance, worst rows, config."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlpbp.errors import run_safely
from mlpbp.main import app, hoist

REST = "model: {hidden: [8]}\ntrain: {epochs: 6}\nthreads: 1\nkernels: numpy\n"


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def mlpbp(*arguments: object, cwd: Path) -> Result:
    """The command line in this process: a new one for each of these calls would take most of the time."""
    words = hoist([str(one) for one in arguments])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_safely(lambda: app(args=words, prog_name="mlpbp", standalone_mode=False), words)
    return Result(code, out.getvalue(), err.getvalue())


def document(*arguments: object, cwd: Path) -> dict:
    result = mlpbp(*arguments, "--json", cwd=cwd)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary task trained with three learning rates and two seeds, and a regression."""
    folder = tmp_path_factory.mktemp("second-day")
    rng = np.random.default_rng(0)
    X, words = rng.normal(size=(200, 3)), rng.choice(["u", "v"], 200)
    yes = X[:, 0] + (words == "u") + 0.3 * rng.normal(size=200) > 0.5
    lines = [
        ",".join([*(f"{v:.3f}" for v in x), w, "yes" if y else "no"]) for x, w, y in zip(X, words, yes, strict=True)
    ]
    (folder / "b.csv").write_text("a,loss,c,word,label\n" + "\n".join(lines) + "\n")
    (folder / "b.yaml").write_text("data: {train: b.csv, target: label, split: {val: 0.3, test: 0.2}}\n" + REST)
    (folder / "r.yaml").write_text("data: {name: diabetes}\n" + REST)
    for number, (lr, seed) in enumerate([(0.01, 0), (0.01, 1), (0.1, 0), (0.1, 1)]):
        run = mlpbp("-q", "train", "b.yaml", f"optimizer.lr={lr}", f"seed={seed}", "-o", f"runs/b{number}", cwd=folder)
        assert run.returncode == 0, run.stderr
    return folder


def test_runs_fit_a_narrow_screen_and_say_what_differs(folder: Path) -> None:
    result = mlpbp("runs", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert re.search(r"^ run +seed +lr +best +val_loss +val_accuracy +test_accuracy +s *$", result.stdout, re.M)
    assert re.search(r"^ b2 +0 +0\.1 +\d+ +\d\.\d{4} +\d+\.\d\d % ", result.stdout, re.M)
    grouped = mlpbp("runs", "--group", cwd=folder)
    assert re.search(r"^ lr=0\.\d+ +2 +0\.\d{4} ± 0\.\d{4}", grouped.stdout, re.M)
    assert max(map(len, grouped.stdout.splitlines())) <= 80


def test_words_of_a_narrow_table_are_not_broken(folder: Path, tmp_path: Path) -> None:
    """Long names and many keys: what differs breaks between words, and every line has at most 80 characters."""
    for number, name in enumerate(("a_rather_long_name_of_a_run-001", "another_rather_long_name_of_it")):
        shutil.copytree(folder / f"runs/b{number}", tmp_path / name)
        config = (tmp_path / name / "config.resolved.yaml").read_text().replace("dropout: 0.0", f"dropout: 0.{number}")
        text = config.replace("patience: 10", f"patience: {number + 7}").replace(
            "batch_size: ", f"batch_size: {number}"
        )
        (tmp_path / name / "config.resolved.yaml").write_text(text.replace("epochs: ", f"epochs: {number}"))
    for words in ("runs", "."), ("runs", ".", "--group"):
        shown = mlpbp(*words, cwd=tmp_path).stdout
        assert max(map(len, shown.splitlines())) <= 80, shown
        for name in ("input_dropout=", "batch_size="):
            assert name in shown, shown


def test_the_best_of_runs_about_different_things_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs/b0", tmp_path / "runs/b0")
    made = mlpbp("-q", "train", folder / "r.yaml", "train.epochs=1", "-o", "runs/r0", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    refused = mlpbp("runs", "--best", cwd=tmp_path)
    assert refused.returncode == 2
    assert "runs about different things do not compare: b.csv: binary of label; diabetes: regression" in refused.stderr
    assert mlpbp("runs", "--best", "--about", "diab", cwd=tmp_path).stdout == "runs/r0\n"
    assert document("runs", "--about", "LABEL", cwd=tmp_path)["runs"][0]["run"] == "runs/b0"


def test_the_best_run_is_a_path_for_a_shell(folder: Path) -> None:
    found = document("runs", cwd=folder)["runs"]
    best = min(found, key=lambda run: run["metrics"]["val_loss"])
    assert mlpbp("runs", "--best", cwd=folder).stdout == f"{best['run']}\n"
    by_accuracy = max(found, key=lambda run: run["metrics"]["test_accuracy"])
    shown = document("runs", "--best", "--sort", "test_accuracy", cwd=folder)
    assert shown["value"] == by_accuracy["metrics"]["test_accuracy"]
    assert {run["differs"]["optimizer.lr"] for run in found} == {0.01, 0.1}
    for run in found:
        record = json.loads((folder / run["run"] / "run.json").read_text())
        assert run["metrics"]["val_loss"] == record["metrics"]["val"]["loss"]
        assert run["best_epoch"] == record["best"]["epoch"]


def test_a_damaged_run_is_named_and_the_others_are_shown(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "bad").mkdir(parents=True)
    (tmp_path / "runs" / "bad" / "run.json").write_text("{")
    (tmp_path / "runs" / "good").symlink_to(folder / "runs" / "b0")
    result = mlpbp("runs", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == "mlpbp: note: left out: runs/bad/run.json: is no JSON\n"
    assert " good " in result.stdout


def test_train_writes_its_report_and_names_it(folder: Path) -> None:
    result = mlpbp("-q", "train", "r.yaml", "-o", "reported", "--report", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == ["      mlpbp report reported", "report  reported/report.html"]
    assert (folder / "reported" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_report_replaces_a_report_and_nothing_else(folder: Path) -> None:
    (folder / "runs" / "b0" / "report.html").write_text('<meta name="generator" content="mlpbp 0.0.1">')
    result = mlpbp("report", "runs/b0", cwd=folder)
    assert result.stdout == "report  runs/b0/report.html\n"
    (folder / "mine.html").write_text("my own work")
    refused = mlpbp("report", "runs/b0", "-o", "mine.html", cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr == (
        "mlpbp: error: mine.html: there is such a file, and it is no report; choose another with -o FILE, or --force\n"
    )
    assert (folder / "mine.html").read_text() == "my own work"
    assert document("report", "runs/b0", "runs/b1", "-o", "mine.html", "--force", cwd=folder)["bytes"] > 10_000


def test_data_that_has_moved_is_named_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(folder / "runs" / "b0")
    (tmp_path / "moved.csv").write_text((folder / "b.csv").read_text())
    (folder / "b.csv").rename(folder / "away.csv")
    try:
        for command in ("importance", "report"):
            options = ["-o", "page.html"] if command == "report" else ["--repeats", "2"]
            given = mlpbp(command, "run", *options, cwd=tmp_path)
            found = given.stderr + ((tmp_path / "page.html").read_text() if command == "report" else "")
            assert "if it has moved, say where it is now: add data.train=FILE to the command" in found
            told = mlpbp(command, "run", "data.train=moved.csv", *options, cwd=tmp_path)
            assert told.returncode == 0, told.stderr
        assert "Not measured" not in (tmp_path / "page.html").read_text()
    finally:
        (folder / "away.csv").rename(folder / "b.csv")


def test_importance_is_shown_written_and_told(folder: Path) -> None:
    result = mlpbp("importance", "runs/b2", "--repeats", "5", "-o", "i.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert re.search(r"^ a +\+\d\.\d{4} +-?\d\.\d{4} \.\. \d\.\d{4} +[-+]\d+\.\d\d % *$", result.stdout, re.M)
    assert "no better than noise" in result.stdout
    found = document("importance", "runs/b2", "--repeats", "5", cwd=folder)
    assert found["columns"][0]["column"] == "a"
    rows = table(folder / "i.csv")
    assert [row["column"] for row in rows] == [one["column"] for one in found["columns"]]
    assert [float(row["loss"]) for row in rows] == pytest.approx([one["loss"] for one in found["columns"]])
    again = document("importance", "runs/b2", "b.csv", "--repeats", "2", "--most", "50", cwd=folder)
    assert (again["split"], again["rows"]) == ("data", 50)


def test_a_row_is_explained(folder: Path) -> None:
    result = mlpbp("importance", "runs/b2", "--row", "3", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert re.search(r"^row 3 \(.*b\.csv:5\): probability of (yes|no)$", result.stdout, re.M)
    assert re.search(r"^completeness gap -?\d\.\de-\d\d \(\d+ gradients\)$", result.stdout, re.M)
    found = document("importance", "runs/b2", "--rows", "b.csv", "--class", "yes", cwd=folder)["rows"]
    assert len(found) == 200
    for row in found[:20]:
        assert sum(row["columns"].values()) == pytest.approx(row["prediction"] - row["baseline"], abs=1e-4)
    predicted = document("predict", "runs/b2", "b.csv", "--proba", cwd=folder)["predictions"]
    assert [row["prediction"] for row in found] == pytest.approx([row["p_yes"] for row in predicted], abs=1e-5)


def test_the_worst_rows_are_those_with_the_largest_loss(folder: Path) -> None:
    result = mlpbp("eval", "runs/b0", "--worst", "4", "-o", "worst.csv", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    rows = table(folder / "worst.csv")
    split = json.loads((folder / "runs" / "b0" / "split.json").read_text())["test"]
    truth = table(folder / "b.csv")
    predicted = document("predict", "runs/b0", "b.csv", "--proba", cwd=folder)["predictions"]
    losses = {row: -np.log(predicted[row][f"p_{truth[row]['label']}"]) for row in split}
    expected = sorted(split, key=lambda row: -losses[row])[:4]
    assert [int(row["row"]) for row in rows] == expected
    for row, number in zip(rows, expected, strict=True):
        assert float(row["loss"]) == pytest.approx(losses[number], rel=1e-5)
        assert row["truth"] == truth[number]["label"]
        assert row["prediction"] == predicted[number]["prediction"]
        assert float(row["p_truth"]) == pytest.approx(predicted[number][f"p_{row['truth']}"], rel=1e-5)
        assert float(row["column.loss"]) == float(truth[number]["loss"])  # the column that has the name of ours
        assert row["place"].endswith(f"b.csv:{number + 2}")
    told = document("eval", "runs/b0", "--worst", "4", cwd=folder)["worst"]
    assert [row["row"] for row in told] == expected
    assert told[0]["columns"]["word"] == truth[expected[0]]["word"]


def test_a_key_is_looked_up(folder: Path) -> None:
    result = mlpbp("config", "optimizer.lr", cwd=folder)
    assert result.stdout == (
        "optimizer.lr\n  learning rate; auto: the usual one of the optimizer\n"
        "  takes    a number > 0, or auto\n  default  auto\n  example  lr: 1e-3\n"
    )
    section = mlpbp("config", "loss", cwd=folder).stdout
    assert re.search(r"^ loss\.delta +1 +where huber turns", section, re.M)
    everything = document("config", cwd=folder)["keys"]
    assert len(everything) > 120
    assert all(one["meaning"] for one in everything)
    for key in ("", "model.hidden", "data"):
        shown = mlpbp("config", *([key] if key else []), cwd=folder)
        assert shown.returncode == 0
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_what_differs_from_the_defaults_or_between_two(folder: Path) -> None:
    found = document("config", "--diff", "b.yaml", cwd=folder)["differs"]
    assert found["model.hidden"] == {"default": [64, 64], "here": [8]}
    assert set(found) == {
        *("name", "threads", "kernels", "data.train", "data.target", "data.split.val", "data.split.test"),
        *("model.hidden", "train.epochs"),
    }
    two = document("config", "--diff", "runs/b0", "--diff", "runs/b3", cwd=folder)["differs"]
    assert two == {"seed": {"first": 0, "second": 1}, "optimizer.lr": {"first": 0.01, "second": 0.1}}
    assert mlpbp("config", "--diff", "runs/b0", "--diff", "runs/b0", cwd=folder).stdout == "the two say the same\n"
    same = document("config", "--diff", "b.yaml", "--diff", "runs/b0", cwd=folder)["differs"]
    assert "data.train" not in same  # ../../b.csv from the run is b.csv from here


REFUSED = [
    (("runs", "nowhere"), r"nowhere: there is no such folder; give the folder of your runs, or train one"),
    (("runs", "--sort", "val_acc"), r'no run has such a value to sort by \(got val_acc\); did you mean "val_mcc"\?'),
    (("runs", "--about", "nothing"), r"there is no run about this \(got nothing\); there are b\.csv: .*"),
    (("runs", "--best", "--group"), r"--best names one run, --group shows several; leave out one of them"),
    (("report", "runs"), r"runs: this is a folder of runs, not a run; name one of them, such as runs/\w+; .*"),
    (("report", "b.yaml"), r"b\.yaml: this is a config, not a trained model; train it: mlpbp train b\.yaml.*"),
    (("report", "runs/b0", "-o", "no/where.html"), r"no: there is no such folder; name a file with -o FILE"),
    (("importance", "nothing"), r"nothing: no such file or directory; mlpbp runs lists those that there are"),
    (("importance", "runs/b0", "--metric", "rmse"), r"--metric: no such metric for a binary task \(got rmse\); .*"),
    (("importance", "runs/b0", "--row", "999"), r"--row: there is no such row \(got 999\); rows are 0 to 199"),
    (
        ("importance", "runs/b0", "--row", "1", "--class", "x"),
        r"--class: no such class or target \(got x\); .* no, yes",
    ),
    (("importance", "runs/b0", "--baseline", "x"), r"--baseline: unknown \(got x\); choose from mean, zeros"),
    (("importance", "runs/b0", "--rows", "b.csv", "--row", "1"), r"--rows names the file and takes all its rows; .*"),
    (("importance", "runs/b0", "-o", "b.csv"), r"b\.csv: there is such a file already; choose another, or --force"),
    (("eval", "runs/b0", "-o", "w.csv"), r"-o takes the worst rows; add --worst 20"),
    (("eval", "runs/b0", "--worst", "3", "-o", "b.csv"), r"b\.csv: there is such a file already; .*"),
    (("eval", "runs/b0", "--worst", "-1"), r"invalid value for '--worst'.*; see mlpbp eval --help"),
    (("config", "optimiser.lr"), r"there is no such key \(got optimiser\.lr\); did you mean optimizer\.lr\?"),
    (("config", "learning_rate"), r"there is no such key \(got learning_rate\); did you mean optimizer\.lr\?"),
    (("config", "seed", "--diff", "b.yaml"), r"--diff takes one config or two, and no key; .*"),
    (("config", "--diff", "c.yaml"), r'c\.yaml: no such file; did you mean "[br]\.yaml"\?'),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda part: " ".join(part) if part else "")
def test_what_does_not_fit_is_refused_in_one_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    result = mlpbp(*arguments, cwd=folder)
    assert result.returncode == 2, result.stderr
    assert re.fullmatch(f"mlpbp: error: (.*: )?{message}\n", result.stderr)
    assert result.stdout == ""

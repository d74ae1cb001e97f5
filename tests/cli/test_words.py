"""The words of the command line: usage, hints, completion, lines that fit, one row and two rows."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlpbp.console import Console as Screen
from mlpbp.hints import for_command, for_option
from mlpbp.render import EpochTable, baseline_lines, metrics_table, plain_epoch, unbeaten
from mlpbp.usage import wrapped
from rich.console import Console

from mlp_core.config.problems import homes, words_at
from mlp_core.config.schema import Config
from mlp_core.errors import UsageError, counted
from mlp_core.training.baselines import Baseline, Baselines
from mlp_core.training.events import EpochDone
from mlp_core.training.misnamed import refuse_misnamed

SMALL = "data: {name: digits, limit: 120}\nmodel: {hidden: [4]}\ntrain: {epochs: 1}\nthreads: 1\n"


def mlpbp(*arguments: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlpbp", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", **more}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("train", "mlpbp train [OPTIONS] [CONFIG or TABLE] [KEY=VALUE]..."),
        ("eval", "mlpbp eval [OPTIONS] MODEL [DATA] [KEY=VALUE]..."),
        ("predict", "mlpbp predict [OPTIONS] MODEL DATA"),
        ("explain", "mlpbp explain [OPTIONS] CONFIG [KEY=VALUE]..."),
    ],
)
def test_usage_is_what_one_types(command: str, usage: str, tmp_path: Path) -> None:
    result = mlpbp(command, "--help", cwd=tmp_path)
    assert result.stdout.splitlines()[0] == f"Usage: {usage}"
    assert "<" not in result.stdout
    assert "[[" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("train", "c.yaml", "--lr", "0.1"), "write it as optimizer.lr=0.1"),
        (("train", "c.yaml", "--seed=3"), "write it as seed=3"),
        (("cv", "t.csv", "--target", "y"), "to write one: mlpbp init t.csv --target COLUMN"),
        (("resume", "runs/a-001"), "write mlpbp train --resume RUN"),
        (("c.yaml",), "write mlpbp train c.yaml"),
        (("tran", "c.yaml"), "Did you mean 'train'"),
    ],
)
def test_what_is_not_there_is_answered_by_what_is(arguments: tuple[str, ...], hint: str, tmp_path: Path) -> None:
    result = mlpbp(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert hint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_command_that_is_hinted_at_is_there() -> None:
    from mlpbp.hints import COMMANDS
    from mlpbp.main import app

    names = {command.name for command in app.registered_commands}
    assert {told.split()[0] for told in COMMANDS.values()} <= names | {"--help", "--version"}
    assert not names & set(COMMANDS)
    assert for_command("unheard") is None
    assert for_option("--unheard", ["--unheard"]) is None
    assert for_option("--splt", ["--splt", "test"], ["--split", "--json", "-o"]) == 'did you mean "--split"?'


def test_an_epoch_is_a_file(tmp_path: Path) -> None:
    """Which is named by an option that there is not, and which ones there are by a file that there is not."""
    saved = tmp_path / "run" / "checkpoints"
    saved.mkdir(parents=True)
    (saved / "best.safetensors").write_bytes(b"")
    wrong = saved / "epoch-0003.safetensors"
    with pytest.raises(UsageError, match=r"there are best; checkpoint\.every: 1 saves every epoch"):
        refuse_misnamed(wrong)
    asked = ["eval", str(tmp_path / "run"), "--epoch", "3"]
    assert "checkpoint.every: 1" in str(for_option("--epoch", asked))
    for number in (2, 4):
        (saved / f"epoch-{number:04d}.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"there are best, epoch-0002, epoch-0004$"):
        refuse_misnamed(wrong)
    assert for_option("--epoch", asked) == f"name its file, such as {saved / 'epoch-0004.safetensors'}"
    assert for_option("--epoch", asked, ["--epochs"]) == 'did you mean "--epochs"?'
    assert homes("dropout", Config) == ["model.dropout", "model.hidden.dropout", "schedule.dropout"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mlpbp tr", ["trace", "train"]),
        ("mlpbp train c", ["c.yaml", "configs/"]),
        ("mlpbp train c.yaml optimizer.l", ["optimizer.lr="]),
        ("mlpbp train c.yaml optimizer.name=adam", ["optimizer.name=adam", "optimizer.name=adamw"]),
        ("mlpbp eval ru", ["runs/", "runs/a-001"]),
    ],
)
def test_the_shell_completes(words: str, offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    (tmp_path / "runs/a-001").mkdir(parents=True)
    (tmp_path / "runs/a-001/config.resolved.yaml").write_text(SMALL)
    place = str(len(words.split()) - 1)
    result = mlpbp(cwd=tmp_path, _MLPBP_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    found = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert set(offered) <= set(found) | ({"configs/"} if any(one.startswith("configs/") for one in found) else set())


def test_words_of_keys() -> None:
    assert words_at(["model", "bias"], Config) == ["true", "false"]
    assert "cosine" in words_at(["schedule", "name"], Config)
    assert words_at(["model", "nothing"], Config) == []


def test_a_run_is_explained_by_its_config(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    assert mlpbp("-q", "train", "c.yaml", "-o", "run", cwd=tmp_path).returncode == 0
    assert mlpbp("explain", "run", cwd=tmp_path).stdout == mlpbp("explain", "c.yaml", cwd=tmp_path).stdout != ""
    refused = mlpbp("train", "run", cwd=tmp_path)
    assert (refused.returncode, "mlpbp train --resume run" in refused.stderr) == (2, True)


def event(epoch: int, improved: bool) -> EpochDone:
    metrics = {"train_loss": 1.0, "val_loss": 1.0, "lr": 0.1}
    return EpochDone(epoch, epoch, metrics, improved, 0.1, 1.0)


def test_a_plain_line_has_as_much_as_has_room() -> None:
    metrics = {"train_loss": 0.5216, "val_loss": 0.405, "val_accuracy": 0.8444, "lr": 0.04}
    done = EpochDone(100, 100, metrics, True, 0.12, 1.0)
    whole = "epoch 100/256  train_loss 0.5216  val_loss 0.4050  val_accuracy 84.44 %  lr 4.00e-02  0.12 s  *"
    assert plain_epoch(done, 256) == plain_epoch(done, 256, 120) == whole
    assert plain_epoch(done, 256, 80) == whole.replace("  lr 4.00e-02  0.12 s", "")
    assert plain_epoch(done, 256, 88) == whole.replace("  0.12 s", "")
    assert plain_epoch(done, 256, 60) == "epoch 100/256  train_loss 0.5216  val_loss 0.4050  *"


def test_workers_know_the_terminal_that_they_are_seen_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Screen("train").columns is None
    monkeypatch.setenv("MLPBP_WINDOW", "1")
    monkeypatch.setenv("COLUMNS", "70")
    assert Screen("train").columns == 70


@pytest.mark.parametrize(("best", "expected"), [(2, "2 ... 7 8 9"), (6, "6 7 8 9"), (9, "6 7 8 9"), (5, "5 ... 7 8 9")])
def test_the_best_epoch_stays_on_the_screen(best: int, expected: str) -> None:
    table = EpochTable(9, 1, lines=4)
    for epoch in range(1, 10):
        table.epoch(event(epoch, epoch <= best and epoch in (1, best)))
    assert " ".join("..." if one is None else str(one.epoch) for one in table._shown()) == expected


def test_metrics_have_the_names_that_require_takes() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(metrics_table({"val": {"roc_auc": 0.5, "balanced_accuracy": 0.5}}))
    assert "roc_auc" in capture.get()
    assert "balanced_accuracy" in capture.get()


def test_lines_break_between_words_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = "mlpbp: note: " + "some-words of different lengths " * 9
    assert wrapped(text, terminal=False) == text
    lines = wrapped(text, terminal=True).split("\n")
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines).split() == text.split()


def test_one_row_and_two_rows() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1797)] == ["0 rows", "1 row", "2 rows", "1,797 rows"]
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(3, "entry", "entries") == "3 entries"


def test_lines_of_a_config_are_not_broken_where_it_is_shown(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    line = "data: {train: t.csv}  # " + "what is said of it " * 5 + "here"
    Screen("init").show(line, exact=True)
    assert capsys.readouterr().out == line + "\n"
    Screen("init").show(line)
    assert capsys.readouterr().out.count("\n") == 2


def test_what_stands_beside_a_result_says_of_how_many_rows() -> None:
    mean = Baseline("mean", 2.0, 1.0, 3.0, math.inf)
    assert baseline_lines(Baselines("test", "rmse", 1, 1, (mean,))) == [
        "beside it, test rmse: mean 2.0000; the network 1.0000"
    ]
    some = baseline_lines(Baselines("test", "rmse", 4_000, 15_000, (mean,)))
    assert " ".join(some).startswith("beside it, test rmse of 4,000 of 15,000 rows: mean 2.0000")
    assert unbeaten(Baselines("test", "rmse", 1, 1, (mean,)))[0].startswith("on this 1 test row the network")
    assert unbeaten(Baselines("val", "rmse", 20, 20, (mean,)))[0].startswith("on these 20 val rows the network")
    close, far = (Baseline("mean", 2.0, 2.0 - gain, gain, 0.5) for gain in (-0.4, -3.0))
    told = unbeaten(Baselines("val", "rmse", 20, 20, (close, far)))
    assert "is not better than mean by more than chance: 2.4000 against 2.0000" in told[0]
    assert "is worse than mean by more than chance: 5.0000 against 2.0000" in told[1]

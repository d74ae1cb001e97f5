"""Numbers that are none, labels that are none, constants, divergence: refused, or stopped and named (N1)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fork_server import ForkServer

from mlp_core.training.checkpoint import load

ROWS = [[f"{i % 7}", f"{(i * 5) % 11}", f"{i % 2}"] for i in range(40)]
CONFIG = """
data: {train: t.csv, target: y, split: {val: 0.25}}
model: {hidden: [4]}
train: {epochs: 5, batch_size: 8, preflight: off}
threads: 1
"""


def table(room: Path, rows: list[list[str]], name: str = "t.csv") -> None:
    (room / name).write_text("\n".join(",".join(row) for row in [["a", "b", "y"], *rows]) + "\n")
    (room / "c.yaml").write_text(CONFIG)


def with_cell(row: int, column: int, value: str) -> list[list[str]]:
    rows = [list(cells) for cells in ROWS]
    rows[row][column] = value
    return rows


TOLD = {
    "inf": (4, 0, "inf", 'words taken as missing numbers: a ("inf")'),
    "-inf": (4, 1, "-inf", 'words taken as missing numbers: b ("-inf")'),
    "a label that is missing": (5, 2, "", "1 of 40 rows have no y (line 7): left out"),
    "a label of inf": (5, 2, "inf", 'the first is "inf": left out'),
}
WORDS = ("train", "c.yaml", "-o", "r", "data.types={a: numeric, b: numeric}")
both = pytest.mark.parametrize("more", [[], ["data.task=regression"]], ids=["classes", "regression"])


@pytest.mark.parametrize("name", TOLD)
@both
def test_cells_that_are_taken_as_missing_are_told(server: ForkServer, room: Path, name: str, more: list[str]) -> None:
    row, column, value, note = TOLD[name]
    table(room, with_cell(row, column, value))
    result = server.run(*WORDS, *more, cwd=room)
    assert result.code == 0, result.stderr
    assert note in result.stderr


@pytest.mark.parametrize("value", ["1e999", "gone"])
@both
def test_cells_that_are_no_numbers_are_refused(server: ForkServer, room: Path, value: str, more: list[str]) -> None:
    table(room, with_cell(9, 0, value))
    result = server.run(*WORDS, *more, cwd=room)
    assert result.code == 2, result.stderr
    assert re.match(r"mlpbp: error: t\.csv:11:1: ", result.errors()[0]), result.stderr
    assert not (room / "r").exists()


def test_a_label_that_training_never_saw(server: ForkServer, room: Path) -> None:
    table(room, ROWS)
    table(room, with_cell(3, 2, "7"), "v.csv")
    result = server.run("train", "c.yaml", "-o", "r", "data.val=v.csv", cwd=room)
    assert result.code == 2
    assert result.errors()[0].startswith('mlpbp: error: v.csv:5:3: label "7" is not one of the classes')


@pytest.mark.parametrize("value", ["3", "0", "1e300"])
def test_a_constant_column_is_trained_on(server: ForkServer, room: Path, value: str) -> None:
    table(room, [[a, value, y] for a, _, y in ROWS])
    result = server.run("train", "c.yaml", "-o", "r", cwd=room)
    assert result.code == 0, result.stderr
    load(room / "r/checkpoints/best.safetensors")


def test_a_constant_target_is_refused(server: ForkServer, room: Path) -> None:
    table(room, [[a, b, "1"] for a, b, _ in ROWS])
    result = server.run("train", "c.yaml", "-o", "r", cwd=room)
    assert result.code == 2
    assert "only one value" in result.errors()[0]


DIVERGING = [
    ("sgd", "1e30", []),
    ("sgd", "1e9", ["data.task=regression"]),
    ("momentum", "1e20", []),
    ("nesterov", "1e20", []),
    ("adam", "1e38", ["model.hidden=[9, 9, 9]"]),
    ("lion", "1e38", ["model.hidden=[9, 9, 9]"]),
    ("sgd", "1e9", ["data.task=regression", "dtype=float64", "train.epochs=90"]),
    ("sgd", "1e9", ["data.task=regression", "optimizer.accumulate=3"]),
    ("sgd", "1e9", ["data.task=regression", "optimizer.ema=0.9"]),
    ("sgd", "1e9", ["data.task=regression", "model.dropout=0.5"]),
    ("sgd", "1e9", ["data.task=regression", "schedule.warmup=1"]),
    ("adagrad", "1e38", ["model.hidden=[9, 9, 9]"]),
]


@pytest.mark.parametrize(("optimizer", "lr", "more"), DIVERGING)
def test_divergence(server: ForkServer, room: Path, optimizer: str, lr: str, more: list[str]) -> None:
    """Stopped at the step; named are the tensor, the last good checkpoint and the remedy; nothing bad is saved."""
    table(room, ROWS)
    words = [f"optimizer.name={optimizer}", f"optimizer.lr={lr}", "train.early_stopping=false", *more]
    result = server.run("train", "c.yaml", "-o", "r", *words, cwd=room, eager=True)
    assert result.code == 1, result.stderr
    (line,) = result.errors()
    pattern = (
        r"mlpbp: error: step \d+: .*\(lr [^,()]+(, first bad tensor [\w.]+( gradient)?)?\); "
        r"(last good checkpoint epoch \d+|no epoch was completed); try a smaller optimizer\.lr or optimizer\.clip_norm"
    )
    assert re.fullmatch(pattern, line), line
    for path in (room / "r/checkpoints").iterdir():
        load(path)
    assert json.loads((room / "r/run.json").read_text())["status"] == "failed"
    assert "nan" not in (room / "r/metrics.jsonl").read_text().lower() if (room / "r/metrics.jsonl").exists() else True


def test_a_validation_loss_that_is_not_finite_is_never_the_best(server: ForkServer, room: Path) -> None:
    table(room, ROWS)
    table(room, with_cell(0, 0, "1e300"), "v.csv")
    words = ["data.val=v.csv", "data.task=regression", "dtype=float64", "model.activation=identity"]
    result = server.run("train", "c.yaml", "-o", "r", *words, cwd=room, eager=True)
    assert result.code in (1, 2), result.stdout + result.stderr
    assert len(result.errors()) == 1
    assert not (room / "r/checkpoints/best.safetensors").exists()


def test_a_state_that_could_not_be_loaded_is_not_saved(server: ForkServer, room: Path) -> None:
    """Squares of gradients that overflow leave the weights finite, but not what the optimizer remembers."""
    table(room, [[a, b, str(int(y) * 10**25)] for a, b, y in ROWS])
    words = ["data.task=regression", "preprocess.target.scale=none", "optimizer.name=adam", "loss.name=mae"]
    result = server.run("train", "c.yaml", "-o", "r", *words, "optimizer.clip_value=1e30", cwd=room, eager=True)
    assert result.code in (0, 1, 2)
    assert "Traceback" not in result.stderr
    for path in (room / "r/checkpoints").glob("*") if (room / "r").exists() else ():
        load(path)

"""A warm start: the earlier model before the first step, resumable without it, refused where it differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import load
from mlp_core.errors import CheckpointError, ConfigError
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.runs.run import Run
from mlp_core.training.experiment import Experiment

REST = """
model: {hidden: [8, 8], norm: batch, residual: true}
preprocess: {categorical: {encode: embedding}}
train: {epochs: 3}
optimizer: {ema: 0.9}
threads: 1
kernels: numpy
"""


def write(path: Path, rows: int, shift: float) -> None:
    rng = np.random.default_rng(rows)
    X, words = rng.normal(shift, 1, (rows, 2)), rng.choice(["u", "v", "w"], rows)
    lines = [f"{a:.3f},{b:.3f},{w},{2 * a + (w == 'u'):.3f}" for (a, b), w in zip(X, words, strict=True)]
    path.write_text("a,b,word,y\n" + "\n".join(lines) + "\n")


def start(folder: Path, name: str, *overrides: str, stop: int | None = None) -> Path:
    """A run of the config, stopped after so many steps if asked."""
    file = folder / "t.yaml"
    run = Run.start(load(file, overrides), file.read_bytes(), folder / name)
    trainer = run.experiment.trainer
    for _ in run.execute(lambda: 130 if stop is not None and trainer.progress.step >= stop else 0):
        pass
    return folder / name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "t.csv", 120, 0.0)
    write(tmp_path / "new.csv", 90, 3.0)
    (tmp_path / "t.yaml").write_text("data: {train: t.csv, target: y, split: {val: 0.3}}" + REST)
    start(tmp_path, "first")
    return tmp_path


@pytest.mark.parametrize("place", ["first", "first/checkpoints/last.safetensors"])
def test_before_the_first_step_it_is_the_earlier_model(folder: Path, place: str) -> None:
    """On new rows as well, whose ranges are others: the preprocessing came along."""
    model, _ = open_model(folder / place)
    config = load(folder / "t.yaml", [f"model.weights={place}", "data.train=new.csv", "data.split.val=0"])
    experiment = Experiment.build(config)
    found = experiment.evaluate(["rmse"])["train"].metrics["rmse"]
    from mlp_core.runs.evaluate import Wishes

    expected = evaluate_model(model, Wishes(data=folder / "new.csv")).splits["data"].metrics["rmse"]
    assert found == pytest.approx(expected, rel=1e-6)
    assert any(note.startswith("weights: those of ") for note in experiment.notes)
    assert not any(note.startswith("initial weights") for note in experiment.notes)


def test_weights_of_another_precision_are_taken(folder: Path) -> None:
    experiment = Experiment.build(load(folder / "t.yaml", ["model.weights=first", "dtype=float64"]))
    model, _ = open_model(folder / "first")
    for name, array in experiment.model.network.parameters.values.items():
        assert np.array_equal(array, model.network.parameters.values[name].astype(np.float64))


def test_a_run_that_began_so_goes_on_without_the_earlier_one(folder: Path) -> None:
    whole = start(folder, "whole", "model.weights=first")
    parted = start(folder, "parted", "model.weights=first", stop=3)
    shutil.rmtree(folder / "first")
    run = Run.resume(parted)
    for _ in run.execute():
        pass
    for name in ("metrics.jsonl", "checkpoints/last.safetensors", "checkpoints/best.safetensors"):
        assert (whole / name).read_bytes() == (parted / name).read_bytes(), name
    assert evaluate_model(open_model(parted)[0]).splits["val"].metrics["rmse"] > 0


REFUSED = [
    (["model.hidden=[8,4]"], r"4\.weight is 8×8 there, 4×8 here"),
    (["model.norm=none"], r"3\.weight is none there, 8×8 here"),
    (["data.drop=[b]"], r"input columns: b only there"),
    (["data.types={b: categorical}"], r"b is numeric there, categorical here"),
    (["data.features=[b,a,word]"], r"input columns are in another order \(a, b, word, \.\.\. there\)"),
    (["data.target=b"], r"input columns: b only there, y only here"),
    (["data.target=word", "loss.name=auto"], r"it is a regression task there, a multiclass task here"),
    (["preprocess.numeric.scale=minmax"], r"preprocess\.numeric\.scale is standard there, minmax here"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda part: str(part))
def test_what_does_not_fit_is_refused_with_the_difference(folder: Path, changes: list[str], message: str) -> None:
    config = load(folder / "t.yaml", ["model.weights=first", *changes])
    with pytest.raises(ConfigError, match=message) as caught:
        Experiment.build(config)
    problem = caught.value.problems[0]
    assert (problem.key, problem.code) == ("model.weights", "does_not_fit")


def test_no_such_file_is_refused_and_a_damaged_one_fails(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.weights: no such file or directory .got nowhere."):
        Experiment.build(load(folder / "t.yaml", ["model.weights=nowhere"]))
    file = folder / "first" / "checkpoints" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(CheckpointError, match="damaged"):
        Experiment.build(load(folder / "t.yaml", ["model.weights=first"]))


def test_weights_of_another_parametrization_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="parametrization is standard there, ntk here"):
        Experiment.build(load(folder / "t.yaml", ["model.weights=first", "model.parametrization=ntk"]))

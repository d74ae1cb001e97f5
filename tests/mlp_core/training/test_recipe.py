"""A recipe is nothing but defaults: what it sets, what stays yours, what stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import Config, dump_yaml, from_mapping, load
from mlp_core.config.schema import differences
from mlp_core.data.load import load as load_data
from mlp_core.training.recipe import size_of, with_recipe
from mlp_core.training.unused import refuse_unused

RNG = np.random.default_rng(0)


def table(folder: Path, target: str = "number", count: int = 60) -> Path:
    """Rows of two numbers and a word, with a gap."""
    words, x = RNG.choice(["red", "blue"], count), RNG.normal(size=(count, 2)).round(3)
    y = (x @ [1.0, 2.0]).round(3) if target == "number" else np.where(x[:, 0] > 0, "yes", "no")
    if target == "many":
        y = RNG.choice(["a", "b", "c"], count)
    rows = (f"{a},{'' if k == 7 else b},{w},{t}" for k, ((a, b), w, t) in enumerate(zip(x, words, y, strict=True)))
    path = folder / "t.csv"
    path.write_text("a,b,w,y\n" + "\n".join(rows) + "\n")
    return path


def resolved(folder: Path, target: str = "number", count: int = 60, **keys: Any) -> tuple[Config, tuple[str, ...]]:
    given = {"data": {"train": str(table(folder, target, count)), "target": "y"}, **keys}
    config = from_mapping(given)
    return with_recipe(config, load_data(config))


def test_a_table_takes_strong_and_every_ingredient_is_a_key(tmp_path: Path) -> None:
    config, notes = resolved(tmp_path)
    assert config.recipe == "strong"
    assert config.preprocess.numeric.scale == "robust_smooth"
    assert (config.model.activation, config.model.parametrization, config.optimizer.lr) == ("mish", "ntk", 0.2)
    assert (config.checkpoint.monitor, config.checkpoint.ties) == ("val_rmse", "last")
    (note,) = notes
    assert note == "recipe: strong (a table): 256-256-256, 256 epochs in batches of 16 for 48 rows"
    again = tmp_path / "resolved.yaml"
    again.write_text(dump_yaml(config))
    written = load(again)
    assert written == config.replace(name=written.name)
    assert with_recipe(written, load_data(written)) == (written, ())


@pytest.mark.parametrize(
    ("target", "count", "dropout", "clamp"),
    [("number", 638, 0.0, False), ("number", 640, 0.15, True), ("two", 60, 0.15, False)],
)
def test_few_numbers_are_fitted_as_they_are(
    target: str, count: int, dropout: float, clamp: bool, tmp_path: Path
) -> None:
    """Of 638 rows 510 are trained on, of 640 512."""
    config, _ = resolved(tmp_path, target, count)
    assert (config.model.dropout, config.preprocess.target.clamp) == (dropout, clamp)
    assert config.schedule.dropout == ("flat_cos" if dropout else "constant")


@pytest.mark.parametrize(
    "keys",
    [
        {"version": 1},
        {"recipe": "plain"},
        {"model": {"hidden": [8]}},
        {"optimizer": {"lr": 0.01}},
        {"optimizer": {"name": "lbfgs"}},
    ],
)
def test_what_a_config_of_today_trains_it_trains_still(keys: dict[str, Any], tmp_path: Path) -> None:
    config, _ = resolved(tmp_path, **keys)
    asked = from_mapping({"data": {"train": str(tmp_path / "t.csv"), "target": "y"}, **keys})
    assert config == asked.replace(recipe="plain")


def test_sets_that_teach_stay_plain() -> None:
    config = from_mapping({"data": {"name": "digits"}})
    assert with_recipe(config, load_data(config)) == (config.replace(recipe="plain"), ())


def test_yours_stands_and_that_is_said(tmp_path: Path) -> None:
    keys = {"model": {"hidden": [32], "dropout": 0.0}, "optimizer": {"lr": 0.01}, "train": {"epochs": 7}}
    config, notes = resolved(tmp_path, count=700, recipe="strong", **keys)
    assert [layer.units for layer in config.model.layers()] == [32]
    assert (config.model.dropout, config.schedule.dropout, config.optimizer.lr) == (0.0, "constant", 0.01)
    assert (config.train.epochs, config.model.parametrization) == (7, "ntk")
    assert "model.dropout 0.0, not 0.15" in notes[1]
    assert "optimizer.lr 0.01, not 0.2" in notes[1]


def test_a_loss_of_numbers_says_what_is_aimed_at(tmp_path: Path) -> None:
    for loss, monitor, lr in (
        ("mae", "val_mae", 0.2),
        ("quantile", "val_loss", 0.2),
        ("mse", "val_rmse", 0.2),
        ("gaussian_nll", "val_loss", 0.04),
    ):
        config, _ = resolved(tmp_path, loss={"name": loss})
        assert (config.checkpoint.monitor, config.optimizer.lr) == (monitor, lr)
        assert config.train.early_stopping is False or config.train.early_stopping.monitor == monitor
    config, _ = resolved(tmp_path, checkpoint={"monitor": "val_r2"})
    assert config.checkpoint.monitor == "val_r2"


@pytest.mark.parametrize(
    ("target", "metrics", "smoothing", "monitor"),
    [
        ("two", "auto", 0.1, "val_loss"),  # of few rows
        ("many", ["accuracy"], 0.1, "val_accuracy"),
        ("many", ["log_loss", "accuracy"], 0.0, "val_log_loss"),
        ("two", ["roc_auc"], 0.0, "val_roc_auc"),
        ("number", ["mae"], 0.0, "val_mae"),
    ],
)
def test_the_aim_decides_the_best_epoch_and_smoothed_labels(
    target: str, metrics: Any, smoothing: float, monitor: str, tmp_path: Path
) -> None:
    config, _ = resolved(tmp_path, target, metrics=metrics)
    assert (config.loss.label_smoothing, config.checkpoint.monitor) == (smoothing, monitor)
    assert config.loss.name == ("cross_entropy" if smoothing and target == "two" else "auto")


@pytest.mark.parametrize(
    "keys",
    [
        {"model": {"hidden": []}},
        {"model": {"activation": "prelu"}},
        {"model": {"activation": "identity", "bias": False}},
        {"optimizer": {"name": "sgd"}},
        {"optimizer": {"weight_decay": 0.0}, "model": {"dropout": 0.0}},
        {"optimizer": {"name": "lbfgs"}},
        {"loss": {"name": "poisson"}, "data": {"task": "regression"}},
        {"loss": {"name": "quantile"}},
        {"regularization": {"mixup": 0.2}},
        {"model": {"norm": "batch"}},
    ],
)
def test_no_recipe_asks_for_what_is_not_there(keys: dict[str, Any], tmp_path: Path) -> None:
    from mlp_core.training.experiment import Experiment

    path = table(tmp_path)
    if keys.get("loss", {}).get("name") == "poisson":
        path.write_text("a,y\n" + "\n".join(f"{k % 7},{k % 5}" for k in range(60)) + "\n")
    data = {"train": str(path), "target": "y", **keys.get("data", {})}
    config = from_mapping({"recipe": "strong", "threads": 1, "kernels": "numpy", **keys, "data": data})
    made = Experiment.build(config).config
    assert made.recipe == "strong"


def test_work_grows_slower_than_rows() -> None:
    sizes = [(rows, size_of(rows)) for rows in (10, 60, 500, 5_000, 50_000, 500_000, 5_000_000)]
    epochs = [size.epochs for _, size in sizes]
    assert epochs == sorted(epochs, reverse=True)
    assert all(size.epochs * -(-rows // size.batch) >= 256 for rows, size in sizes)


@pytest.mark.parametrize("target", ["number", "two", "many"])
def test_every_key_of_the_recipe_may_be_yours(target: str, tmp_path: Path) -> None:
    """Each alone at its usual value: the others are then such that nothing is refused, and it is said what is yours."""
    config, _ = resolved(tmp_path, target)
    base = {"recipe": "strong", "data": {"train": str(tmp_path / "t.csv"), "target": "y"}}
    set_ = differences(from_mapping(base).model_dump(mode="json"), config.model_dump(mode="json"))
    sections = ("preprocess", "model", "loss", "optimizer", "schedule", "checkpoint")
    changed = {key: usual for key, (usual, _) in set_.items() if key.split(".")[0] in sections}
    assert len(changed) > 20
    for key, usual in changed.items():
        asked = from_mapping(base, [f"{key}={json.dumps(usual)}"])
        made, notes = with_recipe(asked, load_data(asked))
        refuse_unused(made.replace(**{"optimizer.lr": 0.1}))
        if key != "checkpoint.monitor":  # is an aim, which the recipe takes up
            assert any(f"{key} " in note for note in notes), (key, notes)

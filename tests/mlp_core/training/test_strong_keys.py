"""The keys of strong tables: each has its effect, or is refused where it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.backends.cuda.steps import hindrance
from mlp_core.config import from_mapping
from mlp_core.errors import ConfigError
from mlp_core.training.experiment import Experiment
from mlp_core.training.trainer import Watch

BASE: dict[str, Any] = {
    "data": {"name": "diabetes", "limit": 60},
    "model": {"hidden": [6, 5], "activation": "tanh"},
    "kernels": "numpy",
    "train": {"batch_size": 16, "epochs": 2},
}
ALL = [
    *("model.numeric_embedding=periodic", "model.input_scale=true", "model.parametrization=ntk"),
    *("model.parametric=true", "model.dropout=0.2", "optimizer.weight_decay=0.1"),
    "schedule={dropout: flat_cos, weight_decay: flat_cos}",
]


def build(*overrides: str) -> Experiment:
    return Experiment.build(from_mapping(BASE, list(overrides)))


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("model.numeric_embedding=periodic", "model.numeric_embedding"),
        ("model.input_scale=true", "model.input_scale"),
        ("model.parametrization=ntk", "model.parametrization ntk"),
        ("model.parametric=true", "model.parametric"),
        ("schedule={dropout: flat_cos}", "schedule.dropout flat_cos"),
        ("schedule={weight_decay: flat_cos}", "kernels: numpy"),
    ],
)
def test_what_cannot_be_launched_is_named(override: str, name: str) -> None:
    job = build("model.dropout=0.2", "optimizer.weight_decay=0.1", override).trainer.job
    assert hindrance(job) == name


def test_factors_of_the_learning_rate_meet_those_of_groups() -> None:
    job = build(
        *ALL,
        "optimizer.lr_factors={bias: 0.1, numeric_embedding: 0.2, input_scale: 6, alpha: 0.5}",
        "optimizer.groups=[{match: 5.bias, lr_scale: 3}, {match: 6.alpha, freeze: true}]",
    ).trainer.job
    places = {name: part.start for name, part in job.network.parameters.slices.items()}
    found = {
        name: segment.lr_scale
        for name, place in places.items()
        for segment in job.optimizer.segments
        if segment.part.start <= place < segment.part.stop
    }
    waves = {f"0.{name}": 0.2 for name in ("frequency", "phase", "weight", "bias")}
    weights = {f"{index}.weight": 1.0 for index in (2, 5, 8)}
    others = {"1.scale": 6.0, "2.bias": 0.1, "3.alpha": 0.5, "5.bias": 0.1 * 3, "8.bias": 0.1}
    assert found == {**waves, **weights, **others}


@pytest.mark.parametrize(("ties", "best"), [("first", 1), ("last", 2)])
def test_which_of_equal_epochs_is_best(ties: str, best: int) -> None:
    trainer = build(f"checkpoint.ties={ties}", "optimizer.lr=1e-30").trainer
    trainer.evaluate = lambda: {"val_loss": 1.0}
    list(trainer.run())
    assert trainer.progress.best_epoch == best


def test_a_tie_is_no_progress_for_stopping_and_nan_is_no_tie() -> None:
    last = Watch("val_loss", smaller=True, ties=True)
    assert last.better(1.0, 1.0)
    assert not last.better(1.1, 1.0)
    assert not last.better(float("nan"), float("nan"))
    assert not Watch("val_loss", smaller=True).better(1.0, 1.0)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["optimizer.lr_factors.numeric_embedding=0.1"], "optimizer.lr_factors.numeric_embedding"),
        (["optimizer.lr_factors.input_scale=6"], "optimizer.lr_factors.input_scale"),
        (["optimizer.lr_factors.alpha=0.1"], "optimizer.lr_factors.alpha"),
        (["schedule.dropout=flat_cos"], "schedule.dropout"),
        (["schedule.weight_decay=flat_cos"], "schedule.weight_decay"),
        (["model.parametric=true", "model.activation=prelu"], "model.parametric"),
        (["model.parametric=true", "model.hidden=[]"], "model.parametric"),
        (["model.bias_init=data", "model.bias=false"], "model.bias_init"),
        (["schedule={name: coslog, cycles: 31}"], "schedule.cycles"),
        (["schedule={name: cosine, cycles: 4}"], "schedule.cycles"),
        (["model.numeric_embedding={name: periodic, size: 1}"], "model.numeric_embedding.size"),
        (["model.numeric_embedding=waves"], "model.numeric_embedding"),
    ],
)
def test_what_has_no_effect_is_refused(overrides: list[str], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(*overrides)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_cycles_are_those_of_the_schedule() -> None:
    assert build("schedule.name=coslog").config.schedule.cycles == 4
    assert build().config.schedule.cycles == 1
    assert Experiment.build(build("schedule.name=coslog").config).trainer.schedule.cycles == 4


def test_without_numbers_there_are_no_waves(tmp_path: Path) -> None:
    lines = [f"{word},{'yes' if i % 3 else 'no'}" for i, word in enumerate("pqrs" * 10)]
    (tmp_path / "words.csv").write_text("\n".join(["word,y", *lines]) + "\n")
    built = build(f"data={{train: {tmp_path / 'words.csv'}, target: y}}", "model.numeric_embedding=periodic")
    assert "numeric embedding: none, there is no column of numbers" in built.notes
    assert [layer.index for layer in built.model.network.layers] == [0, 2, 4]


def test_starts_are_those_of_the_same_function_whatever_the_parametrization() -> None:
    """A family of initializers means the same network at the start."""
    standard, ntk = build("dtype=float64"), build("dtype=float64", "model.parametrization=ntk")
    for one, other in zip(standard.model.network._dense_layers(), ntk.model.network._dense_layers(), strict=True):
        np.testing.assert_allclose(one.W, other.W * other.scale, rtol=1e-15)
    X = standard.splits["train"].X[:5]
    Z = standard.model.network.forward(X).copy()
    np.testing.assert_allclose(Z, ntk.model.network.forward(X), rtol=1e-12)

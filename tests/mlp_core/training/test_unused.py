"""A setting that nothing reads is refused with its key and place; one that is read, or at its default, is not."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from mlp_core.config import dump_yaml, from_mapping, load
from mlp_core.errors import ConfigError
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.schedules import Schedule
from mlp_core.training.experiment import Experiment
from mlp_core.training.unused import OF_LOSSES, OF_OPTIMIZERS, OF_SCHEDULES, refuse_unused

OTHER = {
    **{"label_smoothing": 0.2, "pos_weight": 3.0, "gamma": 1.0, "delta": 0.5, "quantiles": [0.1, 0.9]},
    **{"momentum": 0.5, "betas": [0.5, 0.6], "eps": 1e-3, "rho": 0.3},
}
SCHEDULED = {
    **{"final": 0.5, "step_size": 3, "gamma": 0.7, "power": 2.0, "cycles": 3, "patience": 1, "factor": 0.2},
    "milestones": [2, 4],
}
EMBEDDED = {"name": "digits", "limit": 60}


def test_every_setting_of_a_loss_has_its_losses() -> None:
    assert set(OF_LOSSES) == {field.name for loss in LOSSES.values() for field in fields(loss)}
    assert all(OF_LOSSES.values())


@pytest.mark.parametrize("key", OF_LOSSES)
@pytest.mark.parametrize("name", LOSSES)
def test_settings_of_other_losses_are_refused(name: str, key: str) -> None:
    config = from_mapping({"data": EMBEDDED, "loss": {"name": name, key: OTHER[key]}})
    if name in OF_LOSSES[key]:
        return refuse_unused(config)
    with pytest.raises(ConfigError) as refused:
        refuse_unused(config)
    (problem,) = refused.value.problems
    assert (problem.key, problem.code) == (f"loss.{key}", "unused")
    assert OF_LOSSES[key][0] in str(problem.hint)


@pytest.mark.parametrize("key", OF_OPTIMIZERS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_of_other_optimizers_are_refused(name: str, key: str) -> None:
    config = from_mapping({"data": EMBEDDED, "optimizer": {"name": name, key: OTHER[key]}})
    if name in OF_OPTIMIZERS[key]:
        return refuse_unused(config)
    with pytest.raises(ConfigError, match=rf"optimizer\.{key}: {name} has no {key}"):
        refuse_unused(config)


@pytest.mark.parametrize("key", OF_SCHEDULES)
def test_settings_of_other_schedules_are_those_that_change_no_rate(key: str) -> None:
    for name in ("constant", "linear", "cosine", "cosine_restarts", "step", "multistep", "exponential", "polynomial",
                 "inverse_sqrt", "one_cycle", "wsd"):  # fmt: skip
        value = tuple(SCHEDULED[key]) if key == "milestones" else SCHEDULED[key]
        if key in ("patience", "factor"):
            assert OF_SCHEDULES[key] == ("plateau",)
            continue
        rates = [
            [Schedule(name, 0.1, 200, 10, warmup=5, **more).rate(step) for step in range(200)]
            for more in ({}, {key: value})
        ]
        reads = {"gamma": {"milestones": (2, 4)}}.get(key, {}) if name == "multistep" else {}
        if reads:
            rates = [
                [Schedule(name, 0.1, 200, 10, **reads, **more).rate(step) for step in range(200)]
                for more in ({}, {key: value})
            ]
        assert (rates[0] != rates[1]) == (name in OF_SCHEDULES[key]), (name, key)


def test_the_loss_that_was_decided_is_judged_too() -> None:
    config = from_mapping({"data": EMBEDDED, "loss": {"gamma": 1.0}})
    refuse_unused(config)
    with pytest.raises(ConfigError, match="cross_entropy has no gamma"):
        Experiment.build(config)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"model": {"norm": "layer", "norm_momentum": 0.3}}, "model.norm_momentum"),
        ({"model": {"norm_eps": 1e-3}}, "model.norm_eps"),
        ({"regularization": {"bias": True}}, "regularization.bias"),
        ({"preprocess": {"target": {"transform": "log1p"}}}, "preprocess.target"),
    ],
)
def test_other_settings_without_effect(sections: dict, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Experiment.build(from_mapping({"data": EMBEDDED, "threads": 1, **sections}))
    assert [problem.key for problem in refused.value.problems] == [key]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resolved_config_is_a_config(name: str, tmp_path: Path) -> None:
    experiment = Experiment.build(from_mapping({"data": EMBEDDED, "optimizer": {"name": name}, "threads": 1}))
    (tmp_path / "c.yaml").write_text(dump_yaml(experiment.config))
    refuse_unused(load(tmp_path / "c.yaml"))

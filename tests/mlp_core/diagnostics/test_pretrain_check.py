"""The checkup finds nothing in sound experiments of every kind, and each fault where it was planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.diagnostics.pretrain_check import examine
from mlp_core.nn import losses
from mlp_core.training.experiment import Experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One table with targets of every kind, and columns that are hard to learn from."""
    folder = tmp_path_factory.mktemp("checkup")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 4))
    s = X @ [1.0, -2.0, 0.5, 0.0]
    columns = {
        **{f"x{j}": X[:, j] for j in range(4)},
        "far": X[:, 0] * 1000,
        "spike": np.where(np.arange(240) == 7, 1e6, X[:, 1]),
        "yes": (s > 0).astype(int),
        "third": np.digitize(s, [-1, 1]) + 10,
        "rare": np.where(np.arange(240) % 60 == 0, 2, (s > 0).astype(int)),
        "number": s + rng.normal(0, 0.1, 240),
        "count": rng.poisson(np.exp(0.3 * s)),
        "tail": np.exp(2 * s),
        "a": (X[:, 0] > 0).astype(int),
        "b": (X[:, 1] > 0).astype(int),
    }
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(f"{v:.6g}" for v in row) for row in rows]
    (folder / "t.csv").write_text(",".join(columns) + "\n" + "\n".join(lines))
    return folder


def look(folder: Path, target: object, features: list[str] | None = None, **sections: object) -> dict[str, object]:
    """The findings by name, for a target and inputs of the table."""
    config = {
        "data": {"train": str(folder / "t.csv"), "target": target, "features": features or ["x0", "x1", "x2", "x3"]},
        "model": {"hidden": [16, 16]},
        "optimizer": {"lr": 0.01},
        "threads": 1,
    }
    experiment = Experiment.build(from_mapping({**config, **sections}))
    return {finding.name: finding for finding in examine(experiment)}


SOUND = [
    ("yes", {}),
    ("yes", {"loss": {"name": "cross_entropy", "class_weight": "balanced"}}),
    ("yes", {"loss": {"name": "focal"}}),
    ("third", {"model": {"hidden": [16], "norm": "batch", "dropout": 0.5}}),
    ("third", {"loss": {"label_smoothing": 0.1}, "model": {"hidden": [16], "activation": "tanh"}}),
    ("third", {"model": {"hidden": [16, 16], "residual": True, "norm": "layer"}}),
    ("third", {"model": {"hidden": [16], "output_bias": "zeros"}}),
    (["a", "b"], {}),
    ("number", {}),
    ("number", {"loss": {"name": "huber"}}),
    ("number", {"loss": {"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}}),
    ("number", {"loss": {"name": "gaussian_nll"}}),
    ("count", {"loss": {"name": "poisson"}, "data": {"task": "regression"}}),
    (["number", "x3"], {"model": {"hidden": [16], "activation": "prelu"}}),
    # each of these was once accused
    ("yes", {"loss": {"pos_weight": 5.0, "class_weight": {"0": 8.0, "1": 3.0}}}),
    (["a", "b"], {"loss": {"pos_weight": 0.5}}),
    ("third", {"loss": {"label_smoothing": 0.2, "class_weight": {"10": 1.0, "11": 3.0, "12": 0.5}}}),
    ("third", {"optimizer": {"name": "adadelta", "lr": 1.0}}),
    ("count", {"data": {"task": "regression"}, "loss": {"name": "gaussian_nll"}, "model": {"hidden": [8]}}),
    (["number", "x3"], {"model": {"hidden": [8, 8], "activation": "mish", "residual": True}}),
    ("number", {"model": {"hidden": [8] * 3, "norm": "batch"}, "optimizer": {"name": "lion", "lr": 1e-4}}),
]


@pytest.mark.parametrize(("target", "sections"), SOUND, ids=[str(case) for case in SOUND])
def test_sound_experiments_pass(folder: Path, target: object, sections: dict[str, dict]) -> None:
    sections = dict(sections)
    data = {
        "train": str(folder / "t.csv"),
        "target": target,
        "features": ["x0", "x1", "x2"],
        **sections.pop("data", {}),
    }
    found = look(folder, target, data=data, **sections)
    assert [finding for finding in found.values() if finding.verdict == "wrong"] == []
    assert len(found) == 8


FAULTS = [
    ("inputs", "wrong", "yes", ["x0", "far"], {"preprocess": {"numeric": {"scale": "none"}}}),
    ("inputs", "note", "yes", ["spike", "x1"], {}),
    ("classes", "note", "rare", None, {}),
    ("target", "note", "tail", None, {}),
    ("loss at the start", "wrong", "yes", None, {"model": {"hidden": [16], "init": {"name": "normal", "std": 9.0}}}),
    ("gradients", "wrong", "yes", None, {"model": {"hidden": [16], "init": "zeros"}}),
    ("gradients", "note", "yes", None, {"model": {"hidden": [8] * 12, "activation": "sigmoid"}}),
    ("hidden units", "wrong", "yes", None, {"model": {"hidden": [16], "init": "zeros"}}),
    ("8 rows learned", "wrong", "third", None, {"model": {"hidden": [16], "init": "zeros"}}),
    ("8 rows learned", "note", "third", None, {"model": {"hidden": [1]}}),
    ("first steps", "wrong", "number", None, {"optimizer": {"name": "sgd", "lr": 50.0}}),
    ("first steps", "note", "number", None, {"optimizer": {"name": "sgd", "lr": 1e-7}}),
]


@pytest.mark.parametrize(
    ("name", "verdict", "target", "features", "sections"), FAULTS, ids=[f"{case[0]}: {case[4]}" for case in FAULTS]
)
def test_a_fault_is_found_where_it_is(folder, name, verdict, target, features, sections) -> None:
    finding = look(folder, target, features, **sections)[name]
    assert finding.verdict == verdict, finding
    assert finding.advice


def test_constant_inputs_are_named_and_nothing_else_is_blamed(folder: Path) -> None:
    (folder / "flat.csv").write_text("a,b,y\n" + "3,x,0\n3,x,1\n" * 40)
    experiment = Experiment.build(from_mapping({"data": {"train": str(folder / "flat.csv"), "target": "y"}}))
    (finding,) = examine(experiment)
    assert (finding.name, finding.verdict) == ("inputs", "wrong")
    assert "constant" in finding.detail


def test_a_wrong_loss_and_a_wrong_gradient_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, backward = losses.Bce.forward, losses.Bce.backward

    def off(self, xp, Z, Y):
        loss, cache = forward(self, xp, Z, Y)
        return loss + 0.01, cache

    monkeypatch.setattr(losses.Bce, "forward", off)
    found = look(folder, "yes", device="cpu", kernels="numpy")
    assert found["loss at the start"].verdict == "wrong"
    assert found["gradients proved"].verdict == "ok"
    monkeypatch.undo()
    monkeypatch.setattr(losses.Bce, "backward", lambda self, xp, Y, cache: 1.001 * backward(self, xp, Y, cache))
    found = look(folder, "yes", kernels="numpy")
    assert found["loss at the start"].verdict == "ok"
    assert found["gradients proved"].verdict == "wrong"


def test_looking_leaves_the_experiment_as_it_was(folder: Path) -> None:
    config = {"data": {"train": str(folder / "t.csv"), "target": "yes", "features": ["x0", "x1"]}, "threads": 1}
    experiment = Experiment.build(from_mapping(config))
    before = experiment.model.network.parameters.theta.copy()
    looks = examine(experiment)
    for _ in range(7):
        next(looks)
        assert np.array_equal(experiment.model.network.parameters.theta, before)
    assert replace(next(looks), detail="").verdict == "ok"
    assert not np.array_equal(experiment.model.network.parameters.theta, before)

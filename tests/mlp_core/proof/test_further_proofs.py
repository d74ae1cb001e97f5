"""What stands beside the steps: functions to their last digits, a warm start, what a run keeps, the members of an
ensemble, what metrics know of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import load
from mlp_core.nn.activations import activation_gradient, bias_activation
from mlp_core.nn.losses import loss_and_gradient
from mlp_core.proof.asked import prove_asked
from mlp_core.proof.functions import prove_functions
from mlp_core.proof.paper import Paper
from mlp_core.runs.prove import check_config
from mlp_core.runs.prove_kept import prove_kept
from mlp_core.runs.run import Run
from mlp_core.runs.saves import Saves
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.experiment import Experiment
from mlp_core.training.warm_start import WarmStart

RNG = np.random.default_rng(4)
SMALL = "threads: 1\ndevice: cpu\ngradcheck: {mode: fast}\n"


def config_of(folder: Path, name: str, text: str, rows: int = 40, mean: float = 0.0) -> Path:
    X = RNG.normal(mean, 1.0, (rows, 3)).round(3)
    lines = (f"{a},{b},{c},{a + 2 * b:.3f}" for a, b, c in X)
    (folder / f"{name}.csv").write_text("a,b,c,y\n" + "\n".join(lines) + "\n")
    path = folder / f"{name}.yaml"
    path.write_text(f"data: {{train: {name}.csv, target: y, task: regression}}\n{SMALL}{text}")
    return path


def built(path: Path) -> tuple[Experiment, Any]:
    config = load(path, ())
    return Experiment.build(config), config


NET = "model: {hidden: [6], activation: gelu, norm: batch}\n"


@pytest.mark.parametrize("loss", ["mse", "huber", "quantile", "gaussian_nll", "log_cosh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_are_right_to_their_last_digits(tmp_path: Path, dtype: str, loss: str) -> None:
    text = "model: {hidden: [{units: 5, activation: gelu_tanh}, {units: 4, activation: mish}]}\n"
    made, _ = built(config_of(tmp_path, "t", f"{text}dtype: {dtype}\nloss: {{name: {loss}}}\n"))
    tally = prove_functions(Paper(made))
    assert tally.wrong is None
    assert tally.numbers > 4 * 4096


@pytest.mark.parametrize(("generic", "out"), [(bias_activation, 3), (activation_gradient, 0), (loss_and_gradient, 5)])
def test_a_wrong_sixth_digit_of_a_function_is_noticed(tmp_path: Path, generic: Any, out: int) -> None:
    made, _ = built(config_of(tmp_path, "t", f"{NET}dtype: float32\n"))
    network = made.model.network
    sound = network.backend.primitive(generic)

    def off(*arguments: Any, **more: Any) -> Any:
        value = sound(*arguments, **more)
        arguments[out][...] *= 1 + 4e-6
        return value

    network.backend = replace(network.backend, kernels={**network.backend.kernels, generic.__name__: off})
    assert prove_functions(Paper(made)).wrong is not None


@pytest.fixture
def warm(tmp_path: Path) -> Path:
    """A config that begins with the weights of a model of other rows, whose targets have another mean."""
    first = config_of(tmp_path, "first", f"{NET}train: {{epochs: 2, preflight: 'off'}}\n")
    for _ in Run.start(load(first, ()), b"", tmp_path / "run").execute():
        pass
    text = f"model: {{hidden: [6], activation: gelu, norm: batch, weights: {tmp_path / 'run'}}}\ntrain: {{epochs: 2}}\n"
    return config_of(tmp_path, "second", text, mean=3.0)


def test_a_warm_start_on_other_rows_is_not_accused(warm: Path) -> None:
    assert check_config(warm).report.passed


def test_a_warm_start_that_is_none_is_noticed(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WarmStart, "fill", lambda self, config, network: None)
    made, config = built(warm)
    wrong = prove_asked(made, config).wrong
    assert wrong is not None
    assert "at first, of" in wrong.where


def test_what_a_run_keeps_is_the_epoch_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{NET}optimizer: {{name: adam, ema: 0.9}}\n"
    made, _ = built(config_of(tmp_path, "t", text))
    before = made.model.network.parameters.theta.copy()
    assert prove_kept(made).wrong is None
    assert np.array_equal(made.model.network.parameters.theta, before)
    monkeypatch.setattr(Checkpoint, "copy", lambda self: self)
    assert prove_kept(made).wrong is not None
    monkeypatch.undo()
    monkeypatch.setattr(Saves, "epoch", lambda self, metrics, improved: self.set_aside(metrics, True))
    assert prove_kept(made).wrong is not None
    monkeypatch.undo()
    monkeypatch.setattr(Saves, "chosen", lambda self: "last")
    assert prove_kept(made).wrong is not None
    monkeypatch.undo()
    monkeypatch.setattr(Experiment, "restore", lambda self, checkpoint, path: None)
    assert prove_kept(made).wrong is not None


def test_without_a_best_epoch_only_the_last_one_is_kept(tmp_path: Path) -> None:
    made, _ = built(config_of(tmp_path, "t", f"{NET}checkpoint: {{best: false}}\n"))
    assert prove_kept(made).wrong is None


def test_an_ensemble_of_one_seed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, config = built(config_of(tmp_path, "t", f"{NET}ensemble: 3\n"))
    assert prove_asked(made, config).wrong is None
    monkeypatch.setattr("mlp_core.proof.asked.member_configs", lambda given, count: [given.replace(ensemble=1)] * 3)
    assert prove_asked(made, config).wrong is not None


def test_the_truth_of_the_validation_rows_is_looked_at(tmp_path: Path) -> None:
    made, config = built(config_of(tmp_path, "t", NET))
    val = made.splits["val"]
    made.splits["val"] = replace(val, y=val.y + 1)
    wrong = prove_asked(made, config).wrong
    assert wrong is not None
    assert wrong.where == "what metrics know of the rows of val"
    made.splits["val"] = replace(val, Y=val.Y * 2)
    assert (wrong := prove_asked(made, config).wrong) is not None
    assert wrong.where == "the targets of val"

"""Every key of the vocabulary has the effect that it promises, seen in a run of a tiny network."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping, load
from mlp_core.config.training import OPTIMIZERS, SCHEDULES
from mlp_core.errors import ConfigError
from mlp_core.nn.layers import Activate, Dense, Dropout, PRelu, Residual
from mlp_core.nn.norm import Norm
from mlp_core.runs.run import Run
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.events import Finished, StepDone
from mlp_core.training.unused import OF_SCHEDULES

CLASSES = """
data: {name: digits, limit: 100, split: {val: 0.2, test: 0}}
model: {hidden: [6]}
train: {epochs: 2, batch_size: 40, preflight: off, early_stopping: false}
checkpoint: {best: false}
kernels: numpy
threads: 1
dtype: float64
"""
VALUES = CLASSES.replace("digits", "diabetes")
SGD = ("optimizer.name=sgd", "optimizer.lr=0.1", "train.shuffle=false", "train.batch_size=full", "train.epochs=1")


@dataclass
class Trained:
    """A run that is over: its first and last parameters by name, and everything it told."""

    run: Run
    first: dict[str, np.ndarray]
    last: dict[str, np.ndarray]
    rows: list[dict[str, Any]]
    steps: list[StepDone]
    reason: str

    @property
    def config(self) -> Any:
        return self.run.experiment.config

    @property
    def network(self) -> Any:
        return self.run.experiment.model.network

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.rows]

    def moved(self, name: str) -> np.ndarray:
        """How far a tensor went."""
        return self.last[name] - self.first[name]

    def logits(self) -> np.ndarray:
        """Logits of the first training rows with the last weights."""
        network = self.network
        return network.forward(self.run.experiment.splits["train"].X[: network.rows]).copy()


class Lab:
    """Trains in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def train(self, *overrides: str, base: str = CLASSES) -> Trained:
        self.count += 1
        path = self.folder / f"{self.count}.yaml"
        path.write_text(base)
        run = Run.start(load(path, overrides), base.encode(), self.folder / f"run-{self.count}")
        parameters = run.experiment.model.network.parameters
        first = {name: value.copy() for name, value in parameters.values.items()}
        events = list(run.execute())
        last = {name: value.copy() for name, value in parameters.values.items()}
        text = (run.directory.path / "metrics.jsonl").read_text()
        reason = next(event.reason for event in events if isinstance(event, Finished))
        steps = [event for event in events if isinstance(event, StepDone)]
        return Trained(run, first, last, [json.loads(line) for line in text.splitlines()], steps, reason)

    def values(self, *overrides: str) -> Trained:
        return self.train(*overrides, base=VALUES)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def weights(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([value.ravel() for value in tensors.values() if value.ndim == 2])


# --- layers


def test_layers_have_settings_of_their_own(lab: Lab) -> None:
    second = "{units: 6, activation: tanh, dropout: 0.5, norm: layer, init: zeros, bias: false, residual: true}"
    done = lab.train(f"model.hidden=[6, {second}, {{units: 3, activation: prelu}}]")
    first, skip, third, slope, output = done.network.layers
    assert [type(one) for one in (first, skip, third, slope, output)] == [Dense, Residual, Dense, PRelu, Dense]
    assert [type(one) for one in skip.inner] == [Dense, Norm, Activate, Dropout]
    assert (first._f.name, skip.inner[2].f.name, skip.inner[3].p, third.units) == ("relu", "tanh", 0.5, 3)
    assert skip.inner[0].b is None
    assert not done.first[f"{skip.inner[0].index}.weight"].any()
    assert done.first["0.weight"].any()
    assert done.moved(f"{slope.index}.weight").any()


@pytest.mark.parametrize("position", ["pre_activation", "post_activation"])
@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
def test_norms_learn_and_stand_where_they_are_put(lab: Lab, norm: str, position: str) -> None:
    done = lab.train(f"model.norm={norm}", f"model.norm_position={position}")
    kinds = [type(layer) for layer in done.network.layers]
    assert kinds == ([Dense, Norm, Activate, Dense] if position == "pre_activation" else [Dense, Norm, Dense])
    index = next(layer.index for layer in done.network.layers if isinstance(layer, Norm))
    assert done.moved(f"{index}.weight").any()
    assert (f"{index}.bias" in done.last) == (norm != "rms")
    assert bool(done.network.statistics.values) == (norm == "batch")


def test_running_statistics_follow_by_their_momentum(lab: Lab) -> None:
    slow, fast = (
        lab.train(*SGD, "model.norm=batch", f"model.norm_momentum={share}", "optimizer.lr=1e-12") for share in (0.1, 1)
    )
    a, b = (done.network.statistics.values["1.running_mean"] for done in (slow, fast))
    np.testing.assert_allclose(a, 0.1 * b, rtol=1e-9)
    assert np.abs(b).max() > 0


def test_norm_eps_is_added_to_the_variance(lab: Lab) -> None:
    small, large = (lab.train(*SGD, "model.norm=layer", f"model.norm_eps={eps}") for eps in (1e-9, 1e6))
    sizes = []
    for done in (small, large):
        done.logits()
        sizes.append(float(np.abs(done.network.layers[1].H).max()))
    assert sizes[0] > 100 * sizes[1]


@pytest.mark.parametrize(("key", "layer"), [("dropout", 1), ("input_dropout", 0)])
def test_dropout_leaves_out_its_share_in_training_only(lab: Lab, key: str, layer: int) -> None:
    done = lab.train(f"model.{key}=0.25", "model.hidden=[40]", "train.batch_size=full", "train.epochs=1")
    mask = done.network.layers[layer].mask
    assert set(np.unique(mask)) == {0.0, 1 / 0.75}
    assert np.mean(mask == 0) == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(done.logits(), done.logits())


def test_a_residual_adds_the_input_where_widths_match(lab: Lab) -> None:
    done = lab.train("model.hidden=[6, 6, 5]", "model.residual=true")
    assert [type(layer) for layer in done.network.layers] == [Dense, Residual, Dense, Dense]


def test_layers_can_do_without_biases(lab: Lab) -> None:
    assert [name for name in lab.train("model.bias=false").last if "bias" in name] == ["2.bias"]


@pytest.mark.parametrize(
    ("choice", "holds"),
    [
        ("zeros", lambda W: not W.any()),
        ("orthogonal", lambda W: np.allclose(W @ W.T, np.eye(6) * (W @ W.T)[0, 0])),
        ("{name: normal, std: 0.5}", lambda W: 0.4 < W.std() < 0.6),
        ("{name: uniform, scale: 0.5}", lambda W: 0.45 < np.abs(W).max() <= 0.5),
        ("he_normal", lambda W: 0.8 < W.std() / math.sqrt(2 / 64) < 1.2),
        ("he_uniform", lambda W: np.abs(W).max() <= math.sqrt(6 / 64)),
        ("glorot_normal", lambda W: 0.8 < W.std() / math.sqrt(2 / 70) < 1.2),
        ("glorot_uniform", lambda W: np.abs(W).max() <= math.sqrt(6 / 70)),
        ("lecun_normal", lambda W: 0.8 < W.std() / math.sqrt(1 / 64) < 1.2),
        ("lecun_uniform", lambda W: np.abs(W).max() <= math.sqrt(3 / 64)),
    ],
)
def test_weights_start_as_they_are_told(lab: Lab, choice: str, holds: Any) -> None:
    done = lab.train(f"model.init={choice}", "model.output_init=zeros")
    assert holds(done.first["0.weight"])
    assert not done.first["2.weight"].any()


def test_output_biases_start_at_the_prior_or_at_zero(lab: Lab) -> None:
    prior, zeros = (lab.train(f"model.output_bias={choice}").first["2.bias"] for choice in ("prior", "zeros"))
    assert np.exp(prior).sum() == pytest.approx(1)
    assert not zeros.any()


# --- losses


def test_label_smoothing_raises_the_least_loss(lab: Lab) -> None:
    more = ("train.epochs=150", "optimizer.lr=0.02", "train.eval_every=150")
    plain, smooth = (lab.train(*more, f"loss.label_smoothing={s}") for s in (0, 0.3))
    q = np.array([0.7 + 0.03] + [0.03] * 9)
    least = -float((q * np.log(q)).sum())
    assert plain.column("train_loss")[-1] < 0.5 * least
    assert least < smooth.column("train_loss")[-1] < 1.2 * least


def test_class_weights_balance_or_favour_classes(lab: Lab) -> None:
    balanced = lab.train("loss.class_weight=balanced")
    train = balanced.run.experiment.splits["train"]
    np.testing.assert_allclose(np.bincount(train.Y, weights=train.w), len(train.Y) / 10)
    three = "loss.class_weight={" + ", ".join(f"'{k}': {int(k == 3)}" for k in range(10)) + "}"
    one = lab.train(three, "train.batch_size=2", "train.epochs=10")  # most batches have no weight at all
    assert (one.logits().argmax(axis=1) == 3).all()


def test_pos_weight_raises_what_is_predicted(lab: Lab) -> None:
    light, heavy = (
        lab.train("loss.name=bce", f"loss.pos_weight={w}", "train.epochs=20", "optimizer.lr=0.01") for w in (0.1, 10)
    )
    assert heavy.logits().mean() > light.logits().mean() + 0.5


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal", "quadratic"])
def test_losses_for_classes_go_down(lab: Lab, name: str) -> None:
    loss = lab.train(f"loss.name={name}", "train.epochs=15", "optimizer.lr=0.01").column("train_loss")
    assert loss[-1] < 0.7 * loss[0]


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "log_cosh", "quantile", "poisson", "gaussian_nll"])
def test_losses_for_values_go_down(lab: Lab, name: str) -> None:
    scale = "none" if name == "poisson" else "standard"
    done = lab.values(f"loss.name={name}", f"preprocess.target.scale={scale}", "train.epochs=30", "optimizer.lr=0.01")
    loss = done.column("train_loss")
    assert loss[-1] < loss[0] - 0.01 * abs(loss[0])
    assert done.network.architecture.outputs == (2 if name == "gaussian_nll" else 1)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("focal", "loss.gamma=5", "loss.gamma=0"), ("huber", "loss.delta=0.1", "loss.delta=2")],
)
def test_losses_have_their_settings(lab: Lab, name: str, low: str, high: str) -> None:
    train = lab.train if name == "focal" else lab.values
    losses = [train(f"loss.name={name}", setting).steps[0].loss for setting in (low, high)]
    assert losses[0] < 0.8 * losses[1]


def test_quantiles_are_predicted_in_their_order(lab: Lab) -> None:
    done = lab.values("loss.name=quantile", "loss.quantiles=[0.1, 0.5, 0.9]", "train.epochs=30", "optimizer.lr=0.01")
    low, middle, high = done.logits().mean(axis=0)
    assert low < middle - 0.3
    assert middle < high - 0.3


# --- regularization


@pytest.mark.parametrize("key", ["l2", "l1"])
def test_penalties_are_in_the_loss_and_shrink_weights(lab: Lab, key: str) -> None:
    plain, weak, all_ = (
        lab.train(*SGD, "train.epochs=5", *more)
        for more in ([], [f"regularization.{key}=0.05"], [f"regularization.{key}=0.05", "regularization.bias=true"])
    )
    W = weights(plain.first)
    penalty = 0.05 * (0.5 * W @ W if key == "l2" else np.abs(W).sum())
    assert weak.steps[0].loss - plain.steps[0].loss == pytest.approx(penalty, rel=1e-9)
    assert np.abs(weights(weak.last)).sum() < np.abs(weights(plain.last)).sum()
    assert all_.steps[0].loss > weak.steps[0].loss
    assert np.abs(all_.last["2.bias"]).sum() < np.abs(weak.last["2.bias"]).sum()


def test_max_norm_bounds_the_weights_into_each_unit(lab: Lab) -> None:
    free, bound = (lab.train("optimizer.lr=0.1", f"regularization.max_norm={c}") for c in ("null", 0.7))
    lengths = [np.linalg.norm(done.last[name], axis=1) for done in (free, bound) for name in ("0.weight", "2.weight")]
    assert max(lengths[0].max(), lengths[1].max()) > 0.8
    assert max(lengths[2].max(), lengths[3].max()) <= 0.7 * (1 + 1e-12)


@pytest.mark.parametrize("setting", ["input_noise=2.0", "mixup=1.0"])
def test_rows_are_changed_in_training_only(lab: Lab, setting: str) -> None:
    plain, changed = (lab.train(*SGD, "optimizer.lr=1e-12", *more) for more in ([], [f"regularization.{setting}"]))
    assert abs(changed.steps[0].loss - plain.steps[0].loss) > 1e-3
    assert changed.column("val_loss")[0] == pytest.approx(plain.column("val_loss")[0], rel=1e-9)


def test_weight_decay_shrinks_weights_only_and_apart_from_the_gradient(lab: Lab) -> None:
    plain, decayed = (lab.train(*SGD, f"optimizer.weight_decay={w}") for w in (0, 0.5))
    for name, before in plain.first.items():
        expected = -0.1 * 0.5 * before if before.ndim == 2 else 0 * before
        np.testing.assert_allclose(decayed.last[name] - plain.last[name], expected, atol=1e-15)


# --- optimizers


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(lab: Lab, name: str) -> None:
    rate = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adadelta": 5.0, "lion": 0.003, "lbfgs": 0.5}.get(
        name, 0.01
    )
    batch = "full" if name == "lbfgs" else "20"
    done = lab.train(f"optimizer.name={name}", f"optimizer.lr={rate}", f"train.batch_size={batch}", "train.epochs=10")
    loss = done.column("train_loss")
    assert loss[-1] < 0.9 * loss[0]


USUAL = {"momentum": 0.9, "betas": (0.9, 0.999), "eps": 1e-8, "rho": 0.9}
OWN = {
    "adagrad": {"eps": 1e-10, "lr": 1e-2},
    "adadelta": {"eps": 1e-6, "lr": 1.0},
    "rmsprop": {"rho": 0.99},
    "lion": {"betas": (0.9, 0.99), "lr": 1e-4},
    "muon": {"momentum": 0.95},
    "sgd": {"lr": 1e-2},
    "momentum": {"lr": 1e-2},
    "nesterov": {"lr": 1e-2},
    "lbfgs": {"lr": 1.0},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_left_open_are_the_usual_ones_of_the_optimizer(lab: Lab, name: str) -> None:
    done = lab.train(f"optimizer.name={name}", "train.epochs=1", "train.batch_size=auto")
    resolved = load(done.run.directory.path / "config.resolved.yaml").optimizer
    expected = {**USUAL, "lr": 1e-3, **OWN.get(name, {})}
    assert {key: getattr(resolved, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, "momentum=0.3") for name in ("momentum", "nesterov", "muon")),
        *((name, "betas=[0.5, 0.9]") for name in ("adam", "adamw", "nadam", "radam", "amsgrad", "lion", "muon")),
        *((name, "eps=0.1") for name in ("adam", "adagrad", "adadelta", "rmsprop", "nadam", "radam", "muon")),
        *((name, "rho=0.3") for name in ("adadelta", "rmsprop")),
    ],
)
def test_settings_of_optimizers_change_their_way(lab: Lab, name: str, setting: str) -> None:
    base = (f"optimizer.name={name}", "train.epochs=6", "optimizer.lr=0.01")
    a, b = lab.train(*base), lab.train(*base, f"optimizer.{setting}")
    assert np.abs(weights(a.last) - weights(b.last)).max() > 1e-6


def test_lbfgs_takes_all_rows_or_refuses(lab: Lab) -> None:
    done = lab.train("optimizer.name=lbfgs", "train.batch_size=auto", "model.dropout=0.1", "regularization.mixup=0.1")
    assert done.network.rows == done.config.train.batch_size == 80
    assert any("lbfgs: dropout and mixup" in note for note in done.run.experiment.notes)
    with pytest.raises(ConfigError, match=r"train\.batch_size: lbfgs needs the gradient of all rows .*write full"):
        lab.train("optimizer.name=lbfgs", "train.batch_size=40")


def test_groups_freeze_scale_and_decay(lab: Lab) -> None:
    plain = lab.train(*SGD)
    groups = "[{match: 0.weight, freeze: true}, {match: 2.*, lr_scale: 0.5}, {match: 0.bias, weight_decay: 0.5}]"
    done = lab.train(*SGD, f"optimizer.groups={groups}")
    np.testing.assert_array_equal(done.last["0.weight"], done.first["0.weight"])
    for name in ("2.weight", "2.bias"):
        np.testing.assert_allclose(done.moved(name), 0.5 * plain.moved(name), rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(done.moved("0.bias"), plain.moved("0.bias"), rtol=1e-12)  # biases start at 0
    again = lab.train(*SGD, "train.epochs=2", f"optimizer.groups={groups}")
    free = lab.train(*SGD, "train.epochs=2", f"optimizer.groups={groups.replace('weight_decay: 0.5', 'lr_scale: 1')}")
    difference = again.last["0.bias"] - free.last["0.bias"]
    np.testing.assert_allclose(difference, -0.1 * 0.5 * done.last["0.bias"], rtol=1e-9)


@pytest.mark.parametrize("kernels", ["numpy", "auto"])
def test_a_network_that_is_frozen_altogether_stays_as_it_is(kernels: str, lab: Lab) -> None:
    done = lab.train(f"kernels={kernels}", "optimizer.groups=[{match: '*', freeze: true}]")
    for name in done.first:
        np.testing.assert_array_equal(done.last[name], done.first[name])


def test_clipping_bounds_the_step(lab: Lab) -> None:
    free, norm, value = (
        lab.train(*SGD, *more) for more in ([], ["optimizer.clip_norm=0.01"], ["optimizer.clip_value=0.001"])
    )
    moved = [np.concatenate([done.moved(name).ravel() for name in done.first]) for done in (free, norm, value)]
    assert np.linalg.norm(moved[0]) > 0.1 * 0.01
    np.testing.assert_allclose(moved[1], moved[0] * 0.1 * 0.01 / np.linalg.norm(moved[0]), rtol=1e-9)
    np.testing.assert_allclose(moved[2], np.clip(moved[0], -1e-4, 1e-4), rtol=1e-9)


def test_accumulated_batches_are_one_large_batch(lab: Lab) -> None:
    whole = lab.train(*SGD)
    parts = lab.train(*SGD, "train.batch_size=30", "optimizer.accumulate=3", "regularization.l2=0")
    assert len(parts.steps) == len(whole.steps) == 1
    for name, tensor in whole.last.items():
        np.testing.assert_allclose(parts.last[name], tensor, rtol=1e-10, atol=1e-14)


def test_an_average_of_weights_is_what_is_evaluated_and_saved(lab: Lab) -> None:
    done = lab.train("optimizer.ema=0.9", "optimizer.lr=0.05", "train.epochs=4")
    plain = lab.train("optimizer.lr=0.05", "train.epochs=4")
    assert done.column("train_loss") == plain.column("train_loss")
    assert done.column("val_loss") != plain.column("val_loss")
    saved = load_checkpoint(done.run.directory.path / "checkpoints/last.safetensors").tensors
    trained = load_checkpoint(plain.run.directory.path / "checkpoints/last.safetensors").tensors
    np.testing.assert_array_equal(saved["optimizer.theta"][: saved["0.weight"].size], trained["0.weight"].ravel())
    assert np.abs(saved["0.weight"] - trained["0.weight"]).max() > 1e-4


# --- schedules


SHAPES = {
    "constant": lambda lr: lr == [1.0] * 6,
    "linear": lambda lr: np.allclose(np.diff(lr), np.diff(lr)[0]) and lr[-1] < 0.2,
    "polynomial": lambda lr: np.allclose(np.sqrt(lr), np.linspace(math.sqrt(lr[0]), math.sqrt(lr[-1]), 6)),
    "cosine": lambda lr: all(np.diff(lr) < 0) and lr[-1] < 0.05,
    "cosine_restarts": lambda lr: sum(np.diff(lr) > 0) == 1,
    "step": lambda lr: np.allclose(lr, [1, 1, 0.5, 0.5, 0.25, 0.25]),
    "multistep": lambda lr: np.allclose(lr, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
    "exponential": lambda lr: np.allclose(np.diff(np.log(lr)), 0.5 * math.log(0.5)),
    "inverse_sqrt": lambda lr: np.allclose(lr, [1 / math.sqrt(2 * k) for k in range(1, 7)]),
    "one_cycle": lambda lr: int(np.argmax(lr)) in (1, 2) and lr[-1] < 0.01,
    "plateau": lambda lr: lr[0] == 1.0 and lr[-1] < 1.0 and set(np.diff(np.log2(lr))) <= {0.0, -1.0},
    "wsd": lambda lr: lr[0] == lr[3] == 1.0 and lr[-1] < 1,
    "coslog": lambda lr: np.allclose(lr, [math.sin(math.pi * math.log2(1 + k / 4)) ** 2 for k in range(1, 12, 2)]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_the_schedule(lab: Lab, name: str) -> None:
    given = {"step_size": 2, "milestones": [1, 4], "gamma": 0.5, "power": 2, "cycles": 2, "patience": 0, "factor": 0.5}
    mine = ", ".join(f"{key}: {value}" for key, value in given.items() if name in OF_SCHEDULES[key])
    done = lab.train(
        *("optimizer.name=sgd", "optimizer.lr=1.0", "train.epochs=6", "checkpoint.monitor=val_loss"),
        f"schedule={{name: {name}{', ' * bool(mine)}{mine}}}",
        *(["optimizer.groups=[{match: '*', freeze: true}]"] if name == "plateau" else []),
    )
    assert SHAPES[name](done.column("lr")), done.column("lr")


def test_warm_up_and_the_end_of_a_schedule(lab: Lab) -> None:
    base = ("optimizer.lr=1.0", "optimizer.name=sgd", "train.epochs=5")
    share = [e.lr for e in lab.train(*base, "schedule={name: linear, warmup: 0.4, final: 0.5}").steps]
    np.testing.assert_allclose(share[:4], [0.25, 0.5, 0.75, 1.0])
    assert 0.5 <= share[-1] < 0.6
    epochs = [e.lr for e in lab.train(*base, "schedule={name: constant, warmup: 2}").steps]
    np.testing.assert_allclose(epochs, [0.25, 0.5, 0.75, *[1.0] * 7])
    stairs = [e.lr for e in lab.train(*base, "schedule={name: linear, per: epoch}").steps]
    np.testing.assert_allclose(stairs[::2], stairs[1::2])


# --- how long


STILL = "optimizer.groups=[{match: '*', freeze: true}]"


@pytest.mark.parametrize(
    ("stopping", "epochs"),
    [
        ("patience: 3", 4),
        ("patience: 2, min_epochs: 6", 6),
        ("patience: 2, patience_factor: 1.5", 5),
        ("patience: 2, monitor: val_accuracy, ties: last", 20),
        ("patience: 2, monitor: val_accuracy", 3),
    ],
)
def test_training_stops_early_where_nothing_improves(lab: Lab, stopping: str, epochs: int) -> None:
    done = lab.train("train.epochs=20", f"train.early_stopping={{{stopping}}}", STILL)
    assert (len(done.rows), done.reason) == (epochs, "early_stopping" if epochs < 20 else "epochs")


def test_small_changes_are_no_progress(lab: Lab) -> None:
    base = ("train.epochs=8", "optimizer.lr=0.003")
    going = lab.train(*base, "train.early_stopping={patience: 2, monitor: train_loss, min_delta: 0}")
    stopped = lab.train(*base, "train.early_stopping={patience: 2, monitor: train_loss, min_delta: 100}")
    assert (len(going.rows), len(stopped.rows)) == (8, 3)


def test_the_best_weights_are_there_in_the_end(lab: Lab) -> None:
    done = lab.train("train.epochs=12", "optimizer.lr=0.3", "checkpoint.best=true", "checkpoint.monitor=val_accuracy")
    accuracy = done.column("val_accuracy")
    summary = done.run.summary
    assert summary is not None
    assert summary.best_epoch == int(np.argmax(accuracy)) + 1
    assert summary.metrics["val"]["accuracy"] == max(accuracy)
    best = load_checkpoint(done.run.directory.path / "checkpoints/best.safetensors").tensors
    np.testing.assert_array_equal(done.last["0.weight"], best["0.weight"])
    worst = lab.train("train.epochs=12", "optimizer.lr=0.3", "checkpoint={best: true, mode: max, monitor: val_loss}")
    assert worst.run.summary.best_epoch == int(np.argmax(worst.column("val_loss"))) + 1


def test_steps_and_time_are_limited(lab: Lab) -> None:
    done = lab.train("train.max_steps=5", "train.epochs=100")
    assert (len(done.steps), done.reason) == (5, "max_steps")
    assert lab.train("train.max_time=1s", "train.epochs=10000000", "train.eval_every=1000").reason == "max_time"


def test_batches_are_as_large_and_as_many_as_asked_for(lab: Lab) -> None:
    assert len(lab.train("train.batch_size=30").steps) == 2 * 3
    assert len(lab.train("train.batch_size=30", "train.drop_last=true").steps) == 2 * 2
    assert len(lab.train("train.batch_size=full").steps) == 2
    assert len(lab.train("train.batch_size=auto").steps) == 2 * 3
    assert "val_loss" not in lab.train("train.eval_every=2").rows[0]


def test_rows_come_in_a_new_order_or_as_they_are(lab: Lab) -> None:
    base = ("optimizer.name=sgd", "optimizer.lr=1e-12", "train.batch_size=20")
    fixed, dealt = (lab.train(*base, f"train.shuffle={choice}") for choice in ("false", "true"))
    first, second = ([e.loss for e in done.steps[:4]] for done in (fixed, dealt))
    np.testing.assert_allclose([e.loss for e in fixed.steps[4:]], first, rtol=1e-9)
    assert not np.allclose([e.loss for e in dealt.steps[4:]], second, rtol=1e-4)


def test_a_config_of_all_defaults_has_no_setting_of_its_own() -> None:
    values = from_mapping({"data": {"name": "digits"}}).optimizer
    assert (values.lr, values.momentum, values.betas, values.eps, values.rho) == ("auto",) * 5

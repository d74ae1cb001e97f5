"""The range test: losses as a loop by hand gives them, a suggestion where the loss falls, a line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.errors import ConfigError, Failed
from mlp_core.search.lr_range import MEMORY, lr_range, plot, suggest
from mlp_core.training.experiment import Experiment


@pytest.fixture
def config(tmp_path: Path) -> object:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).round(3)
    rows = [",".join(map(str, [*x, round(float(x @ [1, -2, 3] + 0.5), 4)])) for x in X]
    (tmp_path / "t.csv").write_text("a,b,c,y\n" + "\n".join(rows) + "\n")
    return from_mapping(
        {
            "data": {"train": str(tmp_path / "t.csv"), "target": "y", "task": "regression"},
            "model": {"hidden": [4], "activation": "tanh"},
            "optimizer": {"name": "sgd"},
            "train": {"batch_size": "full"},
            "dtype": "float64",
            "kernels": "numpy",
        }
    )


def by_hand(config: object, steps: int, low: float, high: float) -> list[float]:
    """Losses of full-batch gradient descent with a growing rate, in plain numpy."""
    experiment = Experiment.build(config)  # the rows as the network gets them, and its first weights
    train, values = experiment.splits["train"], experiment.model.network.parameters.values
    X, Y = np.array(train.X[:]), np.array(train.Y)
    W1, b1, W2, b2 = (np.array(values[name]) for name in ("0.weight", "0.bias", "2.weight", "2.bias"))
    losses = []
    for i in range(steps):
        A = np.tanh(X @ W1.T + b1)
        E = A @ W2.T + b2 - Y
        losses.append(float((E**2).mean()))
        D = 2 * E / E.size
        H = (D @ W2) * (1 - A**2)
        rate = low * (high / low) ** (i / (steps - 1))
        W2, b2, W1, b1 = W2 - rate * D.T @ A, b2 - rate * D.sum(0), W1 - rate * H.T @ X, b1 - rate * H.sum(0)
    return losses


def test_losses_are_those_of_a_loop_by_hand(config: object) -> None:
    curve = lr_range(config, steps=60, low=1e-4, high=0.3)
    wanted = by_hand(config, 60, 1e-4, 0.3)
    scale = curve.losses[0] / wanted[0]
    assert scale == pytest.approx(1) or scale == pytest.approx(0.5)  # which mean squared error it is
    assert curve.losses == pytest.approx([scale * loss for loss in wanted][: len(curve.losses)], rel=1e-9)
    assert curve.rates == pytest.approx(np.geomspace(1e-4, 0.3, 60)[: len(curve.rates)])
    mean = 0.0
    for i, loss in enumerate(curve.losses):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        assert curve.smoothed[i] == pytest.approx(mean / (1 - MEMORY ** (i + 1)))


def test_the_suggestion_lies_where_the_loss_falls(config: object) -> None:
    curve = lr_range(config, steps=150)
    assert curve.diverged
    assert curve.lr <= curve.lowest / 10 * 1.06
    assert curve.lr <= curve.steepest * 1.06
    at = int(np.searchsorted(curve.rates, curve.lr))
    assert curve.smoothed[at] < curve.smoothed[20]
    lines = plot(curve)
    assert max(map(len, lines)) <= 80
    assert sum("*" in line for line in lines) > 5


def test_a_made_curve_gives_its_number() -> None:
    """A plateau, a fall along a straight line, growth: it falls fastest where the line is steep."""
    rates = np.geomspace(1e-6, 1, 121).tolist()
    logs = np.log10(rates)
    values = np.interp(logs, [-6, -4, -3, -2, -1, 0], [2, 2, 1.8, 1.0, 0.9, 3]).tolist()
    curve = suggest(rates, values, values, True)
    assert -3.05 <= np.log10(curve.steepest) <= -1.95
    assert curve.lowest == pytest.approx(0.1)
    assert curve.lr == pytest.approx(min(curve.steepest, 0.01), rel=0.05)


def test_what_never_falls_is_told() -> None:
    rates = np.geomspace(1e-6, 1, 40).tolist()
    rising = np.linspace(1, 5, 40).tolist()
    with pytest.raises(Failed, match="never fell"):
        suggest(rates, rising, rising, True)
    with pytest.raises(Failed, match="never fell"):
        suggest([], [], [], True)


def test_lbfgs_has_no_rate(config: object) -> None:
    with pytest.raises(ConfigError, match="lbfgs"):
        lr_range(config.replace(**{"optimizer.name": "lbfgs"}))

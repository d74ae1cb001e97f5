"""What a result is worth: the same rows predicted without a network, and by one without hidden layers.

Both cost next to nothing beside the training. A network that is no better than they are, by more than chance, has
learned nothing that was worth its size: that is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.metrics import compute
from mlp_core.metrics.intervals import t_quantile
from mlp_core.metrics.outcome import Outcome
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.network import Architecture, Network
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import Adam
from mlp_core.training.evaluator import Evaluation, Evaluator, Split
from mlp_core.training.model import Model

ROWS = 4_000
"""Rows at most that a network without hidden layers is fitted to, and that are compared."""
STEPS, RATE, L2 = 200, 0.1, 1e-4
METRIC = {"binary": "accuracy", "multiclass": "accuracy", "multilabel": "hamming", "regression": "rmse"}
SIMPLE = {"binary": "most frequent class", "multiclass": "most frequent class", "multilabel": "most frequent labels"}


@dataclass(frozen=True)
class Baseline:
    """One of them: its `value` of the metric beside that of the network, and by how much less the network is wrong on
    average, with the half width of that difference's interval of 95 % over the rows (paired)."""

    name: str
    value: float
    network: float
    gain: float
    half: float

    @property
    def beaten(self) -> bool:
        """Whether the network is better by more than chance."""
        return self.gain > self.half

    @property
    def better(self) -> bool:
        """Whether it is better than the network by more than chance."""
        return self.gain < -self.half


@dataclass(frozen=True)
class Baselines:
    """Both, on `rows` rows of a split that has `of`."""

    split: str
    metric: str
    rows: int
    of: int
    all: tuple[Baseline, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on."""
        told = {one.name: {"value": one.value, "network": one.network, "beaten": one.beaten} for one in self.all}
        return {"split": self.split, "metric": self.metric, "rows": self.rows, "of": self.of, **told}


def baselines(model: Model, splits: Mapping[str, Split], measured: Mapping[str, Evaluation]) -> Baselines | None:
    """Both beside the network, on the test rows or else the validation rows; None where there are neither."""
    name = next((name for name in ("test", "val") if name in splits), None)
    if name is None:
        return None
    kind, metric = model.task.kind, METRIC[model.task.kind]
    outcome = measured[name].outcome
    if measured[name].rows is not None:
        return None  # some rows of many on the disk were measured
    at = _some(len(outcome.y))
    ours = Outcome(outcome.P[at], outcome.y[at], None if outcome.w is None else outcome.w[at], outcome.threshold)
    simple = _constant(kind, splits["train"], ours.P.shape[1])
    guesses = {SIMPLE.get(kind, "mean"): np.broadcast_to(simple, ours.P.shape)}
    guesses["no hidden layers"] = _linear(model, splits["train"], splits[name], at)
    value = compute(kind, [metric], ours)[metric]
    found = []
    for title, P in guesses.items():
        other = Outcome(P, ours.y, ours.w)
        gain, half = _difference(_wrong(kind, other), _wrong(kind, ours), ours.weight)
        found.append(Baseline(title, compute(kind, [metric], other)[metric], value, gain, half))
    return Baselines(name, metric, len(at), len(outcome.y), tuple(found))


def _some(rows: int) -> Any:
    """Row numbers spread over all rows."""
    return np.unique(np.linspace(0, rows - 1, min(rows, ROWS)).astype(np.int64))


def _constant(kind: str, train: Split, width: int) -> Any:
    """What is said of every row: the share of each class or label, or the mean of each target, [width]."""
    w = np.ones(len(train.y)) if train.weight is None else np.asarray(train.weight, np.float64)
    if train.y.ndim == 1:
        return np.bincount(train.y, w, width) / w.sum()
    return (w @ train.y / w.sum())[:width]


def _linear(model: Model, train: Split, split: Split, at: Any) -> Any:
    """The predictions [rows, outputs] of a network without hidden layers, fitted by full batches of some rows."""
    backend, shape = numpy_backend(), model.network.architecture
    embeddings = tuple((words, min(dim, 4)) for words, dim in shape.embeddings)
    architecture = Architecture(shape.inputs, shape.outputs, (), output_init="zeros", embeddings=embeddings)
    rows = _some(len(train.y))
    network = Network(architecture, backend, np.float64, max(len(rows), len(at)), True)
    network.initialize(model.config.seed)
    objective = Objective(network, model.objective.loss, Penalty(L2))
    there, parameters = model.network.backend, network.parameters
    X, Y, w = train.on_host(there, rows)
    X, w = np.asarray(X, np.float64), None if w is None else w.astype(np.float64)
    Y = Y if Y.dtype.kind in "iu" else Y.astype(np.float64)
    optimizer = Adam(
        parameters, backend, [Segment(slice(0, parameters.size), 1.0, 0.0)], beta1=0.9, beta2=0.99, eps=1e-8
    )
    best, least = parameters.theta.copy(), math.inf
    for step in range(STEPS):
        value = float(objective.value_and_gradient(X, Y, w)[0])
        if value < least:
            best, least = parameters.theta.copy(), value
        optimizer.step(parameters.theta, parameters.grad, RATE * (1 - step / STEPS))
    parameters.theta[...] = best
    Z = network.forward(np.asarray(split.on_host(there, at)[0], np.float64))
    return Evaluator(objective, model.task.kind, model.target).predict(Z)


def _wrong(kind: str, outcome: Outcome) -> Any:
    """How wrong every row is: 1 for a wrong class, the share of wrong labels, the squared distance."""
    if kind == "regression":
        return ((outcome.P[:, : outcome.y.shape[1]] - outcome.y) ** 2).mean(axis=1)
    if kind == "multilabel":
        return (outcome.guess != (outcome.y > 0.5)).mean(axis=1)
    return (outcome.guess != outcome.y).astype(np.float64)


def _difference(one: Any, other: Any, w: Any) -> tuple[float, float]:
    """The mean of paired differences, and the half width of its interval."""
    used = w > 0
    d, w = (one - other)[used], w[used] / w[used].sum()
    mean, n = float(w @ d), len(d)
    if n < 2:
        return mean, math.inf
    deviation = math.sqrt(float(w @ (d - mean) ** 2) * n / (n - 1))
    return mean, t_quantile(0.975, n - 1) * deviation * math.sqrt(float(w @ w))

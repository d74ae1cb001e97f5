"""Small objectives with rows to evaluate them on: what the matrix and the self-test examine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Focal, Huber, Quadratic, Quantile
from mlp_core.nn.network import Architecture, Network
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.rng import generator

TARGETS = 2
CLASSES = 4


@dataclass(frozen=True)
class Specimen:
    """An objective and the batch it is checked on."""

    objective: Objective
    X: np.ndarray
    Y: np.ndarray
    w: np.ndarray | None
    mode: Pass


@dataclass(frozen=True)
class LossCase:
    """A loss with settings and a kind of targets; `soft`: the other kind that it takes. `outputs` counts its logits."""

    name: str
    loss: Loss
    outputs: int = CLASSES
    soft: bool = False

    def targets(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Random targets of this kind."""
        if self.loss.per_output and not self.soft:
            return rng.integers(0, 2, (rows, self.outputs)).astype(np.float64)
        if self.loss.per_output:
            return rng.integers(0, self.outputs, rows)
        if self.soft:
            return rng.dirichlet(np.ones(self.outputs), rows)
        if self.loss.classifies:
            return rng.integers(0, max(2, self.outputs), rows)
        if self.loss.counts:
            return rng.poisson(2.0, (rows, self.outputs)).astype(np.float64)
        return rng.standard_normal((rows, self.outputs * TARGETS // self.loss.outputs(TARGETS)))


def loss_cases() -> list[LossCase]:
    """Every loss of the table, and every setting that has a formula of its own."""
    special = [
        LossCase("cross_entropy, soft targets", CrossEntropy(), soft=True),
        LossCase("cross_entropy, smoothing", CrossEntropy(label_smoothing=0.2)),
        LossCase("cross_entropy, soft targets, smoothing", CrossEntropy(label_smoothing=0.2), soft=True),
        LossCase("bce, pos_weight", Bce(pos_weight=2.5)),
        LossCase("bce, class indices", Bce(), soft=True),
        LossCase("quadratic, class indices", Quadratic(), soft=True),
        LossCase("focal, gamma 0.5", Focal(gamma=0.5)),
        LossCase("focal, gamma 0", Focal(gamma=0.0)),
        LossCase("huber, delta 0.5", Huber(delta=0.5)),
        LossCase("quantile, two", Quantile(quantiles=(0.1, 0.8))),
        LossCase("bce, one output", Bce(pos_weight=2.5), outputs=1),
        LossCase("focal, one output", Focal(), outputs=1),
    ]
    return [LossCase(name, kind()) for name, kind in LOSSES.items()] + special


def specimen(
    architecture: Architecture,
    case: LossCase,
    rows: int,
    *,
    weighted: bool = False,
    penalty: Penalty | None = None,
    mode: Pass | None = None,
    seed: int = 0,
    spread: float = 0.2,
    dtype: type = np.float64,
) -> Specimen:
    """A specimen whose biases, gains and running statistics stand off their initial values by about `spread`."""
    rng = generator(seed, "gradcheck", 5)
    network = Network(architecture, numpy_backend(), dtype, rows)
    network.initialize(seed)
    for vector, less in ((network.parameters.theta, 0.1), (network.statistics.theta, 0.0)):
        vector += (spread * rng.random(vector.shape)).astype(dtype) - less
    X: np.ndarray = rng.standard_normal((rows, architecture.inputs)).astype(dtype)
    Y = case.targets(rows, rng)
    w = rng.random(rows) + 0.2 if weighted else None
    mode = mode or Pass(training=True, seed=seed, step=3)
    return Specimen(Objective(network, case.loss, penalty or Penalty()), X, Y, w, mode)

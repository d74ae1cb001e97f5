"""Small networks with data, for the tests of the engine: fixed ones and random ones over the whole vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlp_core.nn.activations import ACTIVATIONS, Activation, Elu, LeakyRelu
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES, Bce, CrossEntropy, Focal, Huber, Quantile
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Objective, Penalty

CLASSES, TARGETS = 4, 2


@dataclass
class Case:
    """An objective with rows to evaluate it on."""

    objective: Objective
    X: np.ndarray
    Y: np.ndarray
    w: np.ndarray | None
    mode: Pass

    @property
    def network(self) -> Network:
        return self.objective.network


def targets(loss: Loss, rows: int, rng: np.random.Generator, *, soft: bool = False, one: bool = False) -> np.ndarray:
    """Targets of a kind that the loss can take; `one`: a single output."""
    if loss.per_output:
        return rng.integers(0, 2, (rows, 1 if one else CLASSES)).astype(np.float64)
    if isinstance(loss, CrossEntropy) and soft:
        return rng.dirichlet(np.ones(CLASSES), rows)
    if loss.classifies:
        return rng.integers(0, 2 if one else CLASSES, rows)
    if loss.name == "poisson":
        return rng.poisson(2.0, (rows, TARGETS)).astype(np.float64)
    return rng.standard_normal((rows, TARGETS))


def outputs(loss: Loss, *, one: bool = False) -> int:
    """Logits of a network for these targets."""
    if loss.classifies:
        return 1 if one and not isinstance(loss, CrossEntropy) else CLASSES
    return loss.outputs(TARGETS)


def make_objective(
    architecture: Architecture,
    loss: Loss,
    rows: int,
    *,
    penalty: Penalty | None = None,
    dtype: type = np.float64,
    seed: int = 0,
    spread: float = 0.1,
) -> Objective:
    """An objective whose parameters (biases and gains too) are moved off their initial values by `spread`."""
    network = Network(architecture, numpy_backend(), dtype, rows)
    network.initialize(seed)
    rng = np.random.default_rng(seed)
    network.parameters.theta += (spread * rng.standard_normal(network.parameters.size)).astype(dtype)
    return Objective(network, loss, penalty or Penalty())


def random_loss(rng: np.random.Generator) -> Loss:
    """Any loss with any settings."""
    name = str(rng.choice(list(LOSSES)))
    special: dict[str, Loss] = {
        "cross_entropy": CrossEntropy(label_smoothing=float(rng.choice([0.0, 0.1]))),
        "bce": Bce(pos_weight=float(rng.choice([1.0, 2.5]))),
        "focal": Focal(gamma=float(rng.choice([0.0, 1.0, 2.0, 0.5]))),
        "huber": Huber(delta=float(rng.choice([0.5, 1.0]))),
        "quantile": Quantile(quantiles=(0.1, 0.5, 0.9)[: int(rng.integers(1, 4))]),
    }
    return special.get(name) or LOSSES[name]()


def random_activation(rng: np.random.Generator) -> Activation | None:
    """Any activation, prelu (None) among them."""
    name = str(rng.choice([*ACTIVATIONS, "prelu"]))
    special = {"leaky_relu": LeakyRelu(float(rng.choice([0.01, 0.3]))), "elu": Elu(float(rng.choice([1.0, 0.7])))}
    return None if name == "prelu" else special.get(name) or ACTIVATIONS[name]()


def random_case(seed: int) -> Case:
    """A random model over the whole vocabulary, with random rows."""
    rng = np.random.default_rng(seed)
    rows, inputs = int(rng.integers(2, 9)), int(rng.integers(1, 7))
    blocks, width = [], inputs
    for _ in range(int(rng.integers(0, 4))):
        width = width if rng.random() < 0.3 else int(rng.integers(1, 8))
        blocks.append(
            Block(
                units=width,
                activation=random_activation(rng),
                bias=bool(rng.random() < 0.8),
                norm=str(rng.choice(["none", "batch", "layer", "rms"])),
                norm_first=bool(rng.random() < 0.5),
                norm_eps=float(rng.choice([1e-5, 1e-3])),
                norm_momentum=float(rng.choice([0.1, 0.4])),
                dropout=float(rng.choice([0.0, 0.4])),
                residual=bool(rng.random() < 0.5),
                parametric=bool(rng.random() < 0.5),
            )
        )
    loss = random_loss(rng)
    one = bool(rng.random() < 0.3)
    waves = Periodic(int(rng.integers(1, inputs + 1)), int(rng.integers(1, 5)), int(rng.integers(2, 5)))
    architecture = Architecture(
        inputs,
        outputs(loss, one=one),
        tuple(blocks),
        input_dropout=float(rng.choice([0.0, 0.2])),
        periodic=waves if rng.random() < 0.5 else None,
        input_scale=bool(rng.random() < 0.5),
        ntk=bool(rng.random() < 0.5),
    )
    penalty = Penalty(*(float(rng.choice([0.0, 0.01])) for _ in range(2)), bias=bool(rng.random() < 0.5))
    objective = make_objective(architecture, loss, rows, penalty=penalty, seed=seed)
    Y = targets(loss, rows, rng, soft=bool(rng.random() < 0.5), one=one)
    w = rng.random(rows) + 0.1 if rng.random() < 0.5 else None
    mode = Pass(training=bool(rng.random() < 0.7), seed=seed, step=int(rng.integers(0, 100)))
    return Case(objective, rng.standard_normal((rows, inputs)), Y, w, mode)

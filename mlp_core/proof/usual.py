"""What a config leaves open, decided once more: what `auto` stands for, and what the recipe strong says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mlp_core.config import Config
from mlp_core.proof.compare import Tally
from mlp_core.training.experiment import Experiment

RATES = {"sgd": 1e-2, "momentum": 1e-2, "nesterov": 1e-2, "adagrad": 1e-2, "adadelta": 1.0, "lion": 1e-4, "lbfgs": 1.0}
MOMENTUM, BETAS, RHO = {"muon": 0.95}, {"lion": (0.9, 0.99)}, {"rmsprop": 0.99}
EPS = {"adagrad": 1e-10, "adadelta": 1e-6}
"""By optimizer: what its paper has, or PyTorch; for all others a rate of 1e-3, momentum 0.9, betas 0.9 and 0.999, rho
0.9, eps 1e-8."""
LOSSES = {"binary": "bce", "multiclass": "cross_entropy", "multilabel": "bce", "regression": "mse"}
BATCHES = (10_000, 32), (1_000_000, 256), (math.inf, 1024)
"""Training rows below which so many rows make a batch."""
EPOCHS = (4_096, 256), (20_000, 192), (50_000, 96), (100_000, 64), (1_000_000, 24), (math.inf, 8)
"""The same for the epochs of the recipe."""
NORMAL = {"name": "normal", "std": 1.0, "scale": None}


def prove_usual(tally: Tally, experiment: Experiment, given: Config) -> None:
    """Every value that was decided, or said by the recipe, is the one that is documented; what was written stands.

    given: the config as it was written.
    """
    config = experiment.config
    decided, written = config.model_dump(mode="json"), given.model_dump(mode="json")
    strong = dict(_strong(experiment, given)) if config.recipe == "strong" and given.recipe != "plain" else {}
    for key, usual in {**dict(_auto(experiment)), **strong}.items():
        here, there = _at(decided, key), _at(written, key)
        mine = key in strong and not given.given(key)
        if not mine and there != "auto":
            usual = there
        right = here == usual or (mine and here == there)  # what the recipe has no use for stays as it was
        tally.right(f"{key}, which was left open,", right, here, usual)


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part] if isinstance(values, dict) and part in values else None
    return values


def _auto(experiment: Experiment) -> Iterator[tuple[str, Any]]:
    """The usual values, by the optimizer, the task and the number of training rows."""
    config, rows = experiment.config, len(experiment.splits["train"].X)
    name = config.optimizer.name
    yield "optimizer.lr", RATES.get(name, 1e-3)
    yield "optimizer.momentum", MOMENTUM.get(name, 0.9)
    yield "optimizer.betas", list(BETAS.get(name, (0.9, 0.999)))
    yield "optimizer.eps", EPS.get(name, 1e-8)
    yield "optimizer.rho", RHO.get(name, 0.9)
    yield "schedule.cycles", 4 if config.schedule.name == "coslog" else 1
    yield "loss.name", LOSSES[experiment.model.task.kind]
    if name == "lbfgs":
        yield "train.batch_size", rows
    else:
        yield "train.batch_size", min(rows, next(size for most, size in BATCHES if rows < most))


def _strong(experiment: Experiment, given: Config) -> Iterator[tuple[str, Any]]:
    """The values of the recipe, by the task, the number of training rows, and what was written."""
    config, kind, rows = experiment.config, experiment.model.task.kind, len(experiment.splits["train"].X)
    numbers, adam = kind == "regression", config.optimizer.name in ("adam", "adamw")
    batch = 256 if rows < 100_000 else 1024
    if rows < 2_048 and not experiment.model.task.classifies:  # of classes 256 or all
        batch = max(16, 2 ** math.floor(math.log2(max(1, rows // 8))))
    yield "preprocess.numeric.scale", "robust_smooth"
    yield "preprocess.categorical.encode", "compact"
    yield from (("preprocess.categorical.embed_above", 8), ("preprocess.categorical.embedding_dim", 8))
    exact = numbers and rows < 512  # without dropout, and not cut off
    yield "preprocess.target.clamp", numbers and not exact
    yield from (("model.hidden", [256] * 3), ("model.activation", "mish" if numbers else "selu"))
    yield from (("model.parametric", True), ("model.bias_init", "data"))
    yield from (("model.numeric_embedding", "periodic"), ("model.input_scale", True), ("model.parametrization", "ntk"))
    if adam and not given.given("model.init"):
        yield from (("model.init", NORMAL), ("model.output_init", NORMAL), ("model.init_rescale", True))
    yield from (("model.dropout", 0.0 if exact else 0.15), ("schedule.dropout", "constant" if exact else "flat_cos"))
    yield from (("schedule.weight_decay", "flat_cos"), ("schedule.name", "coslog"))
    yield from (("optimizer.weight_decay", 0.02), ("optimizer.betas", [0.9, 0.95])) if adam else ()
    for name, factor in {"alpha": 0.1, "bias": 0.1, "numeric_embedding": 0.1, "input_scale": 6.0}.items():
        yield f"optimizer.lr_factors.{name}", factor
    if adam:
        steep = config.loss.name in ("poisson", "gaussian_nll")
        yield (
            "optimizer.lr",
            (0.2 if numbers and not steep else 0.04) if config.model.parametrization == "ntk" else 1e-3,
        )
    if config.loss.name == "cross_entropy":
        yield "loss.label_smoothing", 0.1
    if kind == "binary" and config.loss.name == "cross_entropy":
        yield "loss.name", "cross_entropy"  # of two outputs: its targets can be smoothed
    yield "train.epochs", next(epochs for most, epochs in EPOCHS if rows < most)
    if config.optimizer.name != "lbfgs":
        yield "train.batch_size", min(batch, rows)

"""Random experiments of every kind that a config can ask for, small enough to be proved in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import from_mapping
from mlp_core.config.model import ACTIVATIONS, NORMS
from mlp_core.config.training import OPTIMIZERS, SCHEDULES
from mlp_core.errors import MlpbpError
from mlp_core.training.experiment import Experiment
from mlp_core.training.unused import OF_OPTIMIZERS, OF_SCHEDULES

LOSSES = {
    "binary": ("auto", "bce", "cross_entropy", "quadratic", "focal"),
    "multiclass": ("auto", "bce", "cross_entropy", "quadratic", "focal"),
    "multilabel": ("auto", "quadratic"),
    "regression": ("auto", "mae", "huber", "log_cosh", "quantile", "gaussian_nll", "poisson"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "final": {"values": [0.0, 0.1]},
    "step_size": {"values": [1, 2]},
    "milestones": {"values": [[1], [1, 3]]},
    "gamma": {"values": [0.3, 0.7]},
    "power": {"values": [1.0, 2.0]},
    "cycles": {"values": [1, 3]},
    "patience": {"values": [0, 2]},
    "factor": {"values": [0.5, 0.2]},
}


def table(folder: Path, rng: np.random.Generator, kind: str) -> Path:
    """A table for a task of this kind: numbers, words, targets, weights."""
    rows = int(rng.integers(24, 160))
    X = rng.standard_normal((rows, int(rng.integers(1, 5)))).round(3)
    words = rng.choice(list("pqrst"), rows)
    signal = X[:, 0] + 0.3 * rng.standard_normal(rows)
    names = [f"x{i}" for i in range(X.shape[1])]
    if kind == "binary":
        share = rng.choice([0.5, 0.1])
        targets = [["yes" if value else "no" for value in signal > np.quantile(signal, 1 - share)]]
    elif kind == "multiclass":
        targets = [[f"c{k}" for k in np.digitize(signal, [-0.7, 0.0, 0.8])]]
    elif kind == "multilabel":
        targets = [[int(v) for v in signal > t] for t in (-0.5, 0.1, 0.6)]
    else:
        targets = [[f"{v:.3f}" for v in np.exp(0.5 * signal + t)] for t in (0, 1)[: int(rng.integers(1, 3))]]
    labels = [f"y{i}" for i in range(len(targets))]
    lines = [",".join([*names, "word", "weight", *labels])]
    for i in range(rows):
        cells = [*(f"{v}" for v in X[i]), f"{words[i]}w", f"{rng.integers(0, 4)}", *(str(t[i]) for t in targets)]
        lines.append(",".join(cells))
    path = folder / f"{kind}-{rng.integers(10**9)}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def mapping(folder: Path, seed: int) -> dict[str, Any]:
    """A random config, by its seed."""
    rng = np.random.default_rng(seed)

    def pick(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    def some(share: float, value: Any, other: Any) -> Any:
        return value if rng.random() < share else other

    kind = pick(*LOSSES)
    path = table(folder, rng, kind)
    names = path.read_text().splitlines()[0].split(",")
    targets = [name for name in names if name.startswith("y")]
    data: dict[str, Any] = {"train": str(path), "target": targets if len(targets) > 1 else targets[0]}
    data["task"] = kind
    data["split"] = {"val": some(0.6, 0.2, 0.0), "test": 0.0}
    data |= some(0.3, {"weight": "weight"}, {"drop": ["weight"]})
    optimizer: dict[str, Any] = {"name": pick(*OPTIMIZERS)}
    for key, value in {"momentum": 0.7, "betas": [0.8, 0.9], "eps": 1e-6, "rho": 0.8}.items():
        if optimizer["name"] in OF_OPTIMIZERS[key]:
            optimizer |= some(0.3, {key: value}, {})
    optimizer |= some(0.3, {"weight_decay": 0.05}, {}) | some(0.2, {"clip_norm": 0.3}, {})
    optimizer |= some(0.2, {"clip_value": 0.02}, {}) | some(0.25, {"ema": 0.9}, {})
    optimizer |= some(0.25, {"accumulate": int(rng.integers(2, 4))}, {}) | some(0.3, {"lr": 0.01}, {})
    if rng.random() < 0.15:
        groups = [{"match": "0.*", "freeze": True}, {"match": "*.bias", "lr_scale": 0.1, "weight_decay": 0.2}]
        optimizer["groups"] = [groups[int(rng.integers(2))]]
    schedule = {"name": pick(*SCHEDULES), "warmup": some(0.4, 0.2, 0.0), "per": some(0.2, "epoch", "step")}
    for key, choice in SETTINGS.items():
        if schedule["name"] in OF_SCHEDULES[key]:
            schedule[key] = pick(*choice["values"])
    activation = pick(*ACTIVATIONS)
    hidden = [int(n) for n in rng.integers(1, 20, int(rng.integers(0, 4)))]
    model: dict[str, Any] = {"hidden": hidden, "activation": activation, "norm": pick(*NORMS, "none", "none")}
    if not hidden:
        model["norm"] = "none"
    if model["norm"] != "none":
        model |= some(0.4, {"norm_position": "post_activation", "norm_eps": 1e-3}, {})
    if model["norm"] == "batch":
        model |= some(0.4, {"norm_momentum": 0.3}, {})
    model |= some(0.3, {"dropout": 0.3}, {}) | some(0.2, {"input_dropout": 0.2}, {}) | some(0.2, {"bias": False}, {})
    if hidden and rng.random() < 0.25:
        model |= {"hidden": [hidden[0]] * 2, "residual": True}
    strong = dict[str, Any]()
    for key, value in {"parametrization": "ntk", "input_scale": True, "init_rescale": True}.items():
        strong |= some(0.3, {key: value}, {})
    if rng.random() < 0.3:
        strong["numeric_embedding"] = {"name": "periodic", "frequencies": 3, "size": int(rng.integers(2, 5))}
        optimizer["lr_factors"] = some(0.5, {"numeric_embedding": 0.3}, {})
    if hidden and activation not in ("prelu", "identity"):
        strong |= some(0.3, {"parametric": True}, {})
    if hidden and model.get("bias", True):
        strong |= some(0.3, {"bias_init": pick("normal", "data")}, {})
        optimizer.setdefault("lr_factors", {}).update(some(0.3, {"bias": 0.2}, {}))
    model |= strong
    if "dropout" in model or "input_dropout" in model:
        schedule |= some(0.4, {"dropout": "flat_cos"}, {})
    if "weight_decay" in optimizer:
        schedule |= some(0.4, {"weight_decay": "flat_cos"}, {})
    loss: dict[str, Any] = {"name": pick(*LOSSES[kind])}
    if loss["name"] == "cross_entropy":
        loss |= some(0.4, {"label_smoothing": 0.1}, {})
    if loss["name"] == "bce":
        loss |= some(0.4, {"pos_weight": 2.5}, {})
    if loss["name"] == "focal":
        loss |= pick({}, {"gamma": 0.5}, {"gamma": 0.0})
    if loss["name"] == "huber":
        loss |= some(0.5, {"delta": 0.4}, {})
    if loss["name"] == "quantile":
        loss |= some(0.5, {"quantiles": [0.1, 0.5, 0.8]}, {})
    if kind in ("binary", "multiclass"):
        loss |= some(0.3, {"class_weight": "balanced"}, {})
    penalties = some(0.25, {"l2": 0.01}, {}) | some(0.2, {"l1": 0.002}, {})
    if penalties:
        penalties |= some(0.3, {"bias": True}, {})
    regular = penalties | some(0.2, {"max_norm": 0.8}, {}) | some(0.2, {"input_noise": 0.1}, {})
    encode = some(0.3, "embedding", "auto")
    if loss["name"] != "focal" and encode != "embedding":
        regular |= some(0.2, {"mixup": 0.3}, {})
    train: dict[str, Any] = {"epochs": int(rng.integers(1, 7)), "batch_size": pick(1, 3, 7, 8, 16, 33, "full", "auto")}
    train |= some(0.2, {"shuffle": False}, {}) | some(0.2, {"drop_last": True}, {}) | some(0.2, {"max_steps": 9}, {})
    if optimizer["name"] == "lbfgs":
        train["batch_size"] = "full"
        optimizer.pop("accumulate", None)
    if model["norm"] == "batch" and train["batch_size"] == 1:
        train["batch_size"] = 4
    return {
        "seed": int(rng.integers(1000)),
        "dtype": some(0.8, "float32", "float64"),
        "kernels": some(0.7, "auto", "numpy"),
        "threads": pick(1, 2),
        "device": "cpu",
        "data": data,
        "preprocess": {"categorical": {"encode": encode}} if encode != "auto" else {},
        "model": model,
        "loss": loss,
        "optimizer": optimizer,
        "schedule": schedule,
        "train": train,
        "regularization": regular,
    }


def experiment(folder: Path, seed: int) -> Experiment | str:
    """A random experiment, or why the config is refused."""
    try:
        return Experiment.build(from_mapping(mapping(folder, seed), []))
    except MlpbpError as error:
        return str(error.problems[0])

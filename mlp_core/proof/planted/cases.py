"""Small experiments, each with what a slip needs to show: embedded data, and a table of words, weights and classes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config, from_mapping
from mlp_core.nn.optimizers import OPTIMIZERS

DIGITS: dict[str, Any] = {
    "data": {"name": "digits", "limit": 90, "split": {"val": 0.2, "test": 0.0}},
    "device": "cpu",
    "model": {"hidden": [6, 5], "activation": "tanh"},
    "optimizer": {"name": "momentum", "lr": 0.05},
    "train": {"epochs": 4, "batch_size": 16},
}
NUMPY = "kernels=numpy"
TABLE = ("~data.name", "~data.limit", "data.train=TABLE")
BINARY = (*TABLE, "data.target=yes", "data.drop=[count, weight]")
WEIGHTED = (*TABLE, "data.target=yes", "data.drop=[count]", "data.weight=weight")
NUMBERS = (*TABLE, "data.target=count", "data.drop=[yes, weight]", "data.task=regression")
LONG_RUN = ("train.epochs=9",)

ON_BOTH: dict[str, tuple[str, ...]] = {
    "accumulate": ("optimizer.accumulate=2", "model.dropout=0.3", "regularization.l2=0.05"),
    "accumulate, noise": ("optimizer.accumulate=2", "regularization.input_noise=0.1"),
    "clip": ("optimizer.clip_norm=0.1", "optimizer.clip_value=0.02"),
    "max norm": ("regularization.max_norm=0.7",),
    "average": ("optimizer.ema=0.9",),
    "penalties": ("regularization.l2=0.05", "regularization.l1=0.01"),
    "dropout": ("model.dropout=0.3", "model.input_dropout=0.2"),
    "noise": ("regularization.input_noise=0.1",),
    "mixup": ("regularization.mixup=0.4",),
    "residual": ("model.hidden=[6, 6]", "model.residual=true"),
    "batch norm": ("model.norm=batch", "model.norm_eps=0.01", "model.norm_momentum=0.3"),
    "class weights": ("loss.class_weight=balanced",),
    "binary": (*BINARY, "loss.pos_weight=2.5"),
    "weights": (*WEIGHTED, "loss.class_weight=balanced"),
} | {
    name: (f"optimizer.name={name}", "optimizer.weight_decay=0.1", "optimizer.lr=0.01")
    for name in OPTIMIZERS
    if name not in ("adamw", "muon", "lbfgs")
}
"""Once with the kernels, and once without."""
SHARDS: dict[str, tuple[str, ...]] = {
    "shards": (),
    "shards, dropout": ("model.dropout=0.3", "model.input_dropout=0.2"),
    "shards, average": ("optimizer.ema=0.9", "optimizer.clip_norm=0.1"),
    "shards, sums": ("optimizer.accumulate=2", "loss.class_weight=balanced", "regularization.l2=0.05"),
    "shards, layer norm": ("model.norm=layer",),
    "shards, batch norm": ("model.norm=batch", "model.dropout=0.3"),
    "shards, mixup": ("regularization.mixup=0.4",),
    "shards, wide": ("model.hidden=[100]",),
}
CASES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "numpy": (NUMPY,),
    "penalties on all": ("regularization.l2=0.05", "regularization.bias=true"),
    "decay": ("optimizer.weight_decay=0.1",),
    "groups": ("optimizer.weight_decay=0.1", "optimizer.groups=[{match: '*.bias', lr_scale: 0.1, weight_decay: 0.3}]"),
    "frozen": ("optimizer.groups=[{match: '0.*', freeze: true}]",),
    "mixup, weights": ("regularization.mixup=0.4", "loss.class_weight=balanced"),
    "norm behind": ("model.norm=layer", "model.norm_position=post_activation"),
    "layer norm, numpy": ("model.norm=layer", "model.norm_eps=0.01", NUMPY),
    "rms norm": ("model.norm=rms", "model.norm_eps=0.01"),
    "ntk": ("model.parametrization=ntk",),
    "parametric": ("model.parametric=true",),
    "leaky": ("model.activation={name: leaky_relu, alpha: 0.2}",),
    "prelu": ("model.activation=prelu",),
    "smoothing": ("loss.label_smoothing=0.1",),
    "one against the rest": ("loss.name=bce",),
    "focal": ("loss.name=focal", "loss.gamma=0.5", NUMPY),
    "quadratic": ("loss.name=quadratic", NUMPY),
    "words": (*BINARY, "preprocess.categorical.encode=embedding", "model.input_dropout=0.2"),
    "words, numpy": (*BINARY, "preprocess.categorical.encode=embedding", NUMPY),
    "numbers": NUMBERS,
    "numbers, scaled": (*NUMBERS, "preprocess.target.scale=standard"),
    "numbers, logarithms": (*NUMBERS, "preprocess.target.transform=log1p", "preprocess.target.scale=standard"),
    "stop early": ("train.early_stopping={patience: 3, min_delta: 0.6}", "train.epochs=20"),
    "stop late": ("train.early_stopping={patience: 2, patience_factor: 1.5, min_delta: 0.6}", "train.epochs=20"),
    "accuracy": ("train.early_stopping={monitor: val_accuracy, patience: 3, min_delta: 0.01}", "train.epochs=20"),
    "stop seldom": (
        "train.early_stopping={patience: 3, patience_factor: 1.5}",
        *("train.eval_every=2", "train.epochs=20"),
    ),
    "unknown words": (*BINARY, "preprocess.categorical.unknown=zero"),
    "few steps": ("train.max_steps=7", "train.max_time=1h"),
    "left open": ("~optimizer.lr", "~train.batch_size"),
    "recipe": (*BINARY, "recipe=strong", "~optimizer", "~model", "~train", "model.hidden=[6, 5]"),
    "recipe, numbers": (*NUMBERS, "recipe=strong", "~optimizer", "~model", "~train", "model.hidden=[6, 5]"),
    "eval_every": ("train.eval_every=2", "train.epochs=5"),
    "plateau": ("schedule={name: plateau, patience: 2, factor: 0.3}", "train.epochs=20", "train.early_stopping=false"),
    "one cycle": ("schedule={name: one_cycle}", *LONG_RUN),
    "per epoch": ("schedule={name: linear, per: epoch}", *LONG_RUN),
    "warm-up": ("schedule={name: cosine, warmup: 0.3, final: 0.1}", *LONG_RUN),
    "step": ("schedule={name: step, step_size: 2, gamma: 0.3}", *LONG_RUN),
    "multistep": ("schedule={name: multistep, milestones: [1, 3], gamma: 0.3}", *LONG_RUN),
    "exponential": ("schedule={name: exponential, step_size: 2, gamma: 0.3}", *LONG_RUN),
    "polynomial": ("schedule={name: polynomial, power: 2}", *LONG_RUN),
    "restarts": ("schedule={name: cosine_restarts, cycles: 3}", *LONG_RUN),
    "inverse_sqrt": ("schedule={name: inverse_sqrt, warmup: 1}", *LONG_RUN),
    "linear": ("schedule={name: linear, final: 0.2}", *LONG_RUN),
    "wsd": ("schedule={name: wsd, final: 0.2}", *LONG_RUN),
    "strong": (
        *(*BINARY, "model.activation=selu", "model.parametrization=ntk", "model.parametric=true"),
        *("model.numeric_embedding=periodic", "model.input_scale=true", "model.init={name: normal}"),
        *("model.init_rescale=true", "model.bias_init=data", "model.dropout=0.2", "optimizer.weight_decay=0.02"),
        *("preprocess.numeric.scale=robust_smooth", "preprocess.categorical.encode=compact"),
        "schedule={name: coslog, dropout: flat_cos, weight_decay: flat_cos}",
    ),
    "calibrated": (*WEIGHTED, "eval={calibrate: platt, threshold: f1}", "optimizer.ema=0.9"),
    "clamped": (*NUMBERS, "preprocess.target={transform: log1p, clamp: true}"),
    "ranks": (*BINARY, "preprocess.numeric={scale: quantile, clip: 2.0}", "preprocess.categorical.encode=ordinal"),
    "range": (*BINARY, "preprocess.numeric.scale=minmax"),
    "members": ("ensemble=3",),
    "disk": ("~data.name", "~data.limit", "data.train={x: ROWS.x.npy, y: ROWS.y.npy}", "data.memory=memmap"),
    "muon": ("optimizer.name=muon", "optimizer.lr=0.01"),
    "lbfgs": ("optimizer.name=lbfgs", "train.batch_size=full", "train.epochs=16", "optimizer.lr=0.3"),
    "mae": (*NUMBERS, "loss.name=mae", NUMPY),
    "huber": (*NUMBERS, "loss.name=huber", "loss.delta=0.4", NUMPY),
    "log_cosh": (*NUMBERS, "loss.name=log_cosh", NUMPY),
    "quantile": (*NUMBERS, "loss.name=quantile", "loss.quantiles=[0.1, 0.45, 0.8]", NUMPY),
    "poisson": (*NUMBERS, "loss.name=poisson", NUMPY),
    "gaussian_nll": (*NUMBERS, "loss.name=gaussian_nll", NUMPY),
}
CASES |= {name: ("train.shards=8", *more) for name, more in SHARDS.items()}
CASES |= ON_BOTH | {f"{name}, numpy": (*own, NUMPY) for name, own in ON_BOTH.items()}


def config(case: str, folder: Path) -> Config:
    """The config of a case; its table, where it has one, is written into the folder."""
    path = folder / "table.csv"
    if not path.exists():
        path.write_text(_table())
        X = np.random.Generator(np.random.Philox(key=[1, 2])).standard_normal((90, 4)).astype(np.float32)
        np.save(folder / "table.x.npy", X)
        np.save(folder / "table.y.npy", (X[:, 0] + X[:, 1] > 0).astype(np.int64))
    base = str(path.with_suffix(""))
    changes = [change.replace("TABLE", str(path)).replace("ROWS", base) for change in CASES[case]]
    return from_mapping(DIGITS, changes)


def _table() -> str:
    draw = random.Random(0)
    lines = ["a,b,word,other,gaps,weight,count,yes"]
    for _ in range(90):
        a, b = draw.gauss(0, 1), draw.gauss(0, 1)
        word, other = draw.choice(["ax", "bx", "cx"]), draw.choice(["px", "qx", "rx", "sx"])
        count = int(2 + abs(3 * a)) + (word == "ax") + draw.random()
        yes = "yes" if a + 0.5 * b > 0.8 else "no"
        gaps = f"{draw.expovariate(1):.2f}" if draw.random() > 0.2 else ""
        lines.append(f"{a:.3f},{b:.3f},{word},{other},{gaps},{draw.randint(0, 3)},{count:.2f},{yes}")
    return "\n".join(lines) + "\n"

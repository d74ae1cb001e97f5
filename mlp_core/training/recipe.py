"""Recipes: one word that gives other keys their defaults, `strong` what serves tables best. The word does nothing by
itself: every key that it sets is in the resolved config, and one that is written stays as it is written.

The ingredients of `strong` are those of RealMLP (Holzmueller, Grinsztajn and Steinwart, "Better by default", 2024);
how wide, how long and in which portions was measured on one thread (benchmarks/README.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlp_core.config import Config
from mlp_core.config.training import EarlyStopping
from mlp_core.data.load import Data
from mlp_core.data.smoothness import missed
from mlp_core.nn.losses import LOSSES
from mlp_core.training.auto import CHANCE
from mlp_core.training.from_config import usual_loss
from mlp_core.training.unused import OF_LOSSES, UNMIXED

STRONG, PLAIN = "strong", "plain"
ADAMS = ("adam", "adamw")
OF_ADAM = ("optimizer.lr_factors", "model.parametrization", "model.init", "model.output_init")
"""Keys that suit steps of a size of their own, whatever the gradient's."""
SHARES = ("loss", "log_loss", "brier", "ece", "roc_auc", "pr_auc")
"""Aims that judge probabilities or their order: smoothed labels would spoil them."""
STEEP = ("poisson", "gaussian_nll")
"""Losses of numbers that grow exponentially with an output, where others measure a distance."""
OWN = ("model.hidden", "model.init", "optimizer.name", "optimizer.lr")
"""Keys with which a config describes a training of its own, for which the others of `strong` were not chosen."""
EPOCHS = ((4_096, 256), (20_000, 192), (50_000, 96), (100_000, 64), (1_000_000, 24), (math.inf, 8))
"""Rows below which so many epochs suit; beyond the first of them, work hardly grows any more."""
PATIENCE = 40 / 256
"""Of the epochs, beside three times those until the best one: a network that is best early gets no better later."""
FEW = 2_048
"""Rows below which all epochs are made: there are so few validation rows then that an early epoch may be best by luck,
and the time is short anyway. Where the aim is left open, the best epoch of a classifier is that of the least loss, with
its labels smoothed as in training: how sure it is of each of so few rows tells more than how many are right."""
SPARSE, SMOOTH = 512, 0.33
"""Rows below which numbers are fitted without dropout, and predictions are not cut to their range, where a smooth
function misses less than such a share of their deviation: dropout would blur what so few rows tell exactly, and the
largest of few is soon exceeded. Where there is noise both serve well."""
MOST_WAVES = 200
"""Inputs up to which numbers get waves: with more, they tell enough by themselves."""


@dataclass(frozen=True)
class Size:
    """What suits a number of training rows."""

    units: int
    epochs: int
    batch: int


def size_of(rows: int, classes: bool = False) -> Size:
    """Few rows are met more often, many less often, in larger batches.

    Few rows with numbers as targets come in batches of an eighth: 256 steps are not enough to fit a function. Where
    they have `classes`, they are: smaller batches take longer and leave probabilities worse.

    >>> size_of(60)
    Size(units=256, epochs=256, batch=16)
    >>> size_of(60, classes=True)
    Size(units=256, epochs=256, batch=60)
    >>> size_of(8_000)
    Size(units=256, epochs=192, batch=256)
    >>> size_of(500_000)
    Size(units=256, epochs=24, batch=1024)
    """
    batch = 256 if rows < 100_000 else 1024
    if rows < FEW:
        batch = batch if classes else max(16, 1 << (rows // 8).bit_length() - 1)
    return Size(256, next(epochs for most, epochs in EPOCHS if rows < most), min(rows, batch))


def chosen(config: Config) -> tuple[str, str]:
    """The recipe of a config and why it is that."""
    if config.recipe != "auto":
        return config.recipe, "a table" if config.source.proposed and config.recipe == STRONG else "as the config says"
    if config.written("version") == "1":
        return PLAIN, "a config of version 1"
    if config.data.target is None or config.data.name is not None:
        return PLAIN, "no table with a target column"
    if config.model.weights is not None:
        return PLAIN, "it begins with the weights of a model"
    if own := [key for key in OWN if config.given(key)]:
        return PLAIN, f"the config has its own {own[0]}; with recipe: strong it keeps that and takes the rest"
    return STRONG, "a table"


def with_recipe(config: Config, data: Data) -> tuple[Config, tuple[str, ...]]:
    """The config with the recipe's values for every key that was not written, and a line for what that comes to."""
    name, why = chosen(config)
    if name == PLAIN:
        table = config.recipe == "auto" and config.data.target is not None
        return config.replace(recipe=name), ((f"recipe: {name} ({why})",) if table else ())
    train, rows = data.splits["train"], data.splits["train"].rows
    # few rows that tell a smooth function with little noise
    exact = data.task.kind == "regression" and rows < SPARSE and missed(train) < SMOOTH
    wanted = dict(_strong(config, data, exact))
    free = {key: value for key, value in wanted.items() if not config.given(key)}
    made = config.replace(recipe=name, **free)
    shown = made.model_dump(mode="json")
    yours = {key: _at(shown, key) for key in wanted if key not in free}
    against = [
        f"{key} {_said(value)}, not {_said(wanted[key])}" for key, value in yours.items() if value != wanted[key]
    ]
    if len(yours) == len(wanted) and not against:
        return made, ()  # everything is written out already
    widths = "-".join(str(layer.units) for layer in made.model.layers()) or "no hidden layer"
    batches = "" if made.train.batch_size in ("auto", "full") else f" in batches of {made.train.batch_size:,}"
    notes = [f"recipe: {name} ({why}): {widths}, {made.train.epochs} epochs{batches} for {rows:,} rows"]
    if exact and not config.given("model.dropout"):
        notes.append("recipe: no dropout, the target is nearly a smooth function of its columns")
    return made, (*notes, *([f"recipe: yours stands: {'; '.join(against)}"] if against else []))


def _strong(config: Config, data: Data, exact: bool) -> Iterator[tuple[str, Any]]:
    """The keys of `strong` with their values, as far as what is written leaves a use for them."""
    task, rows = data.task, data.splits["train"].rows
    size = size_of(rows, task.classifies)
    loss = usual_loss(task.kind) if config.loss.name == "auto" else config.loss.name
    regression = task.kind == "regression"
    yield "preprocess.numeric.scale", "robust_smooth"
    if config.regularization.mixup == 0:
        yield "preprocess.categorical.encode", "compact"
        if not config.given("preprocess.categorical.encode") or config.preprocess.categorical.encode == "compact":
            yield from (("preprocess.categorical.embed_above", 8), ("preprocess.categorical.embedding_dim", 8))
    if regression and not LOSSES[loss].counts:
        yield "preprocess.target.clamp", not exact
    adam = config.optimizer.name in ADAMS
    network = _network(config, size, regression, exact, len(task.features))
    yield from (one for one in network if adam or not one[0].startswith(OF_ADAM))
    aim = aim_of(config, task.kind)
    if task.classifies and aim not in SHARES:
        if task.kind == "binary" and config.loss.pos_weight is None and config.loss.name == "auto":
            loss = "cross_entropy"  # of two outputs: its targets can be smoothed
            yield "loss.name", loss
        if loss in OF_LOSSES["label_smoothing"]:
            yield "loss.label_smoothing", 0.1
    if adam:
        yield from _training(config, regression and loss not in STEEP)
    if config.optimizer.name != "lbfgs":  # takes all rows at once
        yield "train.batch_size", size.batch
    yield "train.epochs", size.epochs
    patience = max(2, round(size.epochs * PATIENCE))
    stopping = EarlyStopping(monitor=f"val_{aim}", patience=patience, patience_factor=3.0, ties="last")
    yield "train.early_stopping", False if rows < FEW else stopping.model_dump(mode="json")
    left_open = config.metrics == "auto" and not config.given("checkpoint.monitor")
    if left_open and aim == "accuracy" and loss == "cross_entropy" and rows < FEW:
        aim = "loss"
    yield from (("checkpoint.monitor", f"val_{aim}"), ("checkpoint.ties", "last"))
    chance = "val" in data.splits and data.splits["val"].rows < CHANCE
    if chance and config.checkpoint.last and not config.given("checkpoint.monitor"):
        yield "checkpoint.best", False  # but the last epoch, at whose end the learning rate is 0


def _network(config: Config, size: Size, regression: bool, exact: bool, features: int) -> Iterator[tuple[str, Any]]:
    model = config.model
    own = model.layers() if config.given("model.hidden") else ()
    hidden = bool(own) or not config.given("model.hidden")
    yield "model.hidden", [size.units] * 3
    if hidden:
        activation = "mish" if regression else "selu"
        yield "model.activation", activation
        used = [layer.activation for layer in own] if config.given("model.activation") or own else [activation]
        mixes = any(getattr(one, "name", one) not in UNMIXED for one in used)
        if mixes:
            yield from _pair(config, ("model.parametric", True), ("optimizer.lr_factors.alpha", 0.1))
        if not exact:
            yield from _pair(config, ("model.dropout", 0.15), ("schedule.dropout", "flat_cos"))
        if model.bias:
            yield from (("model.bias_init", "data"), ("optimizer.lr_factors.bias", 0.1))
    if features <= MOST_WAVES:
        waves = ("model.numeric_embedding", "periodic")
        yield from _pair(config, waves, ("optimizer.lr_factors.numeric_embedding", 0.1))
    yield from _pair(config, ("model.input_scale", True), ("optimizer.lr_factors.input_scale", 6.0))
    yield "model.parametrization", "ntk"
    standard = {"name": "normal", "std": 1.0, "scale": None}
    yield "model.init", standard
    if not config.given("model.init") or _at(config.model_dump(mode="json"), "model.init") == standard:
        yield from (("model.output_init", standard), ("model.init_rescale", True))


def _training(config: Config, distance: bool) -> Iterator[tuple[str, Any]]:
    if not config.given("model.parametrization") or config.model.parametrization == "ntk":
        yield "optimizer.lr", 0.2 if distance else 0.04
    yield "optimizer.betas", [0.9, 0.95]
    yield from _pair(config, ("optimizer.weight_decay", 0.02), ("schedule.weight_decay", "flat_cos"))
    yield "schedule.name", "coslog"


def _pair(config: Config, owner: tuple[str, Any], owned: tuple[str, Any]) -> Iterator[tuple[str, Any]]:
    """A key, and one that is about it: not where what is written has none of the first."""
    yield owner
    if not config.given(owner[0]) or _at(config.model_dump(mode="json"), owner[0]) not in (False, 0, "none"):
        yield owned


def aim_of(config: Config, kind: str) -> str:
    """What the best epoch is chosen by: what is asked for, or else errors; for numbers, what the loss is about."""
    if config.given("checkpoint.monitor"):
        return config.checkpoint.monitor.split("_", 1)[1]
    if config.metrics != "auto":
        return config.metrics[0]
    if kind == "regression":
        return {"auto": "rmse", "mse": "rmse", "mae": "mae"}.get(config.loss.name, "loss")
    return {"binary": "accuracy", "multiclass": "accuracy"}.get(kind, "loss")


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def _said(value: Any) -> str:
    if isinstance(value, dict):
        name = next((key for key in ("name", "patience") if key in value), None)
        return "{...}" if name is None else str(value[name]) if name == "name" else f"{{{name}: {value[name]}, ...}}"
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")

"""From config values to the engine's objects: network, loss, optimizer, schedule, limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

from mlp_core.config import Config
from mlp_core.data.task import Task
from mlp_core.metrics import smaller_is_better
from mlp_core.nn.activations import ACTIVATIONS, Activation
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import PRelu
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic
from mlp_core.nn.objective import Penalty
from mlp_core.nn.optimizer import Optimizer, Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.schedules import Fade, Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.trainer import Plateau, Stopping, Watch

_INIT = {"he": "he_normal", "glorot": "glorot_uniform", "lecun": "lecun_normal"}


def make_loss(config: Config) -> Loss:
    """The loss that the (resolved) config names, with its settings."""
    values, kind = config.loss, LOSSES[config.loss.name]
    settings = {
        "label_smoothing": values.label_smoothing,
        "pos_weight": values.pos_weight or 1.0,
        "gamma": values.gamma,
        "delta": values.delta,
        "quantiles": tuple(values.quantiles),
    }
    return kind(**{field.name: settings[field.name] for field in fields(kind)})


def outputs(loss: Loss, task: Task) -> int:
    """How many logits the network emits for a task."""
    return loss.outputs(task.outputs, 0 if task.kind == "multilabel" else len(task.classes))


def usual_loss(kind: str) -> str:
    """The loss that a task of this kind has unless told otherwise."""
    return next(name for name, loss in LOSSES.items() if kind in loss.usual)


def _activation(choice: Any) -> Activation | None:
    """The activation of a layer; None for prelu, whose slope belongs to the parameters."""
    name, alpha = (choice, None) if isinstance(choice, str) else (choice.name, choice.alpha)
    if name == "prelu":
        return None
    return ACTIVATIONS[name]() if alpha is None else ACTIVATIONS[name](alpha=alpha)  # type: ignore[call-arg]


def _prelu_slope(choice: Any) -> float:
    """Where the trained slope of prelu starts."""
    given = None if isinstance(choice, str) else choice.alpha
    return PRelu.initial if given is None else float(given)


def auto_init(choice: Any) -> str:
    """The initializer that keeps the variance of signals through an activation."""
    activation = _activation(choice)
    return _INIT["he" if activation is None else activation.gain_family]


def make_architecture(
    config: Config,
    inputs: int,
    width: int,
    bias: Sequence[float] | None = None,
    embeddings: Sequence[tuple[int, int]] = (),
    numbers: int = 0,
) -> Architecture:
    """The network of the (resolved) config for `inputs` input columns and `width` logits. The first of the inputs are
    `numbers`, the last may be codes of words with `embeddings`."""
    model, waves = config.model, config.model.periodic
    blocks = []
    for layer in model.layers():
        name, scale = _init(layer.init, layer.activation)
        blocks.append(
            Block(
                units=layer.units,
                activation=_activation(layer.activation),
                prelu_slope=_prelu_slope(layer.activation),
                init=name,
                init_scale=scale,
                bias=bool(layer.bias),
                norm=str(layer.norm),
                norm_first=model.norm_position == "pre_activation",
                norm_eps=model.norm_eps,
                norm_momentum=model.norm_momentum,
                dropout=float(layer.dropout or 0.0),
                residual=bool(layer.residual),
                parametric=model.parametric,
            )
        )
    output_init, output_scale = _init(model.output_init, "identity")
    return Architecture(
        inputs,
        width,
        tuple(blocks),
        model.input_dropout,
        output_init,
        output_scale,
        None if bias is None else tuple(bias),
        embeddings=tuple(embeddings),
        periodic=None if waves is None else Periodic(numbers, waves.frequencies, waves.size, waves.sigma),
        input_scale=model.input_scale,
        ntk=model.parametrization == "ntk",
        bias_init=model.bias_init,
        rescale=model.init_rescale,
    )


def _init(choice: Any, activation: Any) -> tuple[str, float | None]:
    """Name and parameter of an initializer."""
    if isinstance(choice, str):
        return (auto_init(activation) if choice == "auto" else choice), None
    scale = choice.std if choice.std is not None else choice.scale
    return choice.name, scale


def make_penalty(config: Config) -> Penalty:
    return Penalty(config.regularization.l2, config.regularization.l1, config.regularization.bias)


def make_segments(config: Config, network: Network) -> list[Segment]:
    """Stretches of the parameter vector with equal settings: weight decay on weights, factors by kind, groups by name.

    Raises ConfigError for a group that matches nothing.
    """
    parameters, values = network.parameters, config.optimizer
    matched = [False] * len(values.groups)
    segments: list[Segment] = []
    for spec in parameters.specs:
        factor = getattr(values.lr_factors, spec.kind) if spec.kind else 1.0
        scale, decay, frozen = 1.0, values.weight_decay if spec.is_weight else 0.0, False
        for i, group in enumerate(values.groups):
            if fnmatchcase(spec.name, group.match):
                matched[i] = True
                scale, frozen = group.lr_scale, group.freeze
                decay = decay if group.weight_decay is None else group.weight_decay
        if frozen:
            continue
        scale *= factor
        part = parameters.slices[spec.name]
        previous = segments[-1] if segments else None
        if previous and (previous.part.stop, previous.lr_scale, previous.weight_decay) == (part.start, scale, decay):
            segments[-1] = Segment(slice(previous.part.start, part.stop), scale, decay)
        else:
            segments.append(Segment(part, scale, decay))
    for i, hit in enumerate(matched):
        if not hit:
            names = ", ".join(spec.name for spec in parameters.specs[:6])
            key, got, hint = f"optimizer.groups.{i}.match", values.groups[i].match, f"parameters are named {names}, ..."
            raise config.refusal(key, "matches no parameter", code="no_match", got=got, hint=hint)
    return segments


def auto_lr(name: str) -> float:
    """The usual learning rate of an optimizer."""
    return OPTIMIZERS[name].default_lr


def auto_settings(name: str) -> dict[str, Any]:
    """The usual settings of an optimizer beside its learning rate, from its paper or as PyTorch has them."""
    kind = OPTIMIZERS[name]
    return {
        "momentum": kind.default_momentum,
        "betas": kind.default_betas,
        "eps": kind.default_eps,
        "rho": kind.default_rho,
    }


def make_optimizer(config: Config, network: Network, backend: Backend) -> Optimizer:
    values = config.optimizer
    settings = {
        "mu": values.momentum,
        "beta1": values.betas[0],
        "beta2": values.betas[1],
        "eps": values.eps,
        "rho": values.rho,
    }
    return OPTIMIZERS[values.name](network.parameters, backend, make_segments(config, network), **settings)


def make_schedule(config: Config, steps_per_epoch: int) -> Schedule:
    """The learning rate of every step. Warm-up below 1 is a share of the run, from 1 on a number of epochs."""
    values, train = config.schedule, config.train
    steps = train.epochs * steps_per_epoch
    if train.max_steps is not None:
        steps = min(steps, train.max_steps)
    warmup = values.warmup * (steps if values.warmup < 1 else steps_per_epoch)
    return Schedule(
        name="constant" if values.name == "plateau" else values.name,
        lr=float(config.optimizer.lr),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        warmup=math.ceil(min(warmup, 2.0**62)),
        final=values.final,
        step_size=values.step_size,
        milestones=tuple(values.milestones),
        gamma=values.gamma,
        power=values.power,
        cycles=int(values.cycles),
        per_epoch=values.per == "epoch",
    )


def make_fades(config: Config, steps: int) -> tuple[Fade, Fade]:
    """What is left of dropout and of weight decay at every step of a run."""
    values = config.schedule
    return Fade(values.dropout, steps), Fade(values.weight_decay, steps)


def make_limits(config: Config) -> Limits:
    train, optimizer = config.train, config.optimizer
    return Limits(
        epochs=train.epochs,
        max_steps=train.max_steps,
        max_seconds=train.max_seconds,
        accumulate=optimizer.accumulate,
        clip_norm=optimizer.clip_norm,
        clip_value=optimizer.clip_value,
        max_norm=config.regularization.max_norm,
        ema=optimizer.ema,
        eval_every=train.eval_every,
        shards=int(train.shards),
    )


def monitors(config: Config) -> dict[str, str]:
    """The keys that name a metric which decides something, and the metric of each: val_accuracy."""
    stopping = config.train.early_stopping
    more = {"train.early_stopping.monitor": stopping.monitor} if stopping else {}
    return {"checkpoint.monitor": config.checkpoint.monitor, **more}


def make_watch(metric: str, mode: str, min_delta: float = 0.0, ties: bool = False) -> Watch:
    """Watch a logged metric such as val_accuracy; `mode` auto knows which way is better."""
    smaller = smaller_is_better(metric.split("_", 1)[1]) if mode == "auto" else mode == "min"
    return Watch(metric, smaller, min_delta, ties)


def make_stopping(config: Config) -> Stopping | None:
    values = config.train.early_stopping
    if not values:
        return None
    watch = make_watch(values.monitor, values.mode, values.min_delta, values.ties == "last")
    return Stopping(watch, values.patience, values.min_epochs, values.patience_factor)


def make_plateau(config: Config, monitor: str) -> Plateau | None:
    values = config.schedule
    if values.name != "plateau":
        return None
    return Plateau(make_watch(monitor, "auto"), values.patience, values.factor)


def auto_batch_size(choice: int | str, rows: int) -> int:
    """Rows per step: `auto` is 32 below 10,000 rows, 256 below a million, else 1024; never more than there are."""
    if choice == "full":
        return rows
    if choice == "auto":
        choice = 32 if rows < 10_000 else 256 if rows < 1_000_000 else 1024
    return min(int(choice), rows)

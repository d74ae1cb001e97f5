"""Settings that nothing reads: refused with their key and place, because a setting without effect misleads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from mlp_core.config import Config
from mlp_core.errors import ConfigError, Problem
from mlp_core.nn.losses import LOSSES
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.training.from_config import auto_settings

Owners = Mapping[str, Sequence[str]]
"""Keys of a section, and which values of its `name` make use of each."""

CONSTANTS = {"momentum": ("mu",), "betas": ("beta1", "beta2"), "eps": ("eps",), "rho": ("rho",)}
"""The constants of an update rule that each setting of the config fills."""

OF_LOSSES: Owners = {
    name: [loss.name for loss in LOSSES.values() if name in {field.name for field in fields(loss)}]
    for name in ("label_smoothing", "pos_weight", "gamma", "delta", "quantiles")
}
OF_OPTIMIZERS: Owners = {
    key: [name for name, rule in OPTIMIZERS.items() if not set(constants).isdisjoint(rule.constants)]
    for key, constants in CONSTANTS.items()
}
OF_SCHEDULES: Owners = {
    "final": ("linear", "polynomial", "cosine", "cosine_restarts", "one_cycle", "wsd", "coslog"),
    "step_size": ("step", "exponential"),
    "milestones": ("multistep",),
    "gamma": ("step", "multistep", "exponential"),
    "power": ("polynomial",),
    "cycles": ("cosine_restarts", "coslog"),
    "patience": ("plateau",),
    "factor": ("plateau",),
}
UNMIXED = ("prelu", "identity")
"""Activations without a share of their own: prelu learns its slope, the identity has nothing to take a share of."""

OF_NORMS: Owners = {
    "norm_position": ("batch", "layer", "rms"),
    "norm_eps": ("batch", "layer", "rms"),
    "norm_momentum": ("batch",),
}


def refuse_unused(config: Config) -> None:
    """Raise ConfigError for every setting that differs from its default and has no effect.

    What stands at its default may be there because every key was written out; `loss.name: auto` is judged once it is
    decided.
    """
    if problems := list(_unused(config)):
        raise ConfigError(problems)


def _unused(config: Config) -> Iterator[Problem]:
    if config.loss.name != "auto":
        yield from _of_section(config, "loss", OF_LOSSES, {config.loss.name})
    yield from _of_section(config, "optimizer", OF_OPTIMIZERS, {config.optimizer.name})
    yield from _of_section(config, "schedule", OF_SCHEDULES, {config.schedule.name})
    norms = {str(layer.norm) for layer in config.model.layers()}
    yield from _of_section(config, "model", OF_NORMS, norms, "norm")
    yield from _of_ingredients(config)
    regular = config.regularization
    if regular.bias and not (regular.l1 or regular.l2):
        message, hint = "there is no penalty that could count biases", "set regularization.l2 or l1, or remove it"
        yield config.problem("regularization.bias", message, code="unused", hint=hint, got="true")


def _of_ingredients(config: Config) -> Iterator[Problem]:
    """Settings of what the network does not have."""
    model, layers = config.model, config.model.layers()
    mixes = any(getattr(layer.activation, "name", layer.activation) not in UNMIXED for layer in layers)
    drops = model.input_dropout or any(layer.dropout for layer in layers)
    decays = config.optimizer.weight_decay or any(group.weight_decay for group in config.optimizer.groups)
    hidden = "there is no hidden layer"
    asked = [
        ("model.parametric", model.parametric, mixes, f"no hidden layer has an activation but {' and '.join(UNMIXED)}"),
        ("model.bias_init", model.bias_init != "zeros", any(layer.bias for layer in layers), f"{hidden} with biases"),
        ("schedule.dropout", config.schedule.dropout != "constant", drops, "there is no dropout"),
        ("schedule.weight_decay", config.schedule.weight_decay != "constant", decays, "there is no weight decay"),
    ]
    for key, there, owner in (
        ("numeric_embedding", model.periodic is not None, "model.numeric_embedding"),
        ("input_scale", model.input_scale, "model.input_scale"),
        ("alpha", model.parametric, "model.parametric"),
    ):
        factor = getattr(config.optimizer.lr_factors, key)
        asked.append((f"optimizer.lr_factors.{key}", factor != 1, there, f"there is no {owner}"))
    for key, given, used, message in asked:
        if given and not used:
            yield config.problem(key, message, code="unused", hint="remove it")


def _of_section(config: Config, section: str, owners: Owners, used: set[str], what: str = "name") -> Iterator[Problem]:
    """Problems with the settings of a section that belong to others than those that are `used`."""
    values = getattr(config, section)
    usual = {"optimizer": auto_settings(config.optimizer.name), "schedule": {"cycles": 1}}.get(section, {})
    for key, names in owners.items():
        value = getattr(values, key)
        same = value in (type(values).model_fields[key].default, usual.get(key))
        if same or not used.isdisjoint(names):
            continue
        message = f"{' and '.join(sorted(used)) or 'this network'} has no {key}"
        if what == "norm":
            message = f"no layer has a {'batch ' if len(names) == 1 else ''}normalization"
        hint = f"remove it; it belongs to {', '.join(names)}"
        got = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        yield config.problem(f"{section}.{key}", message, code="unused", hint=hint, got=got)

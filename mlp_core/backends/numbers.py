"""What is in formulas.h, and the numbers that its functions take beside arrays, for every kind of machine code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.nn.activations import ACTIVATIONS, Activation
from mlp_core.nn.backend import Array
from mlp_core.nn.loss import Loss
from mlp_core.nn.optimizer import Optimizer
from mlp_core.nn.optimizers import nadam_rates, radam_rate

FORMULAS = (Path(__file__).parent / "formulas.h").read_text()
RULES = {name: name for name in re.findall(r"void FN\((\w+)\)\(REAL \*x,", FORMULAS)} | {"nadam": "adam"}
"""The function in formulas.h of each update rule that goes entry by entry."""
RULE_NUMBERS = 9
"""Numbers that an update rule takes at most."""


def of_activation(f: Activation) -> float:
    """The parameter of an activation; 0 for one that has none."""
    return float(getattr(f, "alpha", 0.0))


def of_loss(loss: Loss) -> tuple[float, ...]:
    """The parameter of a loss; for quantiles their number and each of them."""
    if quantiles := getattr(loss, "quantiles", None):
        return float(len(quantiles)), *quantiles
    named = (getattr(loss, name, None) for name in ("label_smoothing", "pos_weight", "gamma", "delta"))
    return (float(next((number for number in named if number is not None), 0.0)),)


def known(f: Activation) -> bool:
    """Whether there is a function for an activation: formulas.h has one for each of `ACTIVATIONS`, as tests hold."""
    return type(f) is ACTIVATIONS.get(f.name)


def fit(*arrays: Array | None) -> bool:
    """Whether machine code is meant for these arrays: floats of one size without gaps; not complex, no long doubles."""
    there = [array for array in arrays if array is not None]
    kind = there[0].dtype
    return kind.char in "fd" and all(array.dtype == kind and array.flags.c_contiguous for array in there)


def of_rule(rule: str, lr: Any, decay: Any, **settings: Any) -> tuple[Any, ...]:
    """What an update rule takes in a step with this learning rate and weight decay, as formulas.h says.

    With arrays of these and of the number `t` of the step: arrays, or what is the same in all of the steps.
    """
    others: Callable[..., tuple[Any, ...]] = _NUMBERS.get(rule, _settings)
    return 1 - lr * decay, *others(lr, **settings)


def of_update(optimizer: Optimizer, lr: Any, decay: Any, t: Any) -> list[tuple[Any, ...]]:
    """The same of an optimizer's rule in its step t, counted from 1, for each of its segments."""
    rule, settings = optimizer.rule.__name__, optimizer.settings_at(t)
    return [of_rule(rule, lr * one.lr_scale, one.weight_decay * decay, **settings) for one in optimizer.segments]


def _settings(lr: Any, **settings: float) -> tuple[Any, ...]:
    """The settings in their order, and behind the share that is left of a sum its rest."""
    found = [lr]
    for name, value in settings.items():
        found += [value, 1 - value] if name in ("rho", "beta1", "beta2") else [value]
    return tuple(found)


def _adam(lr: Any, beta1: float, beta2: float, eps: float, t: Any) -> tuple[Any, ...]:
    return lr / (1 - _power(beta1, t)), 0.0, beta1, 1 - beta1, beta2, 1 - beta2, eps, 1 / _root(1 - _power(beta2, t))


def _nadam(lr: Any, beta1: float, beta2: float, eps: float, t: Any) -> tuple[Any, ...]:
    rates = _each(nadam_rates, lr, beta1, t)
    return *rates, beta1, 1 - beta1, beta2, 1 - beta2, eps, 1 / _root(1 - _power(beta2, t))


def _radam(lr: Any, beta1: float, beta2: float, eps: float, t: Any) -> tuple[Any, ...]:
    rate, rectified = _each(radam_rate, lr, beta1, beta2, t)
    return rate, beta1, 1 - beta1, beta2, 1 - beta2, eps, rectified


def _power(beta: float, t: Any) -> Any:
    """beta^t by the C library; numpy has powers of its own for arrays, with other last bits."""
    return beta**t if isinstance(t, int) else np.array([beta**step for step in t.tolist()])


def _root(x: Any) -> Any:
    """The square root: of a number a number, which is what kernels are handed."""
    return math.sqrt(x) if isinstance(x, float) else np.sqrt(x)


def _each(rates: Callable[..., tuple[float, ...]], lr: Any, *settings: Any) -> Any:
    """The rates of one step, or an array [rates, steps]; the last of the settings is t."""
    if not isinstance(lr, np.ndarray):
        return map(float, rates(lr, *settings))
    *others, t = settings
    return np.array([rates(one, *others, step) for one, step in zip(lr.tolist(), t.tolist(), strict=True)]).T


_NUMBERS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "adam": _adam,
    "amsgrad": _adam,
    "nadam": _nadam,
    "radam": _radam,
}
"""Of the rules that take more than their settings."""

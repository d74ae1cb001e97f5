"""Optimizers: how a gradient moves parameters, entry by entry but for muon and lbfgs.

Each is a rule with its equation in the docstring, and under it a class that says what state and settings it has: g the
gradient, t the step counted from 1, lr the learning rate of this step. Weight decay is decoupled everywhere (Loshchilov
and Hutter, ICLR 2019): before the update the weight matrices shrink by the factor 1 - lr * weight_decay; an l2 term in
the loss is `regularization.l2`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

from mlp_core.nn.backend import Array
from mlp_core.nn.matrix_optimizers import Lbfgs, muon
from mlp_core.nn.optimizer import Change, Optimizer, Segment, by_entries


@by_entries
def sgd(xp: Any, lr: float) -> Change:
    """theta -= lr g."""

    def change(theta: Array, g: Array) -> None:
        theta -= lr * g

    return change


class Sgd(Optimizer):
    rule = sgd
    default_lr = 1e-2


@by_entries
def momentum(xp: Any, lr: float, mu: float) -> Change:
    """m = mu m + g; theta -= lr m (Polyak 1964, in PyTorch's form)."""

    def change(theta: Array, g: Array, m: Array) -> None:
        m *= mu
        m += g
        theta -= lr * m

    return change


class Momentum(Optimizer):
    rule = momentum
    slots = ("m",)
    constants = ("mu",)
    default_lr = 1e-2


@by_entries
def nesterov(xp: Any, lr: float, mu: float) -> Change:
    """m = mu m + g; theta -= lr (g + mu m) (Sutskever et al., ICML 2013)."""

    def change(theta: Array, g: Array, m: Array) -> None:
        m *= mu
        m += g
        theta -= lr * (g + mu * m)

    return change


class Nesterov(Momentum):
    rule = nesterov


@by_entries
def adagrad(xp: Any, lr: float, eps: float) -> Change:
    """v += g^2; theta -= lr g / (sqrt(v) + eps) (Duchi, Hazan, Singer, JMLR 2011)."""

    def change(theta: Array, g: Array, v: Array) -> None:
        v += g * g
        theta -= lr * g / (xp.sqrt(v) + eps)

    return change


class Adagrad(Optimizer):
    rule = adagrad
    slots = ("v",)
    constants = ("eps",)
    default_lr = 1e-2
    default_eps = 1e-10


@by_entries
def adadelta(xp: Any, lr: float, rho: float, eps: float) -> Change:
    """v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d^2; theta -= lr d.

    Zeiler 2012.
    """

    def change(theta: Array, g: Array, v: Array, u: Array) -> None:
        v *= rho
        v += (1 - rho) * g * g
        d = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
        u *= rho
        u += (1 - rho) * d * d
        theta -= lr * d

    return change


class Adadelta(Optimizer):
    rule = adadelta
    slots = ("v", "u")
    constants = ("rho", "eps")
    default_lr = 1.0
    default_eps = 1e-6


@by_entries
def rmsprop(xp: Any, lr: float, rho: float, eps: float) -> Change:
    """v = rho v + (1 - rho) g^2; theta -= lr g / (sqrt(v) + eps) (Tieleman and Hinton 2012)."""

    def change(theta: Array, g: Array, v: Array) -> None:
        v *= rho
        v += (1 - rho) * g * g
        theta -= lr * g / (xp.sqrt(v) + eps)

    return change


class RmsProp(Optimizer):
    rule = rmsprop
    slots = ("v",)
    constants = ("rho", "eps")
    default_rho = 0.99


@by_entries
def adam(xp: Any, lr: float, beta1: float, beta2: float, eps: float, t: int) -> Change:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; both corrected for their start at zero:

    theta -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) (Kingma and Ba, ICLR 2015).
    """
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)

    def change(theta: Array, g: Array, m: Array, v: Array) -> None:
        _moments(g, m, v, beta1, beta2)
        theta -= rate * m / (xp.sqrt(v) / root + eps)

    return change


def _moments(g: Array, m: Array, v: Array, beta1: float, beta2: float) -> None:
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, in place."""
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g


class Adam(Optimizer):
    rule: ClassVar[Any] = adam
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    constants = ("beta1", "beta2", "eps")
    counts_steps = True


@by_entries
def amsgrad(xp: Any, lr: float, beta1: float, beta2: float, eps: float, t: int) -> Change:
    """Adam with the largest v so far in place of v (Reddi, Kale, Kumar, ICLR 2018)."""
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)

    def change(theta: Array, g: Array, m: Array, v: Array, top: Array) -> None:
        _moments(g, m, v, beta1, beta2)
        xp.maximum(top, v, out=top)
        theta -= rate * m / (xp.sqrt(top) / root + eps)

    return change


class AmsGrad(Adam):
    rule = amsgrad
    slots = ("m", "v", "top")


@by_entries
def nadam(xp: Any, lr: float, beta1: float, beta2: float, eps: float, t: int) -> Change:
    """Adam looking one step ahead (Dozat 2016), with the momentum schedule mu_t = beta1 (1 - 0.96^(0.004 t) / 2):

    theta -= lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i)) / (sqrt(v^) + eps).
    """
    (ahead, here), root = nadam_rates(lr, beta1, t), math.sqrt(1 - beta2**t)

    def change(theta: Array, g: Array, m: Array, v: Array) -> None:
        _moments(g, m, v, beta1, beta2)
        theta -= (ahead * m + here * g) / (xp.sqrt(v) / root + eps)

    return change


def nadam_rates(lr: float, beta1: float, t: int) -> tuple[float, float]:
    """What nadam multiplies m and g by in step t."""
    mu, mu_next, product = nadam_momentum(beta1, t), nadam_momentum(beta1, t + 1), nadam_product(beta1, t)
    return lr * mu_next / (1 - product * mu_next), lr * (1 - mu) / (1 - product)


def nadam_momentum(beta1: float, t: int) -> float:
    """mu_t = beta1 (1 - 0.96^(0.004 t) / 2)."""
    return beta1 * (1 - 0.5 * math.pow(0.96, 0.004 * t))


def nadam_product(beta1: float, t: int) -> float:
    """The product of mu_1 .. mu_t; it is below the smallest float long before the loop becomes long."""
    product = 1.0
    for i in range(1, t + 1):
        product *= nadam_momentum(beta1, i)
        if product < 1e-300:
            return 0.0
    return product


class NAdam(Adam):
    rule = nadam


@by_entries
def radam(xp: Any, lr: float, beta1: float, beta2: float, eps: float, t: int) -> Change:
    """Adam with its rate rectified for the variance of v, plain momentum while that is unknown (Liu et al., ICLR 2020).

    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t); for rho > 5 Adam's step times
    sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho)), else theta -= lr m / (1 - beta1^t).
    """
    rate, rectified = radam_rate(lr, beta1, beta2, t)

    def change(theta: Array, g: Array, m: Array, v: Array) -> None:
        _moments(g, m, v, beta1, beta2)
        theta -= rate * m / (xp.sqrt(v) + eps) if rectified else rate * m

    return change


def radam_rate(lr: float, beta1: float, beta2: float, t: int) -> tuple[float, bool]:
    """radam's rate in step t, and whether the variance of v is known well enough to divide by its root."""
    rate, limit = lr / (1 - beta1**t), 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return rate, False
    rectification = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    return rate * math.sqrt(rectification) * math.sqrt(1 - beta2**t), True


class RAdam(Adam):
    rule = radam


@by_entries
def lion(xp: Any, lr: float, beta1: float, beta2: float) -> Change:
    """theta -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g (Chen et al., NeurIPS 2023)."""

    def change(theta: Array, g: Array, m: Array) -> None:
        theta -= lr * xp.sign(beta1 * m + (1 - beta1) * g)
        m *= beta2
        m += (1 - beta2) * g

    return change


class Lion(Optimizer):
    rule = lion
    slots = ("m",)
    constants = ("beta1", "beta2")
    default_lr = 1e-4
    default_betas = (0.9, 0.99)


class Muon(Optimizer):
    """muon for the weight matrices of the hidden layers, each orthogonalised as a whole; adamw for everything else.

    The output layer's weights, biases, norms and slopes are the rest. `m` is the momentum of both rules, `v` adamw's.
    """

    rule: ClassVar[Any] = adam
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    constants = ("mu", "beta1", "beta2", "eps")
    default_momentum = 0.95

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        parameters = self.parameters
        hidden = [spec for spec in parameters.specs if spec.is_weight][:-1]
        self._matrices: list[tuple[Segment, tuple[int, ...]]] = []
        self._rest: list[Segment] = []
        for segment in self.segments:
            start, stop = segment.part.start, segment.part.stop
            for spec in hidden:
                part = parameters.slices[spec.name]
                if start <= part.start and part.stop <= stop:
                    self._matrices.append((replace(segment, part=part), spec.shape))
                    if start < part.start:
                        self._rest.append(replace(segment, part=slice(start, part.start)))
                    start = part.stop
            if start < stop:
                self._rest.append(replace(segment, part=slice(start, stop)))

    def step(self, theta: Array, grad: Array, lr: float, decay: float = 1.0) -> None:
        self.t += 1
        m, v = self.state["m"], self.state["v"]
        rest = {name: value for name, value in self.settings.items() if name != "mu"}
        for segment, shape in self._matrices:
            W, dW, M = (vector[segment.part].reshape(shape) for vector in (theta, grad, m))
            own = segment.weight_decay * decay
            muon(self.backend.xp, W, dW, M, lr * segment.lr_scale, own, self.settings["mu"])
        for segment in self._rest:
            vectors = (vector[segment.part] for vector in (theta, grad, m, v))
            self._rule(*vectors, lr * segment.lr_scale, segment.weight_decay * decay, **rest, t=self.t)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": Sgd,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rmsprop": RmsProp,
    "adam": Adam,
    "adamw": Adam,
    "nadam": NAdam,
    "radam": RAdam,
    "amsgrad": AmsGrad,
    "lion": Lion,
    "muon": Muon,
    "lbfgs": Lbfgs,
}

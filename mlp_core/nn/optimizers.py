"""Optimizers: how a gradient moves the parameters. They know flat vectors, not layers.

Each update rule is a primitive with its equation in the docstring: g the gradient, t the step counted from 1, lr the
learning rate of this step. Weight decay is decoupled everywhere (Loshchilov and Hutter, ICLR 2019): before the update
the weight matrices shrink by the factor 1 - lr * weight_decay; an l2 term in the loss is `regularization.l2`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mlp_core.nn.backend import BLOCK, Array, Backend, blocks
from mlp_core.nn.matrix_optimizers import LEAST_CURVATURE, muon, two_loop
from mlp_core.nn.parameters import Parameters


@dataclass(frozen=True)
class Segment:
    """A stretch of the parameter vector that is treated alike; frozen stretches belong to no segment."""

    part: slice
    lr_scale: float = 1.0
    weight_decay: float = 0.0


def sgd(xp: Any, theta: Array, grad: Array, lr: float, decay: float, block: int = BLOCK) -> None:
    """theta -= lr g."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        theta[s] -= lr * grad[s]


def momentum(
    xp: Any, theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float, block: int = BLOCK
) -> None:
    """m = mu m + g; theta -= lr m (Polyak 1964, in PyTorch's form)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        m[s] *= mu
        m[s] += grad[s]
        theta[s] -= lr * m[s]


def nesterov(
    xp: Any, theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float, block: int = BLOCK
) -> None:
    """m = mu m + g; theta -= lr (g + mu m) (Sutskever et al., ICML 2013)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        m[s] *= mu
        m[s] += grad[s]
        theta[s] -= lr * (grad[s] + mu * m[s])


def adagrad(
    xp: Any, theta: Array, grad: Array, v: Array, lr: float, decay: float, eps: float, block: int = BLOCK
) -> None:
    """v += g^2; theta -= lr g / (sqrt(v) + eps) (Duchi, Hazan, Singer, JMLR 2011)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] += grad[s] * grad[s]
        theta[s] -= lr * grad[s] / (xp.sqrt(v[s]) + eps)


def adadelta(
    xp: Any,
    theta: Array,
    grad: Array,
    v: Array,
    u: Array,
    lr: float,
    decay: float,
    rho: float,
    eps: float,
    block: int = BLOCK,
) -> None:
    """v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d^2; theta -= lr d.

    Zeiler 2012.
    """
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] *= rho
        v[s] += (1 - rho) * grad[s] * grad[s]
        d = xp.sqrt(u[s] + eps) / xp.sqrt(v[s] + eps) * grad[s]
        u[s] *= rho
        u[s] += (1 - rho) * d * d
        theta[s] -= lr * d


def rmsprop(
    xp: Any,
    theta: Array,
    grad: Array,
    v: Array,
    lr: float,
    decay: float,
    rho: float,
    eps: float,
    block: int = BLOCK,
) -> None:
    """v = rho v + (1 - rho) g^2; theta -= lr g / (sqrt(v) + eps) (Tieleman and Hinton 2012)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] *= rho
        v[s] += (1 - rho) * grad[s] * grad[s]
        theta[s] -= lr * grad[s] / (xp.sqrt(v[s]) + eps)


def adam(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
    block: int = BLOCK,
) -> None:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; both corrected for their start at zero:

    theta -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) (Kingma and Ba, ICLR 2015).
    """
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= rate * m[s] / (xp.sqrt(v[s]) / root + eps)


def amsgrad(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    top: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
    block: int = BLOCK,
) -> None:
    """Adam with the largest v so far in place of v (Reddi, Kale, Kumar, ICLR 2018)."""
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        xp.maximum(top[s], v[s], out=top[s])
        theta[s] -= rate * m[s] / (xp.sqrt(top[s]) / root + eps)


def nadam(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
    block: int = BLOCK,
) -> None:
    """Adam looking one step ahead (Dozat 2016), with the momentum schedule mu_t = beta1 (1 - 0.96^(0.004 t) / 2):

    theta -= lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i)) / (sqrt(v^) + eps).
    """
    ahead, here = nadam_rates(lr, beta1, t)
    root = math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= (ahead * m[s] + here * grad[s]) / (xp.sqrt(v[s]) / root + eps)


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


def radam(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
    block: int = BLOCK,
) -> None:
    """Adam with its rate rectified for the variance of v, plain momentum while that is unknown (Liu et al., ICLR 2020).

    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t); for rho > 5 Adam's step times
    sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho)), else theta -= lr m / (1 - beta1^t).
    """
    rate, rectified = radam_rate(lr, beta1, beta2, t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= rate * m[s] / (xp.sqrt(v[s]) + eps) if rectified else rate * m[s]


def radam_rate(lr: float, beta1: float, beta2: float, t: int) -> tuple[float, bool]:
    """radam's rate in step t, and whether the variance of v is known well enough to divide by its root."""
    rate, limit = lr / (1 - beta1**t), 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return rate, False
    rectification = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    return rate * math.sqrt(rectification) * math.sqrt(1 - beta2**t), True


def lion(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    block: int = BLOCK,
) -> None:
    """theta -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g (Chen et al., NeurIPS 2023)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        theta[s] -= lr * xp.sign(beta1 * m[s] + (1 - beta1) * grad[s])
        m[s] *= beta2
        m[s] += (1 - beta2) * grad[s]


def _moments(g: Array, m: Array, v: Array, beta1: float, beta2: float) -> None:
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, in place."""
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g


class Optimizer:
    """One update rule over the segments of a parameter vector, with its state as flat vectors.

    `state` holds the vectors of the rule by name (each as long as theta) and `t`, the number of steps taken: exactly
    what a checkpoint must keep.
    """

    rule: ClassVar[Any]
    slots: ClassVar[tuple[str, ...]] = ()
    constants: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False
    default_lr: ClassVar[float] = 1e-3
    default_momentum: ClassVar[float] = 0.9
    default_betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    default_eps: ClassVar[float] = 1e-8
    default_rho: ClassVar[float] = 0.9

    def __init__(
        self,
        parameters: Parameters,
        backend: Backend,
        segments: Sequence[Segment] | None = None,
        **settings: Any,
    ) -> None:
        self.backend, self.parameters = backend, parameters
        self.segments = list(segments) if segments is not None else [Segment(slice(0, parameters.size))]
        self.settings = {name: settings[name] for name in self.constants}
        self.state = {slot: backend.zeros((parameters.size,), parameters.theta.dtype) for slot in self.slots}
        self.t = 0
        self._rule = backend.primitive(type(self).rule)
        self._slots = [[vector[segment.part] for vector in self.state.values()] for segment in self.segments]

    def step(self, theta: Array, grad: Array, lr: float) -> None:
        """Move theta by one step along grad, in place; both [parameters]."""
        self.t += 1
        settings = {**self.settings, "t": self.t} if self.counts_steps else self.settings
        for segment, slots in zip(self.segments, self._slots, strict=True):
            part = segment.part
            self._rule(theta[part], grad[part], *slots, lr * segment.lr_scale, segment.weight_decay, **settings)


class Sgd(Optimizer):
    rule = sgd
    default_lr = 1e-2


class Momentum(Optimizer):
    rule = momentum
    slots = ("m",)
    constants = ("mu",)
    default_lr = 1e-2


class Nesterov(Momentum):
    rule = nesterov


class Adagrad(Optimizer):
    rule = adagrad
    slots = ("v",)
    constants = ("eps",)
    default_lr = 1e-2
    default_eps = 1e-10


class Adadelta(Optimizer):
    rule = adadelta
    slots = ("v", "u")
    constants = ("rho", "eps")
    default_lr = 1.0
    default_eps = 1e-6


class RmsProp(Optimizer):
    rule = rmsprop
    slots = ("v",)
    constants = ("rho", "eps")
    default_rho = 0.99


class Adam(Optimizer):
    rule: ClassVar[Any] = adam
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    constants = ("beta1", "beta2", "eps")
    counts_steps = True


class AmsGrad(Adam):
    rule = amsgrad
    slots = ("m", "v", "top")


class NAdam(Adam):
    rule = nadam


class RAdam(Adam):
    rule = radam


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

    def __init__(
        self,
        parameters: Parameters,
        backend: Backend,
        segments: Sequence[Segment] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(parameters, backend, segments, **settings)
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

    def step(self, theta: Array, grad: Array, lr: float) -> None:
        self.t += 1
        m, v = self.state["m"], self.state["v"]
        rest = {name: value for name, value in self.settings.items() if name != "mu"}
        for segment, shape in self._matrices:
            W, dW, M = (vector[segment.part].reshape(shape) for vector in (theta, grad, m))
            muon(self.backend.xp, W, dW, M, lr * segment.lr_scale, segment.weight_decay, self.settings["mu"])
        for segment in self._rest:
            vectors = (vector[segment.part] for vector in (theta, grad, m, v))
            self._rule(*vectors, lr * segment.lr_scale, segment.weight_decay, **rest, t=self.t)


class Lbfgs(Optimizer):
    """theta += lr d, d = -H g by the two-loop recursion over the last ten steps (Liu and Nocedal 1989).

    For gradients of the whole training set. The first step is lr min(1, 1 / |g|_1) long; there is no line search, as
    in PyTorch's default. `s0`, `y0`, ... are the pairs of steps and gradient changes, oldest first and zero where there
    is none yet; `step` is the last step, `previous` the gradient before it.
    """

    history: ClassVar[int] = 10
    slots = (*(f"s{i}" for i in range(10)), *(f"y{i}" for i in range(10)), "step", "previous")
    default_lr = 1.0
    rule: ClassVar[Any] = two_loop

    def step(self, theta: Array, grad: Array, lr: float) -> None:
        self.t += 1
        xp, state = self.backend.xp, self.state
        g = xp.zeros_like(grad)
        for segment in self.segments:  # frozen parts have no gradient
            g[segment.part] = grad[segment.part]
        if self.t > 1:
            self._remember(g - state["previous"])
        pairs = [(state[f"s{i}"], state[f"y{i}"]) for i in range(self.history)]
        pairs = [(s, y) for s, y in pairs if xp.dot(s, y) > 0]
        d = self._rule(g, [s for s, _ in pairs], [y for _, y in pairs])
        rate = lr if self.t > 1 else lr * min(1.0, 1 / max(float(xp.abs(g).sum()), 1e-30))
        state["previous"][...] = g
        for segment in self.segments:
            part, own = segment.part, rate * segment.lr_scale
            state["step"][part] = own * d[part] - (own * segment.weight_decay) * theta[part]
            theta[part] += state["step"][part]

    def _remember(self, y: Array) -> None:
        """Append the last step and the change of the gradient along it, unless they show no curvature."""
        xp, state = self.backend.xp, self.state
        if not float(xp.dot(y, state["step"])) > LEAST_CURVATURE:
            return
        for name, newest in (("s", state["step"]), ("y", y)):
            for i in range(self.history - 1):
                state[f"{name}{i}"][...] = state[f"{name}{i + 1}"]
            state[f"{name}{self.history - 1}"][...] = newest


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

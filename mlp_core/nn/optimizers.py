"""Optimizers: an update rule with its state and its settings. They know flat vectors, not layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.matrix_optimizers import LEAST_CURVATURE, muon, two_loop
from mlp_core.nn.parameters import Parameters
from mlp_core.nn.update_rules import (
    adadelta,
    adagrad,
    adam,
    amsgrad,
    lion,
    momentum,
    nadam,
    nesterov,
    radam,
    rmsprop,
    sgd,
)


@dataclass(frozen=True)
class Segment:
    """A stretch of the parameter vector that is treated alike; frozen stretches belong to no segment."""

    part: slice
    lr_scale: float = 1.0
    weight_decay: float = 0.0


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

    def step(self, theta: Array, grad: Array, lr: float, decay: float = 1.0) -> None:
        """Move theta by one step along grad, in place; both [parameters]. decay: the share of the weight decay that is
        left."""
        self.t += 1
        settings = {**self.settings, "t": self.t} if self.counts_steps else self.settings
        for segment, slots in zip(self.segments, self._slots, strict=True):
            part = segment.part
            own = segment.weight_decay * decay
            self._rule(theta[part], grad[part], *slots, lr * segment.lr_scale, own, **settings)


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

    def step(self, theta: Array, grad: Array, lr: float, decay: float = 1.0) -> None:
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
            state["step"][part] = own * d[part] - (own * segment.weight_decay * decay) * theta[part]
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

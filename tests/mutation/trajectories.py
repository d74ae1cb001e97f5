"""The optimizers' papers once more, written independently of the engine: what a mutated update rule is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mlp_core.nn.backend import Backend
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS, nadam_product
from mlp_core.nn.parameters import Parameters, Spec

SPECS = (
    *(Spec("0.weight", (5, 3), True), Spec("2.weight", (4, 5), True), Spec("4.weight", (2, 4), True)),
    *(Spec("0.bias", (5,), False), Spec("2.bias", (4,), False)),
)
SIZE, STEPS = 52, 18
SETTINGS = {"mu": 0.8, "beta1": 0.85, "beta2": 0.97, "eps": 1e-3, "rho": 0.85}
RATES = {"lbfgs": 0.7, "adadelta": 1.0, "sgd": 0.1, "momentum": 0.05, "nesterov": 0.05}


@dataclass(frozen=True)
class Scenario:
    """Segments of the parameter vector, a stretch in none of them frozen; and a factor of the gradient.

    Where it `turns`, the gradient points the other way in every third step, so that some pairs show no curvature.
    """

    name: str
    segments: tuple[Segment, ...]
    slope: float = 1.0
    turns: bool = False

    def factor(self, t: int) -> float:
        """What the gradient of step t is multiplied by."""
        return -self.slope if self.turns and t % 3 == 0 else self.slope

    def spread(self, what: str) -> np.ndarray:
        """A setting of the segments at every parameter, 0 where frozen."""
        values = np.zeros(SIZE)
        for segment in self.segments:
            values[segment.part] = getattr(segment, what)
        return values


_USUAL = (Segment(slice(0, 35), 1.0, 0.1), Segment(slice(35, 43), 0.5), Segment(slice(45, 52)))
SCENARIOS = (
    Scenario("decay, rates", _USUAL),
    Scenario("small gradients", _USUAL, 1e-3),
    Scenario("curved up and down", _USUAL, 0.05, turns=True),
    # begins within the first matrix, which muon then cannot take as a whole
    Scenario("part of a matrix", (Segment(slice(3, 43), 0.7, 0.05), Segment(slice(43, 52), 2.0, 0.02))),
)


def gradient(theta: np.ndarray) -> np.ndarray:
    """The gradient of a fixed function of the parameters that is neither quadratic nor separable."""
    A = np.random.default_rng(1).standard_normal((SIZE, SIZE)) / math.sqrt(SIZE)
    g: np.ndarray = A.T @ np.tanh(A @ theta - 0.3) + 0.05 * theta
    g[-1] = 0  # nothing depends on the last one
    return g


def rate(name: str, t: int) -> float:
    """The learning rate of step t, a different one in every step."""
    return RATES.get(name, 0.02) * (1 + 0.05 * t)


def left(t: int) -> float:
    """The share of the weight decay that is left in step t."""
    return 1 / (1 + 0.1 * t)


def agrees(name: str, scenario: Scenario, tolerance: float = 1e-9) -> bool:
    """Whether the engine's optimizer walks where the formulas walk."""
    parameters = Parameters(SPECS, Backend("numpy", np, block=7), np.float64)
    start = np.random.default_rng(0).standard_normal(SIZE)
    parameters.theta[:] = start
    optimizer = OPTIMIZERS[name](parameters, Backend("numpy", np, block=7), scenario.segments, **SETTINGS)
    for t, expected in enumerate(walk(name, start, scenario), start=1):
        g = scenario.factor(t) * gradient(parameters.theta)
        kept = g.copy()
        optimizer.step(parameters.theta, g, rate(name, t), left(t))
        if not np.array_equal(g, kept) or not np.allclose(parameters.theta, expected, rtol=tolerance, atol=1e-11):
            return False
    return True


def walk(name: str, theta: np.ndarray, scenario: Scenario) -> Iterator[np.ndarray]:
    """The points of the trajectory."""
    scale, decay = scenario.spread("lr_scale"), scenario.spread("weight_decay")
    move = MOVES.get(name, _lbfgs)()
    matrices = _matrices(scenario) if name == "muon" else []
    momenta = [np.zeros(shape) for _, shape in matrices]
    for t in range(1, STEPS + 1):
        lr, g = rate(name, t), scenario.factor(t) * gradient(theta)
        own = lr * scale
        if name == "lbfgs":
            d, length = move(g * (scale != 0), t)
            last = (lr if t > 1 else lr * length) * scale * (d - left(t) * decay * theta)
            move(last, 0)
            theta = theta + last
        else:
            shrunk = theta * (1 - own * left(t) * decay)
            new = shrunk - own * move(g, t)
            for k, (part, shape) in enumerate(matrices):
                G = g[part].reshape(shape)
                momenta[k] = SETTINGS["mu"] * momenta[k] + (1 - SETTINGS["mu"]) * G
                step = _orthogonal(SETTINGS["mu"] * momenta[k] + (1 - SETTINGS["mu"]) * G)
                new[part] = shrunk[part] - (own[part] * 0.2 * math.sqrt(max(shape)) * step.ravel())
            theta = new
        yield theta


def _matrices(scenario: Scenario) -> list[tuple[slice, tuple[int, ...]]]:
    """The hidden matrices that lie in one segment as a whole."""
    hidden = [(slice(0, 15), (5, 3)), (slice(15, 35), (4, 5))]
    parts = [segment.part for segment in scenario.segments]
    return [(s, shape) for s, shape in hidden if any(p.start <= s.start and s.stop <= p.stop for p in parts)]


def _orthogonal(G: np.ndarray) -> np.ndarray:
    """The quintic iteration on singular values, one number at a time."""
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    s = s / (math.sqrt(float((s * s).sum())) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (U * s) @ Vt


Move = Callable[[np.ndarray, int], np.ndarray]
MU, B1, B2, EPS, RHO = (SETTINGS[key] for key in ("mu", "beta1", "beta2", "eps", "rho"))


def _sgd() -> Move:
    return lambda g, t: g


def _history(decay: float, share: float) -> Callable[[np.ndarray], np.ndarray]:
    """sum over the past of decay^age * share * x, summed anew each time."""
    past: list[np.ndarray] = []

    def total(x: np.ndarray) -> np.ndarray:
        past.append(x)
        return sum(share * decay ** (len(past) - 1 - i) * one for i, one in enumerate(past))  # type: ignore[return-value]

    return total


def _momentum() -> Move:
    m = _history(MU, 1.0)
    return lambda g, t: m(g)


def _nesterov() -> Move:
    m = _history(MU, 1.0)
    return lambda g, t: g + MU * m(g)


def _adagrad() -> Move:
    v = _history(1.0, 1.0)
    return lambda g, t: g / (np.sqrt(v(g**2)) + EPS)


def _rmsprop() -> Move:
    v = _history(RHO, 1 - RHO)
    return lambda g, t: g / (np.sqrt(v(g**2)) + EPS)


def _adadelta() -> Move:
    v, u, before = _history(RHO, 1 - RHO), _history(RHO, 1 - RHO), [np.zeros(SIZE)]

    def move(g: np.ndarray, t: int) -> np.ndarray:
        d = np.sqrt((before[0] + EPS) / (v(g**2) + EPS)) * g
        before[0] = u(d**2)
        return d

    return move


def _adam() -> Move:
    m, v = _history(B1, 1 - B1), _history(B2, 1 - B2)
    return lambda g, t: m(g) / (1 - B1**t) / (np.sqrt(v(g**2) / (1 - B2**t)) + EPS)


def _amsgrad() -> Move:
    m, v, seen = _history(B1, 1 - B1), _history(B2, 1 - B2), []

    def move(g: np.ndarray, t: int) -> np.ndarray:
        seen.append(v(g**2))
        return m(g) / (1 - B1**t) / (np.sqrt(np.max(seen, axis=0) / (1 - B2**t)) + EPS)

    return move


def _nadam() -> Move:
    m, v = _history(B1, 1 - B1), _history(B2, 1 - B2)

    def mu(t: int) -> float:
        return B1 * (1 - 0.96 ** (t / 250) / 2)

    def move(g: np.ndarray, t: int) -> np.ndarray:
        now = math.prod(mu(i) for i in range(1, t + 1))
        nudge = mu(t + 1) * m(g) / (1 - now * mu(t + 1)) + (1 - mu(t)) * g / (1 - now)
        return nudge / (np.sqrt(v(g**2) / (1 - B2**t)) + EPS)

    return move


def _radam() -> Move:
    """As PyTorch has it: eps is added to the root of v before its correction."""
    m, v = _history(B1, 1 - B1), _history(B2, 1 - B2)
    limit = 2 / (1 - B2) - 1

    def move(g: np.ndarray, t: int) -> np.ndarray:
        first, root = m(g) / (1 - B1**t), np.sqrt(v(g**2)) + EPS
        rho = limit - 2 * t * B2**t / (1 - B2**t)
        if rho <= 5:
            return first
        r = math.sqrt((rho - 4) / (limit - 4) * (rho - 2) / (limit - 2) * limit / rho)
        return first * r * math.sqrt(1 - B2**t) / root

    return move


def _lion() -> Move:
    m, before = _history(B2, 1 - B2), [np.zeros(SIZE)]

    def move(g: np.ndarray, t: int) -> np.ndarray:
        step = np.sign(B1 * before[0] + (1 - B1) * g)
        before[0] = m(g)
        return step

    return move


def _lbfgs() -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """-H g with H as a full matrix, updated pair by pair; called with t = 0 it is told the step that was taken."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    last: list[np.ndarray] = []

    def move(g: np.ndarray, t: int) -> tuple[np.ndarray, float]:
        if t == 0:
            last.append(g)
            return g, 1.0
        if t > 1:
            s, y = last.pop(), g - last.pop()
            if s @ y > 1e-10:
                pairs.append((s, y))
        last.append(g)
        H, identity = np.eye(SIZE), np.eye(SIZE)
        if pairs:
            s, y = pairs[-1]
            H *= (s @ y) / (y @ y)
        for s, y in pairs[-10:]:
            left = identity - np.outer(s, y) / (s @ y)
            H = left @ H @ left.T + np.outer(s, s) / (s @ y)
        return -H @ g, min(1.0, 1 / float(np.abs(g).sum()))

    return move


MOVES: dict[str, Callable[[], Move]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adam,
    "nadam": _nadam,
    "radam": _radam,
    "amsgrad": _amsgrad,
    "lion": _lion,
    "muon": _adam,
}


def muon_keeps_its_momentum_in_m() -> bool:
    """Matrices have no second moment, and a momentum in the slot of that name."""
    parameters = Parameters(SPECS, Backend("numpy", np), np.float64)
    optimizer = OPTIMIZERS["muon"](parameters, Backend("numpy", np), SCENARIOS[0].segments, **SETTINGS)
    optimizer.step(parameters.theta, np.ones(SIZE), 0.1)
    hidden = slice(0, 35)
    return bool(optimizer.state["m"][hidden].all() and not optimizer.state["v"][hidden].any())


def the_product_of_nadam_ends_at_zero() -> bool:
    """Below the smallest float the product of the momenta is zero."""
    return nadam_product(0.85, 20_000) == 0

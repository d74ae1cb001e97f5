"""The second opinion: central differences with Richardson extrapolation, on sampled entries, in plain real numbers.

It shares nothing with the complex step but the forward pass, so it would notice a forward that loses the imaginary
part. Each estimate comes with its own error (Ridders, Advances in Engineering Software 4, 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mlp_core.gradcheck.kinks import pieces
from mlp_core.gradcheck.preconditions import rounding
from mlp_core.gradcheck.report import FAIL, PASS, SKIP, Precondition
from mlp_core.nn.layers import Pass
from mlp_core.nn.objective import Objective

SAMPLES = 32
FIRST_STEP = 1e-3
RETRIES = 4
HALVINGS = 20
LEVELS = 6
AGREE = 1e-6
VAGUE = 1e-4
MOST_SKIPPED = 0.05


@dataclass(frozen=True)
class Opinion:
    """How many entries were compared, skipped at a kink, or drowned in rounding; and the worst disagreement."""

    compared: int = 0
    skipped: int = 0
    noisy: int = 0
    worst: float = 0.0
    where: str = ""

    def plus(self, other: Opinion) -> Opinion:
        worse = max(self, other, key=lambda opinion: opinion.worst)
        counts = {name: getattr(self, name) + getattr(other, name) for name in ("compared", "skipped", "noisy")}
        return replace(worse, **counts)

    def row(self) -> Precondition:
        """The row of the report; more than 5 % skipped at kinks is a failure, and so is nothing looked at."""
        total = self.compared + self.skipped + self.noisy
        bad = not total or self.worst > AGREE or self.skipped > MOST_SKIPPED * total
        verdict = FAIL if bad else PASS if self.compared > total / 2 else SKIP
        detail = f"{self.compared} entries, worst {self.worst:.1e}{self.where}, {self.skipped} skipped at kinks"
        detail += f", {self.noisy} below rounding" if self.noisy else ""
        return Precondition("Richardson differences agree", verdict, detail)


def second_opinion(
    proof: Objective,
    X: np.ndarray,
    Y: np.ndarray,
    w: np.ndarray | None,
    mode: Pass,
    rng: np.random.Generator,
    unit: float,
) -> Opinion:
    """Compare up to 32 entries of every tensor with Richardson-extrapolated differences.

    Where a unit may stand exactly on a kink, a difference has no meaning; the weights and inputs are then moved a
    little first. `unit` is the largest gradient entry of the model. Leaves the weights of `proof` as they were.
    """
    network = proof.network
    theta, before, X = network.parameters.theta, network.parameters.theta.copy(), X.copy()
    Z = network.forward(X, mode)
    if (pieces(network, proof.loss, proof.penalty, Z, Y) == 0).any():
        theta += 1e-3 * rng.standard_normal(theta.shape)
        X += 1e-3 * rng.standard_normal(X.shape)
    noise = 8 * rounding(proof, X, Y, w, mode, float(proof.value(X, Y, w, mode)))
    _, dX = proof.value_and_gradient(X, Y, w, mode, input_gradient=True)
    assert dX is not None
    tensors = [(name, theta[part], network.parameters.grad[part]) for name, part in network.parameters.slices.items()]
    tensors = [(name, value, gradient.copy()) for name, value, gradient in tensors]
    tensors.append(("input", X.reshape(-1), dX.ravel().copy()))

    def evaluate() -> tuple[float, np.ndarray]:
        value = float(proof.value(X, Y, w, mode))
        return value, pieces(network, proof.loss, proof.penalty, _logits(proof, X), Y)

    opinion = Opinion()
    for name, values, gradient in tensors:
        picked = rng.permutation(len(values))[:SAMPLES]
        opinion = opinion.plus(_tensor(name, values, gradient, picked, evaluate, unit, noise))
    theta[:] = before
    return opinion


def _logits(proof: Objective, X: np.ndarray) -> np.ndarray:
    """The logits of the forward pass just made: the output of the last layer, which belongs to the network."""
    last = proof.network.layers[-1]
    Z: np.ndarray = last.Z  # type: ignore[attr-defined]
    return Z


def _tensor(
    name: str,
    values: np.ndarray,
    gradient: np.ndarray,
    picked: np.ndarray,
    evaluate: Callable[[], tuple[float, np.ndarray]],
    unit: float,
    noise: float,
) -> Opinion:
    scale = max(float(np.abs(gradient).max()), 1e-4 * unit) or 1.0
    opinion = Opinion()
    for k in picked:
        opinion = opinion.plus(_entry(f" at {name}[{k}]", values, int(k), float(gradient[k]), evaluate, scale, noise))
    return opinion


def _entry(
    place: str,
    values: np.ndarray,
    k: int,
    analytic: float,
    evaluate: Callable[[], tuple[float, np.ndarray]],
    scale: float,
    noise: float,
) -> Opinion:
    """One entry: with ever smaller first steps until the two agree, because a wrong gradient agrees at none."""
    found, step = None, FIRST_STEP
    for _ in range(RETRIES):
        estimate = _derivative(values, k, evaluate, 1e-2 * AGREE * scale, step)
        if estimate is None:
            return found or Opinion(skipped=1)
        numeric, uncertainty = estimate[0], estimate[1] + noise / estimate[2]
        error = max(0.0, abs(analytic - numeric) - 4 * uncertainty) / scale
        vague = uncertainty > VAGUE * scale  # says too little to count as agreement
        if error <= AGREE and not vague:
            return Opinion(compared=1, worst=float(error), where=place)
        if error > AGREE:
            found = Opinion(compared=1, worst=float(error), where=place)
        step /= 32
    return found or Opinion(noisy=1)


def _derivative(
    values: np.ndarray, k: int, evaluate: Callable[[], tuple[float, np.ndarray]], enough: float, step: float
) -> tuple[float, float, float] | None:
    """The derivative along entry k, its error by Ridders' table, the first step; None where a kink is too near."""
    centre = float(values[k])

    def at(x: float) -> tuple[float, np.ndarray]:
        values[k] = x
        result = evaluate()
        values[k] = centre
        return result

    here = at(centre)[1]
    h = min(step * max(1.0, abs(centre)), 0.25)  # a code of a word must not become the next one
    for _ in range(HALVINGS):
        up, down = at(centre + h), at(centre - h)
        if np.array_equal(up[1], here) and np.array_equal(down[1], here):
            return *_ridders(lambda h: (at(centre + h)[0] - at(centre - h)[0]) / (2 * h), h, enough), h
        h /= 2
    return None


def _ridders(difference: Callable[[float], float], h: float, enough: float) -> tuple[float, float]:
    """Extrapolate central differences of steps h, h/2, h/4 ... to step 0, until rounding wins or it is enough."""
    table = [[difference(h)]]
    best, uncertainty = table[0][0], np.inf
    for level in range(1, LEVELS):
        h /= 2
        row = [difference(h)]
        for order in range(level):
            factor = 4.0 ** (order + 1)
            row.append(row[order] + (row[order] - table[-1][order]) / (factor - 1))
            error = max(abs(row[-1] - row[order]), abs(row[-1] - table[-1][order]))
            if error < uncertainty:
                best, uncertainty = row[-1], error
        if abs(row[-1] - table[-1][-1]) >= 2 * uncertainty or uncertainty < enough:
            break
        table.append(row)
    return best, uncertainty

"""The second opinion: central differences with Richardson extrapolation, on sampled entries, in plain real numbers.

It shares nothing with the complex step but the forward pass, so it would notice a forward that loses the imaginary
part. Each estimate comes with its own error (Ridders, Advances in Engineering Software 4, 1982).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.gradcheck.differences import Differences
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
    gradient = network.parameters.grad.copy()
    differences = Differences(proof, X, Y, w, mode)
    opinion = Opinion()
    for name, part in network.parameters.slices.items():
        picked = rng.permutation(part.stop - part.start)[:SAMPLES]
        opinion = opinion.plus(_tensor(name, theta[part], gradient[part], picked, differences, unit, noise))
    picked = rng.permutation(X.size)[:SAMPLES]
    opinion = opinion.plus(_tensor("input", X.reshape(-1), dX.ravel(), picked, differences, unit, noise))
    theta[:] = before
    return opinion


Asking = Generator[float, tuple[float, bool], Any]
"""A computation that asks for the central difference of a step, and is told it and whether a kink is in between."""


def _tensor(
    name: str,
    values: np.ndarray,
    gradient: np.ndarray,
    picked: np.ndarray,
    differences: Differences,
    unit: float,
    noise: float,
) -> Opinion:
    """The entries picked of one tensor, all at the same time: each asks for the differences that it needs."""
    scale, opinion = max(float(np.abs(gradient).max()), 1e-4 * unit) or 1.0, Opinion()
    entries = {int(k): _entry(f" at {name}[{k}]", float(values[k]), float(gradient[k]), scale, noise) for k in picked}
    steps = {k: next(entry) for k, entry in entries.items()}
    while steps:
        for k, found in differences.of(name, values, steps).items():
            try:
                steps[k] = entries[k].send(found)
            except StopIteration as end:
                opinion = opinion.plus(end.value)
                del steps[k]
    return opinion


def _entry(place: str, centre: float, analytic: float, scale: float, noise: float) -> Asking:
    """One entry: with ever smaller first steps until the two agree, because a wrong gradient agrees at none."""
    found, step = None, FIRST_STEP
    for _ in range(RETRIES):
        estimate = yield from _derivative(centre, 1e-2 * AGREE * scale, step)
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


def _derivative(centre: float, enough: float, step: float) -> Asking:
    """The derivative along an entry, its error by Ridders' table, the first step; None where a kink is too near."""
    h = min(step * max(1.0, abs(centre)), 0.25)  # a code of a word must not become the next one
    for _ in range(HALVINGS):
        difference, crossed = yield h
        if not crossed:
            best, uncertainty = yield from _ridders(difference, h, enough)
            return best, uncertainty, h
        h /= 2
    return None


def _ridders(difference: float, h: float, enough: float) -> Asking:
    """Extrapolate central differences of steps h, h/2, h/4 ... to step 0, until rounding wins or it is enough."""
    table = [[difference]]
    best, uncertainty = difference, np.inf
    for level in range(1, LEVELS):
        h /= 2
        row = [(yield h)[0]]
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

"""What must hold for a comparison of gradients to mean anything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.gradcheck.compare import magnitude
from mlp_core.gradcheck.complex_step import ComplexStep
from mlp_core.gradcheck.report import FAIL, PASS, SKIP, Precondition
from mlp_core.nn.backend import BLOCK, blocks
from mlp_core.nn.layers import Pass
from mlp_core.nn.objective import Objective
from mlp_core.rng import generator

ULPS = 4 * np.finfo(np.float64).eps
PARTS = 1e-12


def fingerprint(*arrays: Any) -> str:
    """A digest of arrays, to show that a check changed none of them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()


def preconditions(
    proof: Objective, step: ComplexStep, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass
) -> Iterator[Precondition]:
    """Each condition as a row; leaves the weights as they are, and the gradient of `proof` undefined."""
    value = float(proof.value(X, Y, w, mode))
    yield _row("finite loss", bool(np.isfinite(value)), f"loss {value:.6g}")
    yield _repeatable(proof, X, Y, w, mode)
    yield _zero_error(proof, X, Y, w, mode)
    if proof.loss.classifies:
        yield _extremes(proof, Y)
    yield _one_loss(proof, step, X, Y, w, mode, value)
    yield _micro_batches(proof, X, Y, w, mode)


def _row(name: str, good: bool, detail: str) -> Precondition:
    return Precondition(name, PASS if good else FAIL, detail)


def _repeatable(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> Precondition:
    """Two forwards and two backwards, the second onto a gradient of NaN, give the same bits."""
    network = proof.network
    results = []
    for stale in (0.0, np.nan):
        network.parameters.grad[:] = stale
        value, dX = proof.value_and_gradient(X, Y, w, mode, input_gradient=True)
        results.append((fingerprint(value, dX), fingerprint(network.parameters.grad)))
    same = results[0] == results[1]
    if same:  # and once more from the same forward, so a backward that spoils what the forward kept is seen
        assert network.Delta is not None
        kept = []
        Z = network.forward(X, mode)
        Delta = np.random.Generator(np.random.Philox(0)).standard_normal(Z.shape)
        for _ in range(2):
            dX = network.backward(Delta.copy(), input_gradient=True)
            kept.append(fingerprint(dX, network.parameters.grad))
        same = kept[0] == kept[1]
    return _row("repeatable", same, "two forwards and two backwards, bit-equal" if same else "a second pass differs")


def _zero_error(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> Precondition:
    """The backward pass is linear in the error, so nothing in must give nothing out."""
    network = proof.network
    Z = network.forward(X, mode)
    network.parameters.grad[:] = 1.0
    dX = network.backward(np.zeros_like(Z), input_gradient=True)
    rest = magnitude(network.parameters.grad) + magnitude(np.asarray(dX))
    return _row("zero error gives zero gradients", rest == 0, f"largest {abs(rest):.1e}")


def _extremes(proof: Objective, Y: np.ndarray) -> Precondition:
    """Logits of 1,000 of either sign give a finite loss and gradient: the logarithm is taken with the softmax.

    Every other logit of either sign, then one against all the rest, so that rows are sure of one class, right or wrong.
    """
    outputs = proof.network.architecture.outputs
    row, column = np.indices((len(Y), outputs))
    patterns = [(row + column) % 2 == 0, *((row + column) % outputs == k for k in range(min(outputs, 4)))]
    finite = True
    for logits in (sign * np.where(pattern, 1000.0, -1000.0) for pattern in patterns for sign in (1, -1)):
        rows, cache = proof.loss.forward(np, logits, Y)
        finite &= bool(np.isfinite(rows).all() and np.isfinite(proof.loss.backward(np, Y, cache)).all())
    return _row("finite at logits of 1,000", finite, "loss and gradient")


def _one_loss(
    proof: Objective, step: ComplexStep, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass, value: float
) -> Precondition:
    """The loss that is reported, the one beside the gradient, and the complex one are the same number."""
    beside = float(proof.value_and_gradient(X, Y, w, mode)[0])
    complex_value = step.value().real
    Z = proof.network.forward(X, mode)
    rows = proof.loss.forward(np, Z, Y)[0]
    weights = np.ones(len(X)) if w is None else np.asarray(w, np.float64)
    mean = float((weights * rows).sum() / weights.sum() + proof.penalty.value(proof.network))
    # Sums in another order differ by units in the last place of their largest term, grown through the layers.
    terms = max(1.0, abs(value), float(np.abs(Z).max()), float(np.abs(rows).max()))
    difference = max(abs(value - other) for other in (beside, mean, complex_value))
    ulps = difference / (terms * np.finfo(np.float64).eps)
    allowed = ULPS * terms * len(proof.network.layers) + 16 * rounding(proof, X, Y, w, mode, value)
    good = bool(difference <= allowed)
    return _row("one loss", good, f"reported, differentiated, complex: {ulps:.1f} ulp apart")


def rounding(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass, value: float) -> float:
    """How far the loss moves when every weight and input moves by a unit in its last place: what rounding may do.

    Leaves the weights as they are; they are kept in the place of the gradient meanwhile.
    """
    theta, before = proof.network.parameters.theta, proof.network.parameters.grad
    rng, eps = generator(0, "gradcheck", 7), np.finfo(np.float64).eps
    terms = max(abs(value), float(np.abs(proof.network.forward(X, mode)).max()))  # the loss is a difference of logits
    moved, before[:] = float(eps) * terms, theta
    for _ in range(2):
        for part in blocks(len(theta)):
            theta[part] *= np.where(rng.integers(0, 2, part.stop - part.start, bool), 1 + eps, 1 - eps)
        nudged = X * (1 + eps * rng.choice([-1.0, 1.0], X.shape))
        moved = max(moved, abs(float(proof.value(nudged, Y, w, mode)) - value))
        theta[:] = before
    return moved


def _micro_batches(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> Precondition:
    """Parts of unequal size, summed, give the gradient of the whole; without dropout and with fixed statistics."""
    name = "micro-batches equal the batch"
    if len(X) < 2:
        return Precondition(name, SKIP, "one row only")
    still = replace(mode, training=False)
    gradient = proof.network.parameters.grad
    whole_value, _ = proof.value_and_gradient(X, Y, w, still)
    whole = folded(gradient)
    total = float(len(X) if w is None else w.sum())
    rest, value = whole.copy(), 0.0
    size = max(1, len(X) * 2 // 3)
    for rows in (slice(0, size), slice(size, len(X))):
        part_w = None if w is None else w[rows]
        first = rows.start == 0
        loss, _ = proof.value_and_gradient(X[rows], Y[rows], part_w, still, total=total, penalties=first)
        value += float(loss)
        rest -= folded(gradient)
    error = magnitude(rest) / (magnitude(whole) or 1.0)
    error = max(error, abs(value - float(whole_value)) / max(1.0, abs(value)))
    return _row(name, error <= PARTS, f"{size} + {len(X) - size} rows: {error:.1e} apart")


def folded(gradient: np.ndarray) -> np.ndarray:
    """At most 16,384 numbers that stand for a gradient, copied: its blocks of so many, summed with Gaussian weights.

    Linear, so parts of a gradient add up where these do; and a wrong entry shows, because no weight is 0.
    """
    if len(gradient) <= BLOCK:
        return gradient.copy()
    count = len(gradient) // BLOCK
    weights = generator(0, "gradcheck", 8).standard_normal(count + 1)
    result: np.ndarray = weights[:count] @ gradient[: count * BLOCK].reshape(count, BLOCK)
    rest = gradient[count * BLOCK :]
    result[: len(rest)] += weights[count] * rest
    return result

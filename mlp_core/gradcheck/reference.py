"""The reference: derivatives by the complex step, Im f(x + i h u) / h, exact to the last digits.

h is so small that no truncation error is left and no subtraction takes place (Squire and Trapp, SIAM Review 40, 1998).
A perturbation this small crosses no kink: the branch is taken on the real part. With h = 1e-200 this holds even for a
unit that stands exactly on its kink, because h^2, which products of two imaginary parts add to the real part, is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mlp_core.backend import Backend, numpy_backend
from mlp_core.layers import Pass
from mlp_core.network import Network
from mlp_core.objective import Objective

STEP = 1e-200
CHUNK = 64
Direction = tuple[Any, Any]
"""An index into the parameter vector or into the inputs, and the values of the direction there."""


def twin(objective: Objective, rows: int, dtype: Any, backend: Backend | None = None) -> Objective:
    """The objective on a network of its own, with the same weights and statistics, by default on plain numpy."""
    source = objective.network
    network = Network(source.architecture, backend or numpy_backend(), dtype, rows, training=True)
    copy_state(source, network)
    return Objective(network, objective.loss, objective.penalty)


def copy_state(source: Network, target: Network) -> None:
    """Copy weights and kept statistics from one network into another, across dtypes and backends."""
    pairs = (source.parameters, target.parameters), (source.statistics, target.statistics)
    for one, other in pairs:
        other.theta[...] = target.backend.asarray(
            np.asarray(source.backend.to_host(one.theta)).astype(other.theta.dtype)
        )


class ComplexStep:
    """Derivatives of one objective at its present weights, for one batch.

    Each direction costs one forward pass of the complex network; the losses of many directions are taken at once.
    """

    def __init__(self, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> None:
        self.objective, self.mode = twin(proof, len(X), np.complex128), mode
        self.network = self.objective.network
        self.X, self.Y = X.astype(np.complex128), Y
        self.weights = np.ones(len(X)) if w is None else np.asarray(w, np.float64)
        self.total = float(self.weights.sum())
        self._Y = np.concatenate([Y] * CHUNK)
        self._Z = np.empty((CHUNK, len(X), self.network.architecture.outputs), np.complex128)

    def value(self) -> complex:
        """The whole objective on complex numbers without a perturbation."""
        w = None if (self.weights == 1).all() else self.weights
        return complex(self.objective.value(self.X, self.Y, w, self.mode))

    def parameters(self, directions: Iterable[Direction]) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the data loss [K] and of the penalty [K] along K directions in the parameters."""
        return self._derivatives(self.network.parameters.theta, directions)

    def inputs(self, directions: Iterable[Direction]) -> np.ndarray:
        """Derivatives of the data loss along K directions in the inputs [b, n]."""
        return self._derivatives(self.X.reshape(-1), directions)[0]

    def logits(self, Z: np.ndarray) -> np.ndarray:
        """The loss's own derivative at each of the logits Z [b, c]: all rows of one column in one evaluation."""
        derivative = np.empty_like(Z)
        for column in range(Z.shape[1]):
            perturbed = Z.astype(np.complex128)
            perturbed.imag[:, column] = STEP
            rows, _ = self.objective.loss.forward(np, perturbed, self.Y)
            derivative[:, column] = rows.imag / STEP * self.weights / self.total
        return derivative

    def _derivatives(self, point: np.ndarray, directions: Iterable[Direction]) -> tuple[np.ndarray, np.ndarray]:
        data: list[np.ndarray] = []
        penalty: list[float] = []
        imaginary = point.imag
        for chunk in _chunks(directions):
            for k, (index, values) in enumerate(chunk):
                imaginary[index] = np.multiply(values, STEP, dtype=np.float64)
                self._Z[k] = self.network.forward(self.X, self.mode)
                penalty.append(np.imag(self.objective.penalty.value(self.network)) / STEP)
                imaginary[index] = 0
            data.append(self.losses(self._Z[: len(chunk)]))
        return (np.concatenate(data) if data else np.empty(0)), np.array(penalty)

    def losses(self, Z: np.ndarray) -> np.ndarray:
        """Derivative of the mean loss for each of k <= 64 stacked logits [k, b, c] that carry a perturbation."""
        k, b, c = Z.shape
        rows, _ = self.objective.loss.forward(np, Z.reshape(k * b, c), self._Y[: k * b])
        derivative: np.ndarray = rows.imag.reshape(k, b) @ self.weights / self.total / STEP
        return derivative


def _chunks(directions: Iterable[Direction]) -> Iterator[list[Direction]]:
    chunk: list[Direction] = []
    for direction in directions:
        chunk.append(direction)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""The reference: derivatives by the complex step, Im f(x + i h u) / h, exact to the last digits.

h is so small that no truncation error is left and no subtraction takes place (Squire and Trapp, SIAM Review 40, 1998).
A perturbation this small crosses no kink: the branch is taken on the real part. With h = 1e-200 this holds even for a
unit that stands exactly on its kink, because h^2, which products of two imaginary parts add to the real part, is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from mlp_core.gradcheck.copies import Copies, copies, stacking
from mlp_core.gradcheck.half_matrices import ComplexParameters
from mlp_core.gradcheck.real_parts import shared
from mlp_core.nn.backend import Backend, numpy_backend
from mlp_core.nn.layers import Pass
from mlp_core.nn.network import Network
from mlp_core.nn.objective import Objective

STEP = 1e-200
Direction = Iterable[tuple[Any, Any]]
"""A direction through a tensor piece by piece: an index into the tensor as one vector, and the values there."""


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
        host = np.asarray(source.backend.to_host(one.theta))
        other.theta[...] = target.backend.asarray(host.astype(other.theta.dtype)) if target.backend.remote else host


def complex_twin(proof: Objective, rows: int) -> Objective:
    """The objective on a complex network whose real parts are the weights of this one in float64, for batches of so
    many rows and stacked copies of them."""
    source, backend = proof.network, stacking(rows, shared(rows, STEP))
    parameters, most = ComplexParameters(source.parameters), rows * copies(source.architecture, rows)
    network = Network(source.architecture, backend, np.complex128, most, training=True, parameters=parameters)
    network.statistics.theta[...] = source.statistics.theta
    return Objective(network, proof.loss, proof.penalty)


class ComplexStep:
    """Derivatives of one objective at its present weights, for one batch.

    Each direction costs one forward pass of the complex network, from the layer that it goes through upwards, and many
    of them are made at once (`Copies`). The first direction of each tensor is gone by a pass through the whole network,
    too: `whole` are the derivatives that were asked for last with this one in place of the first.
    """

    def __init__(self, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> None:
        self.objective, self.mode = complex_twin(proof, len(X)), mode
        self.network = self.objective.network
        self.X, self.Y = X.astype(np.complex128), Y
        self.weights = np.ones(len(X)) if w is None else np.asarray(w, np.float64)
        self.total, self.whole = float(self.weights.sum()), np.empty(0)
        self.copies = Copies(self.network, self.X, mode)
        self._Y = np.concatenate([Y] * self.copies.most)

    def value(self) -> complex:
        """The whole objective on complex numbers without a perturbation."""
        w = None if (self.weights == 1).all() else self.weights
        return complex(self.objective.value(self.X, self.Y, w, self.mode))

    def parameters(self, name: str, directions: Iterable[Direction]) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of the data loss [K] and of the penalty [K] along K directions in one tensor.

        Spoils the gradient of the network that the complex one was made from.
        """
        parameters = self.network.parameters
        assert isinstance(parameters, ComplexParameters)
        penalty = _PenaltySlope(self.objective, name)
        imaginary = parameters.open(name)
        data = self._derivatives(self.copies.place(name), imaginary, directions, penalty)
        parameters.close(name)
        return data, np.array(penalty.slopes)

    def inputs(self, directions: Iterable[Direction]) -> np.ndarray:
        """Derivatives of the data loss along K directions in the inputs [b, n]."""
        return self._derivatives(0, self.X.reshape(-1).imag, directions, None)

    def logits(self, Z: np.ndarray) -> np.ndarray:
        """The loss's own derivative at each of the logits Z [b, c]: all rows of one column in one evaluation."""
        derivative = np.empty_like(Z)
        for column in range(Z.shape[1]):
            perturbed = Z.astype(np.complex128)
            perturbed.imag[:, column] = STEP
            rows, _ = self.objective.loss.forward(np, perturbed, self.Y)
            derivative[:, column] = rows.imag / STEP * self.weights / self.total
        return derivative

    def _derivatives(
        self, place: int, imaginary: np.ndarray, directions: Iterable[Direction], penalty: _PenaltySlope | None
    ) -> np.ndarray:
        data, first = [np.empty(0)], np.empty(0)
        for chunk in _chunks(directions, self.copies.most):
            data.append(self.losses(self.copies.logits(place, _perturbed(imaginary, chunk, penalty))))
            for _ in _perturbed(imaginary, chunk[:1], None) if not len(first) else ():
                first = self.losses(self.network.forward(self.X, self.mode)[None])
        derivatives = np.concatenate(data)
        self.whole = np.concatenate([first, derivatives[1:]])
        return derivatives

    def losses(self, Z: np.ndarray) -> np.ndarray:
        """Derivative of the mean loss for each of k stacked logits [k, b, c] that carry a perturbation."""
        k, b, c = Z.shape
        rows, _ = self.objective.loss.forward(np, Z.reshape(k * b, c), self._Y[: k * b])
        derivative: np.ndarray = rows.imag.reshape(k, b) @ self.weights / self.total / STEP
        return derivative


class _PenaltySlope:
    """Derivatives of an objective's penalty along directions in one tensor.

    A penalty is a sum over entries, so its derivative is that of the perturbed entries alone.
    """

    def __init__(self, objective: Objective, name: str) -> None:
        parameters, self.penalty = objective.network.parameters, objective.penalty
        self.backend, self.real = objective.network.backend, parameters.theta[parameters.slices[name]]
        self.weights = slice(None if parameters.slices[name].stop <= parameters.weights.stop else 0)
        self.slopes: list[float] = []
        self._sum = 0.0

    def add(self, index: Any, imaginary: Any) -> None:
        """A piece of a direction: where it is, and the imaginary parts there."""
        if self.penalty.l1 or self.penalty.l2:
            entries = np.atleast_1d(self.real[index]).astype(np.complex128)
            entries.imag = imaginary
            there: Any = SimpleNamespace(
                backend=self.backend, parameters=SimpleNamespace(theta=entries, weights=self.weights)
            )
            self._sum += float(np.imag(self.penalty.value(there))) / STEP

    def end(self) -> None:
        """The end of a direction."""
        self.slopes.append(self._sum)
        self._sum = 0.0


def _perturbed(imaginary: np.ndarray, directions: Iterable[Direction], penalty: _PenaltySlope | None) -> Iterator[None]:
    """One direction after the other in the imaginary parts of a tensor, as one vector."""
    for direction in directions:
        touched = []
        for index, values in direction:
            imaginary[index] = np.multiply(values, STEP, dtype=np.float64)
            touched.append(index)
            if penalty is not None:
                penalty.add(index, imaginary[index])
        if penalty is not None:
            penalty.end()
        yield
        for index in touched:
            imaginary[index] = 0


def _chunks(directions: Iterable[Direction], most: int) -> Iterator[list[Direction]]:
    chunk: list[Direction] = []
    for direction in directions:
        chunk.append(direction)
        if len(chunk) == most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

"""First weights and biases that look at the data: every unit begins with a z of deviation 1, and near some row.

A function of the seed and of the training rows alone: computed on the host in float64, whatever trains afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlp_core.nn.backend import Array, numpy_backend
from mlp_core.nn.layers import Dense, Layer, Pass, Residual
from mlp_core.nn.network import Network
from mlp_core.rng import generator

ROWS = 1024
"""Training rows that are looked at, drawn at random where there are more."""

MIXED = 5
"""Rows whose z a first bias is made of."""

STILL = 1e-6
"""A unit whose z moves by no more than this share of its size says the same of every row: its weights stay, and so does
its bias, which would put it where rounding decides on which side of a kink it stands. Behind the first layer numbers
are of the size of 1, whatever the inputs are, so less than this is the rounding of layers that say nothing."""

_MODE = Pass(training=True, record=False, dropout=0.0)


def data_start(network: Network, X: Any, seed: int) -> None:
    """Change the drawn weights and biases of a network as its architecture asks, layer by layer from the inputs.

    X: training inputs, indexed by row numbers. With z = W a (over sqrt(n) in the ntk parametrisation) of the rows so
    far, `rescale` divides each row of W by the deviation of its z, those of the last layer too; `bias_init` data gives
    each hidden unit b = -sum over k of s_k z_k, of five rows of its own, s_k shares of exponential variables: the unit
    is 0 somewhere among the rows (Holzmueller et al., NeurIPS 2024).
    """
    architecture, backend = network.architecture, network.backend
    if not architecture.rescale and architecture.bias_init != "data":
        return
    rows = np.sort(generator(seed, "start").choice(len(X), min(len(X), ROWS), replace=False, shuffle=False))
    A = np.asarray(backend.to_host(X[backend.asarray(rows)])).astype(np.float64)
    twin = Network(architecture, numpy_backend(), np.float64, len(A), training=False)
    twin.parameters.theta[...] = backend.to_host(network.parameters.theta)
    with np.errstate(all="ignore"):
        _Start(twin, seed).through(twin.layers, A)
    network.parameters.theta[...] = backend.asarray(twin.parameters.theta.astype(network.dtype))


class _Start:
    """The walk through the layers; `last` is the one whose biases are not its own matter."""

    def __init__(self, network: Network, seed: int) -> None:
        self.rescale = network.architecture.rescale
        self.biases = network.architecture.bias_init == "data"
        self.seed, self.last = seed, network.layers[-1]
        self.least = 0.0

    def through(self, layers: Sequence[Layer], A: Array) -> Array:
        """The outputs of layers for inputs A [rows, n], their weights changed on the way."""
        for layer in layers:
            if isinstance(layer, Residual):
                A = A + self.through(layer.inner, A)
                continue
            if isinstance(layer, Dense):
                self._dense(layer, A)
            A = layer.forward(A, _MODE)
        return A

    def _dense(self, layer: Dense, A: Array) -> None:
        Z = (A @ layer.W.T) * layer.scale
        deviation = Z.std(axis=0)
        moved = deviation > STILL * np.maximum(np.abs(Z).max(axis=0), self.least)
        self.least = 1.0
        if self.rescale:
            layer.W[moved] /= deviation[moved, None]
            Z[:, moved] /= deviation[moved]
        if self.biases and layer is not self.last and layer.b is not None:
            draw, units = generator(self.seed, "start", layer.index), np.arange(layer.units)[:, None]
            rows = draw.integers(0, len(Z), (layer.units, MIXED))
            shares = draw.exponential(size=rows.shape)
            shares /= shares.sum(axis=1, keepdims=True)
            layer.b[moved] = -(shares * Z[rows, units]).sum(axis=1)[moved]

"""The points in weight space at which a gradient is checked: some bugs show at one only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlp_core.nn.layers import Dense, Pass
from mlp_core.nn.norm import Norm
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import Adam
from mlp_core.rng import generator

PROBES = ("init", "burn", "wild")
BURN_STEPS = 20
BURN_RATE = 1e-3
WILD_FACTOR = 30.0
WILD_LIMIT = 60.0
WILD_BIAS = 0.3


def move(
    probe: str, proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass, seed: int
) -> None:
    """Move the weights of `proof` from where they are given to a probe point.

    - init: where they are
    - burn: after 20 steps of Adam on these rows, so that biases, gains and running statistics have moved
    - wild: norm gains of random sign, biases moved at random, logits 30 times as large (at most 60), so that units
      saturate and dead ones wake
    """
    if probe == "burn":
        _burn(proof, X, Y, w, mode)
    elif probe == "wild":
        _wild(proof, X, mode, seed)
    elif probe != "init":
        raise ValueError(f"unknown probe {probe}; there are {', '.join(PROBES)}")


def _burn(proof: Objective, X: np.ndarray, Y: np.ndarray, w: np.ndarray | None, mode: Pass) -> None:
    parameters = proof.network.parameters
    optimizer = Adam(parameters, proof.network.backend, beta1=0.9, beta2=0.999, eps=1e-8)
    for step in range(BURN_STEPS):
        last = parameters.theta.copy()
        value, _ = proof.value_and_gradient(X, Y, w, replace(mode, step=mode.step + step, record=mode.training))
        optimizer.step(parameters.theta, parameters.grad, BURN_RATE)
        if not (np.isfinite(value) and np.isfinite(parameters.theta).all()):
            parameters.theta[:] = last
            return


def _wild(proof: Objective, X: np.ndarray, mode: Pass, seed: int) -> None:
    rng = generator(seed, "gradcheck", 1)
    layers = proof.network._flat_layers()
    for layer in layers:
        if isinstance(layer, Norm):
            layer.gain *= rng.choice([-1.0, 1.0], layer.gain.shape)
        if isinstance(layer, Dense) and layer.b is not None:
            layer.b += WILD_BIAS * rng.standard_normal(layer.b.shape)
    Z = proof.network.forward(X, mode)
    largest = float(np.abs(Z).max())
    factor = min(WILD_FACTOR, WILD_LIMIT / largest) if 0 < largest < np.inf else WILD_FACTOR
    output = layers[-1]
    assert isinstance(output, Dense)
    output.W *= factor
    if output.b is not None:
        output.b *= factor

"""Which smooth piece every piecewise unit stands on, so that finite differences never step across a kink unseen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp_core.nn.backend import Array, blocks
from mlp_core.nn.layers import Activate, Dense, Layer, PRelu, Residual
from mlp_core.nn.loss import Loss
from mlp_core.nn.network import Network
from mlp_core.nn.objective import Penalty
from mlp_core.nn.parametric import Parametric


def _flat(layers: Sequence[Layer]) -> list[Layer]:
    """Layers with those inside residual connections in their place."""
    return [one for layer in layers for one in (layer.inner if isinstance(layer, Residual) else [layer])]


def pieces(network: Network, loss: Loss, penalty: Penalty, Z: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The sign of every distance to a kink, as one vector of -1, 0, 1, after a forward pass that gave the logits Z."""
    parts = [*sides(network.layers), loss.kinks(Z.real, Y)]
    if penalty.l1:
        theta = network.parameters.theta
        theta = theta if penalty.bias else theta[network.parameters.weights]
        parts += [np.sign(theta[part].real).astype(np.float16) for part in blocks(len(theta))]
    return np.concatenate([part.ravel() for part in parts], dtype=np.float16)


def sides(layers: Sequence[Layer]) -> list[Array]:
    """The sign of every distance to a kink of layers after a forward pass, of each that has any as [kinks, b, m]."""
    return [signs for layer in _flat(layers) if (signs := _layer(layer)) is not None]


def _layer(layer: Layer) -> Array | None:
    if isinstance(layer, PRelu):
        return np.sign(layer.Z.real)[None]
    if isinstance(layer, Dense | Activate | Parametric) and layer.f is not None and layer.f.kinks:
        f = layer.f
        if isinstance(layer, Activate | Parametric) or not f.from_output:
            return np.stack([np.sign(layer.Z.real - kink) for kink in f.kinks])
        at = f.forward(np, np.array(f.kinks))  # Z was overwritten by f(Z), and f is monotone
        return np.stack([np.sign(layer.A.real - value) for value in at])
    return None

"""Forward passes of many copies of a network at once, in each of which something else is perturbed within one layer.

What is below that layer is the same in all of them and is gone through once; the layer itself is gone through copy by
copy; what is above it, by the rows of all copies in one stack. Every layer does there what it always does. Only two
things depend on which rows make a batch, and are told: the masks of dropout, which are those of one batch repeated, and
the statistics of batch norm, which are taken copy by copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlp_core.nn import primitives
from mlp_core.nn.backend import Backend
from mlp_core.nn.layers import Layer, Pass
from mlp_core.nn.network import Architecture, Network
from mlp_core.nn.norm import Norm

MOST = 64
CELLS = 1 << 14
"""Cells of the widest layer up to which copies are stacked: its arrays then stay in a core's cache."""


def copies(architecture: Architecture, rows: int) -> int:
    """How many copies of a batch of so many rows are stacked."""
    widest: int = max(architecture.outputs, *(getattr(layer, "units", 0) for layer in architecture.layers()))
    return max(1, min(MOST, CELLS // (rows * widest)))


def stacking(rows: int, kernels: dict[str, Callable[..., Any]] | None = None) -> Backend:
    """Plain numpy for networks whose rows are copies of batches of so many; each mask of dropout is drawn once."""
    kept: dict[tuple[Any, ...], np.ndarray] = {}

    def dropout_mask(mask: np.ndarray, uniform: np.ndarray, *draw: Any) -> None:
        if draw not in kept:
            kept[draw] = np.empty_like(mask[:rows])
            primitives.dropout_mask(np, kept[draw], uniform[:rows], *draw)
        mask.reshape(-1, rows, mask.shape[1])[...] = kept[draw]

    return Backend("numpy", np, {"dropout_mask": dropout_mask, **(kernels or {})})


class Copies:
    """Passes over the batch X [b, n] through a network with memory for `most` b rows, on a backend of `stacking`.

    `below` has what goes into each of its layers where nothing is perturbed.
    """

    def __init__(self, network: Network, X: np.ndarray, mode: Pass) -> None:
        self.network, self.mode, self.rows = network, mode, len(X)
        self.most = network.rows // self.rows
        for layer in network._flat_layers():
            if isinstance(layer, Norm) and layer.kind == "batch":
                layer.forward = _copy_by_copy(layer.forward, self.rows)  # type: ignore[method-assign]
        self.below, A = [X], X
        for layer in network.layers:
            A = layer.forward(A, mode).copy()
            self.below.append(A)

    def place(self, name: str) -> int:
        """Which layer has the tensor of this name; the inputs are perturbed before the first."""
        places = enumerate(self.network.layers)
        return next((i for i, layer in places if name in {spec.name for spec in layer.specs()}), 0)

    def logits(self, place: int, perturbed: Iterator[Any]) -> np.ndarray:
        """Logits [k, b, c] of k <= `most` copies. The iterator perturbs layer `place`, or X, for one copy at each step,
        and clears it away at the next. The array belongs to the network."""
        layer, stack, k = self.network.layers[place], np.empty(0), 0
        for k, _ in enumerate(perturbed, start=1):
            A = layer.forward(self.below[place], self.mode)
            if k == 1:
                stack = np.empty((self.most, *A.shape), A.dtype)
            stack[k - 1] = A
        A = stack[:k].reshape(k * self.rows, -1)
        for layer in self.above(place):
            A = layer.forward(A, self.mode)
        logits: np.ndarray = A.reshape(k, self.rows, -1)
        return logits

    def above(self, place: int) -> list[Layer]:
        """The layers that only see what a perturbation of layer `place` has made."""
        return self.network.layers[place + 1 :]


def _copy_by_copy(forward: Callable[..., np.ndarray], rows: int) -> Callable[..., np.ndarray]:
    """A layer's forward pass over stacked copies of a batch, each on its own."""

    def stacked(X: np.ndarray, mode: Pass) -> np.ndarray:
        if len(X) == rows:
            return forward(X, mode)
        return np.concatenate([forward(X[k : k + rows], mode).copy() for k in range(0, len(X), rows)])

    return stacked

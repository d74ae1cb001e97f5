"""The losses of the last steps, which stay on their device until somebody has to know them."""

from __future__ import annotations

import numpy as np

from mlp_core.backend import Array, Backend


class Ledger:
    """Keeps up to `capacity` losses with the weights of their batches; `read` brings them to the host all at once.

    Reading one number from a device waits for everything that is queued there, so a training loop that looked at each
    loss would have the device stand still most of the time.
    """

    def __init__(self, backend: Backend, capacity: int) -> None:
        self._backend, self._losses = backend, backend.zeros((capacity,), np.float64)
        self._weights: list[float] = []

    @property
    def full(self) -> bool:
        return len(self._weights) == len(self._losses)

    def add(self, loss: Array, weight: float) -> None:
        """Put down the loss of a step, a single number on the device, without looking at it."""
        self._losses[len(self._weights)] = loss
        self._weights.append(weight)

    def read(self) -> list[tuple[float, float]]:
        """Loss and weight of every step since the last time, oldest first."""
        weights, self._weights = self._weights, []
        if not weights:
            return []
        losses = self._backend.to_host(self._losses[: len(weights)])
        return [(float(loss), weight) for loss, weight in zip(losses, weights, strict=True)]

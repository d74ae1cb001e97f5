"""The losses of the last steps, which stay on their device until somebody has to know them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlp_core.nn.backend import Array, Backend


class Ledger:
    """Keeps up to `capacity` losses with the weights of their batches; `read` brings them to the host all at once.

    Reading one number from a device waits for everything that is queued there, so a training loop that looked at each
    loss would have the device stand still most of the time.
    """

    def __init__(self, backend: Backend, capacity: int) -> None:
        self._backend, self.losses = backend, backend.zeros((capacity,), np.float64)
        self._weights: list[float] = []

    @property
    def room(self) -> int:
        """How many losses more there is a place for."""
        return len(self.losses) - len(self._weights)

    def add(self, loss: Array, weight: float) -> None:
        """Put down the loss of a step, a single number on the device, without looking at it."""
        self.losses[self.reserve([weight])] = loss

    def reserve(self, weights: Sequence[float]) -> int:
        """The place of the first of some losses that a device will put into `losses` by itself, one after the other."""
        place = len(self._weights)
        self._weights += weights
        return place

    def read(self) -> list[tuple[float, float]]:
        """Loss and weight of every step since the last time, oldest first."""
        weights, self._weights = self._weights, []
        if not weights:
            return []
        losses = self._backend.to_host(self.losses[: len(weights)])
        return [(float(loss), weight) for loss, weight in zip(losses, weights, strict=True)]

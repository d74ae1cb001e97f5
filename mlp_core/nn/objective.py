"""The number that training minimises: the mean loss of a batch plus the penalties, and its gradient.

Training and the gradient check call the same two methods, so what is proved is what is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlp_core.nn.backend import Array, blocks
from mlp_core.nn.layers import EVALUATE, Pass
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import loss_and_gradient
from mlp_core.nn.network import Network


@dataclass(frozen=True)
class Penalty:
    """l2/2 * sum(W^2) + l1 * sum(|W|) over the weight matrices, over all parameters where `bias`.

    Gradient: l2 W + l1 sign(W), with sign(0) = 0.
    """

    l2: float = 0.0
    l1: float = 0.0
    bias: bool = False

    @property
    def counts(self) -> bool:
        """Whether there is anything to add."""
        return bool(self.l2 or self.l1)

    def _penalised(self, network: Network, vector: Array) -> Array:
        return vector if self.bias else vector[network.parameters.weights]

    def value(self, network: Network) -> Any:
        """The penalty, to be added to the mean loss; complex where the parameters are."""
        xp, theta = network.backend.xp, self._penalised(network, network.parameters.theta)
        value: Any = 0.0
        if self.l2:
            value = value + 0.5 * self.l2 * xp.dot(theta, theta)
        for part in blocks(len(theta) if self.l1 else 0, 1, network.backend.block):
            value = value + self.l1 * xp.dot(xp.sign(theta[part].real).astype(theta.dtype), theta[part])
        return value

    def add_at_once(self, network: Network, loss: Array, fused: Callable[..., None]) -> None:
        """Add the penalty to a loss on a device, and its gradient to the network's, by a kernel."""
        vectors = (self._penalised(network, one) for one in (network.parameters.theta, network.parameters.grad))
        fused(loss, *vectors, self.l2, self.l1)

    def add_gradient(self, network: Network) -> None:
        """Add the penalty's gradient to the network's."""
        xp = network.backend.xp
        theta = self._penalised(network, network.parameters.theta)
        grad = self._penalised(network, network.parameters.grad)
        for part in blocks(len(theta), 1, network.backend.block):
            if self.l2:
                grad[part] += self.l2 * theta[part]
            if self.l1:
                grad[part] += self.l1 * xp.sign(theta[part])


@dataclass
class Objective:
    """A network, a loss and penalties, as one function of the parameters.

    X [b, n] inputs, Y targets, w [b] row weights or None; the loss is a mean over rows with these weights. Where a
    batch is worked on in parts, `total` is the weight of the whole batch, and one part takes the `penalties`.
    """

    network: Network
    loss: Loss
    penalty: Penalty = Penalty()

    def __post_init__(self) -> None:
        self._loss_and_gradient = self.network.backend.primitive(loss_and_gradient)

    def value(self, X: Array, Y: Array, w: Array | None = None, mode: Pass = EVALUATE) -> Any:
        """Mean loss plus penalty; complex where the network is."""
        Z = self.network.forward(X, mode)
        total = float(len(X) if w is None else w.sum())
        return self._loss_and_gradient(self.loss, Z, Y, w, total, None) + self.penalty.value(self.network)

    def value_and_gradient(
        self,
        X: Array,
        Y: Array,
        w: Array | None = None,
        mode: Pass = EVALUATE,
        *,
        total: float | None = None,
        penalties: bool = True,
        input_gradient: bool = False,
    ) -> tuple[Any, Array | None]:
        """Loss with penalty, and dLoss/dX if asked for; the gradient of the parameters is left in the network."""
        network = self.network
        if total is None:
            total = float(len(X) if w is None else w.sum())
        Z, Delta = network.forward(X, mode), network.Delta[: len(X)]
        value = self._loss_and_gradient(self.loss, Z, Y, w, total, Delta)
        dX = network.backward(Delta, input_gradient)
        if penalties and self.penalty.counts:
            value = value + self.penalty.value(network)
            self.penalty.add_gradient(network)
        return value, dX

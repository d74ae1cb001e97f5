"""All parameters of a network as one vector, and the arrays of the layers as views into it.

Weights (the matrices, which weight decay and penalties apply to) come first, everything else (biases, norm gains and
shifts) after, so that "the weights" is a slice. Optimizers, clipping, averaging and checkpoints see only the vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from mlp_core.nn.backend import Array, Backend


@dataclass(frozen=True)
class Spec:
    """One tensor: its name (PyTorch's, such as `2.weight`), its shape, and whether it is a weight matrix.

    `kind` is what `optimizer.lr_factors` calls it, empty for what has no factor of its own.
    """

    name: str
    shape: tuple[int, ...]
    is_weight: bool
    kind: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Parameters:
    """A flat vector `theta`, its gradient `grad` of equal length, and named views into both.

    Views are written in place and never rebound, so they stay true for the life of the network.
    """

    def __init__(self, specs: Sequence[Spec], backend: Backend, dtype: Any) -> None:
        self.specs = [s for s in specs if s.is_weight] + [s for s in specs if not s.is_weight]
        self.slices: dict[str, slice] = {}
        start = 0
        for spec in self.specs:
            self.slices[spec.name] = slice(start, start + spec.size)
            start += spec.size
        self.size = start
        self.weights = slice(0, sum(spec.size for spec in specs if spec.is_weight))
        self.theta = backend.zeros((self.size,), dtype)
        self.grad = backend.zeros((self.size,), dtype)
        self.values = self.views(self.theta)
        self.gradients = self.views(self.grad)

    def beside(self, backend: Backend) -> Parameters:
        """The same parameters with a gradient of their own."""
        other = copy(self)
        other.grad = backend.zeros((self.size,), self.theta.dtype)
        other.gradients = other.views(other.grad)
        return other

    def views(self, vector: Array) -> dict[str, Array]:
        """Named, shaped views into a vector of this length (theta, grad, or an optimizer's state)."""
        return {spec.name: vector[self.slices[spec.name]].reshape(spec.shape) for spec in self.specs}

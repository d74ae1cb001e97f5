"""What stacked copies of a complex network have in common: a step of 1e-200 leaves the real parts of all the same.

So a product takes them once. And since the square of such a step is 0, f(x + i h u) = f(x) + i h u f'(x) to the last
digit: an activation is evaluated once, with u = 1, for the copies of all directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.gradcheck.half_matrices import Halves, product
from mlp_core.nn import activations
from mlp_core.nn.activations import Activation

Kernels = dict[str, Callable[..., Any]]


def shared(rows: int, step: float) -> Kernels:
    """Kernels for copies of a batch of so many rows; a batch alone is treated as everywhere."""

    def stacked_product(A: np.ndarray, B: Any, out: np.ndarray) -> np.ndarray:
        if len(A) == rows:
            return product(A, B, out)
        real = B.real if isinstance(B, Halves) else np.ascontiguousarray(B.real)
        out.reshape(-1, rows, out.shape[1]).real[...] = np.ascontiguousarray(A[:rows].real) @ real
        out.imag[...] = np.ascontiguousarray(A.imag) @ real
        return out

    def bias_activation(Z: np.ndarray, b: np.ndarray | None, f: Activation, A: np.ndarray) -> None:
        once = len(Z) > rows and f.name != "identity"
        activations.bias_activation(np, Z, b, _Once(f, rows, step) if once else f, A, Z.size)

    return {"product": stacked_product, "bias_activation": bias_activation}


@dataclass(frozen=True)
class _Once(Activation):
    """An activation of copies [k b, m], evaluated once for all."""

    f: Activation
    rows: int
    step: float

    def forward(self, xp: Any, z: np.ndarray) -> np.ndarray:
        one = z[: self.rows].copy()
        one.imag = self.step
        one = self.f.forward(xp, one)
        a = np.empty_like(z)
        copies, z = a.reshape(-1, *one.shape), z.reshape(-1, *one.shape)
        copies.real = one.real
        np.multiply(z.imag, one.imag / self.step, out=copies.imag)
        return a

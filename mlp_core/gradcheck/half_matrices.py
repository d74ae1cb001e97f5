"""Complex weights in two real halves, so that a perturbed network takes hardly more memory than the one it perturbs.

The real half is the float64 network's own matrix. The imaginary half is zero but in the one tensor that a direction
goes through, and there it stands where the float64 network has its gradient, which nobody needs by then.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.nn.parameters import Parameters

LARGE = 4096
"""Entries above which a matrix is held in halves: two real products are then faster than a complex one."""


class Halves:
    """A complex matrix [m, n] as `real` + i `imaginary`, where None stands for zeros; `room` is for the latter."""

    def __init__(self, real: np.ndarray, room: np.ndarray, imaginary: np.ndarray | None = None) -> None:
        self.real, self.room, self.imaginary = real, room, imaginary

    @property
    def T(self) -> Halves:
        return Halves(self.real.T, self.room.T, None if self.imaginary is None else self.imaginary.T)

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.real[rows].astype(np.complex128)
        if self.imaginary is not None:
            chosen.imag = self.imaginary[rows]
        return chosen


def product(A: np.ndarray, B: Any, out: np.ndarray) -> np.ndarray:
    """out = A @ B. A [i, k] and out [i, j] complex, B [k, j] complex or in halves."""
    if not isinstance(B, Halves):
        return np.matmul(A, B, out=out)
    if not A.imag.any():  # below the direction, all that goes in is real
        real = A.real.copy()
        out.real = real @ B.real
        out.imag = 0 if B.imaginary is None else real @ B.imaginary
        return out
    rows = len(A)
    parts = np.concatenate([A.real, A.imag])  # so that B is read once
    through = parts @ B.real
    out.real, out.imag = through[:rows], through[rows:]
    if B.imaginary is not None:
        through = parts @ B.imaginary
        out.real -= through[rows:]
        out.imag += through[:rows]
    return out


class ComplexParameters(Parameters):
    """The parameters of a complex network beside those in float64 whose values they have.

    Large matrices are in halves, everything else is complex and on its own. There is no complex vector: `theta` is the
    real one, and there is no gradient.
    """

    def __init__(self, real: Parameters) -> None:
        self.specs, self.slices, self.size, self.weights = real.specs, real.slices, real.size, real.weights
        self.theta, self.grad, self.gradients = real.theta, real.grad, real.gradients
        self.values = {
            spec.name: Halves(real.values[spec.name], real.gradients[spec.name])
            if spec.is_weight and spec.size > LARGE
            else real.values[spec.name].astype(np.complex128)
            for spec in real.specs
        }

    def open(self, name: str) -> np.ndarray:
        """The imaginary parts of a tensor as one vector of zeros, for a direction to be written into."""
        value = self.values[name]
        if isinstance(value, Halves):
            value.room[...] = 0
            value.imaginary = value.room
            return value.room.reshape(-1)
        imaginary: np.ndarray = value.reshape(-1).imag
        return imaginary

    def close(self, name: str) -> None:
        """Make a tensor real again."""
        value = self.values[name]
        if isinstance(value, Halves):
            value.imaginary = None
        else:
            value.imag[...] = 0

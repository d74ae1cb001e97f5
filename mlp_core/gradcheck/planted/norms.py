"""Planted bugs: the backward pass of normalization with one term wrong at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import backward_bug, write
from mlp_core.nn.norm import Norm


def _bug(
    name: str,
    model: str,
    gain: bool = True,
    constant: bool = True,
    mean: bool = True,
    variance: bool = True,
    eps: bool = True,
    less: int = 0,
    power: int = 1,
) -> Bug:
    """The backward pass of a norm, written plainly, with switches for what can go wrong."""

    def wrong(backward: Wrong, self: Norm, Delta: Any, input_gradient: bool = True) -> Any:
        self.dgain[...] = (Delta * self.H).sum(axis=0)
        if self.centred:
            self.dshift[...] = Delta.sum(axis=0)
        error = Delta * self.gain if gain else Delta
        n, inverse = Delta.shape[self.axis], self.inverse
        if not (self.constant and constant):
            along = (error * self.H).sum(axis=self.axis, keepdims=True) / (n - less)
            middle = error.mean(axis=self.axis, keepdims=True)
            if self.centred and mean:
                error = error - middle
            if variance:
                error = error - self.H * along
        if not eps:
            inverse = (inverse**-2.0 - self.eps) ** -0.5
        Delta[...] = error * inverse**power
        return Delta

    return Bug("norm", name, Norm, "backward", wrong, model)


_after = partial(backward_bug, "norm", Norm, model="layer")
NORM_BUGS = (
    _bug("batch: mean term missing", "batch", mean=False),
    _bug("batch: variance term missing", "batch", variance=False),
    _bug("batch: b - 1 for b", "batch", less=1),
    _bug("batch: eps forgotten", "batch", eps=False),
    _bug("batch: gain forgotten", "batch", gain=False),
    _bug("batch: statistics taken from the batch when evaluating", "batch, evaluating", constant=False),
    _bug("layer: mean term missing", "layer", mean=False),
    _bug("layer: variance term missing", "layer", variance=False),
    _bug("layer: inverse deviation squared", "layer", power=2),
    _bug("rms: variance term missing", "rms", variance=False),
    _bug("rms: eps forgotten", "rms", eps=False),
    _after("gain gradient is a mean", lambda s, D, dX: write(s.dgain, s.dgain / len(D))),
    _after("shift gradient of the next unit", lambda s, D, dX: write(s.dshift, np.roll(s.dshift, 1))),
)

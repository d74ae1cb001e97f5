"""Planted bugs: the backward pass of normalization with one term wrong at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import backward_bug, write
from mlp_core.nn.norm import Norm


def _bug(name: str, model: str, missing: str = "", less: int = 0, power: int = 1) -> Bug:
    """The backward pass of a norm, written plainly: with a part missing, a divisor less by some, another power."""

    def wrong(backward: Wrong, self: Norm, Delta: Any, input_gradient: bool = True) -> Any:
        self.dgain[...] = (Delta * self.H).sum(axis=0)
        if self.centred:
            self.dshift[...] = Delta.sum(axis=0)
        error = Delta if missing == "gain" else Delta * self.gain
        n, inverse = Delta.shape[self.axis], self.inverse
        if not self.constant or missing == "constant":
            along = (error * self.H).sum(axis=self.axis, keepdims=True) / (n - less)
            middle = error.mean(axis=self.axis, keepdims=True)
            if self.centred and missing != "mean":
                error = error - middle
            if missing != "variance":
                error = error - self.H * along
        if missing == "eps":
            inverse = (inverse**-2.0 - self.eps) ** -0.5
        Delta[...] = error * inverse**power
        return Delta

    return Bug("norm", name, Norm, "backward", wrong, model)


_after = partial(backward_bug, "norm", Norm, model="layer")
NORM_BUGS = (
    _bug("batch: mean term missing", "batch", missing="mean"),
    _bug("batch: variance term missing", "batch", missing="variance"),
    _bug("batch: b - 1 for b", "batch", less=1),
    _bug("batch: eps forgotten", "batch", missing="eps"),
    _bug("batch: gain forgotten", "batch", missing="gain"),
    _bug("batch: statistics taken from the batch when evaluating", "batch, evaluating", missing="constant"),
    _bug("layer: mean term missing", "layer", missing="mean"),
    _bug("layer: variance term missing", "layer", missing="variance"),
    _bug("layer: inverse deviation squared", "layer", power=2),
    _bug("rms: variance term missing", "rms", missing="variance"),
    _bug("rms: eps forgotten", "rms", missing="eps"),
    _after("gain gradient is a mean", lambda s, D, dX: write(s.dgain, s.dgain / len(D))),
    _after("shift gradient of the next unit", lambda s, D, dX: write(s.dshift, np.roll(s.dshift, 1))),
)

"""Planted bugs: the backward pass of normalization with one term wrong at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import after, write
from mlp_core.nn.norm import Norm


def _norm(**wrong: Any) -> Any:
    """The backward pass of a norm, written plainly, with switches for what can go wrong."""

    def make(original: Wrong) -> Wrong:
        def backward(self: Norm, Delta: Any, input_gradient: bool = True) -> Any:
            self.dgain[...] = (Delta * self.H).sum(axis=0)
            if self.centred:
                self.dshift[...] = Delta.sum(axis=0)
            error = Delta if wrong.get("gain") is False else Delta * self.gain
            n, inverse = Delta.shape[self.axis], self.inverse
            if not self.constant or wrong.get("constant") is False:
                along = (error * self.H).sum(axis=self.axis, keepdims=True) / (n - wrong.get("less", 0))
                mean = error.mean(axis=self.axis, keepdims=True)
                if self.centred and wrong.get("mean") is not False:
                    error = error - mean
                if wrong.get("variance") is not False:
                    error = error - self.H * along
            if wrong.get("eps") is False:
                inverse = (inverse**-2.0 - self.eps) ** -0.5
            Delta[...] = error * inverse ** wrong.get("power", 1)
            return Delta

        return backward

    return make


def _bug(name: str, model: str, **wrong: Any) -> Bug:
    return Bug("norm", name, Norm, "backward", _norm(**wrong), model)


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
    Bug("norm", "gain gradient is a mean", Norm, "backward",
        after(lambda s, D, dX: write(s.dgain, s.dgain / len(D))), "layer"),
    Bug("norm", "shift gradient of the next unit", Norm, "backward",
        after(lambda s, D, dX: write(s.dshift, np.roll(s.dshift, 1))), "layer"),
)  # fmt: skip

"""Planted bugs: the ntk parametrisation, parametric activations, waves of numbers, learned factors of inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import after, write
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Dense
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric


def _ntk(name: str, change: Callable[[Any, Any, Any], Any]) -> Bug:
    return Bug("ntk", name, Dense, "backward", after(change), "ntk")


def _parametric(name: str, change: Callable[[Any, Any, Any], Any]) -> Bug:
    return Bug("parametric", name, Parametric, "backward", after(change), "parametric")


def _waves(name: str, change: Callable[[Any, Any, Any], Any]) -> Bug:
    return Bug("numeric embedding", name, NumericEmbedding, "backward", after(change), "waves")


def _factors(name: str, change: Callable[[Any, Any, Any], Any]) -> Bug:
    return Bug("input scale", name, InputScale, "backward", after(change), "factors")


def _own_column_only(original: Wrong) -> Wrong:
    """What an input does through its waves is left out."""

    def wrong(self: NumericEmbedding, Delta: Any, input_gradient: bool = True) -> Any:
        own = Delta[:, : self.inputs].copy()
        dX = original(self, Delta, input_gradient)
        return None if dX is None else own

    return wrong


def _waves_only(original: Wrong) -> Wrong:
    """What an input does by itself is left out."""

    def wrong(self: NumericEmbedding, Delta: Any, input_gradient: bool = True) -> Any:
        own = Delta[:, : self.numbers].copy()
        dX = original(self, Delta, input_gradient)
        if dX is not None:
            dX[:, : self.numbers] -= own
        return dX

    return wrong


def _alone(original: Wrong) -> Wrong:
    """dalpha = sum of Delta f(Z), without - Z."""

    def wrong(self: Parametric, Delta: Any, input_gradient: bool = True) -> Any:
        more = (Delta * self.Z).sum(axis=0)
        dX = original(self, Delta, input_gradient)
        self.dalpha += more
        return dX

    return wrong


def _share_forgotten(original: Wrong) -> Wrong:
    """dLoss/dZ = Delta f'(Z), as if alpha were 1."""

    def wrong(self: Parametric, Delta: Any, input_gradient: bool = True) -> Any:
        kept = Delta.copy()
        original(self, Delta, input_gradient)
        self._differentiate(kept, self.f, self.Z, self.F)
        Delta[...] = kept
        return Delta

    return wrong


INGREDIENT_BUGS = (
    _ntk("no 1/sqrt(n) in the weight gradient", lambda s, D, dX: write(s.dW, s.dW / s.scale)),
    _ntk("no 1/sqrt(n) in the input gradient", lambda s, D, dX: None if dX is None else dX / s.scale),
    _ntk("1/n in the weight gradient", lambda s, D, dX: write(s.dW, s.dW * s.scale)),
    _ntk("1/sqrt(units) in the weight gradient",
         lambda s, D, dX: write(s.dW, s.dW / s.scale / math.sqrt(s.units))),
    _ntk("1/sqrt(n) in the bias gradient", lambda s, D, dX: write(s.db, s.db * s.scale)),
    Bug("parametric", "gradient of alpha with f(z) alone", Parametric, "backward", _alone, "parametric"),
    _parametric("gradient of alpha is a mean", lambda s, D, dX: write(s.dalpha, s.dalpha / len(D))),
    _parametric("gradient of alpha with its sign turned", lambda s, D, dX: write(s.dalpha, -s.dalpha)),
    _parametric("one alpha for all units", lambda s, D, dX: write(s.dalpha, s.dalpha.sum())),
    Bug("parametric", "alpha taken for 1 on the way back", Parametric, "backward", _share_forgotten, "parametric"),
    _waves("2 pi left out of the frequencies", lambda s, D, dX: write(s.du, s.du / (2 * math.pi))),
    _waves("gradient of the phases with its sign turned", lambda s, D, dX: write(s.dc, -s.dc)),
    _waves("gradient of V with the sine", lambda s, D, dX: write(
        s.dV, np.matmul(s._L[:, : len(D)].transpose(0, 2, 1), np.sin(s.P)))),
    _waves("gradient of d is a mean", lambda s, D, dX: write(s.dd, s.dd / len(D))),
    _waves("the next number's frequencies", lambda s, D, dX: write(s.du, np.roll(s.du, 1, axis=0))),
    Bug("numeric embedding", "no gradient through the waves", NumericEmbedding, "backward", _own_column_only, "waves"),
    Bug("numeric embedding", "no gradient of the number itself", NumericEmbedding, "backward", _waves_only, "waves"),
    _factors("gradient with the scaled input", lambda s, D, dX: write(s.ds, s.ds * s.s)),
    _factors("gradient is a mean", lambda s, D, dX: write(s.ds, s.ds / len(s.X))),
    _factors("factor left out of the input gradient", lambda s, D, dX: None if dX is None else dX / s.s),
    _factors("one factor for all inputs", lambda s, D, dX: write(s.ds, s.ds.mean())),
)  # fmt: skip

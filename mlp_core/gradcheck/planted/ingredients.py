"""Planted bugs: the ntk parametrisation, parametric activations, waves of numbers, learned factors of inputs."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.gradcheck.planted.layers import backward_bug, write
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Dense
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric

_ntk = partial(backward_bug, "ntk", Dense, model="ntk")
_parametric = partial(backward_bug, "parametric", Parametric, model="parametric")
_waves = partial(backward_bug, "numeric embedding", NumericEmbedding, model="waves")
_factors = partial(backward_bug, "input scale", InputScale, model="factors")


def _own_column_only(backward: Wrong, layer: NumericEmbedding, Delta: Any, input_gradient: bool = True) -> Any:
    """What an input does through its waves is left out."""
    own = Delta[:, : layer.inputs].copy()
    dX = backward(layer, Delta, input_gradient)
    return None if dX is None else own


def _waves_only(backward: Wrong, layer: NumericEmbedding, Delta: Any, input_gradient: bool = True) -> Any:
    """What an input does by itself is left out."""
    own = Delta[:, : layer.numbers].copy()
    dX = backward(layer, Delta, input_gradient)
    if dX is not None:
        dX[:, : layer.numbers] -= own
    return dX


def _alone(backward: Wrong, layer: Parametric, Delta: Any, input_gradient: bool = True) -> Any:
    """dalpha = sum of Delta f(Z), without - Z."""
    more = (Delta * layer.Z).sum(axis=0)
    dX = backward(layer, Delta, input_gradient)
    layer.dalpha += more
    return dX


def _share_forgotten(backward: Wrong, layer: Parametric, Delta: Any, input_gradient: bool = True) -> Any:
    """dLoss/dZ = Delta f'(Z), as if alpha were 1."""
    kept = Delta.copy()
    backward(layer, Delta, input_gradient)
    layer._differentiate(kept, layer.f, layer.Z, layer.F)
    Delta[...] = kept
    return Delta


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

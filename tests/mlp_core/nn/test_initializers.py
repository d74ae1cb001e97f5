"""Initial weights: variance, range and orthogonality as their papers say, and the same numbers for every dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlp_core.config.model import INITS
from mlp_core.nn.activations import Relu
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.initializers import initial_weights
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.rng import generator

FAN_OUT, FAN_IN = 300, 500
VARIANCE = {"he": 2 / FAN_IN, "glorot": 2 / (FAN_IN + FAN_OUT), "lecun": 1 / FAN_IN}


def draw(name: str, shape: tuple[int, int] = (FAN_OUT, FAN_IN), scale: float | None = None) -> np.ndarray:
    return initial_weights(name, shape, generator(0, "init", 0), scale=scale)


@pytest.mark.parametrize("family", VARIANCE)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_the_variance_is_that_of_the_paper(family, distribution):
    W = draw(f"{family}_{distribution}")
    error = 5 / math.sqrt(W.size)  # five standard errors or more
    assert W.var() == pytest.approx(VARIANCE[family], rel=2 * error)
    assert abs(W.mean()) < error * W.std()
    if distribution == "uniform":
        radius = math.sqrt(3 * VARIANCE[family])
        assert np.abs(W).max() <= radius
        assert np.abs(W).max() == pytest.approx(radius, rel=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    W = draw("orthogonal", shape, scale=2.0)
    G = W @ W.T if shape[0] <= shape[1] else W.T @ W
    np.testing.assert_allclose(G, 4 * np.eye(min(shape)), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "scale", "deviation"),
    [
        ("normal", None, 0.01),
        ("normal", 0.5, 0.5),
        ("uniform", None, 0.05 / math.sqrt(3)),
        ("uniform", 0.6, 0.6 / math.sqrt(3)),
        ("zeros", None, 0.0),
    ],
)
def test_those_with_a_scale(name, scale, deviation):
    assert draw(name, scale=scale).std() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("name", INITS)
def test_shape_dtype_and_repetition(name):
    W = draw(name, (3, 5))
    assert W.shape == (3, 5)
    assert W.dtype == np.float64
    np.testing.assert_array_equal(W, draw(name, (3, 5)))


def make(dtype: type, seed: int = 0) -> Network:
    blocks = (Block(4, Relu(), norm="batch"), Block(4, None), Block(3, Relu(), init="zeros"))
    network = Network(Architecture(5, 2, blocks, output_bias=(0.5, -1.0)), numpy_backend(), dtype, 2)
    network.initialize(seed)
    return network


def test_every_dtype_starts_from_the_same_numbers():
    single, double = make(np.float32).parameters.theta, make(np.float64).parameters.theta
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_what_is_not_a_weight_starts_as_it_should():
    network = make(np.float64)
    values, kept = network.parameters.values, network.statistics.values
    assert (values["0.bias"] == 0).all()
    assert (values["1.weight"] == 1).all()
    assert (values["1.bias"] == 0).all()
    assert (kept["1.running_mean"] == 0).all()
    assert (kept["1.running_var"] == 1).all()
    assert values["4.weight"] == 0.25
    assert (values["5.weight"] == 0).all()
    np.testing.assert_array_equal(values["7.bias"], [0.5, -1.0])


def test_layers_and_seeds_draw_different_numbers():
    first, other = make(np.float64, 0).parameters.values, make(np.float64, 1).parameters.values
    assert not np.array_equal(first["0.weight"], other["0.weight"])
    assert not np.array_equal(first["0.weight"][:, :4], first["3.weight"])

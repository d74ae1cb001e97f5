"""First weights and biases from data: what they promise on the training rows, and that nothing but these matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlp_core.nn.activations import ACTIVATIONS, Mish, Relu
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.data_start import data_start
from mlp_core.nn.layers import Dense, Pass
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.numeric_embedding import Periodic

ROWS = 200
X = np.random.default_rng(0).standard_normal((ROWS, 5)) * [1, 10, 0.1, 1, 1] + [0, 3, 0, 0, 5]
STRONG = Architecture(
    5,
    3,
    (Block(8, Mish(), parametric=True, dropout=0.3), Block(8, Mish(), parametric=True, residual=True)),
    input_dropout=0.2,
    periodic=Periodic(4, 3, 3),
    input_scale=True,
    ntk=True,
    bias_init="data",
    rescale=True,
)


def started(architecture: Architecture, rows: np.ndarray = X, seed: int = 0, dtype: type = np.float64) -> Network:
    network = Network(architecture, numpy_backend(), dtype, len(rows))
    network.initialize(seed)
    data_start(network, rows.astype(dtype), seed)
    return network


def products(network: Network, rows: np.ndarray) -> list[np.ndarray]:
    """Every z without its bias, of all rows."""
    found = []
    for layer in network._dense_layers():
        forward = layer.forward

        def heard(A: np.ndarray, mode: Pass, layer: Dense = layer, forward: object = forward) -> np.ndarray:
            found.append((A @ layer.W.T) * layer.scale)
            return forward(A, mode)  # type: ignore[operator, no-any-return]

        layer.forward = heard  # type: ignore[method-assign]
    network.forward(rows)
    return found


@pytest.mark.parametrize(
    "architecture",
    [
        STRONG,
        replace(STRONG, ntk=False, periodic=None),
        replace(STRONG, hidden=()),
        replace(STRONG, bias_init="zeros"),
        replace(STRONG, bias_init="normal"),
    ],
    ids=["strong", "standard", "no hidden layer", "zeros", "normal"],
)
def test_every_product_has_deviation_1_over_the_rows(architecture: Architecture) -> None:
    network = started(architecture)
    for Z in products(network, X):
        np.testing.assert_allclose(Z.std(axis=0), 1, rtol=1e-12)


def test_a_bias_is_minus_a_mean_of_its_units_products() -> None:
    network = started(STRONG)
    *hidden, last = zip(network._dense_layers(), products(network, X), strict=True)
    for layer, Z in hidden:
        assert layer.b is not None
        assert (-layer.b >= Z.min(axis=0)).all()
        assert (-layer.b <= Z.max(axis=0)).all()
        assert len(set(layer.b)) == layer.units
    assert last[0].b is not None
    assert (last[0].b == 0).all()  # its biases are those of the prior


def test_it_is_a_function_of_seed_and_rows() -> None:
    first, again, other = started(STRONG), started(STRONG), started(STRONG, seed=1)
    np.testing.assert_array_equal(first.parameters.theta, again.parameters.theta)
    assert not np.array_equal(first.parameters.theta, other.parameters.theta)
    assert not np.array_equal(first.parameters.theta, started(STRONG, X[:100]).parameters.theta)
    single = started(STRONG, dtype=np.float32)
    np.testing.assert_allclose(single.parameters.theta, first.parameters.theta, rtol=2e-4, atol=2e-5)


def test_units_that_say_the_same_of_every_row_begin_as_they_are_drawn() -> None:
    plain = Architecture(3, 2, (Block(4, Relu()),), rescale=True, bias_init="data")
    still = np.full((20, 3), 7.3)
    network = started(plain, still)
    drawn = Network(plain, numpy_backend(), np.float64, 20)
    drawn.initialize(0)
    np.testing.assert_array_equal(network._dense_layers()[0].W, drawn._dense_layers()[0].W)
    first = network._dense_layers()[0].b
    assert first is not None
    assert (first == 0).all()  # no unit stands on its kink
    assert np.isfinite(network.parameters.theta).all()


def test_the_rounding_of_a_norm_is_not_made_large() -> None:
    """Two units that say the same but for a sign leave a layer norm nothing but rounding, behind the first layers."""
    two = Block(2, ACTIVATIONS["softsign"](), norm="layer", bias=False)
    for seed in range(20):
        network = started(Architecture(5, 3, (replace(two, units=18), two, two, two), rescale=True), seed=seed)
        assert np.abs(network.parameters.theta).max() < 1e7


@pytest.mark.parametrize("norm", ["batch", "layer", "rms"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_norms_and_few_rows(norm: str, first: bool, rows: int) -> None:
    blocks = tuple(Block(6, Relu(), norm=norm, norm_first=first) for _ in range(2))
    network = started(replace(STRONG, hidden=blocks), X[:rows])
    assert np.isfinite(network.parameters.theta).all()
    for name, array in network.statistics.values.items():  # nothing is recorded
        assert (array == (1 if name.endswith("var") else 0)).all()


def test_without_a_wish_nothing_changes() -> None:
    plain = replace(STRONG, rescale=False, bias_init="zeros")
    drawn = Network(plain, numpy_backend(), np.float64, ROWS)
    drawn.initialize(0)
    np.testing.assert_array_equal(started(plain).parameters.theta, drawn.parameters.theta)

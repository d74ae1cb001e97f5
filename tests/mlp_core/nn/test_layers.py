"""Layers one by one: what they compute, their shapes, and that nothing is taken or left behind that should not be."""

from __future__ import annotations

import numpy as np
import pytest
from engine_models import make_objective

from mlp_core.nn.activations import Identity, Relu, Tanh
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import EVALUATE, Dense, Dropout, Pass, PRelu
from mlp_core.nn.losses import Mse
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.norm import Norm

TRAIN = Pass(training=True)


def network(*blocks: Block, inputs: int = 3, rows: int = 6, dtype: type = np.float64, input_dropout=0.0) -> Network:
    return make_objective(Architecture(inputs, 2, blocks, input_dropout), Mse(), rows, dtype=dtype).network


def rows(count: int, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, columns))


def test_dense_is_the_matrix_product_and_the_bias():
    net = network()
    values, X = net.parameters.values, rows(6)
    np.testing.assert_allclose(net.forward(X), X @ values["0.weight"].T + values["0.bias"], rtol=1e-14)
    Delta = rows(6, 2)
    dX = net.backward(Delta.copy(), input_gradient=True)
    np.testing.assert_allclose(net.parameters.gradients["0.weight"], Delta.T @ X, rtol=1e-14)
    np.testing.assert_allclose(net.parameters.gradients["0.bias"], Delta.sum(axis=0), rtol=1e-14)
    np.testing.assert_allclose(dX, Delta @ values["0.weight"], rtol=1e-14)


def test_the_short_last_batch_is_a_slice_of_the_same_memory():
    net = network(Block(4, Tanh(), norm="layer"), Block(4, None, residual=True, dropout=0.5))
    X = rows(6)
    whole = net.forward(X).copy()
    part = net.forward(X[:2])
    assert part.shape == (2, 2)
    np.testing.assert_allclose(part, whole[:2], rtol=1e-13)


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_norms_centre_and_scale(kind):
    net = Network(Architecture(3, 5, (Block(5, Identity(), norm=kind),)), numpy_backend(), np.float64, 50)
    net.initialize(0)
    net.forward(rows(50) * 7 + 3, TRAIN)
    norm = next(layer for layer in net.layers if isinstance(layer, Norm))
    axis = 0 if kind == "batch" else 1
    np.testing.assert_allclose(norm.H.mean(axis=axis), 0, atol=1e-13)
    np.testing.assert_allclose(norm.H.var(axis=axis), 1, rtol=1e-3)


def test_rms_norm_scales_without_centring():
    net = network(Block(5, Identity(), norm="rms"))
    net.forward(rows(6) * 100)
    norm = next(layer for layer in net.layers if isinstance(layer, Norm))
    np.testing.assert_allclose(np.square(norm.H).mean(axis=1), 1, rtol=1e-6)


def test_batch_norm_keeps_running_statistics_only_when_it_may():
    net = network(Block(5, Tanh(), norm="batch", norm_momentum=0.25))
    kept, X = net.statistics.values, rows(6)
    for mode in (EVALUATE, Pass(training=True, record=False)):
        before = net.statistics.theta.copy()
        net.forward(X, mode)
        np.testing.assert_array_equal(net.statistics.theta, before)
    net.forward(X, TRAIN)
    Z = X @ net.parameters.values["0.weight"].T + net.parameters.values["0.bias"]
    np.testing.assert_allclose(kept["1.running_mean"], 0.25 * Z.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(kept["1.running_var"], 0.75 + 0.25 * Z.var(axis=0, ddof=1), rtol=1e-12)


def test_one_row_has_no_variance_to_record():
    net = network(Block(5, Tanh(), norm="batch"))
    before = net.statistics.theta.copy()
    net.forward(rows(1), TRAIN)
    np.testing.assert_array_equal(net.statistics.theta, before)


def dropout_mask(mode: Pass, count: int = 400, p: float = 0.3) -> np.ndarray:
    layer = Dropout(2, 50, p)
    layer.allocate(numpy_backend(), np.float64, count, training=True)
    return layer.forward(np.ones((count, 50)), mode).copy()


def test_dropout_is_a_function_of_seed_step_and_layer():
    mask = dropout_mask(Pass(training=True, seed=1, step=5))
    np.testing.assert_array_equal(mask, dropout_mask(Pass(training=True, seed=1, step=5)))
    for other in (Pass(training=True, seed=2, step=5), Pass(training=True, seed=1, step=6)):
        assert not np.array_equal(mask, dropout_mask(other))


def test_dropout_keeps_the_mean_and_drops_the_share_asked_for():
    mask = dropout_mask(TRAIN)
    assert sorted(set(mask.ravel())) == pytest.approx([0, 1 / 0.7])
    assert (mask == 0).mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(dropout_mask(EVALUATE), 1)


def test_dropout_draws_the_same_mask_in_every_dtype():
    masks = []
    for dtype in (np.float32, np.float64, np.complex128):
        layer = Dropout(0, 7, 0.5)
        layer.allocate(numpy_backend(), dtype, 4, training=True)
        masks.append(layer.forward(np.ones((4, 7), dtype), TRAIN).real)
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[1], masks[2])


def test_prelu_with_slope_zero_is_relu_and_with_slope_one_the_identity():
    X = rows(6, 4)
    layer = PRelu(0, 4)
    layer.allocate(numpy_backend(), np.float64, 6, training=True)
    for slope, expected in ((0.0, np.maximum(X, 0)), (1.0, X), (0.25, np.where(X > 0, X, 0.25 * X))):
        layer.bind({"0.weight": np.array([slope])}, {"0.weight": np.empty(1)}, {})
        np.testing.assert_array_equal(layer.forward(X, TRAIN), expected)


def test_residual_adds_its_input_where_widths_match_and_is_left_out_where_not():
    plain = network(Block(3, Tanh()), Block(5, Tanh()))
    skip = network(Block(3, Tanh(), residual=True), Block(5, Tanh(), residual=True))
    assert [type(layer).__name__ for layer in skip.layers] == ["Residual", "Dense", "Dense"]
    skip.parameters.theta[:] = plain.parameters.theta
    X = rows(6)
    first = plain.layers[0].forward(X, EVALUATE).copy()
    np.testing.assert_allclose(skip.layers[0].forward(X, EVALUATE), X + first, rtol=1e-14)


def test_backward_into_inputs_is_skipped_where_nobody_asks():
    layer = Dense(0, 3, 2, Relu())
    layer.allocate(numpy_backend(), np.float64, 4, training=True)
    values = {"0.weight": rows(2), "0.bias": np.zeros(2)}
    layer.bind(values, {name: np.empty_like(value) for name, value in values.items()}, {})
    layer.forward(rows(4), TRAIN)
    assert layer.backward(rows(4, 2), input_gradient=False) is None


def test_a_layer_leaves_its_input_as_it_is():
    net = network(Block(3, Tanh(), norm="batch", dropout=0.5), Block(3, None, residual=True), input_dropout=0.2)
    X = rows(6)
    before = X.copy()
    net.forward(X, TRAIN)
    net.backward(rows(6, 2), input_gradient=True)
    np.testing.assert_array_equal(X, before)


TABLES = ((3, 2), (5, 4))
CODED = np.column_stack([rows(6, 2), [0, 1, 2, 0, 1, 0], [4, 4, 0, 1, 2, 3]])


def embedded(dtype: type = np.float64, rows: int = 6, **options) -> Network:
    return make_objective(
        Architecture(4, 2, (Block(5, Tanh()),), embeddings=TABLES, **options), Mse(), rows, dtype=dtype
    ).network


def test_words_become_rows_of_their_tables():
    net = embedded()
    E = [net.parameters.values[f"0.{k}.weight"] for k in range(2)]
    layer = net.layers[0]
    assert isinstance(layer, Embedding)
    codes = CODED[:, 2:].astype(int)
    expected = np.hstack([CODED[:, :2], E[0][codes[:, 0]], E[1][codes[:, 1]]])
    np.testing.assert_array_equal(layer.forward(CODED, TRAIN), expected)
    assert [layer.index for layer in net.layers] == [0, 1, 3]


@pytest.mark.parametrize("words", [512, 0], ids=["product", "scatter"])
def test_the_gradient_of_a_table_sums_over_the_rows_of_each_word(words, monkeypatch):
    monkeypatch.setattr(Embedding, "MATRIX_WORDS", words)
    net = embedded()
    layer, Delta = net.layers[0], rows(6, 8)
    layer.forward(CODED, TRAIN)
    dX = layer.backward(Delta.copy())
    expected = [np.zeros(shape) for shape in TABLES]
    for row, (first, second) in enumerate(CODED[:, 2:].astype(int)):
        expected[0][first] += Delta[row, 2:4]
        expected[1][second] += Delta[row, 4:]
    for k in range(2):
        np.testing.assert_allclose(net.parameters.gradients[f"0.{k}.weight"], expected[k], atol=1e-14)
    np.testing.assert_array_equal(dX, np.hstack([Delta[:, :2], np.zeros((6, 2))]))


def test_an_embedding_equals_one_hot_inputs_to_a_wider_network():
    torch = pytest.importorskip("torch", reason="needs torch as the reference")
    net = embedded()
    layer = net.layers[0]
    Delta = rows(6, 8)
    numbers = torch.tensor(CODED[:, :2], requires_grad=True)
    tables = [torch.tensor(E, requires_grad=True) for E in layer.E]
    codes = torch.tensor(CODED[:, 2:]).long()
    A = torch.cat([numbers, *(torch.nn.functional.embedding(codes[:, k], E) for k, E in enumerate(tables))], dim=1)
    A.backward(torch.tensor(Delta))
    np.testing.assert_allclose(layer.forward(CODED, TRAIN), A.detach().numpy(), rtol=1e-14)
    layer.backward(Delta)
    for dE, E in zip(layer.dE, tables, strict=True):
        np.testing.assert_allclose(dE, E.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize("method", ["full", "sweep", "fast"])
def test_the_gradient_check_proves_embeddings(method):
    from mlp_core.gradcheck import check

    net = make_objective(
        Architecture(4, 2, (Block(5, Tanh(), dropout=0.2),), 0.1, embeddings=((3, 2), (90, 4))), Mse(), 6
    )
    X = CODED.copy()
    X[:, 3] = [89, 70, 0, 55, 89, 1]
    report = check(net, X, rows(6, 2), None, mode=Pass(training=True, record=False), method=method)
    assert report.passed, report.failures()
    assert {tensor.name for tensor in report.tensors} >= {"0.0.weight", "0.1.weight", "input"}


def test_embeddings_start_small_and_survive_float32():
    net = embedded(np.float32)
    E = np.concatenate([E.ravel() for E in net.layers[0].E])
    assert 0.03 < E.std() < 0.3
    out = net.forward(CODED.astype(np.float32))
    assert out.dtype == np.float32

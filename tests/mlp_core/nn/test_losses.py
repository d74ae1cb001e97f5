"""Every loss: its gradient, what is reported, and what happens at extreme logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from engine_models import outputs, targets

from mlp_core.nn.losses import (
    LOSSES,
    Bce,
    CrossEntropy,
    Focal,
    GaussianNll,
    Huber,
    Mae,
    Quantile,
    loss_and_gradient,
)

STEP = 1e-200
KINDS = [
    *(kind() for kind in LOSSES.values()),
    *(CrossEntropy(0.1), Bce(2.0), Focal(0.0), Focal(0.5), Huber(0.3), Quantile((0.1, 0.9))),
]


def gradient(loss, Z, Y, w=None, total=None):
    Delta = np.empty_like(Z)
    total = float(len(Z) if w is None else w.sum()) if total is None else total
    value = loss_and_gradient(np, loss, Z, Y, w, total, Delta)
    return value, Delta


def numeric(loss, Z, Y, w=None):
    total = float(len(Z) if w is None else w.sum())
    result = np.empty_like(Z)
    for place in np.ndindex(Z.shape):
        step = Z.astype(complex)
        step[place] += 1j * STEP
        result[place] = loss_and_gradient(np, loss, step, Y, w, total, None).imag / STEP
    return result


@pytest.fixture(params=KINDS, ids=str)
def loss(request):
    return request.param


@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["calm", "saturated"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_the_gradient_is_that_of_the_complex_step(loss, scale, weighted):
    rng = np.random.default_rng(0)
    Z, Y = scale * rng.standard_normal((5, outputs(loss))), targets(loss, 5, rng)
    w = rng.random(5) + 0.1 if weighted else None
    ours, exact = gradient(loss, Z, Y, w)[1], numeric(loss, Z, Y, w)
    assert np.abs(ours - exact).max() <= 1e-13 * np.abs(exact).max()


def test_one_output_stands_for_two_classes():
    rng = np.random.default_rng(1)
    Z, Y = rng.standard_normal((6, 1)), rng.integers(0, 2, 6)
    two = np.concatenate([np.zeros((6, 1)), Z], axis=1)
    for single, double in ((Bce(), CrossEntropy()), (Focal(2.0), Focal(2.0))):
        value, Delta = gradient(single, Z, Y)
        expected, both = gradient(double, two, Y)
        assert value == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(Delta[:, 0], both[:, 1], rtol=1e-12, atol=1e-16)


def test_class_indices_and_one_hot_rows_are_the_same_targets():
    rng = np.random.default_rng(2)
    Z, Y = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    for loss in (CrossEntropy(), CrossEntropy(0.3)):
        by_index, by_row = gradient(loss, Z, Y), gradient(loss, Z, np.eye(4)[Y])
        assert by_index[0] == pytest.approx(by_row[0], rel=1e-14)
        np.testing.assert_allclose(by_index[1], by_row[1], atol=1e-16)


def test_a_weight_is_a_row_given_that_often(loss):
    rng = np.random.default_rng(3)
    Z, Y = rng.standard_normal((4, outputs(loss))), targets(loss, 4, rng)
    times = np.array([2, 1, 3, 0])
    value, Delta = gradient(loss, Z, Y, times.astype(float))
    repeated, parts = gradient(loss, np.repeat(Z, times, axis=0), np.repeat(Y, times, axis=0))
    assert value == pytest.approx(repeated, rel=1e-13)
    summed = np.array([parts[np.repeat(np.arange(4), times) == row].sum(axis=0) for row in range(4)])
    np.testing.assert_allclose(Delta, summed, rtol=1e-12, atol=1e-16)


def test_blocks_of_rows_change_nothing(loss):
    rng = np.random.default_rng(4)
    Z, Y, w = rng.standard_normal((9, outputs(loss))), targets(loss, 9, rng), rng.random(9)
    whole, parts = np.empty_like(Z), np.empty_like(Z)
    value = loss_and_gradient(np, loss, Z, Y, w, w.sum(), whole)
    assert loss_and_gradient(np, loss, Z, Y, w, w.sum(), parts, block=2 * Z.shape[1]) == pytest.approx(value, rel=1e-14)
    np.testing.assert_array_equal(parts, whole)


def test_float32_stays_float32(loss):
    rng = np.random.default_rng(5)
    Z, Y = rng.standard_normal((4, outputs(loss))).astype(np.float32), targets(loss, 4, rng)
    Y = Y.astype(np.float32) if Y.dtype.kind == "f" else Y
    w = rng.random(4).astype(np.float32)
    rows, cache = loss.forward(np, Z, Y)
    assert rows.dtype == np.float32
    assert loss.backward(np, Y, cache).dtype == np.float32
    assert gradient(loss, Z, Y, w)[0].dtype == np.float32
    assert loss.predict(np, Z).dtype == np.float32


@pytest.mark.parametrize(
    ("loss", "Z", "Y", "expected"),
    [
        (CrossEntropy(), [[1000.0, -1000.0]], [1], 2000.0),
        (CrossEntropy(), [[1000.0, -1000.0]], [0], 0.0),
        (Bce(), [[-800.0]], [1], 800.0),
        (Bce(), [[800.0]], [0], 800.0),
        (Focal(2.0), [[-300.0, 300.0]], [0], 600.0),
        (Focal(2.0), [[-300.0, 300.0]], [1], 0.0),
        (LOSSES["log_cosh"](), [[1e4]], [[0.0]], 1e4 - math.log(2)),
    ],
)
def test_confident_logits_neither_overflow_nor_lose_the_gradient(loss, Z, Y, expected):
    Z, Y = np.array(Z), np.array(Y)
    value, Delta = gradient(loss, Z, Y)
    assert value == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(Delta).all()
    if expected:
        assert np.abs(Delta).max() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("loss", [Mae(), Huber(), Quantile((0.3,)), LOSSES["log_cosh"]()], ids=str)
def test_at_a_residual_of_zero_forward_and_gradient_agree_on_slope_zero(loss):
    Z = np.zeros((2, 1))
    assert not gradient(loss, Z, Z)[1].any()
    assert not numeric(loss, Z, Z).any()


def test_predictions_are_probabilities_where_classes_are_predicted():
    Z = np.random.default_rng(6).standard_normal((5, 4)) * 50
    for loss in (CrossEntropy(), Focal()):
        np.testing.assert_allclose(loss.predict(np, Z).sum(axis=1), 1, rtol=1e-14)
    assert ((Bce().predict(np, Z) >= 0) & (Bce().predict(np, Z) <= 1)).all()


def test_point_predictions_of_losses_that_predict_more_than_a_point():
    Z = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(Quantile((0.1, 0.5, 0.9)).point(np, Z), Z[:, [1, 4]])
    np.testing.assert_array_equal(GaussianNll().point(np, Z), Z[:, :3])

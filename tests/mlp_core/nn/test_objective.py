"""The objective: penalties, batches in parts, and that the number reported is the number differentiated."""

from __future__ import annotations

import numpy as np
import pytest
from engine_models import make_objective, random_case

from mlp_core.nn.activations import Tanh
from mlp_core.nn.layers import EVALUATE
from mlp_core.nn.losses import CrossEntropy
from mlp_core.nn.network import Architecture, Block
from mlp_core.nn.objective import Penalty


def objective(penalty: Penalty, rows: int = 7):
    return make_objective(Architecture(4, 3, (Block(5, Tanh(), norm="layer"),)), CrossEntropy(), rows, penalty=penalty)


@pytest.mark.parametrize("bias", [False, True])
def test_a_penalty_counts_weights_or_all_parameters(bias):
    one = objective(Penalty(l2=0.3, l1=0.2, bias=bias))
    network = one.network
    theta = network.parameters.theta if bias else network.parameters.theta[network.parameters.weights]
    expected = 0.15 * float(np.square(theta).sum()) + 0.2 * float(np.abs(theta).sum())
    assert one.penalty.value(network) == pytest.approx(expected, rel=1e-13)
    network.parameters.grad[:] = 1.0
    one.penalty.add_gradient(network)
    added = network.parameters.grad - 1
    np.testing.assert_allclose(added[: len(theta)], 0.3 * theta + 0.2 * np.sign(theta), rtol=1e-12, atol=1e-15)
    assert not added[len(theta) :].any()


def test_the_penalty_of_a_weight_of_zero_has_no_slope():
    one = objective(Penalty(l1=1.0))
    one.network.parameters.theta[:] = 0
    one.network.parameters.grad[:] = 0
    one.penalty.add_gradient(one.network)
    assert not one.network.parameters.grad.any()


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_parts_of_a_batch_sum_to_the_whole(weighted):
    whole, parts = objective(Penalty(0.1, 0.05)), objective(Penalty(0.1, 0.05))
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((7, 4)), rng.integers(0, 3, 7)
    w = rng.random(7) + 0.1 if weighted else None
    value, _ = whole.value_and_gradient(X, Y, w)
    total = 7.0 if w is None else float(w.sum())
    summed, gradient = 0.0, np.zeros(parts.network.parameters.size)
    for rows in (slice(0, 3), slice(3, 6), slice(6, 7)):
        part = None if w is None else w[rows]
        loss, _ = parts.value_and_gradient(X[rows], Y[rows], part, total=total, penalties=rows.start == 0)
        summed += float(loss)
        gradient += parts.network.parameters.grad
    assert summed == pytest.approx(float(value), rel=1e-13)
    np.testing.assert_allclose(gradient, whole.network.parameters.grad, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_the_reported_loss_is_the_differentiated_one(seed):
    case = random_case(seed)
    beside, _ = case.objective.value_and_gradient(case.X, case.Y, case.w, case.mode)
    kept = case.network.statistics.theta.copy()
    assert float(case.objective.value(case.X, case.Y, case.w, case.mode)) == float(beside)
    assert kept.shape == case.network.statistics.theta.shape


def test_a_gradient_does_not_add_to_the_last_one():
    one = objective(Penalty(0.1))
    X, Y = np.random.default_rng(0).standard_normal((7, 4)), np.arange(7) % 3
    one.value_and_gradient(X, Y, mode=EVALUATE)
    first = one.network.parameters.grad.copy()
    one.network.parameters.grad[:] = np.nan
    one.value_and_gradient(X, Y, mode=EVALUATE)
    np.testing.assert_array_equal(one.network.parameters.grad, first)

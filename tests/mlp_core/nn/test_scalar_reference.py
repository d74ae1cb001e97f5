"""The derivation, one scalar at a time with plain loops, against the batched engine.

Nothing here is assembled into matrices: dLoss/dW[i,j] is summed by the multivariate chain rule as it is written down,
for a batch of b rows, n inputs, two hidden layers and c classes, all of different sizes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from engine_models import make_objective

from mlp_core.nn.activations import Relu, Sigmoid, Tanh
from mlp_core.nn.layers import EVALUATE
from mlp_core.nn.losses import CrossEntropy, Mse
from mlp_core.nn.network import Architecture, Block

ROWS, INPUTS, HIDDEN, CLASSES = 5, 4, (3, 2), 6

FUNCTIONS = {
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "relu": (lambda z: max(z, 0.0), lambda z: 1.0 if z > 0 else 0.0),
    "sigmoid": (lambda z: 1 / (1 + math.exp(-z)), lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2),
}


def scalar_forward(x, weights, biases, f):
    """All pre-activations z[l] and activations a[l] of one sample; a[0] = x, lists of floats."""
    z, a = [None], [list(x)]
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        z.append([sum(W[k][j] * a[layer - 1][j] for j in range(len(W[k]))) + b[k] for k in range(len(W))])
        last = layer == len(weights)
        a.append(z[layer] if last else [f(value) for value in z[layer]])
    return z, a


def softmax_error(logits, y):
    """Cross-entropy -sum_i y_i log p_i, and dloss/dz_j = sum_i (-y_i / p_i) dp_i/dz_j by the chain rule."""
    exponentials = [math.exp(value) for value in logits]
    p = [value / sum(exponentials) for value in exponentials]
    loss = -sum(y[i] * math.log(p[i]) for i in range(len(y)))
    error = []
    for j in range(len(y)):
        jacobian = [p[i] * ((1.0 if i == j else 0.0) - p[j]) for i in range(len(y))]
        error.append(sum(-y[i] / p[i] * jacobian[i] for i in range(len(y))))
    return loss, error


def square_error(outputs, y):
    """mean_i (z_i - y_i)^2 and its derivative."""
    c = len(y)
    loss = sum((outputs[i] - y[i]) ** 2 for i in range(c)) / c
    return loss, [2 * (outputs[j] - y[j]) / c for j in range(c)]


def scalar_gradients(x, y, weights, biases, f, slope, error_of):
    """Loss and gradients of one sample, every entry on its own."""
    z, a = scalar_forward(x, weights, biases, f)
    loss, delta = error_of(z[-1], y)
    deltas = {len(weights): delta}
    for layer in range(len(weights) - 1, 0, -1):
        above, W = deltas[layer + 1], weights[layer]
        deltas[layer] = [
            sum(above[k] * W[k][j] * slope(z[layer][j]) for k in range(len(above))) for j in range(len(z[layer]))
        ]
    dW = [
        [[deltas[layer][i] * a[layer - 1][j] for j in range(len(a[layer - 1]))] for i in range(len(deltas[layer]))]
        for layer in range(1, len(weights) + 1)
    ]
    db = [deltas[layer] for layer in range(1, len(weights) + 1)]
    W = weights[0]
    dx = [sum(deltas[1][k] * W[k][j] for k in range(len(W))) for j in range(len(x))]
    return loss, dW, db, dx


@pytest.mark.parametrize("loss", [CrossEntropy(), Mse()], ids=["cross_entropy", "mse"])
@pytest.mark.parametrize("activation", [Tanh(), Relu(), Sigmoid()], ids=["tanh", "relu", "sigmoid"])
def test_the_engine_is_the_scalar_derivation_assembled(activation, loss):
    rng = np.random.default_rng(3)
    blocks = tuple(Block(units, activation) for units in HIDDEN)
    objective = make_objective(Architecture(INPUTS, CLASSES, blocks), loss, ROWS, spread=0.5)
    X = rng.standard_normal((ROWS, INPUTS))
    Y = rng.dirichlet(np.ones(CLASSES), ROWS)  # soft targets that sum to one
    value, dX = objective.value_and_gradient(X, Y, None, EVALUATE, input_gradient=True)

    values, gradients = objective.network.parameters.values, objective.network.parameters.gradients
    weights = [values[f"{i}.weight"].tolist() for i in (0, 2, 4)]
    biases = [values[f"{i}.bias"].tolist() for i in (0, 2, 4)]
    f, slope = FUNCTIONS[activation.name]
    error_of = softmax_error if isinstance(loss, CrossEntropy) else square_error
    samples = [scalar_gradients(X[r], Y[r], weights, biases, f, slope, error_of) for r in range(ROWS)]

    assert float(value) == pytest.approx(sum(sample[0] for sample in samples) / ROWS, rel=1e-13)
    for layer, index in enumerate((0, 2, 4)):
        dW = sum(np.array(sample[1][layer]) for sample in samples) / ROWS
        db = sum(np.array(sample[2][layer]) for sample in samples) / ROWS
        np.testing.assert_allclose(gradients[f"{index}.weight"], dW, rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(gradients[f"{index}.bias"], db, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(dX, np.array([sample[3] for sample in samples]) / ROWS, rtol=1e-11, atol=1e-15)

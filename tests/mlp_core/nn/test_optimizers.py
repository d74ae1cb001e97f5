"""Optimizers: ten-step trajectories against PyTorch in float64, and against the papers' formulas where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.matrix_optimizers import newton_schulz
from mlp_core.nn.optimizer import Optimizer, Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.parameters import Parameters, Spec

SPECS = [Spec("0.weight", (5, 3), True), Spec("0.bias", (5,), False), Spec("2.weight", (2, 5), True)]
SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "rho": 0.9}
STEPS = 10


def usual(name: str, **settings: float) -> dict[str, float]:
    """SETTINGS with muon's own momentum."""
    return {**SETTINGS, **({"mu": 0.95} if name == "muon" else {}), **settings}


def make(name: str, decay: float = 0.0, dtype: type = np.float64, **settings: float) -> tuple[Optimizer, Parameters]:
    parameters = Parameters(SPECS, numpy_backend(), dtype)
    parameters.theta[:] = np.random.default_rng(0).standard_normal(parameters.size)
    segments = [
        Segment(parameters.weights, 1.0, decay),
        Segment(slice(parameters.weights.stop, parameters.size)),
    ]
    return OPTIMIZERS[name](parameters, numpy_backend(), segments, **usual(name, **settings)), parameters


def gradient(theta: np.ndarray) -> np.ndarray:
    """The gradient of a fixed function of the parameters that is neither quadratic nor separable."""
    size = len(theta)
    A = np.random.default_rng(1).standard_normal((size, size)) / math.sqrt(size)
    return A.T @ np.tanh(A @ theta - 0.3) + 0.05 * theta


def trajectory(name: str, lr: float, decay: float = 0.0, **settings: float) -> list[np.ndarray]:
    optimizer, parameters = make(name, decay, **settings)
    points = []
    for _ in range(STEPS):
        optimizer.step(parameters.theta, gradient(parameters.theta), lr)
        points.append(parameters.theta.copy())
    return points


TORCH = [
    ("sgd", "SGD", 0.1, 0.0, {}),
    ("momentum", "SGD", 0.1, 0.0, {"momentum": 0.9}),
    ("nesterov", "SGD", 0.1, 0.0, {"momentum": 0.9, "nesterov": True}),
    ("adagrad", "Adagrad", 0.1, 0.0, {"eps": 1e-8}),
    ("adadelta", "Adadelta", 1.0, 0.0, {"rho": 0.9, "eps": 1e-8}),
    ("rmsprop", "RMSprop", 0.01, 0.0, {"alpha": 0.9, "eps": 1e-8}),
    ("adam", "Adam", 0.05, 0.0, {}),
    ("adamw", "AdamW", 0.05, 0.1, {}),
    ("nadam", "NAdam", 0.05, 0.1, {"decoupled_weight_decay": True}),
    ("radam", "RAdam", 0.05, 0.1, {"decoupled_weight_decay": True}),
    ("amsgrad", "AdamW", 0.05, 0.1, {"amsgrad": True}),
    ("lbfgs", "LBFGS", 0.8, 0.0, {"max_iter": 1, "history_size": 10, "tolerance_grad": 0, "tolerance_change": 1e-300}),
]


@pytest.mark.parametrize(("name", "theirs", "lr", "decay", "options"), TORCH, ids=[row[0] for row in TORCH])
def test_ten_steps_are_those_of_pytorch(request, name, theirs, lr, decay, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    before = torch.get_default_dtype()
    request.addfinalizer(lambda: torch.set_default_dtype(before))
    torch.set_default_dtype(torch.float64)  # else NAdam keeps the product of its momenta in float32
    _, parameters = make(name)
    weights, rest = (torch.from_numpy(parameters.theta[s].copy()) for s in (parameters.weights, slice(25, 30)))
    groups = [{"params": [weights], "weight_decay": decay}, {"params": [rest], "weight_decay": 0.0}]
    kind = getattr(torch.optim, theirs)
    optimizer = kind([weights, rest], lr=lr, **options) if name == "lbfgs" else kind(groups, lr=lr, **options)

    def closure():
        theta = np.concatenate([weights.detach().numpy(), rest.detach().numpy()])
        g = gradient(theta)
        weights.grad, rest.grad = torch.from_numpy(g[:25].copy()), torch.from_numpy(g[25:].copy())
        return torch.tensor(0.0)

    for point in trajectory(name, lr, decay):
        if name == "lbfgs":
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
        expected = np.concatenate([weights.detach().numpy(), rest.detach().numpy()])
        np.testing.assert_allclose(point, expected, rtol=1e-10, atol=1e-12)


def test_lion_is_the_papers_algorithm():
    """Chen et al. 2023, algorithm 2: update by the sign of an interpolation, decoupled weight decay, then momentum."""
    beta1, beta2, lr, decay = 0.9, 0.99, 0.01, 0.1
    _, parameters = make("lion")
    theta, m = parameters.theta.copy(), np.zeros(30)
    is_weight = np.arange(30) < 25
    for point in trajectory("lion", lr, decay, beta2=beta2):
        g = gradient(theta)
        c = beta1 * m + (1 - beta1) * g
        theta = theta - lr * (np.sign(c) + decay * is_weight * theta)
        m = beta2 * m + (1 - beta2) * g
        np.testing.assert_allclose(point, theta, rtol=1e-12, atol=1e-14)


def orthogonalised(G: np.ndarray) -> np.ndarray:
    """The quintic iteration applied to the singular values, one number at a time: U p(p(...p(s))) V^T."""
    U, s, Vt = np.linalg.svd(G, full_matrices=False)
    s = s / (math.sqrt(float((s * s).sum())) + 1e-7)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return U @ np.diag(s) @ Vt


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 6), (6, 1)])
def test_newton_schulz_acts_on_the_singular_values(shape):
    G = np.random.default_rng(2).standard_normal(shape)
    np.testing.assert_allclose(newton_schulz(np, G), orthogonalised(G), rtol=1e-9, atol=1e-10)
    singular = np.linalg.svd(newton_schulz(np, G), compute_uv=False)
    assert singular.min() > 0.3
    assert singular.max() < 1.3


def test_muon_is_the_papers_algorithm():
    """Jordan 2024 with Nesterov momentum for hidden matrices, scaled as in Liu et al. 2025; AdamW for the rest."""
    lr, decay, mu = 0.02, 0.1, 0.95
    _, parameters = make("muon")
    theta, M = parameters.theta.copy(), np.zeros((5, 3))
    m, v = np.zeros(30), np.zeros(30)
    is_weight = np.arange(30) < 25
    for t, point in enumerate(trajectory("muon", lr, decay), start=1):
        g = gradient(theta)
        W, G = theta[:15].reshape(5, 3), g[:15].reshape(5, 3)
        M = mu * M + (1 - mu) * G
        W = W - lr * decay * W - lr * 0.2 * math.sqrt(5) * orthogonalised(mu * M + (1 - mu) * G)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        theta = theta - lr * decay * is_weight * theta - lr * step
        theta[:15] = W.ravel()
        np.testing.assert_allclose(point, theta, rtol=1e-8, atol=1e-10)


def test_muon_leaves_the_output_layer_and_frozen_matrices_to_others():
    optimizer, parameters = make("muon")
    optimizer = OPTIMIZERS["muon"](parameters, numpy_backend(), [Segment(slice(15, 30))], **usual("muon"))
    before = parameters.theta.copy()
    optimizer.step(parameters.theta, gradient(parameters.theta), 0.1)
    np.testing.assert_array_equal(parameters.theta[:15], before[:15])
    np.testing.assert_allclose(np.abs(parameters.theta[15:] - before[15:]), 0.1, rtol=1e-6)  # Adam's first step


@pytest.fixture(params=list(OPTIMIZERS))
def name(request):
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_and_state_keep_their_dtype(name, dtype):
    optimizer, parameters = make(name, 0.1, dtype)
    for _ in range(3):
        optimizer.step(parameters.theta, gradient(parameters.theta).astype(dtype), 0.01)
    assert parameters.theta.dtype == dtype
    assert {array.dtype for array in optimizer.state.values()} <= {np.dtype(dtype)}
    assert {array.shape for array in optimizer.state.values()} <= {(30,)}
    assert np.isfinite(parameters.theta).all()


def test_the_state_is_all_there_is_to_save(name):
    optimizer, parameters = make(name, 0.1)
    for _ in range(4):
        optimizer.step(parameters.theta, gradient(parameters.theta), 0.05)
    other, twin = make(name, 0.1)
    twin.theta[:] = parameters.theta
    for slot, array in optimizer.state.items():
        other.state[slot][...] = array
    other.t = optimizer.t
    for _ in range(4):
        optimizer.step(parameters.theta, gradient(parameters.theta), 0.05)
        other.step(twin.theta, gradient(twin.theta), 0.05)
    np.testing.assert_array_equal(parameters.theta, twin.theta)


def test_frozen_parameters_stay_and_scaled_ones_move_by_their_own_rate(name):
    _, parameters = make(name)
    segments = [Segment(slice(0, 15), 0.5), Segment(slice(20, 30))]
    optimizer = OPTIMIZERS[name](parameters, numpy_backend(), segments, **SETTINGS)
    before = parameters.theta.copy()
    optimizer.step(parameters.theta, gradient(before), 0.01)
    half = parameters.theta[:15] - before[:15]
    np.testing.assert_array_equal(parameters.theta[15:20], before[15:20])

    whole = OPTIMIZERS[name](parameters, numpy_backend(), [Segment(slice(0, 15)), Segment(slice(20, 30))], **SETTINGS)
    parameters.theta[:] = before
    whole.step(parameters.theta, gradient(before), 0.01)
    np.testing.assert_allclose(parameters.theta[:15] - before[:15], 2 * half, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("muon", "lbfgs")])
def test_blocks_of_parameters_change_nothing(name):
    whole, parameters = make(name)
    whole.step(parameters.theta, gradient(parameters.theta), 0.01)
    parts, twin = make(name)
    rule = parts._rule
    parts._rule = lambda *args, **kwargs: rule(*args, **kwargs, block=7)
    parts.step(twin.theta, gradient(twin.theta), 0.01)
    np.testing.assert_array_equal(parameters.theta, twin.theta)


def test_every_optimizer_goes_down(name):
    lr = {"adadelta": 20.0, "lbfgs": 1.0, "lion": 1e-2, "sgd": 0.1, "adagrad": 0.5, "radam": 0.1}.get(name, 0.02)
    optimizer, parameters = make(name)
    start = np.abs(gradient(parameters.theta)).max()
    for _ in range(200):
        optimizer.step(parameters.theta, gradient(parameters.theta), lr)
    assert np.abs(gradient(parameters.theta)).max() < 0.5 * start


def test_the_product_of_nadams_momenta_ends_at_zero_without_a_long_loop():
    from mlp_core.nn.optimizers import nadam_momentum, nadam_product

    assert nadam_product(0.9, 3) == pytest.approx(math.prod(nadam_momentum(0.9, i) for i in (1, 2, 3)), rel=1e-15)
    assert nadam_product(0.9, 10**7) == 0.0

"""Every activation: its value and derivative against the complex step and PyTorch, at its kinks and far out."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.nn.activations import ACTIVATIONS, Elu, LeakyRelu, activation_gradient, bias_activation

STEP = 1e-200
KINDS = [*(kind() for kind in ACTIVATIONS.values()), LeakyRelu(0.3), Elu(0.5)]
POINTS = np.concatenate([np.linspace(-8, 8, 1601) + 1e-4, [-700.0, -50.0, -1e-8, 1e-8, 50.0, 700.0]])


def slope(f, z: np.ndarray) -> np.ndarray:
    a = f.forward(np, z)
    slopes = np.broadcast_to(f.slope(np, a if f.from_output else z, a), z.shape)
    return slopes.astype(z.dtype) if slopes.dtype == bool else slopes


@pytest.fixture(params=KINDS, ids=str)
def f(request):
    return request.param


def test_the_derivative_is_that_of_the_complex_step(f):
    with np.errstate(over="ignore"):
        numeric = f.forward(np, POINTS + 1j * STEP).imag / STEP
    np.testing.assert_allclose(slope(f, POINTS), numeric, rtol=1e-10, atol=1e-14)


def test_the_complex_forward_is_the_real_one(f):
    np.testing.assert_allclose(f.forward(np, POINTS + 0j).real, f.forward(np, POINTS), rtol=1e-15, atol=1e-16)


def test_value_and_derivative_are_those_of_pytorch(f):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch_twin import activate

    z = torch.from_numpy(POINTS[np.abs(POINTS) < 10]).requires_grad_()
    a = activate(z, f)
    a.sum().backward()
    ours = z.detach().numpy()
    np.testing.assert_allclose(f.forward(np, ours), a.detach().numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(slope(f, ours), z.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_at_a_kink_forward_and_derivative_take_the_same_side(f):
    for kink in f.kinks:
        z = np.array([kink])
        assert slope(f, z)[0] == pytest.approx(f.forward(np, z + 1j * STEP).imag[0] / STEP, abs=1e-15)


def test_nothing_is_lost_far_out(f):
    z = np.array([-1e4, 1e4])
    assert np.isfinite(f.forward(np, z)).all()
    assert np.isfinite(slope(f, z)).all()


def test_kinks_are_where_the_derivative_jumps(f):
    near = 1e-9
    grid = np.unique(np.concatenate([np.linspace(-5, 5, 101), f.kinks]))
    jumps = np.abs(slope(f, grid + near) - slope(f, grid - near)) > 1e-3
    assert sorted(grid[jumps]) == sorted(f.kinks)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept_in_both_primitives(f, dtype):
    Z = np.linspace(-3, 3, 12).astype(dtype).reshape(3, 4)
    A, Delta, b = np.empty_like(Z), np.ones_like(Z), np.zeros(4, dtype)
    expected = f.forward(np, Z.copy())
    bias_activation(np, Z, b, f, A, block=5)
    activation_gradient(np, Delta, f, A if f.from_output else Z, A, block=5)
    assert expected.dtype == dtype
    np.testing.assert_array_equal(A, expected)
    np.testing.assert_array_equal(Delta, slope(f, np.linspace(-3, 3, 12).astype(dtype).reshape(3, 4)))


@pytest.mark.parametrize("f", [kind for kind in KINDS if kind.from_output], ids=str)
def test_those_that_differentiate_from_the_output_may_overwrite_their_input(f):
    z = POINTS[np.abs(POINTS) < 30]
    a = f.forward(np, z)
    np.testing.assert_allclose(np.broadcast_to(f.slope(np, a, a), z.shape), slope(f, z), rtol=0, atol=0)

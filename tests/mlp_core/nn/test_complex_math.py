"""erf, log1p, tanh: exact to the last digits, and with exact derivatives through the imaginary part."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlp_core.nn.complex_math import erf, log1p, tanh

STEP = 1e-30


def ulps(ours: np.ndarray, exact: np.ndarray) -> float:
    return float((np.abs(ours - exact) / np.spacing(np.abs(exact))).max())


@pytest.mark.parametrize("top", [0.4, 0.46875, 1.0, 4.0, 6.5, 30.0])
def test_erf_is_within_two_units_in_the_last_place(top):
    x = np.concatenate([np.linspace(-top, top, 20_001), np.random.default_rng(0).uniform(-top, top, 20_000)])
    assert ulps(erf(np, x), np.array([math.erf(value) for value in x])) <= 2


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-300, -1e-20, 6.0, 1e10, -1e300, math.inf, -math.inf])
def test_erf_at_the_edges(x):
    value = erf(np, np.array([x]))[0]
    assert value == math.erf(x)
    assert math.copysign(1, value) == math.copysign(1, x)


@pytest.mark.parametrize("function", [erf, tanh], ids=["erf", "tanh"])
def test_not_a_number_stays_not_a_number(function):
    assert np.isnan(function(np, np.array([np.nan]))[0])


@pytest.mark.parametrize("function", [erf, log1p, tanh], ids=["erf", "log1p", "tanh"])
def test_float32_stays_float32(function):
    x = np.linspace(0, 3, 50, dtype=np.float32)
    assert function(np, x).dtype == np.float32


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
        (log1p, lambda x: 1 / (1 + x)),
        (tanh, lambda x: 1 / np.cosh(x) ** 2),
    ],
    ids=["erf", "log1p", "tanh"],
)
def test_the_imaginary_part_carries_the_derivative(function, slope):
    x = np.linspace(-0.9, 20, 400)
    z = function(np, x + 1j * STEP)
    np.testing.assert_allclose(z.imag / STEP, slope(x), rtol=1e-14)
    np.testing.assert_array_equal(z.real, function(np, x))


def test_tanh_far_out_does_not_overflow():
    z = tanh(np, np.array([-1e4, -400.0, 400.0, 1e4]) + 1j * STEP)
    np.testing.assert_array_equal(z.real, [-1, -1, 1, 1])
    assert np.isfinite(z.imag).all()

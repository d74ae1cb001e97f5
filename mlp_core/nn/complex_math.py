"""Functions that numpy lacks, or has in a form that loses the imaginary part of a complex step.

For complex arguments these return the first-order value f(x) + i y f'(x), which is exact for the imaginary parts of
1e-200 that the gradient check sends through them.
"""

from __future__ import annotations

from typing import Any

from mlp_core.nn.backend import Array

# Rational approximations, highest power first: near zero that of Sun's FDLIBM (1993), where x is added last, so that
# only its rounding counts; above 0.84375 and 4 those of W. J. Cody, "Rational Chebyshev approximations for the error
# function", Mathematics of Computation 23 (1969), of the complement.
_P1 = (
    *(-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02),
    *(-3.25042107247001499370e-01, 1.28379167095512558561e-01),
)
_Q1 = (
    *(-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03),
    *(6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0),
)
_NEAR = 0.84375
_P2 = (
    *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1),
    *(2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3),
    1.23033935479799725e3,
)
_Q2 = (
    *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3),
    *(3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
_P3 = (
    *(1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1),
    *(1.60837851487422766e-2, 6.58749161529837803e-4),
)
_Q3 = (
    *(1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2),
    2.33520497626869185e-3,
)
_SQRT_PI = 1.7724538509055160273


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value *= x
        value += coefficient
    return value


def erf(xp: Any, x: Array) -> Array:
    """The error function, elementwise: (2 / sqrt(pi)) * integral of exp(-t^2) from 0 to x (FDLIBM, Cody 1969).

    Within 2 units in the last place in float64; shape and dtype as `x`.
    """
    if x.dtype.kind == "c":
        return erf(xp, x.real) + 1j * x.imag * (2 / _SQRT_PI) * xp.exp(-x.real * x.real)
    size = xp.minimum(xp.abs(x), 6.0)
    square = size * size
    small = xp.minimum(square, _NEAR * _NEAR)
    near = size + size * (_polynomial(_P1, small) / _polynomial(_Q1, small))
    decay = xp.exp(-square)
    middle = 1 - decay * _polynomial(_P2, size) / _polynomial(_Q2, size)
    inverse = 1 / xp.maximum(square, 1.0)
    tail = inverse * _polynomial(_P3, inverse) / _polynomial(_Q3, inverse)
    far = 1 - decay * (1 / _SQRT_PI - tail) / xp.maximum(size, 1.0)
    value = xp.where(size < _NEAR, near, xp.where(size <= 4.0, middle, far))
    return xp.copysign(value, x).astype(x.dtype, copy=False)


def log1p(xp: Any, x: Array) -> Array:
    """log(1 + x), elementwise, exact for small x also where x is complex (numpy's complex log1p is not)."""
    if x.dtype.kind == "c":
        return xp.log1p(x.real) + 1j * x.imag / (1 + x.real)
    return xp.log1p(x)


def positive(xp: Any, x: Array) -> Array:
    """max(x, 0), deciding on the real part alone (numpy orders complex numbers by both parts)."""
    return xp.where(x.real > 0, x, 0) if x.dtype.kind == "c" else xp.maximum(x, 0)


def softplus(xp: Any, x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return positive(xp, x) + log1p(xp, xp.exp(xp.where(x.real > 0, -x, x)))


def tanh(xp: Any, x: Array) -> Array:
    """The hyperbolic tangent, elementwise; for complex x with the real part that the real function gives."""
    if x.dtype.kind == "c":
        t = xp.tanh(x.real)
        return t + 1j * x.imag / xp.square(xp.cosh(xp.minimum(xp.maximum(x.real, -350.0), 350.0)))
    return xp.tanh(x)

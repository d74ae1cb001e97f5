"""The elementwise loops of the engine, compiled by numba: one sweep over memory where numpy needs several.

`error_model="numpy"` matters: Python's check for a zero divisor keeps a loop from being vectorised. Of the liberties
called fast-math only the fused multiply-add is taken, so NaN, infinities and the order of sums are those of the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np

from mlp_core.backends.cpu.compiled.native import high, power_of_two

Array = Any  # numpy.ndarray
_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(
    function: _Function, compiler: Callable[..., Any] = numba.njit, fastmath: set[str] | bool = False
) -> _Function:
    """`function` compiled for other compiled functions; nothing is made for calls from Python."""
    settings = {"error_model": "numpy", "fastmath": fastmath, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    result: _Function = compiler(**settings)(function)
    return result


def _loop(function: _Function) -> _Function:
    return compiled(function, fastmath={"contract"})


def _inlined(function: _Function) -> _Function:
    """A function of single numbers, for loops: a call would keep them from being vectorised."""
    return compiled(function, partial(numba.njit, forceinline=True), fastmath={"contract"})


# --- e^x, in a form that becomes vectors: no branches, no calls ---

_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693145751953125, 1.4286068203094173e-06
_TERMS = tuple(1 / math.factorial(n) for n in range(2, 14))
_F2, _F3, _F4, _F5, _F6, _F7, _F8, _F9, _F10, _F11, _F12, _F13 = _TERMS


@_inlined
def _parts(real: Any, x: float) -> tuple[float, float]:
    """2^k and e^r - 1, where x = k ln 2 + r with the smallest |r|; the exponent of x must be in range.

    Taylor's series of e^r - 1 in Horner's form, as far as the digits of the type go.
    """
    k = np.rint(x * real(_LOG2E))
    k = k if k == k else real(0)  # NaN goes on in r
    r = (x - k * real(_LN2_HIGH)) - k * real(_LN2_LOW)
    if real(0.1) == 0.1:  # float64
        q = ((((real(_F13) * r + real(_F12)) * r + real(_F11)) * r + real(_F10)) * r + real(_F9)) * r + real(_F8)
        q = q * r + real(_F7)
    else:
        q = real(_F7)
    q = ((((q * r + real(_F6)) * r + real(_F5)) * r + real(_F4)) * r + real(_F3)) * r + real(_F2)
    return power_of_two(k), q * r * r + r


@_inlined
def _expm1(real: Any, x: float) -> float:
    """e^x - 1 for x <= 40, with all digits near 0."""
    low = real(-80)
    scale, q = _parts(real, low if x < low else x)
    return scale * q + (scale - real(1))


@_inlined
def _tanh(real: Any, x: float) -> float:
    twice = abs(x) * real(2)
    t = _expm1(real, real(40) if twice > real(40) else twice)
    a = t / (t + real(2))
    return a if x >= real(0) else -a


@_inlined
def _sigmoid(real: Any, x: float) -> float:
    return real(0.5) * _tanh(real, real(0.5) * x) + real(0.5)


# --- bias and activation: Z += b, A = f(Z); Z, A [rows, m], b [m] or None; f(real, z, p, q), p and q its numbers ---


@_inlined
def _relu(real: Any, z: float, p: float, q: float) -> float:
    return real(0) if z <= real(0) else z  # NaN stays NaN


@_inlined
def _leaky_relu(real: Any, z: float, p: float, q: float) -> float:
    return z if z > real(0) else p * z


@_inlined
def _elu(real: Any, z: float, p: float, q: float) -> float:
    """p z for z > 0, else q (e^z - 1)."""
    low = real(0) if z > real(0) else z
    return p * z if z > real(0) else q * _expm1(real, low)


@_inlined
def _tanh_of(real: Any, z: float, p: float, q: float) -> float:
    return _tanh(real, z)


@_inlined
def _sigmoid_of(real: Any, z: float, p: float, q: float) -> float:
    return _sigmoid(real, z)


@_inlined
def _silu(real: Any, z: float, p: float, q: float) -> float:
    return z * _sigmoid(real, z)


@_inlined
def _gelu_tanh(real: Any, z: float, p: float, q: float) -> float:
    return real(0.5) * z * (real(1) + _tanh(real, p * (z + q * z * z * z)))


def _curve(f: Any) -> Any:
    """The loop of an activation. A that is Z itself has one of its own: the compiler sees that nothing overlaps."""

    @_loop
    def activate(Z: Array, b: Any, A: Array, p: float, q: float) -> None:
        real, in_place = Z.dtype.type, Z.ctypes.data == A.ctypes.data
        p, q = real(p), real(q)
        for i in range(Z.shape[0]):
            if in_place:
                for j in range(Z.shape[1]):
                    Z[i, j] = f(real, Z[i, j] if b is None else Z[i, j] + b[j], p, q)
            else:
                for j in range(Z.shape[1]):
                    z = Z[i, j] if b is None else Z[i, j] + b[j]
                    Z[i, j] = z
                    A[i, j] = f(real, z, p, q)

    return activate


relu, leaky_relu, elu = _curve(_relu), _curve(_leaky_relu), _curve(_elu)
tanh, sigmoid = _curve(_tanh_of), _curve(_sigmoid_of)
silu, gelu_tanh = _curve(_silu), _curve(_gelu_tanh)


@_loop
def bias(Z: Array, b: Array) -> None:
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            Z[i, j] += b[j]


# --- gradient of the activation: Delta [rows, m] *= f', f'(real, a, p, q) from a = f(z), or from z for the last two ---


@_inlined
def _step(real: Any, a: float, p: float, q: float) -> float:
    return real(1) if a > real(0) else real(0)


@_inlined
def _two_slopes(real: Any, a: float, p: float, q: float) -> float:
    return p if a > real(0) else q


@_inlined
def _elu_slope(real: Any, a: float, p: float, q: float) -> float:
    return p if a > real(0) else a + q


@_inlined
def _parabola(real: Any, a: float, p: float, q: float) -> float:
    """(p + a) (q - a): tanh has p = q = 1, the sigmoid p = 0, q = 1."""
    return (p + a) * (q - a)


@_inlined
def _silu_slope(real: Any, z: float, p: float, q: float) -> float:
    s = _sigmoid(real, z)
    return s * (real(1) + z * (real(1) - s))


@_inlined
def _gelu_tanh_slope(real: Any, z: float, p: float, q: float) -> float:
    t = _tanh(real, p * (z + q * z * z * z))
    inner = p * (real(1) + real(3) * q * z * z)
    return real(0.5) * (real(1) + t) + real(0.5) * z * (real(1) - t * t) * inner


def _slope(f: Any) -> Any:
    """The loop of a derivative. It is a factor, so that NaN and infinity in Delta stay."""

    @_loop
    def differentiate(Delta: Array, A: Array, p: float, q: float) -> None:
        real = A.dtype.type
        p, q = real(p), real(q)
        for i in range(A.shape[0]):
            for j in range(A.shape[1]):
                Delta[i, j] *= f(real, A[i, j], p, q)

    return differentiate


relu_gradient, two_slopes_gradient = _slope(_step), _slope(_two_slopes)
elu_gradient, parabola_gradient = _slope(_elu_slope), _slope(_parabola)
silu_gradient, gelu_tanh_gradient = _slope(_silu_slope), _slope(_gelu_tanh_slope)


# --- dropout: the same masks as numpy's, bit for bit ---

_U = np.uint64
_M0, _M1 = _U(0xD2E7470EE14C6C93), _U(0xCA5A826395121157)
_W0, _W1 = _U(0x9E3779B97F4A7C15), _U(0xBB67AE8584CAA73B)


@_inlined
def _philox(block: int, step: int, layer: int, key0: int, key1: int) -> Any:
    """Philox4x64-10 (Salmon et al., SC 2011); numpy counts up before each block of four words."""
    c0, c1, c2, c3 = _U(block + 1), _U(step), _U(layer), _U(0)
    k0, k1 = _U(key0), _U(key1)
    for _ in range(10):
        high0, low0, high1, low1 = high(_M0, c0), _M0 * c0, high(_M1, c2), _M1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


@_loop
def dropout_mask(mask: Array, first: int, step: Any, layer: int, k0: int, k1: int, least: int, scale: float) -> None:
    """mask, entries `first` and on of all that are drawn: 0 where the upper 24 bits of half a word are below `least`,
    else `scale`. Two numbers come from a word, the lower half first."""
    kept, end = mask.dtype.type(scale), first + mask.size
    for block in range(first // 8, (end + 7) // 8):
        words = _philox(block, step, layer, k0, k1)
        for w in range(4):
            for half in range(2):
                place = 8 * block + 2 * w + half
                if first <= place < end:
                    drawn = np.int64((words[w] >> _U(32 * half + 8)) & _U(0xFFFFFF))
                    mask[place - first] = kept if drawn >= least else kept * 0


@_loop
def multiply(A: Array, B: Array, out: Array) -> None:
    for i in range(A.size):
        out[i] = A[i] * B[i]


# --- losses: Z, Delta [rows, c]; w [rows] or None; the sum of w * loss, and Delta = w dLoss/dZ / total. NaN for a
# target that is not the number of a class ---


@_loop
def cross_entropy(Z: Array, Y: Array, w: Any, total: float, Delta: Array, smoothing: float) -> float:
    dtype, value = Z.dtype.type, 0.0
    rows, classes = Z.shape
    spread, chosen = dtype(smoothing / classes), dtype(1 - smoothing)
    for i in range(rows):
        y = Y[i]
        if y < 0 or y >= classes:
            return math.nan
        weight = 1.0 if w is None else w[i]
        top, mean, sum_exp = Z[i, 0], dtype(0), dtype(0)
        for k in range(classes):
            top = max(top, Z[i, k])
            mean += Z[i, k]
        for k in range(classes):
            e = math.exp(Z[i, k] - top)
            Delta[i, k] = e
            sum_exp += e
        loss = math.log(sum_exp) + top - chosen * Z[i, y]
        if smoothing != 0:
            loss -= spread * mean
        value += weight * loss
        factor = dtype(weight / total)
        for k in range(classes):
            Delta[i, k] = (Delta[i, k] / sum_exp - spread) * factor
        Delta[i, y] -= chosen * factor
    return value


@_loop
def bce(Z: Array, Y: Array, w: Any, total: float, Delta: Array, pos_weight: float) -> float:
    dtype, value = Z.dtype.type, 0.0
    rows, outputs = Z.shape
    one, positive = dtype(1), dtype(pos_weight)
    for i in range(rows):
        weight = (1.0 if w is None else w[i]) / outputs
        factor = dtype(weight / total)
        for k in range(outputs):
            z, y = Z[i, k], dtype(Y[i, k])
            e = math.exp(-abs(z))
            left, share = math.log1p(e), one / (one + e)
            p, miss = (share, e * share) if z >= 0 else (e * share, share)
            value += weight * (positive * y * (max(-z, 0) + left) + (one - y) * (max(z, 0) + left))
            Delta[i, k] = ((one - y) * p - positive * y * miss) * factor
    return value


@_loop
def mse(Z: Array, Y: Array, w: Any, total: float, Delta: Array, _: float) -> float:
    dtype, value = Z.dtype.type, 0.0
    rows, outputs = Z.shape
    for i in range(rows):
        weight = (1.0 if w is None else w[i]) / outputs
        factor = dtype(2 * weight / total)
        square = dtype(0)
        for k in range(outputs):
            d = Z[i, k] - Y[i, k]
            square += d * d
            Delta[i, k] = d * factor
        value += weight * square
    return value


# --- optimizers: theta, grad and the vectors of the state have one length; keep is 1 - lr * weight decay ---


@_loop
def sgd(theta: Array, grad: Array, lr: float, keep: float) -> None:
    dtype = theta.dtype.type
    lr, keep = dtype(lr), dtype(keep)
    for i in range(theta.size):
        theta[i] = keep * theta[i] - lr * grad[i]


@_loop
def momentum(theta: Array, grad: Array, m: Array, lr: float, keep: float, mu: float) -> None:
    dtype = theta.dtype.type
    lr, keep, mu = dtype(lr), dtype(keep), dtype(mu)
    for i in range(theta.size):
        m[i] = mu * m[i] + grad[i]
        theta[i] = keep * theta[i] - lr * m[i]


@_loop
def nesterov(theta: Array, grad: Array, m: Array, lr: float, keep: float, mu: float) -> None:
    dtype = theta.dtype.type
    lr, keep, mu = dtype(lr), dtype(keep), dtype(mu)
    for i in range(theta.size):
        m[i] = mu * m[i] + grad[i]
        theta[i] = keep * theta[i] - lr * (grad[i] + mu * m[i])


@_loop
def adagrad(theta: Array, grad: Array, v: Array, lr: float, keep: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, eps = dtype(lr), dtype(keep), dtype(eps)
    for i in range(theta.size):
        v[i] += grad[i] * grad[i]
        theta[i] = keep * theta[i] - lr * grad[i] / (math.sqrt(v[i]) + eps)


@_loop
def rmsprop(theta: Array, grad: Array, v: Array, lr: float, keep: float, rho: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, new, rho, eps = dtype(lr), dtype(keep), dtype(1 - rho), dtype(rho), dtype(eps)
    for i in range(theta.size):
        v[i] = rho * v[i] + new * grad[i] * grad[i]
        theta[i] = keep * theta[i] - lr * grad[i] / (math.sqrt(v[i]) + eps)


@_loop
def adadelta(theta: Array, grad: Array, v: Array, u: Array, lr: float, keep: float, rho: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, new, rho, eps = dtype(lr), dtype(keep), dtype(1 - rho), dtype(rho), dtype(eps)
    for i in range(theta.size):
        v[i] = rho * v[i] + new * grad[i] * grad[i]
        d = math.sqrt(u[i] + eps) / math.sqrt(v[i] + eps) * grad[i]
        u[i] = rho * u[i] + new * d * d
        theta[i] = keep * theta[i] - lr * d


@_loop
def adam(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    ahead: float,
    here: float,
    keep: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
) -> None:
    """theta = keep theta - (ahead m + here g) / (sqrt(v) / root + eps); adam has here = 0, nadam not."""
    dtype = theta.dtype.type
    new1, new2 = dtype(1 - beta1), dtype(1 - beta2)
    ahead, here, keep, eps, scale = dtype(ahead), dtype(here), dtype(keep), dtype(eps), dtype(1 / root)
    beta1, beta2 = dtype(beta1), dtype(beta2)
    for i in range(theta.size):
        g = grad[i]
        m[i] = beta1 * m[i] + new1 * g
        v[i] = beta2 * v[i] + new2 * g * g
        theta[i] = keep * theta[i] - (ahead * m[i] + here * g) / (math.sqrt(v[i]) * scale + eps)


@_loop
def amsgrad(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    top: Array,
    rate: float,
    keep: float,
    beta1: float,
    beta2: float,
    eps: float,
    root: float,
) -> None:
    dtype = theta.dtype.type
    new1, new2 = dtype(1 - beta1), dtype(1 - beta2)
    rate, keep, eps, scale = dtype(rate), dtype(keep), dtype(eps), dtype(1 / root)
    beta1, beta2 = dtype(beta1), dtype(beta2)
    for i in range(theta.size):
        g = grad[i]
        m[i] = beta1 * m[i] + new1 * g
        v[i] = beta2 * v[i] + new2 * g * g
        top[i] = top[i] if top[i] >= v[i] else v[i]  # NaN in v comes through
        theta[i] = keep * theta[i] - rate * m[i] / (math.sqrt(top[i]) * scale + eps)


@_loop
def momentum_and_square(
    theta: Array, grad: Array, m: Array, v: Array, rate: float, keep: float, beta1: float, beta2: float
) -> None:
    """radam's first steps: theta = keep theta - rate m, while v is gathered."""
    dtype = theta.dtype.type
    new1, new2 = dtype(1 - beta1), dtype(1 - beta2)
    rate, keep, beta1, beta2 = dtype(rate), dtype(keep), dtype(beta1), dtype(beta2)
    for i in range(theta.size):
        g = grad[i]
        m[i] = beta1 * m[i] + new1 * g
        v[i] = beta2 * v[i] + new2 * g * g
        theta[i] = keep * theta[i] - rate * m[i]


@_loop
def lion(theta: Array, grad: Array, m: Array, lr: float, keep: float, beta1: float, beta2: float) -> None:
    dtype = theta.dtype.type
    new1, new2 = dtype(1 - beta1), dtype(1 - beta2)
    lr, keep, beta1, beta2 = dtype(lr), dtype(keep), dtype(beta1), dtype(beta2)
    for i in range(theta.size):
        g = grad[i]
        theta[i] = keep * theta[i] - lr * np.sign(beta1 * m[i] + new1 * g)
        m[i] = beta2 * m[i] + new2 * g

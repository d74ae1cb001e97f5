"""The elementwise loops of the engine, compiled by numba: one sweep over memory where numpy needs several.

`error_model="numpy"` matters: Python's check for a zero divisor keeps a loop from being vectorised. Of the liberties
called fast-math only the fused multiply-add is taken, so NaN, infinities and the order of sums are those of the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

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


# --- bias and activation: Z, A [rows, m], b [m] or None ---


@_loop
def relu(Z: Array, b: Any, A: Array) -> None:
    """NaN stays NaN. A that is Z itself has a loop of its own: the compiler sees that nothing overlaps there."""
    zero, in_place = Z.dtype.type(0), Z.ctypes.data == A.ctypes.data
    for i in range(Z.shape[0]):
        if in_place:
            for j in range(Z.shape[1]):
                z = Z[i, j] if b is None else Z[i, j] + b[j]
                Z[i, j] = zero if z <= 0 else z
        else:
            for j in range(Z.shape[1]):
                z = Z[i, j] if b is None else Z[i, j] + b[j]
                A[i, j] = zero if z <= 0 else z


@_loop
def leaky_relu(Z: Array, b: Any, A: Array, p: float) -> None:
    alpha, in_place = Z.dtype.type(p), Z.ctypes.data == A.ctypes.data
    for i in range(Z.shape[0]):
        if in_place:
            for j in range(Z.shape[1]):
                z = Z[i, j] if b is None else Z[i, j] + b[j]
                Z[i, j] = z if z > 0 else alpha * z
        else:
            for j in range(Z.shape[1]):
                z = Z[i, j] if b is None else Z[i, j] + b[j]
                A[i, j] = z if z > 0 else alpha * z


@_loop
def bias(Z: Array, b: Array) -> None:
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            Z[i, j] += b[j]


# --- gradient of the activation: Delta [rows, m] *= f', from A = f(Z) ---


@_loop
def relu_gradient(Delta: Array, A: Array) -> None:
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            Delta[i, j] *= A[i, j] > 0  # a factor, so that NaN and infinity in Delta stay


@_loop
def two_slopes_gradient(Delta: Array, A: Array, p: float, q: float) -> None:
    """f' = p for a > 0, else q."""
    above, below = A.dtype.type(p), A.dtype.type(q)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            Delta[i, j] *= above if A[i, j] > 0 else below


@_loop
def elu_gradient(Delta: Array, A: Array, p: float, q: float) -> None:
    """f' = p for a > 0, else a + q."""
    above, alpha = A.dtype.type(p), A.dtype.type(q)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            a = A[i, j]
            Delta[i, j] *= above if a > 0 else a + alpha


@_loop
def parabola_gradient(Delta: Array, A: Array, p: float, q: float) -> None:
    """f' = (p + a) (q - a): tanh has p = q = 1, the sigmoid p = 0, q = 1."""
    low, high = A.dtype.type(p), A.dtype.type(q)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            Delta[i, j] *= (low + A[i, j]) * (high - A[i, j])


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

"""Fused primitives for the CPU, compiled by numba: one sweep over memory where numpy needs several.

Each entry has the name and the remaining arguments of the generic primitive that it replaces, and hands over to that
one where it has nothing faster: for other losses and activations, other dtypes, arrays that are not contiguous.
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

from mlp_core.activations import (
    _SELU_ALPHA,
    _SELU_SCALE,
    Activation,
    Elu,
    Identity,
    LeakyRelu,
    Relu,
    Selu,
    Sigmoid,
    Tanh,
    activation_gradient,
    bias_activation,
)
from mlp_core.backend import BLOCK, Array, Backend
from mlp_core.losses import Bce, CrossEntropy, Loss, Mse, loss_and_gradient
from mlp_core.optimizers import nadam_rates, radam_rate
from mlp_core.team import Team

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """`function` compiled at its first call, and kept on disk where there is a folder that can be written."""
    compiled: Any = partial(numba.njit, error_model="numpy", fastmath={"contract"}, nogil=True)
    try:
        result: _Function = compiled(cache=True)(function)
    except RuntimeError:  # numba finds no place for its cache
        result = compiled()(function)
    return result


def _real(array: Array) -> bool:
    """Whether the loops are meant for this array: they are not for complex numbers, nor for long doubles."""
    return array.dtype.char in "fd"


# --- bias and activation: Z, A [rows, m], b [m] or None; p is the parameter of f ---


@_compiled
def _relu(Z: Array, b: Any, A: Array, p: float) -> None:
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            z = Z[i, j] if b is None else Z[i, j] + b[j]
            A[i, j] = Z.dtype.type(0) if z <= 0 else z  # NaN stays NaN


@_compiled
def _leaky_relu(Z: Array, b: Any, A: Array, p: float) -> None:
    alpha = Z.dtype.type(p)
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            z = Z[i, j] if b is None else Z[i, j] + b[j]
            A[i, j] = z if z > 0 else alpha * z


@_compiled
def _bias(Z: Array, b: Any, A: Array, p: float) -> None:
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            Z[i, j] += b[j]


# --- gradient of the activation: Delta [rows, m] *= f'; db [m] or None its sum over the rows ---


@_compiled
def _relu_gradient(Delta: Array, A: Array, db: Any, p: float, q: float) -> None:
    if db is not None:
        db[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            d = Delta[i, j] * (A[i, j] > 0)  # a factor, so that NaN and infinity in Delta stay
            Delta[i, j] = d
            if db is not None:
                db[j] += d


@_compiled
def _two_slopes_gradient(Delta: Array, A: Array, db: Any, p: float, q: float) -> None:
    """f' = p for a > 0, else q."""
    above, below = A.dtype.type(p), A.dtype.type(q)
    if db is not None:
        db[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            d = Delta[i, j] * (above if A[i, j] > 0 else below)
            Delta[i, j] = d
            if db is not None:
                db[j] += d


@_compiled
def _elu_gradient(Delta: Array, A: Array, db: Any, p: float, q: float) -> None:
    """f' = p for a > 0, else a + q."""
    above, alpha = A.dtype.type(p), A.dtype.type(q)
    if db is not None:
        db[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            a = A[i, j]
            d = Delta[i, j] * (above if a > 0 else a + alpha)
            Delta[i, j] = d
            if db is not None:
                db[j] += d


@_compiled
def _parabola_gradient(Delta: Array, A: Array, db: Any, p: float, q: float) -> None:
    """f' = (p + a) (q - a): tanh has p = q = 1, the sigmoid p = 0, q = 1."""
    low, high = A.dtype.type(p), A.dtype.type(q)
    if db is not None:
        db[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            d = Delta[i, j] * ((low + A[i, j]) * (high - A[i, j]))
            Delta[i, j] = d
            if db is not None:
                db[j] += d


@_compiled
def _sum_rows(Delta: Array, A: Array, db: Any, p: float, q: float) -> None:
    db[:] = 0
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            db[j] += Delta[i, j]


_FORWARD: dict[type[Activation], tuple[Any, Callable[[Any], float]]] = {
    Relu: (_relu, lambda f: 0.0),
    LeakyRelu: (_leaky_relu, lambda f: f.alpha),
}
_BACKWARD: dict[type[Activation], tuple[Any, Callable[[Any], tuple[float, float]]]] = {
    Relu: (_relu_gradient, lambda f: (0.0, 0.0)),
    LeakyRelu: (_two_slopes_gradient, lambda f: (1.0, f.alpha)),
    Elu: (_elu_gradient, lambda f: (1.0, f.alpha)),
    Selu: (_elu_gradient, lambda f: (_SELU_SCALE, _SELU_SCALE * _SELU_ALPHA)),
    Tanh: (_parabola_gradient, lambda f: (1.0, 1.0)),
    Sigmoid: (_parabola_gradient, lambda f: (0.0, 1.0)),
}


def _bias_activation(Z: Array, b: Array | None, f: Activation, A: Array, block: int = BLOCK) -> None:
    kind = type(f)
    if kind in _FORWARD and _real(Z):
        loop, parameter = _FORWARD[kind]
        loop(Z, b, A, parameter(f))
    elif kind is Identity and A is Z and b is not None and _real(Z):
        _bias(Z, b, A, 0.0)
    else:
        bias_activation(np, Z, b, f, A, block)


def _activation_gradient(
    Delta: Array, f: Activation, Z: Array, A: Array, db: Array | None = None, block: int = BLOCK
) -> None:
    kind = type(f)
    if kind in _BACKWARD and _real(Delta):
        loop, parameters = _BACKWARD[kind]
        loop(Delta, A, db, *parameters(f))
    elif kind is Identity and db is not None and _real(Delta):
        _sum_rows(Delta, A, db, 0.0, 0.0)
    else:
        activation_gradient(np, Delta, f, Z, A, db, block)


# --- losses: Z, Delta [rows, c]; w [rows] or None; the sum of w * loss, and Delta = w dLoss/dZ / total ---


@_compiled
def _cross_entropy(Z: Array, Y: Array, w: Any, total: float, Delta: Array, smoothing: float) -> float:
    dtype, value = Z.dtype.type, 0.0
    rows, classes = Z.shape
    spread, chosen = dtype(smoothing / classes), dtype(1 - smoothing)
    for i in range(rows):
        y = Y[i]
        if y < 0 or y >= classes:
            raise IndexError("a target is not the number of a class")
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


@_compiled
def _bce(Z: Array, Y: Array, w: Any, total: float, Delta: Array, pos_weight: float) -> float:
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


@_compiled
def _mse(Z: Array, Y: Array, w: Any, total: float, Delta: Array) -> float:
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


def _loss_and_gradient(
    loss: Loss, Z: Array, Y: Array, w: Array | None, total: float, Delta: Array | None, block: int = BLOCK
) -> Any:
    kind = type(loss)
    if Delta is None or not _real(Z):
        return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)
    if isinstance(loss, CrossEntropy) and Y.ndim == 1 and Y.dtype.kind == "i":
        return _cross_entropy(Z, Y, w, total, Delta, loss.label_smoothing) / total
    if isinstance(loss, Bce) and Y.size == Z.size and Y.dtype.kind in "if":
        return _bce(Z, Y.reshape(Z.shape), w, total, Delta, loss.pos_weight) / total
    if kind is Mse and Y.shape == Z.shape and Y.dtype == Z.dtype:
        return _mse(Z, Y, w, total, Delta) / total
    return loss_and_gradient(np, loss, Z, Y, w, total, Delta, block)


# --- optimizers: theta, grad and the vectors of the state have one length ---


@_compiled
def _sgd(theta: Array, grad: Array, lr: float, decay: float) -> None:
    dtype = theta.dtype.type
    lr, keep = dtype(lr), dtype(1 - lr * decay)
    for i in range(theta.size):
        theta[i] = keep * theta[i] - lr * grad[i]


@_compiled
def _momentum(theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float) -> None:
    dtype = theta.dtype.type
    lr, keep, mu = dtype(lr), dtype(1 - lr * decay), dtype(mu)
    for i in range(theta.size):
        m[i] = mu * m[i] + grad[i]
        theta[i] = keep * theta[i] - lr * m[i]


@_compiled
def _nesterov(theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float) -> None:
    dtype = theta.dtype.type
    lr, keep, mu = dtype(lr), dtype(1 - lr * decay), dtype(mu)
    for i in range(theta.size):
        m[i] = mu * m[i] + grad[i]
        theta[i] = keep * theta[i] - lr * (grad[i] + mu * m[i])


@_compiled
def _adagrad(theta: Array, grad: Array, v: Array, lr: float, decay: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, eps = dtype(lr), dtype(1 - lr * decay), dtype(eps)
    for i in range(theta.size):
        v[i] += grad[i] * grad[i]
        theta[i] = keep * theta[i] - lr * grad[i] / (math.sqrt(v[i]) + eps)


@_compiled
def _rmsprop(theta: Array, grad: Array, v: Array, lr: float, decay: float, rho: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, new, rho, eps = dtype(lr), dtype(1 - lr * decay), dtype(1 - rho), dtype(rho), dtype(eps)
    for i in range(theta.size):
        v[i] = rho * v[i] + new * grad[i] * grad[i]
        theta[i] = keep * theta[i] - lr * grad[i] / (math.sqrt(v[i]) + eps)


@_compiled
def _adadelta(theta: Array, grad: Array, v: Array, u: Array, lr: float, decay: float, rho: float, eps: float) -> None:
    dtype = theta.dtype.type
    lr, keep, new, rho, eps = dtype(lr), dtype(1 - lr * decay), dtype(1 - rho), dtype(rho), dtype(eps)
    for i in range(theta.size):
        v[i] = rho * v[i] + new * grad[i] * grad[i]
        d = math.sqrt(u[i] + eps) / math.sqrt(v[i] + eps) * grad[i]
        u[i] = rho * u[i] + new * d * d
        theta[i] = keep * theta[i] - lr * d


@_compiled
def _adam(
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


@_compiled
def _amsgrad(
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


@_compiled
def _momentum_and_square(
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


@_compiled
def _lion(theta: Array, grad: Array, m: Array, lr: float, decay: float, beta1: float, beta2: float) -> None:
    dtype = theta.dtype.type
    new1, new2 = dtype(1 - beta1), dtype(1 - beta2)
    lr, keep, beta1, beta2 = dtype(lr), dtype(1 - lr * decay), dtype(beta1), dtype(beta2)
    for i in range(theta.size):
        g = grad[i]
        theta[i] = keep * theta[i] - lr * np.sign(beta1 * m[i] + new1 * g)
        m[i] = beta2 * m[i] + new2 * g


def _adam_step(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> None:
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    _adam(theta, grad, m, v, rate, 0.0, 1 - lr * decay, beta1, beta2, eps, root)


def _amsgrad_step(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    top: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> None:
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    _amsgrad(theta, grad, m, v, top, rate, 1 - lr * decay, beta1, beta2, eps, root)


def _nadam_step(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> None:
    ahead, here = nadam_rates(lr, beta1, t)
    _adam(theta, grad, m, v, ahead, here, 1 - lr * decay, beta1, beta2, eps, math.sqrt(1 - beta2**t))


def _radam_step(
    theta: Array,
    grad: Array,
    m: Array,
    v: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    eps: float,
    t: int,
) -> None:
    rate, rectified = radam_rate(lr, beta1, beta2, t)
    if rectified:
        _adam(theta, grad, m, v, rate, 0.0, 1 - lr * decay, beta1, beta2, eps, 1.0)
    else:
        _momentum_and_square(theta, grad, m, v, rate, 1 - lr * decay, beta1, beta2)


def _gather(X: Array, rows: Array, out: Array) -> None:
    X.take(rows, 0, out, "clip")


KERNELS: dict[str, Callable[..., Any]] = {
    "gather": _gather,
    "bias_activation": _bias_activation,
    "activation_gradient": _activation_gradient,
    "loss_and_gradient": _loss_and_gradient,
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adadelta": _adadelta,
    "adam": _adam_step,
    "amsgrad": _amsgrad_step,
    "nadam": _nadam_step,
    "radam": _radam_step,
    "lion": _lion,
}


VECTORS = {
    **{"sgd": 2, "momentum": 3, "nesterov": 3, "adagrad": 3, "adadelta": 4, "rmsprop": 3},
    **{"adam": 4, "amsgrad": 5, "nadam": 4, "radam": 4, "lion": 3},
}
"""How many vectors, theta and its gradient among them, each update rule goes through."""


def numba_backend(threads: int = 1) -> Backend:
    """numpy with these primitives in place of the generic ones; products and long updates shared by `threads`."""
    if threads == 1:
        return Backend("numba", np, KERNELS)
    team = Team(threads)
    shared = {name: team.update(KERNELS[name], vectors) for name, vectors in VECTORS.items()}
    return Backend("numba", np, {**KERNELS, **shared, "product": team.product})

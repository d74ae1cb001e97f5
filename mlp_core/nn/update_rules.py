"""Update rules: how a gradient moves parameters, entry by entry.

Each is a primitive with its equation in the docstring: g the gradient, t the step counted from 1, lr the learning rate
of this step. Weight decay is decoupled everywhere (Loshchilov and Hutter, ICLR 2019): before the update the weight
matrices shrink by the factor 1 - lr * weight_decay; an l2 term in the loss is `regularization.l2`.
"""

from __future__ import annotations

import math
from typing import Any

from mlp_core.nn.backend import BLOCK, Array, blocks


def sgd(xp: Any, theta: Array, grad: Array, lr: float, decay: float, block: int = BLOCK) -> None:
    """theta -= lr g."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        theta[s] -= lr * grad[s]


def momentum(
    xp: Any, theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float, block: int = BLOCK
) -> None:
    """m = mu m + g; theta -= lr m (Polyak 1964, in PyTorch's form)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        m[s] *= mu
        m[s] += grad[s]
        theta[s] -= lr * m[s]


def nesterov(
    xp: Any, theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float, block: int = BLOCK
) -> None:
    """m = mu m + g; theta -= lr (g + mu m) (Sutskever et al., ICML 2013)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        m[s] *= mu
        m[s] += grad[s]
        theta[s] -= lr * (grad[s] + mu * m[s])


def adagrad(
    xp: Any, theta: Array, grad: Array, v: Array, lr: float, decay: float, eps: float, block: int = BLOCK
) -> None:
    """v += g^2; theta -= lr g / (sqrt(v) + eps) (Duchi, Hazan, Singer, JMLR 2011)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] += grad[s] * grad[s]
        theta[s] -= lr * grad[s] / (xp.sqrt(v[s]) + eps)


def adadelta(
    xp: Any,
    theta: Array,
    grad: Array,
    v: Array,
    u: Array,
    lr: float,
    decay: float,
    rho: float,
    eps: float,
    block: int = BLOCK,
) -> None:
    """v = rho v + (1 - rho) g^2; d = sqrt(u + eps) / sqrt(v + eps) g; u = rho u + (1 - rho) d^2; theta -= lr d.

    Zeiler 2012.
    """
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] *= rho
        v[s] += (1 - rho) * grad[s] * grad[s]
        d = xp.sqrt(u[s] + eps) / xp.sqrt(v[s] + eps) * grad[s]
        u[s] *= rho
        u[s] += (1 - rho) * d * d
        theta[s] -= lr * d


def rmsprop(
    xp: Any,
    theta: Array,
    grad: Array,
    v: Array,
    lr: float,
    decay: float,
    rho: float,
    eps: float,
    block: int = BLOCK,
) -> None:
    """v = rho v + (1 - rho) g^2; theta -= lr g / (sqrt(v) + eps) (Tieleman and Hinton 2012)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        v[s] *= rho
        v[s] += (1 - rho) * grad[s] * grad[s]
        theta[s] -= lr * grad[s] / (xp.sqrt(v[s]) + eps)


def adam(
    xp: Any,
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
    block: int = BLOCK,
) -> None:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; both corrected for their start at zero:

    theta -= lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) (Kingma and Ba, ICLR 2015).
    """
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= rate * m[s] / (xp.sqrt(v[s]) / root + eps)


def amsgrad(
    xp: Any,
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
    block: int = BLOCK,
) -> None:
    """Adam with the largest v so far in place of v (Reddi, Kale, Kumar, ICLR 2018)."""
    rate, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        xp.maximum(top[s], v[s], out=top[s])
        theta[s] -= rate * m[s] / (xp.sqrt(top[s]) / root + eps)


def nadam(
    xp: Any,
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
    block: int = BLOCK,
) -> None:
    """Adam looking one step ahead (Dozat 2016), with the momentum schedule mu_t = beta1 (1 - 0.96^(0.004 t) / 2):

    theta -= lr (mu_{t+1} m / (1 - prod_{i<=t+1} mu_i) + (1 - mu_t) g / (1 - prod_{i<=t} mu_i)) / (sqrt(v^) + eps).
    """
    ahead, here = nadam_rates(lr, beta1, t)
    root = math.sqrt(1 - beta2**t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= (ahead * m[s] + here * grad[s]) / (xp.sqrt(v[s]) / root + eps)


def nadam_rates(lr: float, beta1: float, t: int) -> tuple[float, float]:
    """What nadam multiplies m and g by in step t."""
    mu, mu_next, product = nadam_momentum(beta1, t), nadam_momentum(beta1, t + 1), nadam_product(beta1, t)
    return lr * mu_next / (1 - product * mu_next), lr * (1 - mu) / (1 - product)


def nadam_momentum(beta1: float, t: int) -> float:
    """mu_t = beta1 (1 - 0.96^(0.004 t) / 2)."""
    return beta1 * (1 - 0.5 * math.pow(0.96, 0.004 * t))


def nadam_product(beta1: float, t: int) -> float:
    """The product of mu_1 .. mu_t; it is below the smallest float long before the loop becomes long."""
    product = 1.0
    for i in range(1, t + 1):
        product *= nadam_momentum(beta1, i)
        if product < 1e-300:
            return 0.0
    return product


def radam(
    xp: Any,
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
    block: int = BLOCK,
) -> None:
    """Adam with its rate rectified for the variance of v, plain momentum while that is unknown (Liu et al., ICLR 2020).

    rho_inf = 2 / (1 - beta2) - 1, rho = rho_inf - 2 t beta2^t / (1 - beta2^t); for rho > 5 Adam's step times
    sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho)), else theta -= lr m / (1 - beta1^t).
    """
    rate, rectified = radam_rate(lr, beta1, beta2, t)
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        _moments(grad[s], m[s], v[s], beta1, beta2)
        theta[s] -= rate * m[s] / (xp.sqrt(v[s]) + eps) if rectified else rate * m[s]


def radam_rate(lr: float, beta1: float, beta2: float, t: int) -> tuple[float, bool]:
    """radam's rate in step t, and whether the variance of v is known well enough to divide by its root."""
    rate, limit = lr / (1 - beta1**t), 2 / (1 - beta2) - 1
    rho = limit - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return rate, False
    rectification = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
    return rate * math.sqrt(rectification) * math.sqrt(1 - beta2**t), True


def lion(
    xp: Any,
    theta: Array,
    grad: Array,
    m: Array,
    lr: float,
    decay: float,
    beta1: float,
    beta2: float,
    block: int = BLOCK,
) -> None:
    """theta -= lr sign(beta1 m + (1 - beta1) g); m = beta2 m + (1 - beta2) g (Chen et al., NeurIPS 2023)."""
    for s in blocks(len(theta), 1, block):
        if decay:
            theta[s] *= 1 - lr * decay
        theta[s] -= lr * xp.sign(beta1 * m[s] + (1 - beta1) * grad[s])
        m[s] *= beta2
        m[s] += (1 - beta2) * grad[s]


def _moments(g: Array, m: Array, v: Array, beta1: float, beta2: float) -> None:
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, in place."""
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g

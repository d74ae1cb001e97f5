"""Losses: the mean over rows of a per-row loss, on logits, with its gradient under it.

The loss owns the output non-linearity: the network emits logits Z, and softmax, sigmoid or exp belong to the loss,
where they can be taken together with the logarithm and cannot overflow. The number reported is the number
differentiated: `sum(w * rows) / sum(w)`, with w = 1 where no weights are given.

`forward` returns the loss of each row and what `backward` needs; it survives complex Z (it branches on real parts and
shifts by the real maximum), because the gradient check differentiates it by the complex step.
Notation: Z [b, c] logits, Y targets, p predicted probabilities, d = Z - Y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.nn.backend import BLOCK, Array, blocks
from mlp_core.nn.complex_math import log1p, softplus, tanh
from mlp_core.nn.loss import Loss


def _softmax(xp: Any, Z: Array) -> tuple[Array, Array]:
    """Probabilities exp(Z) / sum(exp(Z)) [b, c] and log-sum-exp [b, 1], shifted by the largest real logit of a row."""
    top = Z.real.max(axis=1, keepdims=True)
    P = xp.exp(Z - top)
    total = P.sum(axis=1, keepdims=True)
    P /= total
    return P, xp.log(total) + top


def _sigmoid(xp: Any, Z: Array) -> Array:
    """1 / (1 + exp(-Z)), from exp(-|Z|) so that small probabilities keep all their digits."""
    positive = Z.real >= 0
    small = xp.exp(xp.where(positive, -Z, Z))
    return xp.where(positive, 1, small) / (1 + small)


def _absolute(xp: Any, d: Array) -> Array:
    """|d|, deciding on the real part (the modulus of a complex number has no derivative); the slope at 0 is 0."""
    return xp.sign(d.real) * d


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """-sum_k q_k log softmax(Z)_k; gradient softmax(Z) - q.

    Y holds class indices [b] or a distribution over classes [b, c] (soft targets). With label smoothing s the target
    is q = (1 - s) y + s / c (Szegedy et al., CVPR 2016).
    """

    label_smoothing: float = 0.0
    name = "cross_entropy"
    tasks = ("binary", "multiclass")
    usual = ("multiclass",)

    def outputs(self, targets: int, classes: int = 0) -> int:
        return classes or targets

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        P, lse = _softmax(xp, Z)
        s = self.label_smoothing
        chosen = Z[xp.arange(len(Z)), Y] if Y.ndim == 1 else (Y * Z).sum(axis=1)
        rows = lse[:, 0] - (1 - s) * chosen
        return (rows - s * Z.mean(axis=1) if s else rows), P

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        s = self.label_smoothing
        dZ = cache - s / cache.shape[1] if s else cache.copy()
        if Y.ndim == 1:
            dZ[xp.arange(len(Y)), Y] -= 1 - s
        else:
            dZ -= (1 - s) * Y
        return dZ

    def predict(self, xp: Any, Z: Array) -> Array:
        return _softmax(xp, Z)[0]


@dataclass(frozen=True)
class Bce(Loss):
    """Binary cross-entropy, mean over the outputs: softplus(-z) for y = 1, softplus(z) for y = 0.

    Y holds one column per output [b, c], or class indices [b], which each output then tells from the rest.
    loss = pos_weight y softplus(-z) + (1 - y) softplus(z); gradient (1 - y) p - pos_weight y (1 - p), over c outputs.
    """

    pos_weight: float = 1.0
    name = "bce"
    tasks = ("binary", "multiclass", "multilabel")
    usual = ("binary", "multilabel")
    per_output = True

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        Y = _one_hot(xp, Z, Y)
        loss = self.pos_weight * Y * softplus(xp, -Z) + (1 - Y) * softplus(xp, Z)
        return loss.mean(axis=1), Z

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        Y, Z = _one_hot(xp, cache, Y), cache
        return ((1 - Y) * _sigmoid(xp, Z) - self.pos_weight * Y * _sigmoid(xp, -Z)) / Z.shape[1]

    def predict(self, xp: Any, Z: Array) -> Array:
        return _sigmoid(xp, Z)


class Quadratic(Loss):
    """1/2 sum_k (p_k - y_k)^2 with p = sigmoid(Z), for classes: the quadratic cost of Nielsen, "Neural networks and
    deep learning" (2015), chapter 1. Gradient (p - y) p (1 - p), which vanishes where a unit is saturated and wrong.

    Y holds class indices [b], or one column per output [b, c].
    """

    name = "quadratic"
    tasks = ("binary", "multiclass", "multilabel")
    per_output = True

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        P = 0.5 * (1 + tanh(xp, 0.5 * Z))
        d = P - _one_hot(xp, Z, Y)
        return 0.5 * (d * d).sum(axis=1), (P, d)

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        P, d = cache
        return d * P * (1 - P)

    def predict(self, xp: Any, Z: Array) -> Array:
        return _sigmoid(xp, Z)


@dataclass(frozen=True)
class Focal(Loss):
    """-(1 - p_t)^gamma log p_t, p_t the probability of the true class (Lin et al., ICCV 2017).

    With one logit p_t is its sigmoid or one minus it; with several it is the softmax. gamma = 0 is cross-entropy.
    Gradient: (gamma (1 - p_t)^(gamma - 1) p_t log p_t - (1 - p_t)^gamma) (1{k = t} - p_k).
    """

    gamma: float = 2.0
    name = "focal"
    tasks = ("binary", "multiclass")

    def _classes(self, xp: Any, Z: Array) -> Array:
        """Logits of all classes: a single logit z stands for (0, z)."""
        return Z if Z.shape[1] > 1 else xp.concatenate([xp.zeros_like(Z), Z], axis=1)

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        t = Y.reshape(-1).astype(xp.int64)
        P, lse = _softmax(xp, self._classes(xp, Z))
        row = xp.arange(len(t))
        log_p = self._classes(xp, Z)[row, t] - lse[:, 0]
        others = P.copy()
        others[row, t] = 0
        miss = others.sum(axis=1)  # 1 - p_t without cancellation
        return -(miss**self.gamma) * log_p, (P, miss, log_p, t, Z.shape[1])

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        P, miss, log_p, t, outputs = cache
        row = xp.arange(len(t))
        slope = -(miss**self.gamma)
        if self.gamma:
            sure = xp.maximum(miss, 1e-30)  # keeps 0 ** (gamma - 1) finite
            slope = slope + self.gamma * sure ** (self.gamma - 1) * P[row, t] * log_p
        dZ = -P * slope[:, None]
        dZ[row, t] = slope * miss
        return dZ if outputs > 1 else dZ[:, 1:]

    def predict(self, xp: Any, Z: Array) -> Array:
        return _softmax(xp, Z)[0] if Z.shape[1] > 1 else _sigmoid(xp, Z)


class Mse(Loss):
    """d^2, mean over the outputs; gradient 2 d / c."""

    name = "mse"
    usual = ("regression",)

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        d = Z - Y
        return (d * d).mean(axis=1), d

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        return cache * (2 / cache.shape[1])


class Mae(Loss):
    """|d|, mean over the outputs; gradient sign(d) / c, 0 where d = 0."""

    name = "mae"

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        d = Z - Y
        return _absolute(xp, d).mean(axis=1), d

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        return xp.sign(cache) / cache.shape[1]

    def kinks(self, Z: Array, Y: Array) -> Array:
        return np.sign(Z - Y)

    def best_constant(self, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        """The median, of rows that all count the same."""
        return np.asarray(np.median(Y, axis=0))


@dataclass(frozen=True)
class Huber(Loss):
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2); mean over the outputs (Huber 1964).

    Gradient: d cut to [-delta, delta], over c.
    """

    delta: float = 1.0
    name = "huber"

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        d = Z - Y
        size = _absolute(xp, d)
        far = self.delta * (size - 0.5 * self.delta)
        return xp.where(size.real <= self.delta, 0.5 * d * d, far).mean(axis=1), d

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        return xp.clip(cache, -self.delta, self.delta) / cache.shape[1]

    def kinks(self, Z: Array, Y: Array) -> Array:
        return np.sign(np.abs(Z - Y) - self.delta)


class LogCosh(Loss):
    """log(cosh(d)) = |d| + log(1 + exp(-2 |d|)) - log 2, mean over the outputs; gradient tanh(d) / c."""

    name = "log_cosh"

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        d = Z - Y
        size = _absolute(xp, d)
        return (size + log1p(xp, xp.exp(-2 * size)) - math.log(2)).mean(axis=1), d

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        return xp.tanh(cache) / cache.shape[1]


@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss, max(q e, (q - 1) e) with e = y - z (Koenker and Bassett 1978), mean over the outputs.

    One output per target and quantile, targets outermost: z = (t1 q1, t1 q2, ..., t2 q1, ...).
    Gradient: -q where y > z, 1 - q where y < z, 0 where equal; over c.
    """

    quantiles: tuple[float, ...] = (0.5,)
    name = "quantile"

    def outputs(self, targets: int, classes: int = 0) -> int:
        return targets * len(self.quantiles)

    def _levels(self, xp: Any, Z: Array) -> Array:
        which = xp.arange(Z.shape[1]) % len(self.quantiles)
        levels: Any = sum((which == i) * q for i, q in enumerate(self.quantiles))
        return levels.astype(Z.real.dtype)

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        e = xp.repeat(Y, len(self.quantiles), axis=1) - Z
        q = self._levels(xp, Z)
        return (xp.where(e.real > 0, q, xp.where(e.real < 0, q - 1, 0 * q)) * e).mean(axis=1), (e, q)

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        e, q = cache
        return xp.where(e > 0, -q, xp.where(e < 0, 1 - q, 0 * q)) / e.shape[1]

    def point(self, xp: Any, Z: Array) -> Array:
        """The quantile nearest to the median."""
        middle = min(range(len(self.quantiles)), key=lambda i: abs(self.quantiles[i] - 0.5))
        return Z[:, middle :: len(self.quantiles)]

    def further(self, Z: Array) -> dict[str, Array]:
        return {f"q{share:g}": Z[:, i :: len(self.quantiles)] for i, share in enumerate(self.quantiles)}

    def kinks(self, Z: Array, Y: Array) -> Array:
        return np.sign(Z - np.repeat(Y, len(self.quantiles), axis=1))

    def best_constant(self, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        """The quantiles, of rows that all count the same."""
        return np.asarray(np.quantile(Y, self.quantiles, axis=0).T.reshape(-1))


class Poisson(Loss):
    """exp(z) - y z, mean over the outputs: the negative log-likelihood of a count y, up to a constant, z = log rate.

    Gradient (exp(z) - y) / c.
    """

    name = "poisson"
    counts = True

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        rate = xp.exp(Z)
        return (rate - Y * Z).mean(axis=1), rate

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        return (cache - Y) / cache.shape[1]

    def predict(self, xp: Any, Z: Array) -> Array:
        return xp.exp(Z)

    def best_constant(self, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        return np.asarray(np.log(np.maximum(super().best_constant(Y, w), 1e-6)))


class GaussianNll(Loss):
    """(s + (y - m)^2 exp(-s)) / 2, mean over the targets: a normal distribution with mean m and log-variance s.

    Outputs are all means, then all log-variances (Nix and Weigend 1994). Gradient to m: (m - y) exp(-s);
    to s: (1 - (y - m)^2 exp(-s)) / 2; each over the number of targets.
    """

    name = "gaussian_nll"

    def outputs(self, targets: int, classes: int = 0) -> int:
        return 2 * targets

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        targets = Z.shape[1] // 2
        d, precision = Z[:, :targets] - Y, xp.exp(-Z[:, targets:])
        return 0.5 * (Z[:, targets:] + d * d * precision).mean(axis=1), (d, precision)

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        d, precision = cache
        return xp.concatenate([d * precision, 0.5 * (1 - d * d * precision)], axis=1) / d.shape[1]

    def point(self, xp: Any, Z: Array) -> Array:
        """The mean."""
        return Z[:, : Z.shape[1] // 2]

    def deviation(self, Z: Array) -> Array | None:
        return np.exp(Z[:, Z.shape[1] // 2 :] / 2)

    def best_constant(self, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        mean = super().best_constant(Y, w)
        spread = np.average(np.square(Y - mean), axis=0, weights=w)
        return np.concatenate([mean, np.log(np.maximum(spread, 1e-12))])


LOSSES: dict[str, type[Loss]] = {
    kind.name: kind
    for kind in (Bce, CrossEntropy, Focal, Quadratic, Mse, Mae, Huber, LogCosh, Quantile, Poisson, GaussianNll)
}


def _one_hot(xp: Any, Z: Array, Y: Array) -> Array:
    """Targets [b, c] for logits Z [b, c]: class indices become rows with a single 1, or one column where c is 1."""
    if Y.ndim > 1:
        return Y
    if Z.shape[1] == 1:
        return Y[:, None].astype(Z.real.dtype)
    return (Y[:, None] == xp.arange(Z.shape[1])).astype(Z.real.dtype)


def shares(xp: Any, Z: Array) -> Array:
    """The probabilities [b, c] of classes of which each row has one, from logits Z [b, c] of one against the rest.

    Every output asks for itself, so sigmoid(Z)_k need not sum to 1 over a row; here they are divided by their sum (as
    scikit-learn's OneVsRestClassifier does), by way of logarithms, lest all of them are 0.
    """
    return _softmax(xp, -softplus(xp, -Z))[0]


def loss_and_gradient(
    xp: Any,
    loss: Loss,
    Z: Array,
    Y: Array,
    w: Array | None,
    total: float,
    Delta: Array | None,
    block: int = BLOCK,
) -> Any:
    """sum(w * rows) / total, and its gradient dLoss/dZ written into `Delta` [b, c] (skipped where None).

    w [b] are row weights (None: all 1), `total` is what the sum is divided by: the weight of the whole batch, also
    where Z is only a part of it.
    """
    value: Any = 0.0
    for rows in blocks(len(Z), Z.shape[1], block):
        losses, cache = loss.forward(xp, Z[rows], Y[rows])
        value = value + (losses.sum() if w is None else (w[rows] * losses).sum())
        if Delta is not None:
            dZ = loss.backward(xp, Y[rows], cache)
            Delta[rows] = dZ / total if w is None else dZ * (w[rows] / total)[:, None]
    return value / total

"""Planted bugs: gradients of losses, and what is reported as the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.gradcheck.planted.bug import Bug, Wrong
from mlp_core.nn import losses as e
from mlp_core.nn import objective
from mlp_core.nn.loss import Loss


def _backward(
    name: str, kind: type[Loss], change: Callable[[Any, Any, Any, Any], Any], model: str, slip: int | None = None
) -> Bug:
    """dLoss_row/dZ replaced by change(loss, dZ, Y, cache)."""

    def wrong(backward: Wrong, loss: Loss, xp: Any, Y: Any, cache: Any) -> Any:
        return change(loss, backward(loss, xp, Y, cache), Y, cache)

    return Bug("loss", name, kind, "backward", wrong, model, slip)


def _total(name: str, change: Callable[..., Any], model: str = "plain", slip: int | None = None) -> Bug:
    """The mean over rows replaced: change(original, loss, Z, Y, w, total, Delta) returns the value."""

    def wrong(right: Wrong, xp: Any, loss: Any, Z: Any, Y: Any, w: Any, total: float, Delta: Any, *more: Any) -> Any:
        def again(w: Any = w, total: float = total, Delta: Any = Delta) -> Any:
            return right(xp, loss, Z, Y, w, total, Delta, *more)

        return change(again, Z, w, total, Delta)

    return Bug("reductions", name, objective, "loss_and_gradient", wrong, model, slip)


def _scaled(again: Any, Delta: Any, factor: float) -> Any:
    value = again()
    if Delta is not None:
        Delta *= factor
    return value


def _unweighted(again: Any, Delta: Any) -> Any:
    value = again(Delta=None)
    if Delta is not None:
        again(w=None)
    return value


def _smoothed_over_others(loss: Any, dZ: Any, Y: Any, P: Any) -> Any:
    """Smoothing over the c - 1 other classes, where the forward pass spreads it over all c."""
    s, c = loss.label_smoothing, P.shape[1]
    return dZ + s / c - s / (c - 1) + (np.eye(c)[Y] if Y.ndim == 1 else Y) * s / (c - 1)


def _two_steps(forward: Wrong, loss: Loss, xp: Any, Z: Any, Y: Any) -> Any:
    """log(softmax(Z)) in two steps, without log-sum-exp."""
    P = e._softmax(xp, Z)[0]
    with np.errstate(all="ignore"):
        rows = -xp.log(P[xp.arange(len(Z)), Y]) if Y.ndim == 1 else -(Y * xp.log(P)).sum(axis=1)
    return rows, P


def _off_by_one(loss: Any, dZ: Any, Y: Any, P: Any) -> Any:
    one_hot = np.eye(P.shape[1])
    return dZ + one_hot[Y] - one_hot[(Y + 1) % P.shape[1]]


LOSS_BUGS = (
    _total("no 1/b", lambda again, Z, w, total, D: _scaled(again, D, total)),
    _total("1/b twice", lambda again, Z, w, total, D: _scaled(again, D, 1 / total)),
    _total("loss is a sum, gradient a mean", lambda again, Z, w, total, D: again() * total, slip=7),
    _total("class weights ignored in the gradient", lambda again, Z, w, total, D: _unweighted(again, D), "weighted"),
    _total("weighted sum over rows", lambda again, Z, w, total, D: _scaled(again, D, total / len(Z)), "weighted"),
    _total("parts divided by their own weight", lambda again, Z, w, total, D: again(total=float(len(Z)))),
    _backward("sign of the softmax sum lost", e.CrossEntropy, lambda f, dZ, Y, P: -dZ, "plain", slip=2),
    Bug("loss", "log of softmax in two steps", e.CrossEntropy, "forward", _two_steps, "plain", slip=9),
    _backward("one-hot off by one", e.CrossEntropy, _off_by_one, "plain"),
    _backward("clipped softmax", e.CrossEntropy, lambda f, dZ, Y, P: dZ - P + np.clip(P, 1e-6, 1 - 1e-6), "plain"),
    _backward("smoothing over c - 1", e.CrossEntropy, _smoothed_over_others, "cross_entropy, smoothing"),
    _backward("smoothing ignored", e.CrossEntropy,
              lambda f, dZ, Y, P: P - np.eye(P.shape[1])[Y], "cross_entropy, smoothing"),
    _backward("soft targets rounded", e.CrossEntropy,
              lambda f, dZ, Y, P: P - np.round(Y), "cross_entropy, soft targets"),
    _backward("bce: pos_weight ignored", e.Bce,
              lambda f, dZ, Y, Z: (e._sigmoid(np, Z) - Y) / Z.shape[1], "bce, pos_weight"),
    _backward("bce: sum over the outputs", e.Bce, lambda f, dZ, Y, Z: dZ * Z.shape[1], "bce, pos_weight"),
    _backward("focal: without the derivative of the weight", e.Focal,
              lambda f, dZ, Y, c: (np.eye(c[0].shape[1])[c[3]] - c[0]) * -(c[1] ** f.gamma)[:, None], "focal"),
    _backward("quadratic: derivative of the sigmoid missing", e.Quadratic, lambda f, dZ, Y, c: c[1], "quadratic"),
    _backward("mse: factor 2 missing", e.Mse, lambda f, dZ, Y, d: dZ / 2, "mse"),
    _backward("mse: 1/c missing", e.Mse, lambda f, dZ, Y, d: dZ * d.shape[1], "mse"),
    _backward("mae: not divided", e.Mae, lambda f, dZ, Y, d: np.sign(d), "mae"),
    _backward("huber: not cut", e.Huber, lambda f, dZ, Y, d: d / d.shape[1], "huber, delta 0.5"),
    _backward("log_cosh: slope of square", e.LogCosh, lambda f, dZ, Y, d: d / d.shape[1], "log_cosh"),
    _backward("quantile: sides swapped", e.Quantile,
              lambda f, dZ, Y, c: np.where(c[0] > 0, c[1] - 1, c[1]) / c[0].shape[1], "quantile, two"),
    _backward("poisson: z for exp(z)", e.Poisson, lambda f, dZ, Y, r: (np.log(r) - Y) / r.shape[1], "poisson"),
    _backward("gaussian_nll: half missing", e.GaussianNll,
              lambda f, dZ, Y, c: np.concatenate([c[0] * c[1], 1 - c[0] ** 2 * c[1]], axis=1) / c[0].shape[1],
              "gaussian_nll"),
)  # fmt: skip

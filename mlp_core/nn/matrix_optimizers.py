"""Update rules that see more than one entry at a time: orthogonalised momentum for matrices, and L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlp_core.nn.backend import Array

NEWTON_SCHULZ_STEPS = 5
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients a, b, c of Keller Jordan ("Muon: an optimizer for hidden layers in neural networks", 2024)."""

RMS_MATCH = 0.2
"""The root mean square of AdamW's updates; scaled to it, a matrix takes AdamW's learning rate (Liu et al. 2025)."""

LEAST_CURVATURE = 1e-10
"""A pair of L-BFGS with y.s at or below this says nothing sure about the curvature and is not kept (as in PyTorch)."""


def newton_schulz(xp: Any, G: Array) -> Array:
    """Nearly U V^T of the singular value decomposition G = U S V^T, by five steps of a quintic iteration.

    X = G / |G|; A = X X^T; X = a X + (b A + c A^2) X, which drives every singular value into about [0.7, 1.2].
    Works on the side with fewer rows. Shape and dtype of G.
    """
    a, b, c = NEWTON_SCHULZ
    X = G.T if G.shape[0] > G.shape[1] else G
    X = X / (xp.sqrt((X * X).sum()) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        A = X @ X.T
        X = a * X + (b * A + c * (A @ A)) @ X
    return X.T if G.shape[0] > G.shape[1] else X


def muon(xp: Any, theta: Array, grad: Array, m: Array, lr: float, decay: float, mu: float) -> None:
    """m = mu m + (1 - mu) g; theta -= lr 0.2 sqrt(max(rows, columns)) O(mu m + (1 - mu) g), O = newton_schulz.

    For one weight matrix: theta, grad, m [rows, columns], in place. Jordan 2024 (with Nesterov momentum), scale by
    Liu et al., "Muon is scalable for LLM training", 2025.
    """
    m *= mu
    m += (1 - mu) * grad
    theta *= 1 - lr * decay
    scale = lr * RMS_MATCH * math.sqrt(max(theta.shape))
    theta -= scale * newton_schulz(xp, mu * m + (1 - mu) * grad)


def two_loop(xp: Any, grad: Array, S: Sequence[Array], Y: Sequence[Array]) -> Array:
    """-H g, with H the L-BFGS estimate of the inverse Hessian from the pairs (s, y), oldest first.

    The two-loop recursion of Nocedal (1980), starting from s.y / y.y of the newest pair. All vectors [parameters].
    """
    d = -grad
    if not S:
        return d
    rho = [1 / xp.dot(s, y) for s, y in zip(S, Y, strict=True)]
    alpha = [rho[0]] * len(S)
    for i in range(len(S) - 1, -1, -1):
        alpha[i] = rho[i] * xp.dot(S[i], d)
        d -= alpha[i] * Y[i]
    d *= 1 / (rho[-1] * xp.dot(Y[-1], Y[-1]))
    for i in range(len(S)):
        d += (alpha[i] - rho[i] * xp.dot(Y[i], d)) * S[i]
    return d

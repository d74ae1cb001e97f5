"""Update rules that see more than one entry at a time: orthogonalised momentum for matrices, and L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from mlp_core.nn.backend import Array
from mlp_core.nn.optimizer import Optimizer

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


class Lbfgs(Optimizer):
    """theta += lr d, d = -H g by the two-loop recursion over the last ten steps (Liu and Nocedal 1989).

    For gradients of the whole training set. The first step is lr min(1, 1 / |g|_1) long; there is no line search, as
    in PyTorch's default. `s0`, `y0`, ... are the pairs of steps and gradient changes, oldest first and zero where there
    is none yet; `step` is the last step, `previous` the gradient before it.
    """

    history: ClassVar[int] = 10
    slots = (*(f"s{i}" for i in range(10)), *(f"y{i}" for i in range(10)), "step", "previous")
    default_lr = 1.0
    rule: ClassVar[Any] = two_loop

    def step(self, theta: Array, grad: Array, lr: float, decay: float = 1.0) -> None:
        self.t += 1
        xp, state = self.backend.xp, self.state
        g = xp.zeros_like(grad)
        for segment in self.segments:  # frozen parts have no gradient
            g[segment.part] = grad[segment.part]
        if self.t > 1:
            self._remember(g - state["previous"])
        pairs = [(state[f"s{i}"], state[f"y{i}"]) for i in range(self.history)]
        pairs = [(s, y) for s, y in pairs if xp.dot(s, y) > 0]
        d = self._rule(g, [s for s, _ in pairs], [y for _, y in pairs])
        rate = lr if self.t > 1 else lr * min(1.0, 1 / max(float(xp.abs(g).sum()), 1e-30))
        state["previous"][...] = g
        for segment in self.segments:
            part, own = segment.part, rate * segment.lr_scale
            state["step"][part] = own * d[part] - (own * segment.weight_decay * decay) * theta[part]
            theta[part] += state["step"][part]

    def _remember(self, y: Array) -> None:
        """Append the last step and the change of the gradient along it, unless they show no curvature."""
        xp, state = self.backend.xp, self.state
        if not float(xp.dot(y, state["step"])) > LEAST_CURVATURE:
            return
        for name, newest in (("s", state["step"]), ("y", y)):
            for i in range(self.history - 1):
                state[f"{name}{i}"][...] = state[f"{name}{i + 1}"]
            state[f"{name}{self.history - 1}"][...] = newest

"""Integrated gradients: what every column of one row adds to its prediction, from the exact backward pass.

On the straight line from a baseline a' to the inputs a, input i adds (a_i - a'_i) times the integral over t from 0 to 1
of ds/da_i at a' + t (a - a') to the prediction s; together they add s(a) - s(a') exactly ("completeness";
Sundararajan, Taly and Yan, ICML 2017). Codes of words have no derivative, so the line runs between the vectors that
the network has learned for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import EVALUATE
from mlp_core.training.model import Model

ROWS = 512
PIECES = 8  # the line is cut into so many pieces first
DEEPEST = 26  # times that a piece is halved
NEAR = 1e-6  # of the output's unit: how near every piece comes to its completeness
NODES, WEIGHTS = (np.polynomial.legendre.leggauss(3)[0] + 1) / 2, np.polynomial.legendre.leggauss(3)[1] / 2
STEP = 1e-150  # of the complex step; its square vanishes


@dataclass(frozen=True)
class Attribution:
    """What the columns add to one prediction.

    value, baseline: the prediction for the row, and for the baseline. columns: what every column adds. gap: their sum
    minus (value - baseline), which would be 0 without rounding and with endlessly many points; unit: what a prediction
    is measured in: 1 for a probability, the deviation of the training targets for a quantity. points: gradients taken.
    """

    value: float
    baseline: float
    columns: Any
    gap: float
    unit: float
    points: int

    @property
    def complete(self) -> bool:
        """Whether the gap is below a thousandth of the unit."""
        return abs(self.gap) < 1e-3 * self.unit


def together(parts: Sequence[Attribution]) -> Attribution:
    """What the columns add to the mean of several predictions."""
    value, baseline, gap, unit = (
        float(np.mean([getattr(one, name) for one in parts])) for name in ("value", "baseline", "gap", "unit")
    )
    columns = np.mean([one.columns for one in parts], axis=0)
    return Attribution(value, baseline, columns, gap, unit, sum(one.points for one in parts))


class Attributor:
    """Explains predictions of a model; output `k` is a class, a label or a target.

    Works in float64 on a network of its own, whose weights are those of the model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.network = model.network.replica(ROWS, np.float64, training=True)
        self.evaluator = model.evaluator(1)
        first = self.network.layers[0]
        self.embedding = first if isinstance(first, Embedding) else None
        self.layers = self.network.layers[1:] if self.embedding else self.network.layers
        self.owner = np.array(self._owners())
        self.unit = None if model.target is None or model.target.log else 1 / model.target.scale

    def _owners(self) -> list[int]:
        """The column of every number that enters the first layer behind the embedding."""
        owners = self.model.inputs.input_columns()
        if self.embedding is None:
            return owners
        numbers, codes = owners[: self.embedding.numbers], owners[self.embedding.numbers :]
        return numbers + [c for c, (_, dim) in zip(codes, self.embedding.tables, strict=True) for _ in range(dim)]

    def place(self, X: Any) -> Any:
        """Inputs X [n, inputs] as points among which lines can be drawn [n, m] float64."""
        X = np.asarray(X, np.float64)
        if self.embedding is None:
            return X
        parts = [X[start : start + ROWS] for start in range(0, len(X), ROWS)]
        return np.concatenate([np.array(self.embedding.forward(part, EVALUATE)) for part in parts])

    def predict(self, A: Any) -> Any:
        """Predictions for points A [n, m]: probabilities, or values in the units of the data [n, outputs]."""
        parts = [A[start : start + ROWS] for start in range(0, len(A), ROWS)]
        return np.concatenate([self.evaluator.told(self._forward(part)) for part in parts])

    def attribute(self, a: Any, baseline: Any, k: int) -> Attribution:
        """What the columns add to output k between the baseline and the point a, both [m]."""
        value, start = (float(v) for v in self.predict(np.stack([a, baseline]))[:, k])
        unit = 1.0 if self.model.task.kind != "regression" else self._unit(k, value - start)
        total, points = self._along(baseline, a - baseline, k, NEAR * unit)
        columns = np.bincount(self.owner, weights=total, minlength=len(self.model.task.features))
        return Attribution(value, start, columns, float(columns.sum() - (value - start)), unit, points)

    def _unit(self, k: int, moved: float) -> float:
        """The deviation of the training targets, else how far the prediction moved."""
        return float(self.unit[k]) if self.unit is not None and k < len(self.unit) else abs(moved) or 1.0

    def _along(self, start: Any, way: Any, k: int, near: float) -> tuple[Any, int]:
        """What every input adds along the line, and the points it took.

        Three points of Gauss and Legendre a piece; a piece that misses its own completeness, because it holds a kink,
        is halved, and only that.
        """
        edges = np.linspace(0, 1, PIECES + 1)
        s = self.predict(start + edges[:, None] * way)[:, k]
        left, right, low, high = edges[:-1], edges[1:], s[:-1], s[1:]
        total, points = np.zeros(len(way)), 0
        for depth in range(DEEPEST + 1):
            at = left[:, None] + (right - left)[:, None] * NODES
            g = self._gradient(start + at.reshape(-1, 1) * way, k).reshape(len(left), len(NODES), -1)
            points += at.size
            added = (right - left)[:, None] * np.einsum("q,pqm->pm", WEIGHTS, g) * way
            open_ = np.abs(added.sum(axis=1) - (high - low)) > near
            if depth == DEEPEST:
                open_[:] = False
            total += added[~open_].sum(axis=0)
            if not open_.any():
                break
            left, right, low, high = (part[open_] for part in (left, right, low, high))
            middle = (left + right) / 2
            s = self.predict(start + middle[:, None] * way)[:, k]
            left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
            low, high = np.concatenate([low, s]), np.concatenate([s, high])
        return total, points

    def _gradient(self, A: Any, k: int) -> Any:
        """ds_k/dA [n, m] at points A: the backward pass of the network, from ds_k/dZ on."""
        found = np.empty_like(A)
        for begin in range(0, len(A), ROWS):
            part = slice(begin, begin + ROWS)
            Delta: Any = self._slope(self._forward(A[part]), k)
            for layer in reversed(self.layers):
                Delta = layer.backward(Delta, True)
            found[part] = Delta
        return found

    def _forward(self, A: Any) -> Any:
        """Logits [n, c] of at most `ROWS` points, an array of its own."""
        for layer in self.layers:
            A = layer.forward(A, EVALUATE)
        return np.array(A)

    def _slope(self, Z: Any, k: int) -> Any:
        """ds_k/dZ [n, c], column by column by the complex step, which is exact to the last bits."""
        slope, shifted = np.empty_like(Z), Z.astype(np.complex128)
        for column in range(Z.shape[1]):
            shifted[:, column] += 1j * STEP
            slope[:, column] = self.evaluator.told(shifted)[:, k].imag / STEP
            shifted[:, column] = Z[:, column]
        return slope

"""An outcome: the predictions for a whole split beside the truth, and what every metric needs to count of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

NAN = float("nan")
BINS = 15
THRESHOLD = 0.5


@dataclass(frozen=True)
class Outcome:
    """What was predicted and what is true.

    P: probabilities [n, c] (one column per class; per label for multilabel), or predictions [n, k] in the units of the
    data. y: class indices [n], or targets [n, k]. w: row weights [n], None where all are 1. threshold: probability from
    which the positive class of two, or a label, is predicted. bins: of the calibration error.
    """

    P: Any
    y: Any
    w: Any = None
    threshold: float = THRESHOLD
    bins: int = BINS

    @cached_property
    def weight(self) -> Any:
        """Row weights, [n]."""
        return np.ones(len(self.y)) if self.w is None else np.asarray(self.w, np.float64)

    def of_weight(self) -> Outcome:
        """The same without its rows of weight 0, unless there are no others: they can be nobody's only example."""
        some = self.weight > 0
        if some.all() or not some.any():
            return self
        return replace(self, P=self.P[some], y=self.y[some], w=self.weight[some])

    @cached_property
    def guess(self) -> Any:
        """What is predicted: class indices [n], or which labels hold [n, k]."""
        return decide(self.P, self.y.ndim == 1, self.threshold)

    @cached_property
    def cells(self) -> Any:
        """Row weights counted by (true class, predicted class), [c, c]."""
        c = self.P.shape[1]
        return np.bincount(self.y * c + self.guess, weights=self.w, minlength=c * c).reshape(c, c)

    @cached_property
    def counts(self) -> tuple[Any, Any, Any]:
        """Row weights per class or label: predicted and true, true, predicted, each [c]."""
        if self.y.ndim == 1:
            return np.diag(self.cells), self.cells.sum(axis=1), self.cells.sum(axis=0)
        true = self.y > 0.5
        return self.weight @ (self.guess & true), self.weight @ true, self.weight @ self.guess

    @cached_property
    def scored(self) -> tuple[tuple[Any, Any], ...]:
        """Every one-against-the-rest question in it: a score per row, and whether the answer is yes; one for binary."""
        if self.y.ndim == 2:
            return tuple((self.P[:, j], self.y[:, j] > 0.5) for j in range(self.P.shape[1]))
        first = 1 if self.P.shape[1] == 2 else 0
        return tuple((self.P[:, j], self.y == j) for j in range(first, self.P.shape[1]))

    def mean(self, values: Any) -> float:
        """Weighted mean over the rows; not a number where nothing weighs anything."""
        total = self.weight.sum()
        return float(self.weight @ values / total) if total > 0 else NAN


def decide(P: Any, exclusive: bool, threshold: float = THRESHOLD) -> Any:
    """The decision behind probabilities P [n, c].

    One class per row where classes are `exclusive`, as indices [n]: the most probable one, of two the second from
    `threshold` on. Else [n, c], which labels reach the threshold.
    """
    if not exclusive:
        return threshold <= P
    return (threshold <= P[:, 1]).astype(np.int64) if P.shape[1] == 2 else P.argmax(axis=1)

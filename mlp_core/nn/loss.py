"""What a loss is, and all that the rest of the engine must know of one; the losses themselves are in `losses`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mlp_core.nn.backend import Array


@dataclass(frozen=True)
class Loss:
    """A per-row loss on logits.

    `tasks` are those that it fits, `usual` those of them that take it unless told otherwise. `per_output` losses ask
    every output for itself whether its class is the one. `counts` says that targets are counts, used as they are.
    """

    name: ClassVar[str] = ""
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    usual: ClassVar[tuple[str, ...]] = ()
    per_output: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    classifies: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.classifies = "regression" not in cls.tasks

    def outputs(self, targets: int, classes: int = 0) -> int:
        """How many logits the network must emit for `targets` target columns, or for one column of `classes`."""
        return targets

    def forward(self, xp: Any, Z: Array, Y: Array) -> tuple[Array, Any]:
        """Loss of each row [b], and the cache for `backward`."""
        raise NotImplementedError

    def backward(self, xp: Any, Y: Array, cache: Any) -> Array:
        """dLoss_row/dZ [b, c], each row for itself."""
        raise NotImplementedError

    def predict(self, xp: Any, Z: Array) -> Array:
        """What the network predicts: probabilities for classes, the value for regression."""
        return Z

    def point(self, xp: Any, Z: Array) -> Array:
        """One prediction per class or target column, where `predict` says more than that."""
        return self.predict(xp, Z)

    def further(self, Z: Array) -> dict[str, Array]:
        """Further predictions [b, targets] by their names, in the units of the targets that the loss gets."""
        return {}

    def deviation(self, Z: Array) -> Array | None:
        """Standard deviations [b, targets] where the loss predicts them, in these units."""
        return None

    def kinks(self, Z: Array, Y: Array) -> Array:
        """The sign of every distance of the logits to a kink of the loss; empty where it has none."""
        return np.empty(0)

    def best_constant(self, Y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        """The logits [c] that are best for targets Y [n, c] and row weights w [n] if they may not depend on inputs."""
        mean: np.ndarray = np.average(Y, axis=0, weights=w)
        return mean

    def prior(self, y: np.ndarray, w: np.ndarray | None, width: int) -> tuple[float, ...]:
        """Output biases [width] with which an untrained network predicts what the training rows have in common.

        Classes: log frequency, or log-odds for single outputs, with half a row added to every class; numbers: the
        `best_constant`. y: targets as the loss gets them, w: row weights or None.
        """
        if self.classifies and y.ndim == 1 and width > 1:
            if not self.per_output:
                counts = np.bincount(y, weights=w, minlength=width) + 0.5
                return tuple(float(v) for v in np.log(counts / counts.sum()))
            y = np.eye(width)[y]
        Y = np.asarray(y, np.float64).reshape(len(y), -1)
        if not self.classifies:
            return tuple(float(v) for v in self.best_constant(Y, w))
        positive = (Y.sum(axis=0) if w is None else w @ Y) + 0.5
        total = (len(Y) if w is None else float(w.sum())) + 1
        return tuple(float(v) for v in np.log(positive / (total - positive)))

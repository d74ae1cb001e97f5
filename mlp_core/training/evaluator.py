"""Evaluation: loss, predictions and metrics of a whole split, in chunks of rows."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Rows, Stored
from mlp_core.data.preprocess.scaling import Target
from mlp_core.metrics import BINS, Outcome, compute
from mlp_core.metrics.calibration import Calibration
from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.losses import loss_and_gradient, shares
from mlp_core.nn.objective import Objective
from mlp_core.rng import generator
from mlp_core.workers.world import ALONE, World

MEASURED = 1_000_000
"""Rows of a split on the disk that are measured at most: metrics need all predictions at once, in memory."""


@dataclass(frozen=True)
class Split:
    """One split ready for the network: inputs X [n, inputs], Y and row weights w as the loss wants them.

    y and weight are the truth and the row weights as metrics want them: those of the data, without class weights.
    """

    X: Rows
    Y: Array
    w: Array | None
    y: Any
    weight: Any = None

    def measured(self) -> Split:
        """The rows that are measured: all of them, or of many on the disk `MEASURED`, drawn at random."""
        rows = self.drawn()
        if rows is None:
            return self
        assert isinstance(self.X, Stored)
        part = self.X.backend.asarray(rows)
        w, weight = (None if one is None else one[at] for one, at in ((self.w, part), (self.weight, rows)))
        return Split(self.X.take(rows), self.Y[part], w, self.y[rows], weight)

    def drawn(self) -> Any:
        """The row numbers of those, ascending; None for all."""
        if not isinstance(self.X, Stored) or isinstance(self.X.X, np.ndarray) or len(self.X) <= MEASURED:
            return None
        return np.sort(generator(0, "measured").choice(len(self.X), MEASURED, replace=False, shuffle=False))

    def on_host(self, backend: Backend, rows: Any) -> tuple[Any, Any, Any]:
        """X, Y and w (None where there are none) of rows, whose numbers and arrays are on the host; from `backend`."""
        there, to_host = backend.asarray(rows), backend.to_host
        return to_host(self.X[there]), to_host(self.Y[there]), None if self.w is None else to_host(self.w[there])


@dataclass(frozen=True)
class Evaluation:
    """What was measured on a split: named metrics (with `loss`), and the outcome behind them.

    rows: the numbers of the rows it was measured on, None for all.
    """

    metrics: dict[str, float]
    outcome: Outcome
    rows: Any = None


class Evaluator:
    """Evaluates an objective whose network has memory for `rows` rows at a time.

    `kind` is the kind of task; `target` turns a regression's outputs back into the units of the data;
    `calibration` is applied to probabilities; `bins` are those of the calibration error.
    """

    def __init__(
        self,
        objective: Objective,
        kind: str,
        target: Target | None = None,
        calibration: Calibration | None = None,
        bins: int = BINS,
    ) -> None:
        self.objective, self.kind, self.target = objective, kind, target
        self.calibration, self.bins = calibration or Calibration(), bins
        self.threshold = self.calibration.threshold
        self._loss = objective.network.backend.primitive(loss_and_gradient)
        self._rooms: dict[str, Array] = {}

    def calibrated(self, calibration: Calibration) -> Evaluator:
        """One over the same memory, so not to be used at the same time, with another calibration."""
        other = copy(self)
        other.calibration, other.threshold = calibration, calibration.threshold
        return other

    def logits(self, X: Any) -> Any:
        """The logits [n, outputs], on the host, of inputs X [n, inputs] there."""
        network = self.objective.network
        backend, rows = network.backend, network.rows
        chunks = [backend.asarray(X[start : start + rows]) for start in range(0, len(X), rows)]
        return np.concatenate([np.array(backend.to_host(network.forward(chunk))) for chunk in chunks])

    def predict(self, Z: Array) -> Any:
        """Predictions on the host from logits Z: probabilities of every class, or values in the units of the data."""
        return self.told(np.asarray(self.objective.network.backend.to_host(Z), dtype=np.float64))

    def told(self, Z: Any) -> Any:
        """The same for logits Z on the host in float64, or complex128: a complex step differentiates it."""
        loss = self.objective.loss
        P = shares(np, Z) if self.kind == "multiclass" and loss.per_output else np.asarray(loss.point(np, Z))
        if self.kind == "binary" and P.shape[1] == 1:
            P = np.hstack([1 - P, P])
        P = P if self.target is None else self.target.inverse(P)
        return self.calibration.apply(P, self.kind)

    def spread(self, Z: Any) -> tuple[dict[str, Any], Any]:
        """What the loss tells beyond a value, in the units of the data: quantiles by their names, and standard
        deviations or None, each [n, targets]. Where targets were made logarithms (`log`), those are of log(1 + y).
        """
        loss, target = self.objective.loss, self.target
        further = {
            name: values if target is None else target.inverse(values) for name, values in loss.further(Z).items()
        }
        deviation = loss.deviation(Z)
        return further, deviation if deviation is None or target is None else deviation / target.scale

    @property
    def log(self) -> bool:
        """Whether deviations are those of log(1 + y)."""
        return self.target is not None and self.target.log

    def evaluate(self, split: Split, names: Sequence[str], world: World = ALONE) -> Evaluation:
        """The named metrics of a split, `loss` (with its penalties) always among them.

        Several workers take chunks of rows in turn; the chunks, and the order of their sum, are those of one. All learn
        the metrics, worker 0 has the outcome; that of the others is empty.
        """
        network, drawn = self.objective.network, split.drawn()
        split = split.measured()
        weight = float(len(split.X) if split.w is None else split.w.sum())

        def measured(start: int) -> tuple[float, Any]:
            part = slice(start, start + network.rows)
            Z = network.forward(self._inputs(split.X, part))
            w = None if split.w is None else split.w[part]
            loss = float(self._loss(self.objective.loss, Z, split.Y[part], w, weight, None))
            return loss, self.predict(Z)

        total, P = 0.0, [np.empty((0, 0))]
        for loss, predictions in world.in_order(range(0, len(split.X), network.rows), measured):
            total += loss
            P.append(predictions)
        if not world.writes:
            return Evaluation(world.told(None), Outcome(P[0], split.y[:0], None, self.threshold, self.bins), drawn)
        outcome = Outcome(np.concatenate(P[1:]), split.y, split.weight, self.threshold, self.bins)
        found = {"loss": total + float(self.objective.penalty.value(network))}
        return Evaluation(world.told({**found, **compute(self.kind, names, outcome)}), outcome, drawn)

    def rows(self, split: Split) -> tuple[Any, Any]:
        """The loss of every measured row for itself [n] float64, without its weight and without penalties, and its
        prediction [n, outputs]."""
        network, split = self.objective.network, split.measured()
        losses, P = [], []
        for start in range(0, len(split.X), network.rows):
            part = slice(start, start + network.rows)
            Z = network.forward(self._inputs(split.X, part))
            rows = self.objective.loss.forward(network.backend.xp, Z, split.Y[part])[0]
            losses.append(np.asarray(network.backend.to_host(rows), np.float64))
            P.append(self.predict(Z))
        return np.concatenate(losses), np.concatenate(P)

    def _inputs(self, X: Rows, part: slice) -> Array:
        """The inputs of some rows; those that are made when they are asked for in memory taken once."""
        network = self.objective.network
        if X.made and "inputs" not in self._rooms:
            self._rooms["inputs"] = network.backend.empty((network.rows, *X.shape[1:]), X.dtype)
        return X.view(part, self._rooms.get("inputs"))

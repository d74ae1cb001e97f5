"""Folds judged by the rows that they did not see: each member measures those that it held out, all together are one.

What comes out says how well such a training does on new rows. It says it of the members, not of their average, which
has no rows among these that are new to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held
from mlp_core.data.load import Data, Dataset
from mlp_core.data.task import Task
from mlp_core.metrics import Outcome, compute
from mlp_core.nn.backend import numpy_backend
from mlp_core.training.ensemble import Ensemble, EnsembleEvaluator, apart
from mlp_core.training.evaluator import Evaluation, Split
from mlp_core.workers.world import ALONE, World

FOLDS = "folds"


@dataclass(frozen=True)
class OutOfFold(Ensemble):
    """The members of folds, each measured on its part of the rows: what it held out."""

    parts: tuple[Dataset, ...] = ()

    def split(self, dataset: Dataset, world: World = ALONE) -> HeldOut:
        """The pooled rows, which every member gets its part of."""
        parts = tuple(apart(model, part) for model, part in zip(self.members, self.parts, strict=True))
        X = Held(numpy_backend(), np.empty((len(dataset.y), 0)))
        return HeldOut(X, dataset.y, None, dataset.y, dataset.weight, parts)

    def evaluator(self, rows: int) -> FoldEvaluator:
        return FoldEvaluator([model.evaluator(rows) for model in self.members], self.inputs, self.calibration)


@dataclass(frozen=True)
class HeldOut(Split):
    """The rows that members held out, one after another, without inputs of their own: each member has those of its
    part."""

    parts: tuple[Split, ...] = ()


class FoldEvaluator(EnsembleEvaluator):
    """Measures such a split; `loss` is the mean over rows, each with the loss of the member that held it out."""

    def evaluate(self, split: Split, names: Sequence[str], world: World = ALONE) -> Evaluation:
        found = [one.evaluate(part, []) for one, part in zip(self.members, self._splits(split), strict=True)]
        weights = [float(len(part.X) if part.w is None else part.w.sum()) for part in self._splits(split)]
        P = self.calibration.apply(np.concatenate([one.outcome.P for one in found]), self.kind)
        y = np.concatenate([one.outcome.y for one in found])
        w = None if split.weight is None else np.concatenate([one.outcome.w for one in found])
        outcome = Outcome(P, y, w, self.threshold, self.bins)
        loss = float(np.average([one.metrics["loss"] for one in found], weights=weights))
        return Evaluation({"loss": loss, **compute(self.kind, names, outcome)}, outcome, self._drawn(split, found))

    def _drawn(self, split: Split, found: Sequence[Evaluation]) -> Any:
        """The numbers of the measured rows among all, None for all."""
        if all(one.rows is None for one in found):
            return None
        sizes = [len(part.X) for part in self._splits(split)]
        starts = np.cumsum([0, *sizes[:-1]])
        rows = [np.arange(size) if one.rows is None else one.rows for one, size in zip(found, sizes, strict=True)]
        return np.concatenate([start + mine for start, mine in zip(starts, rows, strict=True)])

    def rows(self, split: Split) -> tuple[Any, Any]:
        """The loss of every row [n], and its prediction [n, outputs]."""
        found = [one.rows(part) for one, part in zip(self.members, self._splits(split), strict=True)]
        P = self.calibration.apply(np.concatenate([P for _, P in found]), self.kind)
        return np.concatenate([losses for losses, _ in found]), P

    def _splits(self, split: Split) -> Sequence[Split]:
        assert isinstance(split, HeldOut)
        return split.parts


def pooled(task: Task, parts: Sequence[tuple[Dataset, Any]]) -> Data:
    """What members held out as one split, with the numbers of its rows in the training file."""
    y = np.concatenate([part.y for part, _ in parts])
    weights = [part.weight for part, _ in parts]
    weight = None if weights[0] is None else np.concatenate([w for w in weights if w is not None])
    rows = np.concatenate([numbers for _, numbers in parts])
    return Data(task, {FOLDS: Dataset(None, y, weight)}, {FOLDS: rows})

"""Several models used as one: each makes its own inputs of the same rows, and what they say is averaged.

Probabilities and values are averaged as the members tell them, calibrated and in the units of the data; standard
deviations by the law of total variance. `loss` is the mean of the members' losses, metrics are those of the average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from mlp_core.config import Config
from mlp_core.data.batches.inputs import Held, Rows, Stored
from mlp_core.data.load import Dataset
from mlp_core.data.preprocess.far import Stray
from mlp_core.data.task import Task
from mlp_core.errors import CheckpointError, Problem
from mlp_core.machine import available_cpus
from mlp_core.metrics import Outcome, compute
from mlp_core.metrics.calibration import Calibration
from mlp_core.nn.backend import Array, numpy_backend
from mlp_core.training.evaluator import Evaluation, Evaluator, Split
from mlp_core.training.model import Model
from mlp_core.workers.world import ALONE, World

Names: TypeAlias = Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class Ensemble:
    """Models of one task as one model.

    config: how rows are read and measured; that of the first member. calibration: fitted to the average. folds: every
    member held out other rows of one table, so that no row of it is new to all of them.
    """

    members: tuple[Model, ...]
    config: Config
    calibration: Calibration
    data: str = ""
    folds: bool = False

    @classmethod
    def of(cls, members: Sequence[Model], names: Sequence[str], folds: bool = False) -> Ensemble:
        """Models that were read from the places `names`. Raises CheckpointError for those that do not fit together."""
        first = members[0]
        for model, name in zip(members, names, strict=True):
            for what, mine, other in _traits(model, first):
                if mine != other:
                    message = f"does not fit {names[0]}: it has another {what}"
                    raise CheckpointError(Problem("misfit", message, "members predict the same", file=name))
        given = [model.calibration for model in members]
        threshold = float(np.mean([one.threshold for one in given]))
        calibration = Calibration(threshold=threshold, fitted=any(one.fitted for one in given))
        return cls(tuple(members), first.config, calibration, "" if folds else first.data, folds)

    @property
    def task(self) -> Task:
        return self.members[0].task

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.members)

    def evaluator(self, rows: int) -> EnsembleEvaluator:
        """Measures the average, `rows` rows at a time."""
        return EnsembleEvaluator([model.evaluator(rows) for model in self.members], self.inputs, self.calibration)

    def split(self, dataset: Dataset, world: World = ALONE) -> Split:
        """A data set ready for every member, in a world of one; its memory is left as it is."""
        parts = [apart(model, dataset) for model in self.members]
        Y = np.stack([part.Y for part in parts], axis=1)
        weights = [part.w for part in parts if part.w is not None]
        w = np.mean(weights, axis=0) if weights else None
        return Split(Joined([part.X for part in parts]), Y, w, dataset.y, dataset.weight)

    def metric_names(self, report: bool = False) -> list[str]:
        """What is measured, as for a model."""
        return replace(self.members[0], config=self.config).metric_names(report)


Saved: TypeAlias = Model | Ensemble
"""What can be used on data as one model."""


def _traits(one: Model, other: Model) -> Iterable[tuple[str, Any, Any]]:
    """What has to be the same in members of one ensemble."""
    states = [model.task.to_state() for model in (one, other)]
    yield "kind of task", one.task.kind, other.task.kind
    yield "list of classes", one.task.classes, other.task.classes
    yield "target", one.task.targets, other.task.targets
    yield "list of input columns", (one.task.features, one.task.kinds), (other.task.features, other.task.kinds)
    yield "notation of columns", states[0]["kept"], states[1]["kept"]
    logs = [model.target is not None and model.target.log for model in (one, other)]
    yield "transform of the target", logs[0], logs[1]
    yield "loss", one.config.loss.name, other.config.loss.name
    yield "dtype", one.config.dtype, other.config.dtype


def apart(model: Model, dataset: Dataset) -> Split:
    """A data set ready for one of several models: inputs are made batch by batch, nothing is written over."""
    X = Stored(model.network.backend, dataset.X, model.inputs, model.config.dtype, dataset.words)
    return Split(X, model.targets(dataset.y), model.weights(dataset), dataset.y, dataset.weight)


def member_configs(config: Config, count: int) -> list[Config]:
    """The config of every member, `count` of them at once: alike but for seeds that follow each other, the rows dealt
    as by the first, the processors shared out."""
    seed = config.seed if config.data.split.seed is None else config.data.split.seed
    threads = max(1, available_cpus() // count) if config.threads == "auto" else config.threads
    same = {"ensemble": 1, "data.split.seed": seed, "threads": threads}
    baselines = [config.eval.baselines, *[False] * (config.ensemble - 1)]  # of the same rows: once is enough
    return [
        config.replace(seed=config.seed + k, **same, **{"eval.baselines": beside}) for k, beside in enumerate(baselines)
    ]


class Inputs:
    """The inputs of all members side by side: [rows, the inputs of the first, of the second, ...]."""

    def __init__(self, members: Sequence[Model]) -> None:
        self.members = members
        widths = [model.inputs.inputs for model in members]
        ends = np.cumsum(widths).tolist()
        self.parts = [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]

    def transform(self, X: Any, words: Names, out: None = None, dtype: Any = np.float64) -> Any:
        """What the members' networks get for rows X [rows, columns] as stored."""
        return np.hstack([model.inputs.transform(X, words, dtype=dtype) for model in self.members])

    def input_columns(self) -> list[int]:
        """The column that every input is made of, in order."""
        return [column for model in self.members for column in model.inputs.input_columns()]

    def unseen(self, X: Any, words: Names, counts: Mapping[int, Any] | None = None) -> dict[str, tuple[int, str]]:
        """Words that no member kept in training: {column: (rows, one of the words)}."""
        found = [model.inputs.unseen(X, words, counts) for model in self.members]
        everywhere = set(found[0]).intersection(*found[1:])
        return {name: min((one[name] for one in found), key=lambda told: told[0]) for name in sorted(everywhere)}

    def far_lines(self, X: Any) -> list[str]:
        """What the first member tells of numbers far from those of training."""
        return self.members[0].inputs.far_lines(X)

    def strays(self, X: Any) -> list[Stray]:
        """Numbers absurdly far outside of training for every member, each of which may have seen other rows."""
        found = [model.inputs.strays(X) for model in self.members]
        everywhere = set.intersection(*({one.name for one in mine} for mine in found))
        return [one for one in found[0] if one.name in everywhere]


class Joined(Rows):
    """The rows of one split as every member gets them, side by side."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.shape, self.dtype = (len(parts[0]), sum(part.shape[1] for part in parts)), parts[0].dtype

    def __getitem__(self, rows: Any) -> Array:
        return np.hstack([part[rows] for part in self.parts])


class EnsembleEvaluator:
    """The face of an `Evaluator` over several."""

    def __init__(self, members: Sequence[Evaluator], inputs: Inputs, calibration: Calibration) -> None:
        self.members, self.inputs, self.calibration = members, inputs, calibration
        self.kind, self.bins, self.threshold = members[0].kind, members[0].bins, calibration.threshold
        self.outputs = members[0].objective.network.architecture.outputs

    def logits(self, X: Any) -> Any:
        """The members' logits side by side, from their inputs side by side."""
        pairs = zip(self.members, self.inputs.parts, strict=True)
        return np.hstack([one.logits(np.ascontiguousarray(X[:, part])) for one, part in pairs])

    def predict(self, Z: Array) -> Any:
        """The mean of what the members make of their logits, calibrated."""
        told = [one.predict(Zi) for one, Zi in self._each(Z)]
        return self.calibration.apply(np.mean(told, axis=0), self.kind)

    def spread(self, Z: Any) -> tuple[dict[str, Any], Any]:
        """Quantiles, each the mean of the members', and the deviation of the mixture of their distributions."""
        found = [(one, Zi, *one.spread(Zi)) for one, Zi in self._each(Z)]
        further = {name: np.mean([values[name] for _, _, values, _ in found], axis=0) for name in found[0][2]}
        if found[0][3] is None:
            return further, None
        log = self.log
        means = [np.log1p(one.predict(Zi)) if log else one.predict(Zi) for one, Zi, _, _ in found]
        variance = np.mean([np.square(deviation) for _, _, _, deviation in found], axis=0) + np.var(means, axis=0)
        return further, np.sqrt(variance)

    @property
    def log(self) -> bool:
        """Whether deviations are those of log(1 + y)."""
        return self.members[0].log

    def evaluate(self, split: Split, names: Sequence[str], world: World = ALONE) -> Evaluation:
        """The named metrics of the average, and the mean of the members' losses; in a world of one."""
        found = [one.evaluate(part, []) for one, part in zip(self.members, self._splits(split), strict=True)]
        first = found[0].outcome
        P = self.calibration.apply(np.mean([one.outcome.P for one in found], axis=0), self.kind)
        outcome = Outcome(P, first.y, first.w, self.threshold, self.bins)
        loss = float(np.mean([one.metrics["loss"] for one in found]))
        return Evaluation({"loss": loss, **compute(self.kind, names, outcome)}, outcome, found[0].rows)

    def rows(self, split: Split) -> tuple[Any, Any]:
        """The mean of the members' losses of every row [n], and its prediction [n, outputs]."""
        found = [one.rows(part) for one, part in zip(self.members, self._splits(split), strict=True)]
        P = np.mean([P for _, P in found], axis=0)
        return np.mean([losses for losses, _ in found], axis=0), self.calibration.apply(P, self.kind)

    def _each(self, Z: Any) -> Iterable[tuple[Evaluator, Any]]:
        """Every member with its logits."""
        width = self.outputs
        return ((one, Z[:, i * width : (i + 1) * width]) for i, one in enumerate(self.members))

    def _splits(self, split: Split) -> Iterable[Split]:
        """The split as every member gets it."""
        for i, part in enumerate(self.inputs.parts):
            X = split.X.parts[i] if isinstance(split.X, Joined) else Held(numpy_backend(), split.X[:][:, part])
            yield Split(X, split.Y[:, i], split.w, split.y, split.weight)

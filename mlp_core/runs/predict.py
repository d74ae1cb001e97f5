"""Predictions for new rows: read in parts, matched by name, given back in the units and words of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.column_roles import by_name, nearest
from mlp_core.data.config_sources import read_options
from mlp_core.data.encode import inputs, refuse_missing, weights
from mlp_core.data.fingerprints import Fingerprints
from mlp_core.data.load import with_targets
from mlp_core.data.preprocess.from_config import distant_lines, gapless
from mlp_core.data.readers.csv_options import number
from mlp_core.data.readers.formats import stream
from mlp_core.data.readers.frames import InMemory, parts
from mlp_core.data.readers.source import Source, place_of
from mlp_core.data.task import encode, without_target
from mlp_core.data.unlike import unlike
from mlp_core.errors import DataError
from mlp_core.metrics import Outcome, compute, decide, defined
from mlp_core.runs.trained_rows import count_trained
from mlp_core.training.ensemble import Saved
from mlp_core.workers.world import ALONE, World

ROWS = 4096
IN_MEMORY = 65_536  # rows that are made inputs at once
MEASURED_ROWS = 1_000_000  # predictions kept for the metrics; what comes after is predicted only
Columns = dict[str, Any]


@dataclass
class Report:
    """What is known after all rows: their count, words that training did not keep, and metrics if there were targets.

    trained_on: how many of them the model was trained on, None where that is not known.
    notes: what is written otherwise than in training, and how it is taken.
    why: the reason why there are no metrics although there is a target column.
    """

    rows: int = 0
    measured: int = 0
    unseen: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    trained_on: int | None = None
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    why: str | None = None


class Predictor:
    """Predicts the rows of one source after another; `report` says what was met on the way.

    probabilities: give a column for every class, too. keep: columns of the source to be carried along, before those
    that the model was told to carry (data.id). trained: fingerprints of the rows that the model was trained on.
    rows: how many there are, where they are few: then little memory is taken.
    """

    def __init__(
        self,
        model: Saved,
        probabilities: bool = False,
        keep: Sequence[str] = (),
        trained: Fingerprints | None = None,
        rows: int = ROWS,
    ) -> None:
        self.model, self.task = model, model.task
        self.probabilities, self.keep = probabilities, tuple(keep)
        self.rows = max(1, min(rows, ROWS))
        self.evaluator = model.evaluator(self.rows)
        self.report, self._trained = Report(), trained
        self._outcomes: list[tuple[Any, Any, Any]] = []

    def predict(self, data: Path | InMemory, world: World = ALONE) -> Iterator[Columns]:
        """Columns of predictions, part by part, of the source at a path, on standard input for `-`, or in memory.

        Each part maps column names to values of equal length: kept columns as text, the prediction, and where asked
        for or given by the loss, probabilities, quantiles, the standard deviation. Several workers predict parts in
        turn, and worker 0 is given all, and has the report. Raises DataError.
        """
        task = self.task
        for part in world.in_order(self._sources(data), self._part):
            self._report(part)
            yield part["columns"]
        if self._outcomes:
            P, y, w = (None if some[0] is None else np.concatenate(some) for some in zip(*self._outcomes, strict=True))
            names = self.model.metric_names(report=True)
            outcome = Outcome(P, y, w, self.evaluator.threshold, self.evaluator.bins)
            self.report.metrics = defined(compute(task.kind, names, outcome))

    def outcomes(self, data: Path | InMemory) -> Any:
        """Probabilities [rows, classes] or values [rows, targets] of all rows. Raises DataError."""
        return np.concatenate([self._outcome(*self._inputs(source)[1:3])[0] for source in self._sources(data)])

    def _sources(self, data: Path | InMemory) -> Iterator[Source]:
        """The rows in parts; only the columns that hold numbers are read as such."""
        task = self.task
        numbers = {name for name, kind in zip(task.features, task.input_kinds, strict=True) if kind == "numeric"}
        if not task.classifies or (len(task.classes) > 2 and all(number(label) is not None for label in task.classes)):
            numbers.update(task.targets)
        numbers.update([task.weight] if task.weight else [])
        numbers.difference_update(task.kept.columns)
        options = read_options(self.model.config, task)
        if isinstance(data, InMemory):
            return parts(data.read(options, lambda name: name not in numbers), IN_MEMORY)
        return stream(data, options, (*task.features, *task.targets), numbers)

    def _part(self, source: Source) -> dict[str, Any]:
        """What one part comes to, by itself: its columns, and what the report takes of it."""
        targets, X, words, notes = self._inputs(source)
        P, Z = self._outcome(X, words)
        why, outcome = self._measured(source, targets, P) if targets else (None, None)
        notes = {**notes, **distant_lines(self.model.inputs, X, lambda row: place_of(source, row))}
        return {
            "columns": {**self._kept(source), **self._told(P, Z)},
            "rows": len(X),
            "trained_on": count_trained(self._trained, X, words),
            "unseen": self.model.inputs.unseen(X, words),
            "notes": [[*key, note] for key, note in notes.items()],
            "why": why,
            "outcome": outcome,
        }

    def _report(self, part: Mapping[str, Any]) -> None:
        """Add to the report what the next part came to."""
        report = self.report
        report.rows += part["rows"]
        if part["trained_on"] is not None:
            report.trained_on = part["trained_on"] + (report.trained_on or 0)
        for name, (count, word) in part["unseen"].items():
            report.unseen[name] += count
            report.examples.setdefault(name, word)
        for first, second, note in part["notes"]:
            report.notes.setdefault((first, second), note)
        if report.why is not None or report.measured >= MEASURED_ROWS:
            return
        if part["why"] is not None:
            report.why, report.measured = part["why"], 0
            self._outcomes.clear()
        elif part["outcome"] is not None:
            self._outcomes.append(part["outcome"])
            report.measured += len(part["outcome"][0])

    def _inputs(self, source: Source) -> tuple[list[int], Any, dict[int, list[str]], Mapping[tuple[str, str], str]]:
        """The target columns, as far as there are any, the inputs and their words, and what is written otherwise than
        in training. Raises DataError."""
        config, task = self.model.config, self.task
        features, targets = by_name(config, source, task, targets=False)
        X, words = inputs(source, features, task, whole=False)
        refuse_missing(source, [features[place] for place in gapless(config, task)])
        return targets, X, words, unlike(source, features, targets, task)

    def answer(self, X: Any, words: Mapping[int, Sequence[str]]) -> Columns:
        """Columns of predictions for rows X [rows, features] in memory, encoded as the preprocessing takes them."""
        return self._told(*self._outcome(X, words))

    def answer_inputs(self, A: Any) -> Columns:
        """The same for inputs of the network A [rows, inputs], as the preprocessing has made them."""
        return self._told(*self._of_inputs(A))

    def _outcome(self, X: Any, words: Mapping[int, Sequence[str]]) -> tuple[Any, Any]:
        """What the evaluator makes of the logits, and these."""
        return self._of_inputs(self.model.inputs.transform(X, words, dtype=self.model.config.dtype))

    def _of_inputs(self, A: Any) -> tuple[Any, Any]:
        Z = self.evaluator.logits(A)
        return self.evaluator.predict(Z), np.asarray(Z, np.float64)

    def _kept(self, source: Source) -> Columns:
        names = dict.fromkeys((*self.keep, *(name for name in self.task.ids if name in source.names)))
        columns = {}
        for name in names:
            if name not in source.names:
                hint = nearest(name, source.names)
                raise DataError(source.problem("missing_column", f'no column "{name}" to keep', None, None, hint))
            column = source.names.index(name)
            columns[name] = [source.cell(row, column) for row in range(source.rows)]
        return columns

    def _told(self, P: Any, Z: Any) -> Columns:
        """The columns of predictions from what the evaluator made of the logits Z."""
        task, targets = self.task, self.task.targets
        given = ["prediction"] if len(targets) == 1 else [f"prediction_{name}" for name in targets]
        if task.kind == "regression":
            return {name: P[:, k] for k, name in enumerate(given)} | self._spread(Z)
        guess = decide(P, task.classifies, self.evaluator.threshold)
        if task.classifies:
            columns: Columns = {"prediction": [task.classes[index] for index in guess]}
        else:
            columns = {name: guess[:, k].astype(np.int64) for k, name in enumerate(given)}
        if self.probabilities:
            names = task.classes if task.classifies else targets
            columns |= {f"p_{name}": P[:, k] for k, name in enumerate(names)}
        return columns

    def _spread(self, Z: Any) -> Columns:
        """Quantiles or standard deviations of a regression, in the units of the data.

        Where targets were made logarithms, the deviation is that of log(1 + y).
        """
        told, deviation = self.evaluator.spread(Z)
        if deviation is not None:
            told = {**told, "log_std" if self.evaluator.log else "std": deviation}
        suffixes = [""] if len(self.task.targets) == 1 else [f"_{name}" for name in self.task.targets]
        return {f"{name}{suffix}": values[:, k] for name, values in told.items() for k, suffix in enumerate(suffixes)}

    def _measured(self, source: Source, targets: Sequence[int], P: Any) -> tuple[str | None, Any]:
        """Why there are no metrics, and the predictions beside the truth and its weights where there is one."""
        task = self.task
        try:
            source = with_targets(self.model.config, source, targets, task)
            known = np.delete(np.arange(source.rows), without_target(source, targets))
            if not len(known):
                return None, None
            y = encode(source, targets, task)
            w = weights(source, source.names.index(task.weight)) if task.weight in source.names else None
        except DataError as error:
            return str(error.problems[0]), None
        return None, (P[known], y[known], None if w is None else w[known])

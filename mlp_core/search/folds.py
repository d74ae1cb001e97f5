"""Cross-validation: every fold is a run that held its rows out; together they say how well such a training does.

The folder holds `fold-N/` (or `repeat-M-fold-N/`), `members.json`, so that it is one model, `oof.csv` with what each
fold says of the rows that it held out, and `cv.json` with what the metrics come to. All but the clock's numbers in the
runs are the same bytes for any number of workers, and however often it was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.writers import writing
from mlp_core.documents import read_object
from mlp_core.errors import CheckpointError, Problem
from mlp_core.runs.evaluate import open_model, read_own_data
from mlp_core.runs.members import CV, Members
from mlp_core.runs.predict import ROWS, Columns, Predictor
from mlp_core.runs.run import Run
from mlp_core.search.folder import LARGEST, SearchFolder, write_json
from mlp_core.search.intervals import SAID, FoldSpread, spread
from mlp_core.search.training import Training
from mlp_core.search.watching import Watch, watched
from mlp_core.search.workers import Stop, at_once
from mlp_core.training.ensemble import Ensemble, apart
from mlp_core.training.events import Event
from mlp_core.training.unused import refuse_unused

FORMAT = 1
RESULT = "cv.json"
OOF = "oof.csv"


@dataclass(frozen=True)
class Fold:
    """One of the folds: its place, and its run."""

    repeat: int
    fold: int
    training: Training

    @property
    def name(self) -> str:
        return self.training.folder.name


@dataclass(frozen=True)
class FoldDone:
    """A fold is trained. record: what `run.json` says of it. predictions: of the rows that it held out."""

    fold: Fold
    record: Mapping[str, Any]
    predictions: Columns


@dataclass(frozen=True)
class Outcome:
    """What the folds come to: every metric over them, and every fold for itself."""

    task: str
    rows: int
    metrics: Mapping[str, FoldSpread]
    folds: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """The fields of `cv.json`, which hold nothing that the clock or the number of workers changes."""
        metrics = {name: {key: _told(value) for key, value in vars(one).items()} for name, one in self.metrics.items()}
        fields = {"format": FORMAT, "task": self.task, "rows": self.rows, "interval": SAID, "metrics": metrics}
        return {**fields, "folds": list(self.folds)}

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """What `cv.json` says, None where there is none: then the folds are not all done."""
        told = read_object(folder / RESULT, LARGEST)
        if not told:
            return None
        try:
            metrics = {name: _spread_of(one) for name, one in told["metrics"].items()}
            return cls(str(told["task"]), int(told["rows"]), metrics, tuple(told["folds"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError(
                Problem("damaged", "this is no result of mlpbp cv", file=str(folder / RESULT))
            ) from None


@dataclass(frozen=True)
class CrossValidation:
    """The folds of a config, in their folder."""

    config: Config
    folds: int
    repeats: int
    folder: SearchFolder
    parts: tuple[Fold, ...]

    @classmethod
    def open(
        cls, config: Config, text: bytes, folds: int, repeats: int, path: Path | None, command: Sequence[str] = ()
    ) -> CrossValidation:
        """The cross-validation in the folder `path`, or in `output.dir`: a new one, or the one begun there.

        Each fold takes one thread unless the config says how many. Raises ConfigError, UsageError.
        """
        refuse_unused(fold_config(config, folds, 1, 1))  # what does not go with folds is refused at once, too
        config = config.replace(threads=1) if config.threads == "auto" else config
        plan = {"format": FORMAT, "command": "cv", "folds": folds, "repeats": repeats}
        folder = SearchFolder.of(path, config, f"{config.name}-cv", plan, lambda path: (path / RESULT).exists())
        parts = []
        for repeat, fold in product(range(1, repeats + 1), range(1, folds + 1)):
            name = f"fold-{fold}" if repeats == 1 else f"repeat-{repeat}-fold-{fold}"
            one = fold_config(config, folds, fold, repeat)
            parts.append(Fold(repeat, fold, Training.of(one, folder.path / name, text, command)))
        return cls(config, folds, repeats, folder, tuple(parts))

    def workers(self, asked: int | None) -> int:
        """How many folds are trained at once."""
        return at_once(asked, len(self.parts), int(self.config.threads), self.config.device)

    def run(self, jobs: int, stop: Stop = lambda: 0, watch: Watch | None = None) -> Iterator[FoldDone]:
        """Train what is not trained yet; yields the folds as they are done, unless `stop()` says so before. `watch`
        hears now and then how far the others are.

        Raises what a training raises; a folder in which nothing was begun is then not left behind.
        """
        self.folder.take()
        try:
            tasks = [part.training for part in self.parts]
            threads, epochs = int(self.config.threads), self.config.train.epochs
            for place, done in watched(_train, tasks, jobs, threads, epochs, stop, watch):
                yield FoldDone(self.parts[place], *done)
        except BaseException:
            if not any(part.training.folder.exists() for part in self.parts):
                self.folder.discard()
            raise
        finally:
            self.folder.close()

    def finish(self, done: Sequence[FoldDone]) -> Outcome:
        """Write down what all folds come to. Raises OSError."""
        ordered = sorted(done, key=lambda one: (one.fold.repeat, one.fold.fold))
        outcome = _outcome(ordered, open_model(ordered[0].fold.training.folder)[0].task.kind)
        digits = 9 if self.config.dtype == "float32" else 17
        with writing(self.folder.path / OOF, "csv", True, digits) as write:
            write(_table(ordered, self.repeats))
        Members(self.folder.path, CV, tuple(one.fold.name for one in ordered), outcome.task).write()
        write_json(self.folder.path / RESULT, outcome.to_json())
        return outcome


def fold_config(config: Config, folds: int, fold: int, repeat: int) -> Config:
    """The config of one fold."""
    return config.replace(**{"data.split.folds": folds, "data.split.fold": fold, "data.split.repeat": repeat})


def _train(training: Training, stop: Stop) -> tuple[dict[str, Any], Columns] | None:
    """A fold trained, and what it says of the rows that it held out; None where it was stopped."""
    trained: Run | None = None

    def hear(event: Event, run: Run) -> bool:
        nonlocal trained
        trained = run
        return False

    record = training.carry_out(stop, hear)
    return None if record is None else (record, held_out(training.folder, trained))


def held_out(folder: Path, run: Run | None = None) -> Columns:
    """What the model of a fold says of the rows that it held out: their numbers in the training file, the truth, and
    the columns of `predict`. run: where it was trained just now, and has the rows. Raises CheckpointError, DataError.
    """
    model, file = open_model(folder)
    data = read_own_data(model) if run is None else run.experiment.data
    if "test" not in data.indices:
        raise CheckpointError(Problem("no_fold", "this run held out no rows", file=str(file)))
    if isinstance(model, Ensemble):
        raise CheckpointError(Problem("no_fold", "a fold is one run, these are members", file=str(file)))
    split = apart(model, data.splits["test"]) if run is None else run.experiment.splits["test"]
    to_host = (model if run is None else run.experiment.model).network.backend.to_host

    def inputs(rows: slice) -> Any:
        return np.ascontiguousarray(to_host(split.X[rows]))

    numbers, y = data.indices["test"], split.y
    predictor, task = Predictor(model, probabilities=True), model.task
    chunks = [predictor.answer_inputs(inputs(slice(start, start + ROWS))) for start in range(0, len(numbers), ROWS)]
    columns: Columns = {"row": numbers}
    if task.classifies:
        columns["truth"] = [task.classes[index] for index in y.tolist()]
    else:
        Y = y.reshape(len(y), -1)
        names = ["truth"] if Y.shape[1] == 1 else [f"truth_{name}" for name in task.targets]
        columns |= {name: Y[:, k] for k, name in enumerate(names)}
    return columns | {name: _chained([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _chained(parts: Sequence[Any]) -> Any:
    return [one for part in parts for one in part] if isinstance(parts[0], list) else np.concatenate(parts)


def _at(cells: Any, places: Any) -> Any:
    return [cells[place] for place in places] if isinstance(cells, list) else cells[places]


def _table(done: Sequence[FoldDone], repeats: int) -> Columns:
    """What all folds said, repeat by repeat in the order of the rows: every row once in each."""
    parts = []
    for one in done:
        row = one.predictions["row"]
        repeat, fold = (np.full(len(row), number) for number in (one.fold.repeat, one.fold.fold))
        parts.append({"row": row, "repeat": repeat, "fold": fold, **one.predictions})
    table = {name: _chained([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((table["row"], table["repeat"]))
    if repeats == 1:
        del table["repeat"]
    return {name: _at(cells, order) for name, cells in table.items()}


def _outcome(done: Sequence[FoldDone], task: str) -> Outcome:
    """Every metric of the rows held out, over the folds."""
    facts = []
    for one in done:
        split = read_object(one.fold.training.folder / "split.json", LARGEST)
        rows = {name: len(numbers) for name, numbers in split.items()}
        progress = {"best_epoch": one.record["best"]["epoch"], "epochs": one.record["epochs"]}
        place = {"run": one.fold.name, "repeat": one.fold.repeat, "fold": one.fold.fold}
        facts.append({**place, "rows": rows, **progress, "metrics": one.record["metrics"]["test"]})
    names = facts[0]["metrics"]
    share = float(np.mean([one["rows"]["test"] / one["rows"]["train"] for one in facts]))
    values = {name: [_number(one["metrics"].get(name)) for one in facts] for name in names}
    seen = sum(one["rows"]["test"] for one in facts if one["repeat"] == 1)
    return Outcome(task, seen, {name: spread(given, share) for name, given in values.items()}, tuple(facts))


def _told(value: float | tuple[float, ...]) -> Any:
    """A number, or several, as JSON has them: null for one that is not finite."""
    if isinstance(value, tuple):
        return [_told(one) for one in value]
    return value if math.isfinite(value) else None


def _spread_of(told: Mapping[str, Any]) -> FoldSpread:
    mean, deviation, low, high = (_number(told[key]) for key in ("mean", "deviation", "low", "high"))
    return FoldSpread(mean, deviation, low, high, tuple(map(_number, told["folds"])))


def _number(told: Any) -> float:
    return math.nan if told is None else float(told)

"""Using a saved model: opening a checkpoint, and measuring it on its own splits or on a further file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlp_core.config import Config, changed_keys, with_overrides
from mlp_core.data.config_sources import column_cells, moved, told_files
from mlp_core.data.fingerprints import Fingerprints
from mlp_core.data.load import Data, Dataset, load_split
from mlp_core.data.load import load as load_data
from mlp_core.data.preprocess.from_config import further_lines
from mlp_core.data.readers.frames import InMemory
from mlp_core.errors import ConfigError, DataError, Problem, UsageError
from mlp_core.metrics import compute, known
from mlp_core.metrics.calibration import Calibration, choose, misfit, wants_fit
from mlp_core.metrics.groups import GroupRow, by_group
from mlp_core.runs.members import FILE, is_members, members_at
from mlp_core.runs.out_of_fold import FOLDS, OutOfFold, pooled
from mlp_core.runs.run_directory import load_named
from mlp_core.runs.trained_rows import count_trained
from mlp_core.runs.worst import WorstRow, worst_rows
from mlp_core.training.checkpoint import Checkpoint, checkpoint_path, save
from mlp_core.training.ensemble import Ensemble, Saved
from mlp_core.training.evaluator import Evaluation, Split
from mlp_core.training.model import model_of
from mlp_core.training.prepared import shared_rows
from mlp_core.workers.world import ALONE, World

FIT_ON = "val"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """How a model is to be measured; None: as its config says.

    split: one of the run's own splits. data, labels: a further file, or rows in memory. calibrate: none, temperature or
    platt. threshold:
    a probability, or the metric it is chosen for. by: a column whose groups are measured too. metrics: measured beside
    the usual ones, as far as they are known. worst: how many of the rows with the largest losses are wanted.
    keep: have the split that counts in the report, ready for the network. trained: fingerprints of the rows that the
    model was trained on, to be counted in a further file.
    """

    split: str | None = None
    data: Path | InMemory | None = None
    labels: Path | None = None
    calibrate: str | None = None
    threshold: float | str | None = None
    by: str | None = None
    metrics: tuple[str, ...] = ()
    worst: int = 0
    keep: bool = False
    trained: Fingerprints | None = None


@dataclass(frozen=True)
class Report:
    """What was measured: every split, what was fitted on validation rows and what that changed there, the groups.

    trained_on: how many rows of a further file the model was trained on; None where that is not known. notes: what is
    to be said of how that file is written, and of words in it that training never saw.
    """

    splits: dict[str, Evaluation]
    calibration: Calibration
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    groups: list[GroupRow] = field(default_factory=list)
    worst: list[WorstRow] = field(default_factory=list)
    split: Split | None = None
    trained_on: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> str:
        """The split that counts: test, else val, else the only one."""
        return chosen(self.splits)


def chosen(splits: Iterable[str]) -> str:
    """The split that counts among these: test, else val, else the first."""
    names = list(splits)
    return next(name for name in ("test", "val", *names) if name in names)


DEALT = ("data.val", "data.test", "data.format", "data.csv")  # with others of these the splits are not what they were
# keys that a saved model may be measured with otherwise, because the network and its inputs stay what they are
MEASURING = (
    *("data.train", "data.val", "data.test", "data.format", "data.csv", "data.cache", "data.memory"),
    *("eval", "metrics", "threads", "train.eval_batch_size"),
)


def open_model(path: Path, overrides: Sequence[str] = ()) -> tuple[Saved, Path]:
    """The model saved at `path` and the file it came from; `overrides` say where its data is now, or how to measure.

    A folder of members is one model, which comes from the list of them.

    Raises CheckpointError, UsageError, ConfigError for an override that would make it another model.
    """
    model: Saved
    if is_members(path):
        members = members_at(path)
        model, file = members.open(), members.folder / FILE
    else:
        file = checkpoint_path(path)
        model = model_of(load_named(file), str(file), rows=1)
    if not overrides:
        return model, file
    config = with_overrides(model.config, overrides)
    for key in changed_keys(model.config, config):
        if not any(key == ok or key.startswith(f"{ok}.") for ok in MEASURING):
            hint = "what may be given here: " + ", ".join(MEASURING)
            raise ConfigError(Problem("changed", "belongs to the model as it was trained", hint, key=key))
    calibration = model.calibration
    if not calibration.fitted and isinstance(config.eval.threshold, float):
        calibration = Calibration(threshold=config.eval.threshold)
    other = any(key.startswith(DEALT) for key in changed_keys(model.config, config))
    return replace(model, config=config, calibration=calibration, data="" if other else model.data), file


def read_own_data(model: Saved, tell: Tell | None = None) -> Data:
    """The data that a model was trained on, dealt as it was then.

    `tell` hears of the files before they are read, since a model may come from somebody else. Raises DataError where a
    file is gone, naming what to add, and where the data is not what it was: then other rows would be held out.
    """
    files = told_files(model.config)
    if tell is not None and files:
        tell(f"reading what the model was trained on: {files}")
    try:
        data = load_data(model.config, task=model.task)
    except DataError as error:
        raise moved(model.config, error) from None
    if model.data and data.sha256 != model.data:
        message = "the data is not what this model was trained on, so nobody knows which rows it has not seen"
        hint = "measure it on a file: mlpbp eval MODEL DATA"
        raise DataError(model.config.problem("data", message, code="other_data", hint=hint))
    return data


def keep_calibration(file: Path, calibration: Calibration, output: Path | None = None) -> Path:
    """Write a calibration into the checkpoint `file`, or into a new one; returns which. `predict` uses it from then on.

    Raises CheckpointError, UsageError where the new file is there already, OSError.
    """
    if output is not None and output.exists():
        raise UsageError(Problem("exists", "there is a file of this name already", "choose another", file=str(output)))
    if file.name == FILE:
        if output is not None:
            hint = "write it into the folder with --keep"
            raise UsageError(Problem("usage", "members are no single checkpoint", hint, file=str(file)))
        return replace(members_at(file), calibration=calibration).write()
    checkpoint = load_named(file)
    document = {**checkpoint.document, "calibration": calibration.to_state()}
    save(Checkpoint(checkpoint.tensors, document), output or file)
    return output or file


@dataclass(frozen=True)
class _Fitting:
    """What is fitted to validation rows: probabilities by a method, and a threshold, given or as good as can be by a
    metric. stored: what is in the model stays."""

    method: str
    threshold: float | str
    stored: bool

    @classmethod
    def of(cls, model: Saved, wishes: Wishes) -> _Fitting:
        """Raises UsageError for what does not go with the task."""
        judged = model.config.eval
        method = judged.calibrate if wishes.calibrate is None else wishes.calibrate
        threshold = judged.threshold if wishes.threshold is None else wishes.threshold
        stored = model.calibration.fitted and wishes.calibrate is None
        if stored:  # what is in the model stays, as far as it is not asked for anew
            method = "none"
            threshold = model.calibration.threshold if wishes.threshold is None else wishes.threshold
        if wrong := misfit(model.task.kind, method, threshold):
            raise UsageError(Problem("usage", wrong[1], wrong[2], str(threshold) if wrong[0] == "threshold" else None))
        return cls(method, threshold, stored)

    @property
    def needed(self) -> bool:
        return wants_fit(self.method, self.threshold)

    def to(self, model: Saved, raw: Mapping[str, Evaluation]) -> Calibration:
        """What is found on the validation rows, which were measured with neither."""
        before = model.calibration if self.stored else None
        if self.needed:
            return choose(model.task.kind, self.method, self.threshold, raw[FIT_ON].outcome, before)
        assert not isinstance(self.threshold, str)
        return replace(before or Calibration(), threshold=self.threshold)


@dataclass
class _Raw:
    """Rows as they were read and measured, before anything is fitted; losses, kept: of the split that counts.

    own: the run's own data, where it was needed. datasets: the splits asked for.
    """

    model: Saved
    own: Data | None
    fitting: _Fitting
    datasets: dict[str, Dataset] = field(default_factory=dict)
    found: dict[str, Evaluation] = field(default_factory=dict)
    losses: Any = None
    kept: Split | None = None

    @classmethod
    def of(cls, saved: Saved, wishes: Wishes, tell: Tell | None, world: World) -> _Raw:
        if world.size > 1 and isinstance(saved, Ensemble):
            hint = "leave out the workers"
            raise UsageError(Problem("workers", "a folder of members is measured member by member", hint))
        model, own = _judged(saved, wishes, tell)
        raw = cls(model, own, _Fitting.of(model, wishes))
        raw._measure(shared_rows(world, lambda: raw._read(saved, wishes, tell)), wishes, world)
        return raw

    def _read(self, saved: Saved, wishes: Wishes, tell: Tell | None) -> dict[str, Dataset]:
        """All rows that are needed."""
        if self.own is None and (wishes.data is None or self.fitting.needed):
            self.own = read_own_data(saved, tell)
        self.datasets = _datasets(self.model, wishes, self.own)
        return {**self.datasets, FIT_ON: _fit_rows(self.own)} if self.fitting.needed else self.datasets

    def _measure(self, needed: Mapping[str, Dataset], wishes: Wishes, world: World) -> None:
        model = self.model
        rows = min(model.config.train.eval_batch_size, max(dataset.rows for dataset in needed.values()))
        evaluator = replace(model, calibration=Calibration()).evaluator(rows)
        for name, dataset in needed.items():
            split = model.split(dataset, world=world)
            self.found[name] = evaluator.evaluate(split, [], world)
            if world.writes and name == chosen(self.datasets):
                self.losses = evaluator.rows(split)[0] if wishes.worst else None
                self.kept = split if wishes.keep else None


def evaluate_model(
    saved: Saved, wishes: Wishes | None = None, tell: Tell | None = None, world: World = ALONE
) -> Report:
    """Every metric of each split asked for.

    Without `wishes.data` the splits are made again from the config; a further file is one split named `data`. Of folds
    the rows that a member held out are measured by it alone, as one split named `folds`. Of several workers this is
    worker 0; the others do their part by `help_evaluate`. Raises DataError, UsageError.
    """
    wishes = wishes or Wishes()
    raw = _Raw.of(saved, wishes, tell, world)
    model, own, datasets, kind = raw.model, raw.own, raw.datasets, raw.model.task.kind
    names, asked = model.metric_names(report=True), chosen(datasets)
    names += [
        name for name in dict.fromkeys(wishes.metrics) if name != "loss" and name not in names and known(kind, name)
    ]
    mine = datasets.get("data")
    trained_on = None if mine is None else count_trained(wishes.trained, mine.X, mine.words)
    notes = () if mine is None else (*mine.notes, *further_lines(saved.inputs, mine))
    calibration = raw.fitting.to(model, raw.found)
    done = {name: _judge(kind, names, one, calibration) for name, one in raw.found.items()}
    measured = {name: done[name] for name in datasets}
    report = Report(measured, calibration, split=raw.kept, trained_on=trained_on, notes=notes)
    config, path = model.config, wishes.data
    if isinstance(path, InMemory):
        config, path = config.holding({"data": path}), None
    dealt = own.indices if own else {}
    if wishes.by is not None:
        cells = column_cells(config, wishes.by, asked, dealt, path)
        for rows in (datasets[asked].places, done[asked].rows):
            cells = cells if rows is None else [cells[row] for row in rows.tolist()]
        report = replace(report, groups=by_group(kind, done[asked].outcome, cells))
    if raw.losses is not None:
        outcome, drawn = done[asked].outcome, done[asked].rows
        found = worst_rows(config, model.task, outcome, raw.losses, wishes.worst, asked, dealt, path, drawn)
        report = replace(report, worst=found)
    if not raw.fitting.needed:
        return report
    watched = ["log_loss", "brier", "ece", *(["accuracy", "balanced_accuracy", "f1"] if kind == "binary" else [])]
    before, after = (compute(kind, watched, part[FIT_ON].outcome) for part in (raw.found, done))
    return replace(report, before=before, after=after)


def help_evaluate(saved: Saved, wishes: Wishes, world: World) -> None:
    """What another worker than worker 0 has to do in `evaluate_model`: it measures its chunks of rows."""
    _Raw.of(saved, wishes, None, world)


def _judged(saved: Saved, wishes: Wishes, tell: Tell | None) -> tuple[Saved, Data | None]:
    """What is measured, and on what where that is known: folds are measured on the rows that each held out."""
    if not isinstance(saved, Ensemble) or not saved.folds or wishes.data is not None or wishes.split == "test":
        return saved, None
    if wishes.split not in (None, FOLDS):
        message, hint = f"every row of {wishes.split} was trained on by a member", f"--split {FOLDS}, or --split test"
        raise UsageError(Problem("usage", f"--split: {message}", hint))
    parts = []
    for member in saved.members:
        data = read_own_data(replace(member, config=with_data_of(member.config, saved.config)), tell)
        tell = None
        if "test" not in data.indices:
            raise DataError(Problem("no_split", "a member held out no rows", "measure it on a file"))
        parts.append((data.splits["test"], data.indices["test"]))
    return OutOfFold(**vars(saved), parts=tuple(part for part, _ in parts)), pooled(saved.task, parts)


def with_data_of(config: Config, told: Config) -> Config:
    """A member's config, with its data and its way of measuring as they were told for all."""
    keys = ("train", "val", "test", "format", "csv", "cache", "memory")
    data = told.with_absolute_paths().data.model_dump(mode="json")
    values = {f"data.{key}": data[key] for key in keys}
    return config.replace(**values, threads=told.threads, **{"train.eval_batch_size": told.train.eval_batch_size})


def rows_of(model: Saved, wishes: Wishes) -> tuple[str, Split, int | None]:
    """The split that counts among those asked for: its name, its rows ready for the network, and how many rows of a
    further file the model was trained on, None where that is not known. Raises as `evaluate_model`."""
    if isinstance(model, Ensemble) and model.folds and wishes.data is None and wishes.split != "test":
        hint = "give a file of other rows, or --split test"
        raise UsageError(Problem("usage", "every row of these folds was trained on by some members", hint))
    datasets = _datasets(model, wishes, read_own_data(model) if wishes.data is None else None)
    name = chosen(datasets)
    mine = datasets[name]
    trained_on = None if wishes.data is None else count_trained(wishes.trained, mine.X, mine.words)
    return name, model.split(mine), trained_on


def _datasets(model: Saved, wishes: Wishes, own: Data | None) -> dict[str, Dataset]:
    """The rows that are asked for."""
    if wishes.data is not None:
        if wishes.split is not None:
            raise UsageError(Problem("usage", "--split belongs to the run's own data", "leave out DATA or --split"))
        source: Any = wishes.data if wishes.labels is None else {"x": wishes.data, "y": wishes.labels}
        return {"data": load_split(model.config, model.task, source)}
    assert own is not None
    if wishes.split is None:
        return own.splits
    if wishes.split not in own.splits:
        have = ", ".join(own.splits)
        raise DataError(Problem("no_split", f"there is no split named {wishes.split}", f"there are {have}"))
    return {wishes.split: own.splits[wishes.split]}


def _fit_rows(own: Data | None) -> Dataset:
    if own is None or FIT_ON not in own.splits:
        hint = "set data.split.val or data.val when training"
        raise DataError(Problem("no_split", "calibration and threshold need validation rows", hint))
    return own.splits[FIT_ON]


def _judge(kind: str, names: list[str], one: Evaluation, calibration: Calibration) -> Evaluation:
    outcome = replace(one.outcome, P=calibration.apply(one.outcome.P, kind), threshold=calibration.threshold)
    return Evaluation({**one.metrics, **compute(kind, names, outcome)}, outcome, one.rows)

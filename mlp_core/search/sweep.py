"""A search for good values of config keys: every trial is a run, what is known of all trials is shared by a study.

Any number of processes, on one machine or on several with one database, take trials of the same study. A trial belongs
to the folder that it was begun in, and to the process that holds its lock there; when that is gone, the next one that
looks goes on with it from its checkpoint. So nothing is lost but what was not saved, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from mlp_core.config import Config, sparse
from mlp_core.config.dump import dump_values
from mlp_core.errors import ConfigError, Diverged
from mlp_core.runs.run import Run
from mlp_core.search.folds import fold_config
from mlp_core.search.locks import FileLock
from mlp_core.search.space import Space
from mlp_core.search.study import distributions, make_pruner, make_sampler, open_study
from mlp_core.search.training import Training
from mlp_core.search.workers import Stop
from mlp_core.training.events import EpochDone, Event
from mlp_core.training.from_config import make_watch

LOCKS = ".locks"
HOME, SURPLUS, WHY, EPOCHS = "folder", "surplus", "why", "epochs"
ABANDONED = 60.0  # seconds after which a trial that says nothing of its folder has lost its process
WARMUP = 10  # epochs before a trial may be ended early, or a quarter of all


@dataclass(frozen=True)
class Sweep:
    """What every process of a search has to know; plain values, so that it can be sent to one.

    folder: where the trials lie. home: what this folder is called in the study. name: of the study. folds: 0 for a
    single training each. until: when no time is left, in seconds since 1970.
    """

    folder: Path
    home: str
    name: str
    space: Space
    text: bytes
    trials: int
    folds: int = 0
    sampler: str = "tpe"
    prune: bool = True
    storage: str | None = None
    until: float = math.inf
    command: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        return self.space.config.checkpoint.monitor

    @property
    def smaller(self) -> bool:
        return make_watch(self.metric, self.space.config.checkpoint.mode).smaller

    def study(self) -> Study:
        """The study, made where it is new. Raises UsageError, Failed."""
        epochs = self.space.config.train.epochs
        pruner = make_pruner(self.prune, 0 if self.folds else min(WARMUP, epochs // 4))
        sampler = make_sampler(self.sampler, self.space.config.seed, self.space.dimensions)
        return open_study(self.storage, self.folder, self.name, self.smaller, sampler, pruner)

    @property
    def locks(self) -> Path:
        """Where the locks lie."""
        return self.folder / LOCKS

    def at(self, number: int) -> Path:
        """The folder of a trial."""
        return self.folder / f"trial-{number:04d}"

    def lock(self, number: int) -> FileLock:
        """What a process holds that works on a trial."""
        return FileLock(self.locks / self.at(number).name)


@dataclass(frozen=True)
class TrialDone:
    """How a trial ended: complete, pruned or failed (`why`), with its value where it has one."""

    number: int
    state: str
    value: float | None
    params: Mapping[str, Any]
    epochs: int
    why: str = ""


@dataclass
class Claimed:
    """A trial that this process works on, for as long as it holds the lock."""

    trial: Trial
    lock: FileLock
    reported: dict[int, float] = field(default_factory=dict)

    def report(self, value: float, step: int) -> bool:
        """Tell the study a value at a step, unless it knows; whether the trial is to end early."""
        if step not in self.reported:
            self.trial.report(value, step)
        return bool(self.trial.should_prune())


def study_name(config: Config, space: Space, folds: int) -> str:
    """The same for the same search, wherever its files lie: so processes on several machines find each other."""
    told: dict[str, Any] = {"config": sparse(config), "space": space.to_json(), "folds": folds}
    for key in ("train", "val", "test"):
        if key in told["config"]["data"]:
            told["config"]["data"][key] = _names(told["config"]["data"][key])
    return f"{config.name}-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]}"


def _names(files: Any) -> Any:
    """The names of files without their folders."""
    if isinstance(files, str):
        return Path(files).name
    if isinstance(files, Mapping):
        return {key: _names(value) for key, value in files.items()}
    return [_names(one) for one in files] if isinstance(files, list) else files


def work(sweep: Sweep, stop: Stop) -> int:
    """Take trials until there are enough, `stop()` says so, or the time is over; how many were ended here."""
    sweep.locks.mkdir(exist_ok=True)
    study, ended = sweep.study(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's, about reports that were made before a kill

        def asked() -> int:
            return stop() or int(time.time() >= sweep.until)

        while not asked() and (claimed := _claim(sweep, study)) is not None:
            try:
                done = _carry_out(sweep, study, claimed, asked)
            finally:
                claimed.lock.release()
            ended += done
    return ended


def _claim(sweep: Sweep, study: Study) -> Claimed | None:
    """A trial that was left by its process, or a new one; None where there are enough."""
    with FileLock(sweep.locks / "claim"):
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if (found := _adopt(sweep, study, left)) is not None:
                return found
        if len(real_trials(study)) >= sweep.trials:
            return None
        trial = study.ask(distributions(sweep.space.dimensions))
        trial.set_user_attr(HOME, sweep.home)
        rank = sum(other.number < trial.number for other in real_trials(study))
        if rank >= sweep.trials:  # somebody elsewhere was faster
            trial.set_user_attr(SURPLUS, True)
            study.tell(trial, state=TrialState.FAIL)
            return None
        lock = sweep.lock(trial.number)
        lock.acquire()
    return Claimed(trial, lock)


def _adopt(sweep: Sweep, study: Study, left: FrozenTrial) -> Claimed | None:
    """A running trial of this folder whose process is gone."""
    home = left.user_attrs.get(HOME)
    if home is None:
        begun = left.datetime_start.timestamp() if left.datetime_start else 0.0
        if sweep.storage is not None and time.time() - begun < ABANDONED:
            return None
    elif home != sweep.home:
        return None
    lock = sweep.lock(left.number)
    if not lock.take():
        return None
    now = next(one for one in study.get_trials(deepcopy=False) if one.number == left.number)
    if now.state != TrialState.RUNNING:
        lock.release()
        return None
    trial = Trial(study, left._trial_id)
    if home is None:
        trial.set_user_attr(HOME, sweep.home)
    return Claimed(trial, lock, dict(now.intermediate_values))


def _carry_out(sweep: Sweep, study: Study, claimed: Claimed, stop: Stop) -> bool:
    """Train a trial, and tell how it ended; False where it was stopped, and stays to be gone on with."""
    trial = claimed.trial
    try:
        judge = _folds if sweep.folds else _single
        value, pruned = judge(sweep, claimed, sweep.space.at(trial.params), stop)
    except (ConfigError, Diverged) as error:  # these values do not go together, or lead nowhere: others may
        trial.set_user_attr(WHY, str(error.problems[0])[:300])
        study.tell(trial, state=TrialState.FAIL)
        return True
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif value is None:
        return False
    else:
        study.tell(trial, value)
    return True


def _single(sweep: Sweep, claimed: Claimed, config: Config, stop: Stop) -> tuple[float | None, bool]:
    """One training: the best value of its monitored metric, or that it was ended early."""
    watch, pruned = make_watch(sweep.metric, config.checkpoint.mode), False

    def hear(event: Event, run: Run) -> bool:
        nonlocal pruned
        if isinstance(event, EpochDone) and watch.metric in event.metrics:
            best = run.experiment.trainer.progress.best
            value = event.metrics[watch.metric] if best is None else best
            pruned = claimed.report(value, event.epoch)
        return pruned

    training = Training.of(config, sweep.at(claimed.trial.number), sweep.text, sweep.command)
    record = training.carry_out(stop, hear)
    if record is None:
        return None, pruned
    claimed.trial.set_user_attr(EPOCHS, int(record["epochs"]))
    return best_of(training.folder, watch.metric, watch.smaller), False


def _folds(sweep: Sweep, claimed: Claimed, config: Config, stop: Stop) -> tuple[float | None, bool]:
    """Several trainings: the mean of the metric over the rows that each held out."""
    name, values, epochs = sweep.metric.split("_", 1)[1], list[float](), 0
    for fold in range(1, sweep.folds + 1):
        folder = sweep.at(claimed.trial.number) / f"fold-{fold}"
        training = Training.of(fold_config(config, sweep.folds, fold, 1), folder, sweep.text, sweep.command)
        record = training.carry_out(stop)
        if record is None:
            return None, False
        values.append(float(record["metrics"]["test"][name]))
        epochs += int(record["epochs"])
        claimed.trial.set_user_attr(EPOCHS, epochs)
        if claimed.report(sum(values) / len(values), fold) and fold < sweep.folds:
            return None, True
    return sum(values) / len(values), False


def best_of(folder: Path, metric: str, smaller: bool) -> float:
    """The best value of a metric in a run's log."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    values = [told[metric] for told in map(json.loads, lines) if told.get(metric) is not None]
    return float(min(values) if smaller else max(values))


def real_trials(study: Study) -> list[FrozenTrial]:
    """All trials but those that several processes asked for too much."""
    return [one for one in study.get_trials(deepcopy=False) if SURPLUS not in one.user_attrs]


STATES = {state: state.name.lower() for state in TrialState} | {TrialState.FAIL: "failed"}


def table(sweep: Sweep, study: Study) -> list[TrialDone]:
    """Every trial, the best first; those that were ended early by how far they came."""
    found = []
    for one in real_trials(study):
        values = one.intermediate_values
        value = one.value if one.value is not None else values[max(values)] if values else None
        epochs = int(one.user_attrs.get(EPOCHS, 0 if sweep.folds else max(values, default=0)))
        params = {key: json.loads(given) if isinstance(given, str) else given for key, given in one.params.items()}
        found.append(TrialDone(one.number, STATES[one.state], value, params, epochs, str(one.user_attrs.get(WHY, ""))))
    ranks = {"complete": 0, "pruned": 1, "running": 2, "waiting": 3, "failed": 4}
    sign = 1 if sweep.smaller else -1
    return sorted(
        found, key=lambda one: (ranks[one.state], math.inf if one.value is None else sign * one.value, one.number)
    )


def config_of(sweep: Sweep, study: Study, number: int) -> Config:
    """The config of a trial."""
    return sweep.space.at(next(one.params for one in real_trials(study) if one.number == number))


def dump_changed(config: Config, home: Path) -> str:
    """The keys of a config that were written or differ from their defaults, as a file in the folder `home`."""
    return dump_values(sparse(config.with_paths_from(home)))

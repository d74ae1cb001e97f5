"""A run: an experiment carried out in a run directory, from its first step or from where it was left."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlp_core.checkpoint import Checkpoint, load
from mlp_core.config import Config, changed_keys, dump_yaml
from mlp_core.config import load as load_config
from mlp_core.environment import environment
from mlp_core.errors import CheckpointError, ConfigError, DataError, Failed, MlpbpError, Problem, RunDirectoryError
from mlp_core.events import EpochDone, Event, Finished, Noticed
from mlp_core.experiment import Experiment
from mlp_core.gradcheck import fast_check
from mlp_core.layers import Pass
from mlp_core.metrics import plain
from mlp_core.run_directory import MetricsLog, RunDirectory

SAVING_SHARE = 0.05
"""Saving takes at most about this share of a run's time, if epochs are so short that it would take more."""

# keys that a resumed run may change, because nothing that was computed depends on them
CHANGEABLE = (
    *("name", "notes", "device", "threads", "train.epochs", "train.max_steps", "train.max_time", "train.preflight"),
    *("train.early_stopping", "checkpoint", "logging", "output", "gradcheck", "extends"),
)


@dataclass(frozen=True)
class Summary:
    """What a run came to. `metrics` are those of the best epoch's weights, split by split."""

    run: Path
    reason: str
    epochs: int
    steps: int
    seconds: float
    best_epoch: int
    metrics: Mapping[str, Mapping[str, float]]
    checkpoint: Path

    def to_json(self) -> dict[str, Any]:
        """The fields that programs may rely on."""
        watched = self.metrics.get("val") or self.metrics["train"]
        return {
            "run": str(self.run),
            "reason": self.reason,
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "best": {"epoch": self.best_epoch, **plain(watched)},
            "metrics": {split: plain(values) for split, values in self.metrics.items()},
            "checkpoint": str(self.checkpoint),
        }


@dataclass
class Run:
    """An experiment and the directory it writes to."""

    experiment: Experiment
    directory: RunDirectory
    notices: list[str] = field(default_factory=list)
    resumed: bool = False
    command: Sequence[str] = ()

    def __post_init__(self) -> None:
        config = self.experiment.config
        names = [f"val_{name}" for name in ("loss", *self.experiment.model.metric_names())]
        columns = ["epoch", "step", "train_loss", *(names if "val" in self.experiment.splits else []), "lr"]
        columns += ["seconds", "rows_per_second"]
        self.log = MetricsLog(self.directory, columns, config.logging.jsonl, config.logging.csv)
        self.metrics: dict[str, float] = {}
        self.summary: Summary | None = None
        self._pending: Checkpoint | None = None
        self._saved_at = time.monotonic()
        self._cost = 0.0
        self._record: dict[str, Any] = {}

    @classmethod
    def start(cls, config: Config, text: bytes, directory: Path | None = None, command: Sequence[str] = ()) -> Run:
        """A new run in `directory`, or in the next free one under `output.dir`; nothing is left behind if refused."""
        experiment = Experiment.build(config)
        if directory is None:
            number = config.output.if_exists == "number"
            run_directory = RunDirectory.create_numbered(Path(config.output.dir), config.name, number)
        else:
            run_directory = RunDirectory.create(directory)
        run = cls(experiment, run_directory, command=command)
        try:
            run_directory.write("config.yaml", text)
            run_directory.write("config.resolved.yaml", dump_yaml(experiment.config).encode())
            if experiment.data.indices:
                indices = {name: rows.tolist() for name, rows in experiment.data.indices.items()}
                run_directory.write_json("split.json", indices, compact=True)
        except OSError as error:
            raise _no_room(run_directory.path, error) from None
        return run

    @classmethod
    def resume(cls, path: Path, overrides: Sequence[str] = (), command: Sequence[str] = ()) -> Run:
        """Go on with the run in `path` from its newest good checkpoint.

        Raises ConfigError for a changed key that would change what was computed, DataError for other data.
        """
        if not (path / "config.resolved.yaml").is_file():
            problem = Problem("no_run", "there is no run here", "give the directory of a run", file=str(path))
            raise ConfigError(problem)
        config = load_config(path / "config.resolved.yaml", overrides)
        directory = RunDirectory(path)
        directory.open()
        try:
            newest, checkpoint, damaged = directory.newest()
            notices = [f"{problem}; newest good checkpoint: {newest}" for problem in damaged]
            changes = _allowed_changes(config, checkpoint, newest)
            experiment = Experiment.build(config)
            if experiment.data.sha256 != checkpoint.document.get("data"):
                message = "the data is not what this run was trained on"
                raise DataError(config.problem("data", message, code="other_data", hint="start a new run with it"))
            experiment.restore(checkpoint, str(newest))
            run = cls(experiment, directory, notices, resumed=True, command=command)
            run._go_on(checkpoint, changes)
        except BaseException:
            directory.close()
            raise
        return run

    def _go_on(self, checkpoint: Checkpoint, changes: Sequence[str]) -> None:
        """Set logs and progress to the checkpoint, and say what is different now."""
        progress = self.experiment.trainer.progress
        if progress.finished == "max_time" or any(key.startswith("train.") for key in changes):
            progress.finished = None
        if any(key.startswith("train.early_stopping") for key in changes):
            progress.stale, progress.reference = 0, None
        self.metrics = dict(checkpoint.document["metrics"])
        self.log.cut(progress.epoch, checkpoint.document["log"])
        then, now = checkpoint.document["environment"], environment()
        different = [f"{key} {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]]
        if different:
            self.notices.append("made with other tools, so the last bits may differ: " + "; ".join(different))
        if changes:
            self.directory.write("config.resolved.yaml", dump_yaml(self.experiment.config).encode())

    def execute(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
        """Train, log and save; yields what happens. `summary` is there afterwards, unless the run was stopped.

        Raises Diverged (naming the last good checkpoint), RunDirectoryError when the end cannot be saved.
        """
        started = time.monotonic()
        self._begin_record()
        try:
            yield from (Noticed(notice) for notice in self.notices)
            self._preflight()
            if not self.resumed:
                self._save(self.experiment.checkpoint({}, self.log.offset()), "last")
            for event in self.experiment.trainer.run(stop):
                if isinstance(event, EpochDone):
                    yield from self._epoch(event)
                if isinstance(event, Finished):
                    self._finish(event, time.monotonic() - started)
                yield event
        except OSError as error:
            self._end_record("failed", 1)
            raise _no_room(self.directory.path, error) from None
        except MlpbpError as error:
            self._end_record("failed", error.exit_code)
            raise self._with_checkpoint(error) from None
        except BaseException:
            self._end_record("failed", 3)
            raise
        finally:
            self.directory.close()

    def _preflight(self) -> None:
        """The gradient check before the first step: a wrong model is not trained."""
        experiment, config = self.experiment, self.experiment.config
        if config.train.preflight == "off" or experiment.trainer.progress.step:
            return
        to_host, train = experiment.model.network.backend.to_host, experiment.splits["train"]
        rows = slice(0, min(16, len(train.X)))
        w = None if train.w is None else to_host(train.w[rows])
        X, Y = to_host(train.X[rows]), to_host(train.Y[rows])
        report = fast_check(experiment.model.objective, X, Y, w, Pass(True, config.seed, 0, False), config.seed)
        if not report.passed:
            failed = ", ".join(report.failures())
            raise Failed(
                Problem(
                    "gradient_wrong",
                    f"the gradient of this model is wrong (worst relative error {report.worst:.1e} in {failed})",
                    "run mlpbp gradcheck on the config for the whole report",
                )
            )
        experiment.stamp = f"{report.worst:.0e}"

    def _epoch(self, event: EpochDone) -> Iterator[Event]:
        """Log an epoch and save what is due."""
        config, epoch = self.experiment.config, event.epoch
        self.metrics = dict(event.metrics)
        facts = {"epoch": epoch, "step": event.step, **event.metrics}
        self.log.append(facts, {"seconds": event.seconds, "rows_per_second": event.rows_per_second})
        if event.improved and config.checkpoint.best:
            self._pending = self.experiment.checkpoint(self.metrics, self.log.offset())
        every = config.checkpoint.every
        try:
            if every is not None and epoch % every == 0:
                checkpoint = self.experiment.checkpoint(self.metrics, self.log.offset())
                self.directory.save(checkpoint, f"epoch-{epoch:04d}")
                self.directory.forget_old(config.checkpoint.keep)
            if time.monotonic() - self._saved_at > self._cost / SAVING_SHARE:
                self._save_all()
        except OSError as error:
            yield Noticed(f"epoch {epoch} could not be saved ({error.strerror or error}); going on")

    def _save_all(self) -> None:
        """Save the best epoch if it is new, then the state as it is; `last` never is ahead of `best`."""
        begun = time.monotonic()
        if self._pending is not None:
            self._save(self._pending, "best")
            self._pending = None
        self._save(self.experiment.checkpoint(self.metrics, self.log.offset()), "last")
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun

    def _save(self, checkpoint: Checkpoint, name: str) -> None:
        if name == "best" or self.experiment.config.checkpoint.last:
            self.directory.save(checkpoint, name)

    def _finish(self, event: Finished, seconds: float) -> None:
        """Save the end of training; measure the best epoch's weights on every split."""
        self._save_all()
        if event.reason == "stopped":
            self._end_record("interrupted", None)
            return
        progress = self.experiment.trainer.progress
        best = self.directory.checkpoints / "best.safetensors"
        last = self.directory.checkpoints / "last.safetensors"
        chosen = best if best.exists() else last
        if chosen.exists():
            self.experiment.restore(load(chosen), str(chosen))
        metrics = {name: result.metrics for name, result in self.experiment.evaluate().items()}
        best_epoch = self.experiment.trainer.progress.epoch
        self.summary = Summary(
            self.directory.path, event.reason, progress.epoch, progress.step, seconds, best_epoch, metrics, chosen
        )
        self._end_record("finished", 0, **self.summary.to_json())

    def _begin_record(self) -> None:
        earlier = self.directory.read_json("run.json") if self.resumed else {}
        self._record = {
            "status": "running",
            "command": list(self.command),
            "started": _now(),
            "environment": {**environment(), "system": platform.platform()},
            "data_sha256": self.experiment.data.sha256,
            "seed": self.experiment.config.seed,
            "notes": self.experiment.config.notes,
            "inferred": list(self.experiment.notes),
        }
        if earlier:
            before = {key: earlier.get(key) for key in ("status", "command", "started", "ended")}
            self._record["resumed_from"] = [*earlier.get("resumed_from", []), before]
        self.directory.write_json("run.json", self._record)

    def _end_record(self, status: str, exit_code: int | None, **more: Any) -> None:
        self._record |= {"status": status, "ended": _now(), "exit_code": exit_code, **more}
        self._record["gradient"] = self.experiment.stamp
        try:
            self.directory.write_json("run.json", self._record)
        except OSError:
            if status == "finished":
                raise

    def interrupted(self, exit_code: int) -> None:
        """Note down by which signal the run was stopped."""
        self._end_record("interrupted", exit_code)

    def _with_checkpoint(self, error: MlpbpError) -> MlpbpError:
        """A divergence with its remedy: where the last good weights are, and what to change."""
        first = error.problems[0]
        if first.code != "diverged":
            return error
        epoch = self._newest_epoch()
        good = f"; last good checkpoint epoch {epoch}" if epoch else "; no epoch was completed"
        return type(error)(
            Problem("diverged", first.message + good, "try a smaller optimizer.lr or optimizer.clip_norm")
        )

    def _newest_epoch(self) -> int:
        try:
            _, checkpoint, _ = self.directory.newest()
            return int(checkpoint.document["progress"]["epoch"])
        except CheckpointError:
            return 0


def _allowed_changes(config: Config, checkpoint: Checkpoint, path: Path) -> list[str]:
    """The keys in which a resumed run differs; raises ConfigError where one would change what was computed."""
    from mlp_core.config import from_mapping

    before = from_mapping(dict(checkpoint.document["config"]))
    changes = changed_keys(before, config.with_absolute_paths())
    refused = [key for key in changes if not any(key == ok or key.startswith(f"{ok}.") for ok in CHANGEABLE)]
    if refused:
        raise ConfigError(
            Problem(
                "changed",
                f"the run was made with {changes[key][0]!r}, and now it is {changes[key][1]!r}",
                "a resumed run goes on with what it began with; start a new run to change it",
                key=key,
            )
            for key in refused
        )
    return list(changes)


def _no_room(path: Path, error: OSError) -> RunDirectoryError:
    reason = error.strerror or str(error)
    problem = Problem(
        "not_saved",
        f"cannot be saved: {reason}",
        "the last good checkpoint is still there; make room and resume",
        file=str(path),
    )
    return RunDirectoryError(problem)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")

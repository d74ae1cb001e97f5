"""A run: an experiment carried out in a run directory, from its first step or from where it was left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlp_core.config import Config
from mlp_core.config import load as load_config
from mlp_core.data.readers.format import Reading
from mlp_core.errors import ConfigError, MlpbpError, Problem
from mlp_core.machine import system
from mlp_core.runs.elsewhere import furthest, refuse_differences, refuse_other_configs
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.metrics_log import MetricsLog
from mlp_core.runs.prove import preflight
from mlp_core.runs.resume import (
    allowed_changes,
    config_of,
    enough_epochs,
    other_tools,
    rebuilt,
    same_data,
    settled,
    take_up,
)
from mlp_core.runs.run_directory import MARK, TRAINED, RunDirectory
from mlp_core.runs.run_record import RunRecord, Stopwatch, earlier_seconds, resolved, row_numbers
from mlp_core.runs.saves import Saves
from mlp_core.runs.summary import Summary
from mlp_core.runs.trackers import Tracking, make_trackers, need_trackers
from mlp_core.runs.trained_rows import encode
from mlp_core.runs.troubles import no_room, with_checkpoint
from mlp_core.training.checkpoint import Checkpoint, refusal
from mlp_core.training.events import EpochDone, Event, Finished, Noticed, StepDone
from mlp_core.training.experiment import Experiment, check_document
from mlp_core.training.peak_memory import give_back
from mlp_core.training.sharding import for_workers
from mlp_core.workers.world import ALONE, World


@dataclass
class Run:
    """An experiment and the directory it writes to."""

    experiment: Experiment
    directory: RunDirectory | InMemory
    notices: list[str] = field(default_factory=list)
    resumed: bool = False
    restored: bool = False
    command: Sequence[str] = ()

    def __post_init__(self) -> None:
        config, self.experiment.home = self.experiment.config, self.directory.home
        names = [f"val_{name}" for name in ("loss", *self.experiment.model.metric_names())]
        columns = ["epoch", "step", "train_loss", *(names if "val" in self.experiment.splits else []), "lr"]
        columns += ["seconds", "rows_per_second"]
        self.log = MetricsLog(self.directory.home, columns, config.logging.jsonl, config.logging.csv)
        self.metrics: dict[str, float] = {}
        self.summary: Summary | None = None
        self.saves = Saves(self.experiment, self.directory, self.log)
        self._record = RunRecord(self.directory)
        self.exit_code = 0
        self._clock = Stopwatch()
        self._tracking = Tracking([])

    @classmethod
    def start(
        cls,
        config: Config,
        text: bytes,
        directory: Path | None = None,
        command: Sequence[str] = (),
        progress: Reading | None = None,
        world: World = ALONE,
    ) -> Run:
        """A new run in `directory`, or in the next free one under `output.dir`; nothing is left behind if refused.

        Every worker of a `world` has a run; that of worker 0 has the directory.
        """
        need_trackers(config)
        refuse_other_configs(config, world)
        experiment = Experiment.build(config, progress, known=True, world=world)
        give_back()  # what reading the data has freed
        refuse_differences(experiment)
        if not world.writes:
            return cls(experiment, InMemory(writes=False), command=command)
        run_directory = RunDirectory.create(directory, config)
        try:
            run = cls(experiment, run_directory, command=command)
            run_directory.write("config.yaml", text)
            run._write_split()
            if (rows := experiment.trained_rows) is not None:
                run_directory.write(TRAINED, encode(rows))
                experiment.trained_rows = None
            run_directory.write(MARK, resolved(experiment.config, run_directory.path))
        except BaseException as error:
            run_directory.discard()
            raise no_room(run_directory.path, error) if isinstance(error, OSError) else error from None
        return run

    @classmethod
    def in_memory(cls, config: Config) -> Run:
        """A new run that leaves nothing on the disk: the same steps, the same checkpoints."""
        need_trackers(config, home=False)
        return cls(Experiment.build(config), InMemory())

    def _write_split(self) -> None:
        """Which rows of the training file went where, if they were dealt from it."""
        if self.experiment.data.indices:
            self.directory.write("split.json", row_numbers(self.experiment.data.indices))

    @classmethod
    def resume(
        cls,
        path: Path,
        overrides: Sequence[str] = (),
        command: Sequence[str] = (),
        world: World = ALONE,
    ) -> Run:
        """Go on with the run in `path` from its newest good checkpoint, or from its beginning if it was killed there.

        Raises ConfigError for a changed key that would change what was computed, DataError for other data.
        """
        RunDirectory(path).refuse_links()
        if not (path / MARK).is_file():
            hint = "give the directory of a run"
            raise ConfigError(Problem("no_run", "there is no run here", hint, file=str(path)))
        config = settled(load_config(path / MARK, overrides))
        need_trackers(config)
        if not any(override.startswith("data.cache=") for override in overrides):
            config = config.as_sent()  # the cache that a run directory names is made only where it is asked for
        if world.size > 1:
            config = for_workers(config, world)
            refuse_other_configs(config, world)
        directory = RunDirectory(path) if world.writes else InMemory(path, writes=False)
        directory.open()
        try:
            found = furthest(directory, world)
            if found is None:
                return cls._again(config, directory, command, world)
            newest, checkpoint, problems = found
            check_document(checkpoint, str(newest))
            notices = [f"{problem}; newest good checkpoint: {newest}" for problem in problems]
            changes = allowed_changes(before := config_of(checkpoint, str(newest)), config)
            experiment = rebuilt(config, checkpoint, world)
            same_data(experiment, checkpoint.document["data"])
            experiment.restore(checkpoint, str(newest))
            refuse_differences(experiment)
            enough_epochs(experiment)
            run = cls(experiment, directory, notices, resumed=True, restored=True, command=command)
            run._go_on(checkpoint, changes, before)
        except BaseException as error:
            directory.close()
            raise no_room(path, error) if isinstance(error, OSError) else error from None
        return run

    @classmethod
    def _again(cls, config: Config, directory: RunDirectory | InMemory, command: Sequence[str], world: World) -> Run:
        """A run that was killed before its first checkpoint, from the beginning."""
        record = world.told(directory.read_json("run.json"))
        if record.get("status") == "finished":
            message = "this run is finished, and its checkpoints are gone"
            raise refusal(directory.path, "no_checkpoint", message, "start a new run")
        changes = allowed_changes(settled(load_config(directory.path / MARK)), config)
        experiment = rebuilt(config, world=world)
        refuse_differences(experiment)
        if "data_sha256" in record:
            same_data(experiment, record["data_sha256"])
        notice = f"{directory.path}: no checkpoint had been saved, starting from the beginning"
        run = cls(experiment, directory, [notice], resumed=True, command=command)
        run._write_split()
        run.log.cut(0, {"jsonl": 0})
        run._clock = Stopwatch(earlier_seconds(record))
        if changes:
            directory.write(MARK, resolved(experiment.config, directory.path))
        return run

    def _go_on(self, checkpoint: Checkpoint, changes: Sequence[str], before: Config) -> None:
        """Set logs and progress to the checkpoint, and say what is different now."""
        progress = self.experiment.trainer.progress
        self.notices += take_up(self.experiment.trainer, changes, before)
        self.metrics = dict(checkpoint.document["metrics"])
        if not self.log.cut(progress.epoch, checkpoint.document["log"]):
            self.notices.append("metrics.jsonl is shorter than it was, earlier epochs are missing from it")
        told = earlier_seconds(self.directory.read_json("run.json"))
        self._clock = Stopwatch(max(told, self.log.seconds()))  # a session that was killed told nothing
        different = other_tools(checkpoint.document["environment"], self.experiment.environment)
        if different is not None:
            self.notices.append(different)
        if changes:
            self.directory.write(MARK, resolved(self.experiment.config, self.directory.path))

    def execute(self, stop: Callable[[], int] = lambda: 0) -> Iterator[Event]:
        """Train, log and save; yields what happens. `summary` is there afterwards, unless the run was stopped.

        `stop()` is asked after every step; the exit code with which the program should end, or 0 to go on. Raises
        Diverged (naming the last good checkpoint), RunDirectoryError when the end cannot be saved.
        """
        self._clock.start()

        def asked() -> bool:
            self.exit_code = self.experiment.world.agreed(int(stop()))
            return self.exit_code != 0

        try:
            self._begin_record()
            self._begin_tracking()
            yield from (Noticed(notice) for notice in self.notices)
            preflight(self.experiment, str(self.directory.path))
            give_back()  # what the check has freed
            if self.restored:
                self.saves.missing(self.metrics)
            else:
                self.saves.save(self.saves.snapshot(self.metrics), "last")
            for event in self.experiment.trainer.run(asked):
                if isinstance(event, StepDone):
                    self._record_step(event)
                    if event.step == self.experiment.trainer.progress.step:  # else there are more of the same launch
                        yield from self._step()
                if isinstance(event, EpochDone):
                    yield from self._epoch(event)
                if isinstance(event, Finished):
                    self._finish(event)
                yield event
        except OSError as error:
            self._end("failed", 1)
            raise no_room(self.directory.path, error) from None
        except MlpbpError as error:
            self._end("failed", error.exit_code)
            raise with_checkpoint(error, self.directory) from None
        except (GeneratorExit, KeyboardInterrupt):
            self._end("interrupted", None)
            raise
        except BaseException:
            self._end("failed", 3)
            raise
        finally:
            self.directory.close()

    def _record_step(self, event: StepDone) -> None:
        """Write down the loss of a step, where its turn has come."""
        every = self.experiment.config.logging.every_steps
        if every and event.step % every == 0:
            loss = self.experiment.trainer.settle() if event.loss is None else event.loss
            self.log.step({"step": event.step, "epoch": event.epoch, "loss": loss, "lr": event.lr})

    def _step(self) -> Iterator[Event]:
        """Save within an epoch if it is time to."""
        if not self.saves.due():
            return
        try:
            self.saves.all(self.metrics)
        except OSError as error:
            self.saves.put_off()
            step = self.experiment.trainer.progress.step
            yield Noticed(f"step {step} could not be saved ({error.strerror or error}); going on")

    def _epoch(self, event: EpochDone) -> Iterator[Event]:
        """Log an epoch and save what is due. What fails is tried again later, at the latest when the run ends."""
        epoch = event.epoch
        self.metrics = dict(event.metrics)
        facts = {"epoch": epoch, "step": event.step, **event.metrics}
        try:
            self.log.append(facts, {"seconds": event.seconds, "rows_per_second": event.rows_per_second})
        except OSError as error:
            yield Noticed(f"epoch {epoch} could not be logged ({error.strerror or error}); going on")
        yield from map(Noticed, self._tracking.epoch(epoch, event.metrics))
        try:
            self.saves.epoch(self.metrics, event.improved)
        except OSError as error:
            yield Noticed(f"epoch {epoch} could not be saved ({error.strerror or error}); going on")

    def _finish(self, event: Finished) -> None:
        """Save the end of training; measure the best epoch's weights on every split."""
        self.saves.all(self.metrics)
        if event.reason == "stopped":
            self._end("interrupted", self.exit_code)
            return
        progress = self.experiment.trainer.progress
        name = self.saves.chosen()
        chosen = self.directory.checkpoints / f"{name}.safetensors"
        if self.experiment.world.told(self.directory.has(name)):
            self._use(name)
        give_back()  # a checkpoint is large, and so is measuring
        measured = self.experiment.evaluate()
        metrics = {name: result.metrics for name, result in measured.items()}
        if not self.directory.writes:
            return
        simple = self.experiment.baselines(measured) if self.experiment.config.eval.baselines else None
        best_epoch = self.experiment.trainer.progress.epoch
        self.summary = Summary(
            self.directory.path,
            event.reason,
            progress.epoch,
            progress.step,
            self._clock.seconds,
            best_epoch,
            metrics,
            chosen,
            simple,
        )
        told = self.summary.to_json()  # a run does not say where it is: it may move
        where = {"run": ".", "checkpoint": str(Path("checkpoints", chosen.name))}
        self._end("finished", 0, **told | where)

    def _use(self, name: str) -> None:
        """Go back to a saved checkpoint, and fit to it what the config asks for, with all workers."""
        checkpoint = self.saves.use(name)
        calibration = self.experiment.calibrate()
        if calibration is not None and checkpoint is not None:
            document = {**checkpoint.document, "calibration": calibration.to_state()}
            self.saves.save(Checkpoint(checkpoint.tensors, document), name)

    def _begin_record(self) -> None:
        experiment = self.experiment
        facts = {
            "environment": {**experiment.environment, "system": " ".join(system())},
            "data_sha256": experiment.data.sha256,
            "seed": experiment.config.seed,
            "notes": experiment.config.notes,
            "inferred": list(experiment.notes),
        }
        if (shards := experiment.trainer.job.limits.shards) > 1:
            facts["workers"] = {**self.experiment.world.facts(), "shards": shards}
        self._record.begin(self.command, facts, self.resumed, self._clock.seconds)

    def _begin_tracking(self) -> None:
        """Open the trackers that the config asks for. Raises RunDirectoryError for a link, Failed where one cannot
        begin."""
        home, config = self.directory.home, self.experiment.config
        if home is not None:
            made = make_trackers(config, home, self.experiment.trainer.progress.epoch, home.resolve().name)
            self._tracking = Tracking(made)

    def _end(self, status: str, exit_code: int | None, **more: Any) -> None:
        self._tracking.close(status)
        spent = {"seconds": round(self._clock.seconds, 3)}
        self._record.end(status, exit_code, gradient=self.experiment.stamp, **{**spent, **more})

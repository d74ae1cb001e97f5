"""Trackers: the metrics of every epoch, as they are in `metrics.jsonl`, in the files or the service of another program.

A resumed run goes on with the curves that it began: what was written after its checkpoint is taken back (TensorBoard),
or, since it comes out the same, not written again (MLflow). A tracker that fails costs a line, never the run. Where
MLflow keeps its runs is said by the environment alone: a run directory may come from somebody else.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from mlp_core.atomic_files import refuse_foreign, write_atomically
from mlp_core.config import Config
from mlp_core.descriptors import read_own
from mlp_core.errors import Failed, MlpbpError, Problem

TENSORBOARD, MLFLOW = "tensorboard", "mlflow"
MLFLOW_FILE = "mlflow.json"
TAG = "mlpbp.run"


def need_trackers(config: Config, home: bool = True) -> None:
    """Raise ConfigError for a tracker whose package is missing, and for one that lacks a folder of the run."""
    for name in (TENSORBOARD, MLFLOW):
        if getattr(config.logging, name) and find_spec(name) is None:
            hint = f"pip install 'mlpbp[{name}]', or remove the key"
            raise config.refusal(f"logging.{name}", "its package is missing", code="no_tracker", hint=hint)
        if getattr(config.logging, name) and not home:
            message = "a run in memory has no folder for it"
            raise config.refusal(f"logging.{name}", message, code="no_tracker", hint="remove the key")


class Tracking:
    """All trackers of a run; one that fails is told of, once, and left out."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self._trackers = trackers

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> list[str]:
        """Tell all of them the metrics of an epoch that is complete; what is to be said about those that failed."""
        notes = []
        for tracker in list(self._trackers):
            try:
                tracker.epoch(epoch, metrics)
            except Exception as error:  # whatever another program raises
                self._trackers.remove(tracker)
                name, said = type(tracker).__name__.lower(), (str(error).strip().splitlines() or [""])[0]
                why = f"{type(error).__name__}: {said}"
                notes.append(f"epoch {epoch}: the tracker {name} failed and is left out ({why})")
        return notes

    def close(self, status: str) -> None:
        """Tell all of them that the run has ended: finished, interrupted or failed."""
        for tracker in self._trackers:
            with contextlib.suppress(Exception):
                tracker.close(status)
        self._trackers = []


def make_trackers(config: Config, home: Path, epoch: int, name: str) -> list[Tracker]:
    """The trackers of a run in the folder `home`, of which `epoch` epochs are complete. Raises whatever they do."""
    trackers: list[Tracker] = []
    if config.logging.tensorboard:
        trackers.append(TensorBoard(home, epoch))
    if config.logging.mlflow:
        try:
            trackers.append(Mlflow(home, config, name))
        except (MlpbpError, OSError):
            raise
        except Exception as error:  # whatever it raises: the run has not begun
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            hint = "see MLFLOW_TRACKING_URI, or set logging.mlflow: false"
            raise Failed(Problem("no_tracker", f"MLflow cannot begin: {said}", hint, key="logging.mlflow")) from None
    return trackers


class TensorBoard:
    """Event files for TensorBoard, written by its own package; a step is an epoch, numbers are float32 as there."""

    def __init__(self, home: Path, epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = home / TENSORBOARD
        refuse_foreign(folder, folder=True)
        resumed = folder.is_dir() and any(folder.iterdir())
        self._writer = EventFileWriter(str(folder), filename_suffix=f".{time.time_ns()}")
        if resumed:  # tells readers to forget what comes from this step on
            begin = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=epoch + 1, session_log=begin))

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=values)))
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.close()


class Mlflow:
    """A run of MLflow, in the experiment that is called like the config; a step is an epoch."""

    def __init__(self, home: Path, config: Config, name: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient

            self._client = MlflowClient()
            self._run, self._known = self._found(home, name) or (self._new(home, config, name), 0)

    def _found(self, home: Path, name: str) -> tuple[str, int] | None:
        """The run that this one began there, and the last epoch that it knows of."""
        path = home / MLFLOW_FILE
        refuse_foreign(path)
        if not path.is_file():
            return None
        try:
            run = str(json.loads(read_own(path, 10_000))["run_id"])
        except (ValueError, KeyError, TypeError):
            return None
        if self._client.get_run(run).data.tags.get(TAG) != name:
            return None  # a run of ours says so
        history = self._client.get_metric_history(run, "train_loss")
        self._client.set_terminated(run, "RUNNING")
        return run, max((one.step for one in history), default=0)

    def _new(self, home: Path, config: Config, name: str) -> str:
        experiment = self._client.get_experiment_by_name(config.name)
        place = self._client.create_experiment(config.name) if experiment is None else experiment.experiment_id
        run = self._client.create_run(place, run_name=name, tags={TAG: name})
        for key, value in _flat(config.model_dump(mode="json")).items():
            self._client.log_param(run.info.run_id, key, str(value)[:500])
        write_atomically(home / MLFLOW_FILE, (json.dumps({"run_id": run.info.run_id}) + "\n").encode())
        return str(run.info.run_id)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch <= self._known:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        logged = [Metric(name, value, now, epoch) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=logged)
        self._known = epoch

    def close(self, status: str) -> None:
        said = {"finished": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED")
        self._client.set_terminated(self._run, said)


Tracker: TypeAlias = TensorBoard | Mlflow
"""Where metrics go; raises whatever the other program does."""


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys with points between them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and before.count(".") < 3:
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found

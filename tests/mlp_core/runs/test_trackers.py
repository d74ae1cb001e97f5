"""Trackers tell the numbers of `metrics.jsonl`, a resumed run goes on with its curves, and none can stop a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlp_core.config import from_mapping
from mlp_core.errors import ConfigError, RunDirectoryError
from mlp_core.runs import trackers
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone, Noticed

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages of others


def config(**logging: bool) -> object:
    return from_mapping(
        {
            "name": "t",
            "data": {"name": "digits", "limit": 120},
            "model": {"hidden": [4]},
            "train": {"epochs": 5, "preflight": "off"},
            "kernels": "numpy",
            "logging": logging,
        }
    )


def interrupted(folder: Path, told: object) -> Run:
    """A run that was left in its third epoch, after a checkpoint of its first, and went on."""
    run = Run.start(told, b"", folder)
    events = run.execute()
    saved = None
    for event in events:
        if isinstance(event, EpochDone) and event.epoch == 1:
            run.saves.all(run.metrics)
            saved = (folder / "checkpoints" / "last.safetensors").read_bytes()
        if isinstance(event, EpochDone) and event.epoch == 3:
            break
    events.close()
    assert saved is not None
    (folder / "checkpoints" / "last.safetensors").write_bytes(saved)  # as if it had been killed before it saved again
    (folder / "checkpoints" / "best.safetensors").unlink(missing_ok=True)
    run = Run.resume(folder)
    assert run.experiment.trainer.progress.epoch == 1
    for _ in run.execute():
        pass
    return run


def logged(folder: Path) -> dict[int, dict[str, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {told.pop("epoch"): {key: value for key, value in told.items() if key != "step"} for told in lines}


def test_tensorboard_reads_the_numbers_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    interrupted(tmp_path / "r", config(tensorboard=True))
    wanted = logged(tmp_path / "r")
    assert sorted(wanted) == [1, 2, 3, 4, 5]
    read = EventAccumulator(str(tmp_path / "r" / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == set(wanted[1])
    for name in wanted[1]:
        found = [(one.step, one.value) for one in read.Scalars(name)]
        assert [step for step, _ in found] == [1, 2, 3, 4, 5]
        assert [value for _, value in found] == pytest.approx([wanted[epoch][name] for epoch in range(1, 6)], rel=1e-6)


def test_mlflow_has_the_numbers_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    interrupted(tmp_path / "r", config(mlflow=True))
    wanted = logged(tmp_path / "r")
    run_id = json.loads((tmp_path / "r" / "mlflow.json").read_text())["run_id"]
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "r")
    assert run.data.params["model.hidden"] == "[4]"
    for name in wanted[1]:
        found = [(one.step, one.value) for one in client.get_metric_history(run_id, name)]
        assert found == [(epoch, wanted[epoch][name]) for epoch in range(1, 6)]
    assert len(client.search_runs([run.info.experiment_id])) == 1


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_told_before_any_work(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        Run.start(config(**{name: True}), b"", tmp_path / "r")
    assert str(refused.value) == (
        f"logging.{name}: its package is missing; pip install 'mlpbp[{name}]', or remove the key"
    )
    assert refused.value.exit_code == 2
    assert not (tmp_path / "r").exists()


class Broken:
    def epoch(self, epoch: int, metrics: object) -> None:
        raise ConnectionError("the server\nis gone")

    close = epoch


def test_a_tracker_that_fails_costs_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlp_core.runs.run.make_trackers", lambda *rest: [Broken()])
    run = Run.start(config(), b"", tmp_path / "r")
    told = [event.message for event in run.execute() if isinstance(event, Noticed)]
    assert [line for line in told if "tracker" in line] == [
        "epoch 1: the tracker broken failed and is left out (ConnectionError: the server)"
    ]
    assert run.summary is not None
    assert len(logged(tmp_path / "r")) == 5


def test_no_link_is_written_through(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = Run.start(config(tensorboard=True), b"", tmp_path / "r")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r" / "tensorboard").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        list(run.execute())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_in_memory_there_is_no_place_for_event_files() -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(ConfigError, match="no folder"):
        Run.in_memory(config(tensorboard=True))

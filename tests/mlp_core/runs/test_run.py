"""Runs: bit-identical repetition and resumption, what is written, what a resumed run may change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mlp_core.config import load
from mlp_core.errors import CheckpointError, ConfigError, DataError, Diverged, Failed, RunDirectoryError, UsageError
from mlp_core.runs.run import Run
from mlp_core.training.events import EpochDone, Event, Finished, StepDone

BASE = """
data: {name: digits, limit: 200, split: {val: 0.2, test: 0.1}}
model: {hidden: [12, 12]}
train: {epochs: 4, batch_size: 32, preflight: off}
threads: 1
"""
FEATURES = {
    "plain": [],
    "dropout": ["model.dropout=0.3", "model.input_dropout=0.1"],
    "batch_norm": ["model.norm=batch", "optimizer.name=nadam"],
    "layer_norm_residual": ["model.norm=layer", "model.residual=true", "optimizer.name=lion"],
    "average": ["optimizer.ema=0.9", "optimizer.name=adamw", "optimizer.weight_decay=0.1"],
    "accumulate_clip": ["optimizer.accumulate=2", "optimizer.clip_norm=0.5", "optimizer.name=radam"],
    "noise_mixup": ["regularization.input_noise=0.1", "regularization.mixup=0.2", "optimizer.name=rmsprop"],
    "plateau": ["schedule.name=plateau", "schedule.patience=0", "optimizer.name=momentum"],
    "stopping": ["train.early_stopping.patience=1", "optimizer.lr=0.05", "train.epochs=12"],
    "weights_max_norm": ["loss.class_weight=balanced", "regularization.max_norm=1.0", "schedule.name=cosine"],
    "max_steps": ["train.max_steps=13", "schedule.name=one_cycle", "optimizer.name=adadelta"],
    "steps": ["logging.every_steps=2", "optimizer.accumulate=2"],
    "float64": ["dtype=float64", "optimizer.name=amsgrad", "schedule.warmup=0.2"],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(BASE)
    return path


def start(config: Path, directory: Path, overrides: list[str] | None = None) -> Run:
    return Run.start(load(config, overrides or []), config.read_bytes(), directory)


def finish(run: Run, stop: Callable[[], bool] = lambda: False) -> list[Event]:
    return list(run.execute(stop))


def after(steps: int) -> Callable[[], bool]:
    """A stop request that comes after so many steps."""
    count = iter(range(1, 10**9))
    return lambda: next(count) >= steps


def files(directory: Path) -> dict[str, bytes]:
    """What must not depend on interruptions."""
    names = ["metrics.jsonl", "config.resolved.yaml", "checkpoints/last.safetensors", "checkpoints/best.safetensors"]
    names += ["steps.jsonl"] if (directory / "steps.jsonl").exists() else []
    return {name: (directory / name).read_bytes() for name in names}


@pytest.mark.parametrize("name", FEATURES)
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path: Path, config: Path, name: str) -> None:
    overrides = FEATURES[name]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(start(config, whole, overrides))
    events = finish(start(config, parts, overrides), after(3))
    assert events[-1] == Finished("stopped")
    events = finish(Run.resume(parts), after(4))
    while events[-1] == Finished("stopped"):
        events = finish(Run.resume(parts), after(5))
    assert files(parts) == files(whole)
    csv = [line.split(",")[:2] for line in (parts / "metrics.csv").read_text().splitlines()]
    assert csv == [line.split(",")[:2] for line in (whole / "metrics.csv").read_text().splitlines()]


def test_seconds_are_those_of_all_sessions(tmp_path: Path, config: Path) -> None:
    """Also of one that was killed and told nothing of them: its epochs did."""

    def record(**changed: object) -> dict[str, object]:
        path = tmp_path / "run" / "run.json"
        told = json.loads(path.read_text()) | changed
        path.write_text(json.dumps(told))
        return told

    finish(start(config, tmp_path / "run"), after(8))
    assert 0 < float(str(record()["seconds"])) < 60
    record(seconds=1000.0)
    finish(Run.resume(tmp_path / "run"), after(2))
    assert 1000 < float(str(record()["seconds"])) < 1060
    killed = record(status="running", seconds=None)
    table = tmp_path / "run" / "metrics.csv"
    head, *rows = table.read_text().splitlines()
    place = head.split(",").index("seconds")
    cells = [row.split(",") for row in rows]
    told = "".join(",".join([*row[:place], "400", *row[place + 1 :]]) + "\n" for row in cells)
    table.write_text(f"{head}\n{told}")
    run = Run.resume(tmp_path / "run")
    finish(run)
    assert run.summary is not None
    assert 400 * len(rows) < run.summary.seconds < 400 * len(rows) + 60
    assert record()["seconds"] == round(run.summary.seconds, 3)
    assert killed["resumed_from"][0]["seconds"] == 1000.0  # type: ignore[index]


def test_a_seed_gives_the_same_run_twice(tmp_path: Path, config: Path) -> None:
    for name in ("a", "b"):
        finish(start(config, tmp_path / name, ["model.dropout=0.2"]))
    finish(start(config, tmp_path / "c", ["model.dropout=0.2", "seed=1"]))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["metrics.jsonl"] != files(tmp_path / "c")["metrics.jsonl"]


def test_what_a_run_writes(tmp_path: Path, config: Path) -> None:
    run = start(config, tmp_path / "r", ["checkpoint.every=2"])
    events = finish(run)
    assert [type(event) for event in events].count(EpochDone) == 4
    assert [type(event) for event in events].count(StepDone) == 4 * 5
    assert (tmp_path / "r/config.yaml").read_bytes() == config.read_bytes()
    assert load(tmp_path / "r/config.resolved.yaml").optimizer.lr == 1e-3
    record = json.loads((tmp_path / "r/run.json").read_text())
    assert record["status"] == "finished"
    assert record["exit_code"] == 0
    assert record["environment"]["threads"] >= 1
    rows = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert {"train_loss", "val_loss", "val_accuracy", "lr", "step"} <= set(rows[0])
    table = (tmp_path / "r/metrics.csv").read_text().splitlines()
    assert len(table) == 5
    assert table[0].endswith("lr,seconds,rows_per_second")
    names = sorted(path.name for path in (tmp_path / "r/checkpoints").iterdir())
    assert names == ["best.safetensors", "epoch-0002.safetensors", "epoch-0004.safetensors", "last.safetensors"]
    dealt = [row for rows in json.loads((tmp_path / "r/split.json").read_text()).values() for row in rows]
    assert len(dealt) == len(set(dealt)) == 200
    assert run.summary is not None
    assert list(run.summary.metrics) == ["train", "val", "test"]


def test_resolved_config_gives_the_same_run(tmp_path: Path, config: Path) -> None:
    finish(start(config, tmp_path / "a"))
    finish(start(tmp_path / "a/config.resolved.yaml", tmp_path / "b"))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_more_epochs_may_be_added(tmp_path: Path, config: Path) -> None:
    finish(start(config, tmp_path / "a"))
    finish(Run.resume(tmp_path / "a", ["train.epochs=6"]))
    finish(start(config, tmp_path / "b", ["train.epochs=6"]))
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("epochs", [1, 3])
def test_fewer_epochs_than_are_done_are_refused(epochs: int, tmp_path: Path, config: Path) -> None:
    finish(start(config, tmp_path / "a"))
    before = files(tmp_path / "a")
    with pytest.raises(ConfigError, match=rf"train.epochs: 4 epochs are done already \(got {epochs}\)"):
        Run.resume(tmp_path / "a", [f"train.epochs={epochs}"])
    assert files(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optimizer.lr=0.1", "optimizer.lr"),
        ("seed=3", "seed"),
        ("model.hidden=[13]", "model.hidden"),
        ("train.batch_size=16", "train.batch_size"),
    ],
)
def test_what_was_computed_may_not_change(tmp_path: Path, config: Path, override: str, key: str) -> None:
    finish(start(config, tmp_path / "a"), after(2))
    before = files(tmp_path / "a") if (tmp_path / "a/checkpoints/best.safetensors").exists() else None
    with pytest.raises(ConfigError) as caught:
        Run.resume(tmp_path / "a", [override])
    assert [problem.key for problem in caught.value.problems] == [key]
    assert before is None or files(tmp_path / "a") == before


def test_other_data_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(40)))
    config = tmp_path / "c.yaml"
    config.write_text("data: {train: t.csv, target: y}\nmodel: {hidden: [3]}\ntrain: {epochs: 2}\nthreads: 1\n")
    finish(start(config, tmp_path / "r"), after(1))
    table.write_text(table.read_text().replace("39,0,1", "38,0,1"))
    with pytest.raises(DataError, match="not what this run was trained on"):
        Run.resume(tmp_path / "r")


def test_a_damaged_last_checkpoint_falls_back_and_says_so(tmp_path: Path, config: Path) -> None:
    finish(start(config, tmp_path / "whole", ["checkpoint.every=1"]))
    finish(start(config, tmp_path / "r", ["checkpoint.every=1"]), after(13))
    last = tmp_path / "r/checkpoints/last.safetensors"
    blob = bytearray(last.read_bytes())
    blob[-1] ^= 1
    last.write_bytes(blob)
    run = Run.resume(tmp_path / "r")
    assert "digest mismatch, the file is damaged; newest good checkpoint" in run.notices[0]
    finish(run)
    assert files(tmp_path / "r") == files(tmp_path / "whole")


def test_nothing_to_resume(tmp_path: Path, config: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run here"):
        Run.resume(tmp_path)
    finish(start(config, tmp_path / "r"))
    for path in (tmp_path / "r/checkpoints").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="this run is finished, and its checkpoints are gone"):
        Run.resume(tmp_path / "r")


def test_a_run_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path, config: Path) -> None:
    finish(start(config, tmp_path / "whole"))
    start(config, tmp_path / "r").directory.close()
    run = Run.resume(tmp_path / "r")
    assert run.notices == [f"{tmp_path}/r: no checkpoint had been saved, starting from the beginning"]
    finish(run)
    assert files(tmp_path / "r") == files(tmp_path / "whole")


def test_a_directory_belongs_to_one_run(tmp_path: Path, config: Path) -> None:
    run = start(config, tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="in use by process"):
        start(config, tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="in use by process"):
        Run.resume(tmp_path / "r")
    finish(run)
    with pytest.raises(UsageError, match="not empty"):
        start(config, tmp_path / "r")


def test_runs_are_numbered(tmp_path: Path, config: Path) -> None:
    loaded = load(config, [f"output.dir={tmp_path}/runs"])
    runs = [Run.start(loaded, b"") for _ in range(3)]
    assert [run.directory.path.name for run in runs] == ["small-001", "small-002", "small-003"]
    with pytest.raises(UsageError, match="there is a run named small already"):
        Run.start(load(config, [f"output.dir={tmp_path}/runs", "output.if_exists=error"]), b"")


def test_divergence_stops_at_the_step_and_names_the_tensor(tmp_path: Path, config: Path) -> None:
    run = start(config, tmp_path / "r", ["optimizer.name=sgd", "optimizer.lr=1e30", "train.epochs=50"])
    with pytest.raises(
        Diverged, match=r"^step \d+: .* \(lr 1e\+30, first bad tensor 0\.weight gradient\); no epoch was completed"
    ):
        finish(run)
    assert json.loads((tmp_path / "r/run.json").read_text())["status"] == "failed"


def test_a_wrong_gradient_is_not_trained(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlp_core.nn.activations import Relu

    monkeypatch.setattr(Relu, "slope", lambda self, xp, z, a: (a > 0) * 1.001)
    with pytest.raises(Failed, match="the gradient of this model is wrong"):
        finish(start(config, tmp_path / "r", ["train.preflight=quick"]))


def test_the_gradient_stamp_is_in_the_checkpoint(tmp_path: Path, config: Path) -> None:
    from mlp_core.training.checkpoint import load as load_checkpoint

    finish(start(config, tmp_path / "r", ["train.preflight=quick"]))
    stamp = load_checkpoint(tmp_path / "r/checkpoints/best.safetensors").document["gradient"]
    error, steps = stamp.split("; ")
    assert float(error) < 1e-8
    assert re.fullmatch(r"1 step as printed, [1-9][0-9,]* numbers", steps)


def test_a_save_that_fails_is_reported_and_training_goes_on(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlp_core.runs.run_directory import RunDirectory
    from mlp_core.training.events import Noticed

    run = start(config, tmp_path / "r", ["checkpoint.every=1"])
    keep, calls = RunDirectory.save, []

    def full(self: RunDirectory, checkpoint: object, name: str) -> Path:
        calls.append(name)
        if calls.count("epoch-0002") == 1 and name == "epoch-0002":
            raise OSError(28, "No space left on device")
        return keep(self, checkpoint, name)  # type: ignore[arg-type]

    monkeypatch.setattr(RunDirectory, "save", full)
    notices = [event.message for event in finish(run) if isinstance(event, Noticed)]
    assert notices == ["epoch 2 could not be saved (No space left on device); going on"]
    assert (tmp_path / "r/checkpoints/epoch-0002.safetensors").exists()  # tried again with the next one
    assert run.summary is not None


def test_the_end_must_be_saved(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlp_core.runs.run_directory import RunDirectory

    run = start(config, tmp_path / "r")
    calls: list[str] = []

    def full(self: RunDirectory, checkpoint: object, name: str) -> Path:
        calls.append(name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDirectory, "save", full)
    with pytest.raises(RunDirectoryError, match="cannot be saved: No space left on device"):
        finish(run)


def test_the_loss_of_every_few_steps_is_written_down(tmp_path: Path, config: Path) -> None:
    events = finish(start(config, tmp_path / "a", ["logging.every_steps=3", "schedule.name=cosine"]))
    done = [event for event in events if isinstance(event, StepDone)]
    rows = [json.loads(line) for line in (tmp_path / "a/steps.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15, 18]
    assert rows == [{"step": e.step, "epoch": e.epoch, "loss": e.loss, "lr": e.lr} for e in done if e.step % 3 == 0]
    finish(start(config, tmp_path / "b"))
    assert not (tmp_path / "b/steps.jsonl").exists()


@pytest.mark.parametrize(
    ("preflight", "method", "walked"), [("quick", "fast", "1 step"), ("full", "full", "[1-9][0-9]+ steps")]
)
def test_the_check_before_training_is_the_one_asked_for(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, preflight: str, method: str, walked: str
) -> None:
    from mlp_core.runs import prove

    reports = []
    for name in ("fast_check", "check"):
        sound = getattr(prove, name)
        monkeypatch.setattr(prove, name, lambda *a, sound=sound, **k: reports.append(sound(*a, **k)) or reports[-1])
    small = ["model.hidden=[3]", "gradcheck={batch: 2, probes: [init, wild]}", "train.epochs=1"]
    finish(start(config, tmp_path / "a", [f"train.preflight={preflight}", *small]))
    (report,) = reports
    assert (report.method, report.passed) == (method, True)
    assert report.probes == (("init", "wild") if preflight == "full" else ("init",))
    error, steps = json.loads((tmp_path / "a/run.json").read_text())["gradient"].split("; ")
    assert error == f"{report.worst:.0e}"
    assert re.fullmatch(f"{walked} as printed, [1-9][0-9,]* numbers", steps)


def test_a_run_that_stopped_early_goes_on_when_epochs_are_added(config: Path, tmp_path: Path) -> None:
    """The epochs without progress count anew, and the line names the patience."""
    patience = ["train.early_stopping={patience: 2, min_delta: 10.0}", "train.epochs=9"]
    run = start(config, tmp_path / "run", patience)
    assert finish(run)[-1] == Finished("early_stopping")
    assert run.experiment.trainer.progress.best_epoch
    done = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["epoch"]
    assert done == 3
    again = Run.resume(tmp_path / "run")
    assert "stopped early, after 2 epochs without progress; to go on: train.epochs=N" in again.notices[-1]
    assert finish(again)[-1] == Finished("early_stopping")
    more = Run.resume(tmp_path / "run", ["train.epochs=20"])
    assert "counted anew, up to 2 (train.early_stopping.patience)" in more.notices[-1]
    finish(more)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["epoch"] == done + 2
    never = Run.resume(tmp_path / "run", ["train.early_stopping=false", "train.epochs=8"])
    assert finish(never)[-1] == Finished("epochs")


def test_a_schedule_that_is_stretched_is_told(config: Path, tmp_path: Path) -> None:
    """A finished cosine made longer takes up a rate far above the one that it had come to."""
    finish(start(config, tmp_path / "run", ["schedule.name=cosine", "train.epochs=4", "train.early_stopping=false"]))
    more = Run.resume(tmp_path / "run", ["train.epochs=8"])
    (told,) = (notice for notice in more.notices if "schedule" in notice)
    schedule, step = more.experiment.trainer.schedule, more.experiment.trainer.progress.step
    assert f"schedule cosine is that of {2 * step} steps now, not of {step}" in told
    assert f"the learning rate goes on at {schedule.rate(step):.2g}, after" in told


@pytest.mark.parametrize("schedule", [["schedule.name=constant"], ["schedule={name: step, step_size: 2}"]])
def test_a_schedule_that_does_not_depend_on_the_length_is_not_told(
    schedule: list[str], config: Path, tmp_path: Path
) -> None:
    finish(start(config, tmp_path / "run", [*schedule, "train.epochs=4", "train.early_stopping=false"]))
    assert not [notice for notice in Run.resume(tmp_path / "run", ["train.epochs=8"]).notices if "schedule" in notice]

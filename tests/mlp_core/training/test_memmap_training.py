"""Training on inputs that stay on the disk: what is fitted, measured and remembered, against inputs in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import Config, from_mapping
from mlp_core.data import scan as survey
from mlp_core.data.batches import from_disk as streamed_batches
from mlp_core.data.load import load
from mlp_core.data.readers import npy_on_disk as on_disk
from mlp_core.errors import ConfigError, DataError, Failed
from mlp_core.proof import draws
from mlp_core.runs.run import Run
from mlp_core.training import evaluator
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.events import EpochDone
from mlp_core.training.experiment import Experiment

RNG = np.random.default_rng(2)
ROWS = 900
X = (RNG.standard_normal((ROWS, 6)) * [1, 2, 3, 1e3, 1, 1] + [0, 5, 0, 1e4, 0, 0]).astype(np.float32)
Y = ((X[:, 0] + X[:, 1] - 5 > 0).astype(np.int64) + (X[:, 2] > 3)).astype(np.int64)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 20 rows, four of them together; blocks of 50 rows."""
    for room in (streamed_batches, draws):  # and those of the proof
        monkeypatch.setattr(room, "CHUNK", 20 * 24)
        monkeypatch.setattr(room, "TOGETHER", 4)
    monkeypatch.setattr(on_disk, "PIECE", 50 * 24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path


def config(folder: Path, memory: str = "memmap", **sections: Any) -> Config:
    data = {"train": {"x": str(folder / "x.npy"), "y": str(folder / "y.npy")}, "memory": memory, "split": {"test": 0.1}}
    data |= sections.pop("data", {})
    return from_mapping({"data": data, "model": {"hidden": [8]}, "train": {"epochs": 3}, **sections})


@pytest.mark.parametrize("scale", ["standard", "minmax", "maxabs", "robust", "quantile", "none"])
@pytest.mark.parametrize("sampled", [False, True])
def test_preprocessing_is_that_of_rows_in_memory(
    scale: str, sampled: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampled:
        monkeypatch.setattr(survey, "SAMPLE", 400 * 6)
    wish = {"preprocess": {"numeric": {"scale": scale}}}
    disk, ram = (Experiment.build(config(folder, memory, **wish)) for memory in ("memmap", "ram"))
    assert disk.data.indices.keys() == ram.data.indices.keys()
    for name, rows in disk.data.indices.items():
        np.testing.assert_array_equal(rows, ram.data.indices[name])
        exact = not sampled or scale in ("standard", "minmax", "maxabs", "none")
        ours, theirs = disk.splits[name].X[:], ram.splits[name].X[:]
        if exact:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        else:
            assert np.quantile(np.abs(ours - theirs), 0.9) < 0.2
        np.testing.assert_array_equal(disk.splits[name].Y, ram.splits[name].Y)
    if not sampled:
        assert disk.model.inputs.to_state() == ram.model.inputs.to_state()
    told = [note for note in disk.notes if note.startswith("preprocessing:")]
    assert len(told) == (sampled and scale in ("robust", "quantile"))
    if told:
        assert "400 of 630 training rows drawn at random" in told[0]


def test_an_epoch_takes_every_row_once_with_its_own_target(folder: Path) -> None:
    batches = Experiment.build(config(folder)).trainer.job.batches
    parts = [[np.array(one) for one in batches.batch(1, position)[:2]] for position in range(batches.count)]
    inputs, targets = (np.concatenate(one) for one in zip(*parts, strict=True))
    train = Experiment.build(config(folder, "ram")).splits["train"]
    ours, theirs = (np.column_stack([a, b]) for a, b in ((inputs, targets), (train.X, train.Y)))
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)].astype(ours.dtype))
    assert not np.array_equal(ours, theirs)


def test_a_batch_can_be_asked_for_without_those_before_it(folder: Path) -> None:
    walked, fresh = (Experiment.build(config(folder)).trainer.job.batches for _ in range(2))
    for position in range(walked.count):
        walked.batch(0, position)
    last = walked.count - 1
    for mine, other in zip(fresh.batch(0, last), walked.batch(0, last), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert fresh.weight(0, last) == walked.weight(0, last)


def test_weights_go_with_their_rows(folder: Path) -> None:
    balanced = config(folder, loss={"class_weight": "balanced"})
    batches = Experiment.build(balanced).trainer.job.batches
    for position in (0, 3, batches.count - 1):
        _, labels, w = batches.batch(0, position)
        assert batches.weight(0, position) == pytest.approx(float(w.sum()), rel=1e-6)
        assert len(np.unique(np.column_stack([labels, w]), axis=0)) == len(np.unique(labels))


def test_without_shuffling_training_is_that_of_rows_in_memory(folder: Path) -> None:
    thetas = []
    for memory in ("memmap", "ram"):
        one = Experiment.build(config(folder, memory, kernels="numpy", train={"epochs": 2, "shuffle": False}))
        list(one.trainer.run())
        thetas.append(one.model.network.parameters.theta.copy())
    np.testing.assert_array_equal(*thetas)


def test_measuring_is_that_of_rows_in_memory(folder: Path) -> None:
    disk, ram = (Experiment.build(config(folder, memory)) for memory in ("memmap", "ram"))
    for name, result in disk.evaluate().items():
        assert result.metrics == ram.evaluate()[name].metrics
        assert result.rows is None


def test_large_splits_are_measured_on_rows_drawn_at_random(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "MEASURED", 300)
    monkeypatch.setattr("mlp_core.training.experiment.MEASURED", 300)
    disk = Experiment.build(config(folder))
    result = disk.evaluate()
    rows = result["train"].rows
    assert len(rows) == 300
    assert (np.diff(rows) > 0).all()
    assert len(result["train"].outcome.P) == 300
    assert result["val"].rows is None
    assert "measured on 300 rows drawn at random: train" in disk.notes


def finished(folder: Path, name: str, stop_at: int = 0) -> Path:
    run = Run.start(config(folder), b"", folder / name)
    steps = iter(range(1, 10_000))
    for _ in run.execute(lambda: 130 if next(steps) == stop_at else 0):
        pass
    return folder / name


@pytest.mark.parametrize("stop_at", [1, 7, 20, 33])
def test_a_run_is_resumed_bit_for_bit_in_the_middle_of_an_epoch(stop_at: int, folder: Path) -> None:
    whole, broken = finished(folder, "whole"), finished(folder, "broken", stop_at)
    for _ in Run.resume(broken).execute():
        pass
    for name in ("last", "best"):
        one, other = (run / "checkpoints" / f"{name}.safetensors" for run in (whole, broken))
        assert one.read_bytes() == other.read_bytes()
    assert load_checkpoint(one).document["config"]["data"]["memory"] == "memmap"


def test_a_resumed_run_cannot_change_where_the_rows_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.memory"):
        Run.resume(finished(folder, "broken", 3), ["data.memory=ram"])


def test_other_bytes_in_the_file_are_other_data(folder: Path) -> None:
    run = finished(folder, "broken", 3)
    changed = X.copy()
    changed[-1, -1] += 1
    np.save(folder / "x.npy", changed)
    with pytest.raises(DataError, match="not what this run was trained on"):
        Run.resume(run)


def test_auto_leaves_on_the_disk_what_takes_more_than_half_of_the_free_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlp_core.data.readers.formats.SMALL", 0)
    need = 2 * X.nbytes
    for free, expected in ((2 * need, "ram"), (2 * need - 2, "memmap")):
        monkeypatch.setattr("mlp_core.data.readers.npy_on_disk.free_memory", lambda free=free: free)
        data = load(config(folder, "auto"))
        assert data.memory == expected


@pytest.mark.parametrize("place", [(0, 0), (449, 3), (899, 5)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_refused_at_its_place(place: tuple[int, int], value: float, folder: Path) -> None:
    bad = X.copy()
    bad[place] = value
    np.save(folder / "x.npy", bad)
    with pytest.raises(DataError) as caught:
        load(config(folder))
    assert f"not a finite number ({value}) at row {place[0]}, column {place[1]} (from 0)" in str(caught.value)


def test_findings_are_those_of_rows_in_memory(folder: Path) -> None:
    told = X.copy()
    labels = Y.copy()
    told[800:], labels[800:] = told[:100], labels[:100]
    told[:, 4], told[:, 5] = 3.0, labels
    np.save(folder / "x.npy", told)
    np.save(folder / "y.npy", labels)
    disk, ram = (load(config(folder, memory)).notes for memory in ("memmap", "ram"))
    assert [note for note in disk if note.startswith("note:")] == [note for note in ram if note.startswith("note:")]
    assert sum("constant" in note or "have the inputs" in note or "by itself" in note for note in disk) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"train": {"x": "gone.npy", "y": "y.npy"}}, "no such file"),
        ({"train": {"x": "x.npy", "y": "short.npy"}}, "10 targets for 900 rows of inputs"),
        ({"train": {"x": "y.npy", "y": "y.npy"}}, r"inputs of shape \[900\]"),
        ({"train": {"x": "empty.npy", "y": "y.npy"}}, "empty array|for 0 rows"),
        ({"train": "t.csv", "target": "b"}, "mlpbp convert .*t.csv -o FOLDER"),
        ({"train": None, "name": "digits"}, "live in memory"),
    ],
)
def test_what_cannot_stay_on_the_disk_is_refused_in_one_line(data: dict[str, Any], says: str, folder: Path) -> None:
    np.save(folder / "short.npy", Y[:10])
    np.save(folder / "empty.npy", X[:0])
    (folder / "t.csv").write_text("a,b\n" + "1,2\n" * 40)
    if isinstance(data["train"], dict):
        data = {**data, "train": {key: str(folder / name) for key, name in data["train"].items()}}
    elif data["train"]:
        data = {**data, "train": str(folder / data["train"])}
    wish = from_mapping({"data": {**data, "memory": "memmap"}})
    with pytest.raises(DataError, match=says):
        load(wish)


def test_every_epoch_is_yielded(folder: Path) -> None:
    epochs = [event for event in Experiment.build(config(folder)).trainer.run() if isinstance(event, EpochDone)]
    assert len(epochs) == 3
    assert epochs[-1].metrics["train_loss"] < epochs[0].metrics["train_loss"]


def test_groups_are_read_in_any_order_and_what_goes_wrong_meanwhile_is_told(folder: Path) -> None:
    walked, jumping = (Experiment.build(config(folder)).trainer.job.batches for _ in range(2))
    places = [(epoch, position) for epoch in range(2) for position in range(walked.count)]
    whole = {place: [np.array(one) for one in walked.batch(*place)[:2]] for place in places}
    for place in [places[i] for i in np.random.default_rng(0).permutation(len(places))]:
        for mine, other in zip(jumping.batch(*place)[:2], whole[place], strict=True):
            np.testing.assert_array_equal(mine, other)
    with (folder / "x.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(Failed, match="was changed while it was being read"):
        walked.batch(5, 0)


def test_the_memory_that_is_taken_is_told(folder: Path) -> None:
    batches = Experiment.build(config(folder)).trainer.job.batches
    before = batches.nbytes
    for position in range(batches.count):
        batches.batch(0, position)
    buffers = batches._buffer.nbytes * 2 + batches._X.nbytes + batches._Y.nbytes
    assert buffers <= before <= buffers + 40 * len(batches._buffer)


def test_a_run_that_does_not_say_where_its_inputs_were_had_them_in_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in Run.start(config(folder, "ram"), b"", folder / "old").execute():
        pass
    resolved = folder / "old" / "config.resolved.yaml"
    text = resolved.read_text()
    assert text.count("memory: ram") == 1
    resolved.write_text(text.replace("memory: ram", "memory: auto"))
    monkeypatch.setattr("mlp_core.data.readers.formats.SMALL", 0)
    monkeypatch.setattr("mlp_core.data.readers.npy_on_disk.free_memory", lambda: 0)
    assert Run.resume(folder / "old", ["train.epochs=4"]).experiment.data.memory == "ram"

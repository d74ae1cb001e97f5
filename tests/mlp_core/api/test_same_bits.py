"""From Python and on the command line: the same data and the same config give the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from mlpbp import MLPClassifier, MLPRegressor, load, train

from mlp_core.training.checkpoint import Checkpoint, serialize
from mlp_core.training.checkpoint import load as load_checkpoint

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "model": {"hidden": [8, {"units": 4, "dropout": 0.1}]},
    "optimizer": {"lr": 0.01},
    "train": {"epochs": 4, "batch_size": 16},
}


def mixed(rows: int = 120) -> pa.Table:
    """Numbers with gaps, words with gaps, yes and no, and something to be predicted from them."""
    rng = np.random.default_rng(0)
    age, colour = rng.normal(40, 12, rows), rng.choice(["red", "green", "blue"], rows)
    return pa.table(
        {
            "age": pa.array([None if k % 17 == 3 else float(value) for k, value in enumerate(age)]),
            "colour": pa.array([None if k % 11 == 5 else str(word) for k, word in enumerate(colour)]),
            "member": pa.array((rng.random(rows) < 0.5).tolist()),
            "count": pa.array(rng.integers(0, 9, rows)),
            "label": pa.array(["old" if value > 40 else "young" for value in age]),
            "value": pa.array((age + 3 * (colour == "red")).tolist()),
        }
    )


def command_line(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mlpbp", *words], cwd=folder, capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr


def trained(folder: Path, table: pa.Table, target: str, **data: Any) -> Path:
    """A run of the command line on a Parquet file."""
    pq.write_table(table, folder / "table.parquet")
    config = {**SETTINGS, "data": {"train": "table.parquet", "target": target, **data}}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    command_line(folder, "train", "run.yaml", "-o", "by_command")
    return folder / "by_command"


def without_places(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint but for where its data is, and the run's name."""
    config = {**checkpoint.document["config"], "name": ""}
    config["data"] = {**config["data"], "train": ""}
    return b"".join(serialize(Checkpoint(checkpoint.tensors, {**checkpoint.document, "config": config})))


def test_train_writes_the_checkpoints_of_the_command_line_byte_for_byte(tmp_path, monkeypatch):
    run = trained(tmp_path, mixed().drop_columns(["value"]), "label")
    monkeypatch.chdir(tmp_path)
    training = train("run.yaml", output="by_python").finish()
    for name in ("checkpoints/best.safetensors", "checkpoints/last.safetensors", "metrics.jsonl", "config.yaml"):
        assert (training.path / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.parametrize("home", ["pyarrow", "pandas", "polars"])
def test_a_frame_in_memory_trains_the_bits_of_its_file(home, tmp_path, monkeypatch):
    table = mixed().drop_columns(["value"])
    run = trained(tmp_path, table, "label")
    monkeypatch.chdir(tmp_path)
    frame = of(home, table)
    training = train("run.yaml", frame, output="in_memory").finish()
    for name in ("checkpoints/best.safetensors", "metrics.jsonl", "split.json"):
        assert (training.path / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.parametrize("target", ["label", "value"])
@pytest.mark.parametrize("home", ["pyarrow", "pandas", "polars"])
def test_an_estimator_has_the_checkpoint_of_the_command_line(target, home, tmp_path, monkeypatch):
    table = mixed().drop_columns([{"label": "value", "value": "label"}[target]])
    kind = "binary" if target == "label" else "regression"
    run = trained(tmp_path, table, target, task=kind)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    frame = of(home, table)
    X = (
        frame.drop_columns([target])
        if home == "pyarrow"
        else frame.drop(columns=target)
        if home == "pandas"
        else frame.drop(target)
    )
    y = frame[target] if home != "pyarrow" else named(frame[target].to_pylist(), target)
    model = (MLPClassifier if target == "label" else MLPRegressor)(**flat(SETTINGS)).fit(X, y)
    assert without_places(model._checkpoints[0]) == without_places(
        load_checkpoint(run / "checkpoints/best.safetensors")
    )
    assert sorted(tmp_path.rglob("*")) == before, "fit has written something"
    answers = load(run).predict(frame)
    assert np.array_equal(model.predict(X), answers)


def of(home: str, table: pa.Table) -> Any:
    """The table as a frame of another library."""
    if home == "pyarrow":
        return table
    module = pytest.importorskip(home, reason=f"needs {home}")
    return module.from_arrow(table) if home == "polars" else table.to_pandas()


class named(list):
    """Targets that have a name, as a column of a frame has."""

    def __init__(self, values: list[Any], name: str) -> None:
        super().__init__(values)
        self.name = name


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """A config's keys as arguments."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= {f"{name}__{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return found


def test_an_array_trains_the_bits_of_its_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(80, 5)).astype(np.float32), rng.integers(0, 3, 80)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", y)
    config = {**SETTINGS, "data": {"train": {"x": "x.npy", "y": "y.npy"}, "task": "multiclass"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    command_line(tmp_path, "train", "run.yaml", "-o", "by_command")
    kept = X.copy()
    model = MLPClassifier(**flat(SETTINGS)).fit(X, y)
    run = load_checkpoint(tmp_path / "by_command/checkpoints/best.safetensors")
    assert without_places(model._checkpoints[0]) == without_places(run)
    assert np.array_equal(X, kept), "the caller's rows were changed"


def test_predictions_in_memory_are_those_of_the_command_line(tmp_path, monkeypatch):
    table = mixed().drop_columns(["value"])
    run = trained(tmp_path, table, "label")
    command_line(tmp_path, "predict", "by_command", "table.parquet", "--proba", "-o", "answers.parquet")
    told = pq.read_table(tmp_path / "answers.parquet")
    found = load(run).answer(table, proba=True)
    assert found.column_names == told.column_names
    assert found["prediction"].to_pylist() == told["prediction"].to_pylist()
    for name in ("p_old", "p_young"):
        assert np.array_equal(np.float32(found[name]), np.float32(told[name]))

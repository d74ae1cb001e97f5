"""Rows held as stored and scaled when gathered: on the host as on a device, the bits of inputs made at once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from compiled_kernels import skip_without_kernels

from mlp_core.config import from_mapping
from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.inputs import Held, Scaled
from mlp_core.data.load import load as load_data
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor
from mlp_core.data.preprocess.scaling import METHODS, gather_scaled
from mlp_core.nn.backend import BLOCK, Backend, numpy_backend
from mlp_core.runs.evaluate import evaluate_model, open_model
from mlp_core.runs.run import Run
from mlp_core.training.auto import check_memory
from mlp_core.training.checkpoint import load
from mlp_core.training.experiment import Experiment

ROWS, COLUMNS = 203, 37


@pytest.fixture(params=["numpy", "native"])
def backend(request) -> Backend:
    if request.param == "numpy":
        return numpy_backend()
    skip_without_kernels()
    from mlp_core.backends.cpu.steps import native_backend

    return native_backend()


def cells(dtype: str, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Bytes, or numbers of every size, with a column that is constant."""
    rng = np.random.default_rng(3)
    X = rng.integers(0, 256, (rows, columns)).astype(np.uint8)
    if dtype != "uint8":
        X = (X * 10.0 ** rng.integers(-30, 30, columns) * rng.standard_normal((rows, columns))).astype(dtype)
    X[:, 5] = 7
    return X


@pytest.mark.parametrize("out", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["uint8", "float32"])
@pytest.mark.parametrize("scale", [method for method in METHODS if method != "robust_smooth"])  # not linear
def test_what_is_gathered_has_the_bits_of_what_is_made_at_once(backend, scale, stored, out):
    X = cells(stored)
    inputs = Preprocessor(NumericPlan(scale)).fit(X[:150])
    expected = inputs.transform(X, dtype=out)
    rows = np.random.default_rng(1).integers(0, ROWS, 90)
    made = np.empty((90, COLUMNS), out)
    backend.primitive(gather_scaled)(X, rows, *inputs.linear, made)
    assert made.tobytes() == expected[rows].tobytes()
    held = Scaled(backend, X, inputs, out)
    assert np.shares_memory(held.resident, X)
    assert (held.shape, held.dtype, len(held)) == (expected.shape, expected.dtype, ROWS)
    for key in (slice(3, 50), slice(None), slice(200, 300), rows):
        assert held[key].tobytes() == expected[key].tobytes()


@pytest.mark.parametrize("block", [1, 40, BLOCK])
def test_the_size_of_a_block_changes_nothing(block):
    X, made = cells("uint8"), np.empty((ROWS, COLUMNS))
    shift, scale = np.linspace(-1, 300, COLUMNS), np.geomspace(1e-9, 1e9, COLUMNS)
    gather_scaled(np, X, np.arange(ROWS), shift, scale, made, block)
    assert made.tobytes() == ((X.astype(np.float64) - shift) * scale).tobytes()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_batches_are_those_of_rows_made_at_once(backend, shuffle, weighted):
    X, Y = cells("uint8"), np.arange(ROWS)
    inputs, w = Preprocessor().fit(X), np.linspace(0, 1, ROWS, dtype=np.float32) if weighted else None
    kinds = (Scaled(backend, X, inputs, "float32"), inputs.transform(X, dtype="float32"))
    ours, theirs = (Batches(backend, X, Y, w, size=16, seed=3, shuffle=shuffle) for X in kinds)
    for epoch, position in ((0, 0), (0, 12), (2, 3)):
        for mine, other in zip(ours.batch(epoch, position), theirs.batch(epoch, position), strict=True):
            assert mine is other is None or mine.tobytes() == other.tobytes()


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_takes_no_memory_that_grows_with_it(backend, shuffle):
    """The inputs of a batch are 4 MB; its row numbers are allowed."""
    X = cells("uint8", 4096, 512)
    rows = Scaled(backend, X, Preprocessor(NumericPlan("minmax")).fit(X), "float32")
    batches = Batches(backend, rows, np.arange(4096), None, size=2048, shuffle=shuffle)
    batches.batch(0, 0)
    tracemalloc.start()
    try:
        batches.batch(0, 1)
        assert tracemalloc.get_traced_memory()[1] < 3 * 8 * BLOCK
    finally:
        tracemalloc.stop()


CONFIG: dict[str, Any] = {
    "data": {"train": {"x": "x.npy", "y": "y.npy"}, "task": "multiclass", "split": {"val": 0.2, "test": 0.1}},
    "model": {"hidden": [16, 8]},
    "train": {"epochs": 4, "batch_size": 16},
    "kernels": "native",
    "threads": 1,
    "logging": {"jsonl": True},
}


def config(folder: Any, X: np.ndarray, **more: Any) -> Any:
    """A training on these inputs, which have a class each."""
    skip_without_kernels()
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", (X[:, 0] > np.median(X[:, 0])) + (X[:, 1] > np.median(X[:, 1])))
    paths = {axis: str(folder / f"{axis}.npy") for axis in "xy"}
    return from_mapping({**CONFIG, "data": {**CONFIG["data"], "train": paths}, **more})


def finish(run: Run, steps: int | None = None) -> Run:
    trainer = run.experiment.trainer
    for _ in run.execute(lambda: int(steps is not None and trainer.progress.step >= steps)):
        pass
    return run


def same_state(one: Run, other: Run) -> None:
    ours, theirs = (load(run.directory.path / "checkpoints/last.safetensors") for run in (one, other))
    assert ours.tensors.keys() == theirs.tensors.keys()
    for name, array in ours.tensors.items():
        assert array.tobytes() == theirs.tensors[name].tobytes(), name
    assert ours.document["metrics"] == theirs.document["metrics"]
    assert ours.document["progress"] == theirs.document["progress"]


def X_of(run: Run) -> Mapping[str, Any]:
    return {name: split.X for name, split in run.experiment.splits.items()}


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "as they lie": {"train": {"epochs": 3, "batch_size": 16, "shuffle": False}},
    "step by step": {"regularization": {"input_noise": 0.1}, "optimizer": {"clip_norm": 1.0}},
    "float64": {"dtype": "float64"},
    "ranges": {"preprocess": {"numeric": {"scale": "minmax"}}},
}


@pytest.mark.parametrize("more", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_run_on_bytes_is_that_on_the_same_numbers_as_floats(tmp_path, more):
    """Bit for bit: weights, state of the optimizer, metrics of every epoch and of the best one."""
    X = cells("uint8", 300, 11)
    ours, theirs = (config(tmp_path / kind, X.astype(kind), **more) for kind in ("uint8", "float64"))
    ours, theirs = (Run.start(one, b"", tmp_path / name) for one, name in ((ours, "a"), (theirs, "b")))
    assert type(ours.experiment.trainer.steps) is type(theirs.experiment.trainer.steps)
    finish(ours)
    finish(theirs)
    assert all(type(rows) is Scaled for rows in X_of(ours).values())
    assert all(type(rows) is Held for rows in X_of(theirs).values())
    same_state(ours, theirs)
    assert ours.summary.metrics == theirs.summary.metrics
    found = evaluate_model(open_model(ours.directory.path)[0]).splits
    for name, values in ours.summary.metrics.items():
        for metric, value in values.items():
            assert found[name].metrics[metric] == pytest.approx(value, rel=1e-5), (name, metric)


@pytest.mark.parametrize("at", [1, 13, 30])
def test_a_run_on_bytes_goes_on_bit_for_bit(tmp_path, at):
    wish = config(tmp_path / "data", cells("uint8", 300, 11))
    whole = finish(Run.start(wish, b"", tmp_path / "whole"))
    finish(Run.start(wish, b"", tmp_path / "stopped"), steps=at)
    same_state(whole, finish(Run.resume(tmp_path / "stopped")))
    files = [tmp_path / name / "metrics.jsonl" for name in ("whole", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_generic_numpy_makes_inputs_at_once(tmp_path):
    splits = Experiment.build(config(tmp_path, cells("uint8", 300, 11), kernels="numpy")).splits
    assert all(type(split.X) is Held and split.X.dtype == np.float32 for split in splits.values())


def test_memory_is_asked_for_bytes_only_where_they_become_floats(tmp_path, monkeypatch):
    """The least memory with which a config is accepted: 4 bytes a cell more where inputs are made at once."""
    from mlp_core.errors import ConfigError

    least = {}
    for kernels in ("native", "numpy"):
        built = Experiment.build(config(tmp_path, cells("uint8", 900, 64), kernels=kernels))
        data = load_data(built.config)
        low, high = 0, 1 << 30
        while low < high:
            free = (low + high) // 2
            monkeypatch.setattr("mlp_core.training.auto.device_memory", lambda config, free=free: free)
            try:
                check_memory(built.config, data, built.model.inputs, 16)
                high = free
            except ConfigError:
                low = free + 1
        monkeypatch.undo()
        least[kernels] = low
    assert least["numpy"] - least["native"] == 4 * 900 * 64

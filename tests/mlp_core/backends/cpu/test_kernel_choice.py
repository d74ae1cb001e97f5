"""Which kernels and how many threads a run uses: decided once, from the job alone, kept on resume."""

from __future__ import annotations

from pathlib import Path

import pytest
from compiled_kernels import needs_kernels

from mlp_core.backends.cpu import library
from mlp_core.config import from_mapping, load
from mlp_core.data.load import load as load_data
from mlp_core.errors import ConfigError
from mlp_core.runs.run import Run
from mlp_core.training import auto as resolve
from mlp_core.training.events import Finished
from mlp_core.training.experiment import Experiment

DATA = {"data": {"name": "digits"}}
SMALL = """
data: {name: digits, limit: 200, split: {val: 0.2, test: 0.1}}
model: {hidden: [12, 12], dropout: 0.2}
train: {epochs: 3, batch_size: 32, preflight: off}
"""


@needs_kernels
@pytest.mark.parametrize(
    ("kernels", "chosen", "says"),
    [
        ("auto", "native", "kernels: native, for "),
        ("native", "native", "kernels: native, for "),
        ("numpy", "numpy", "kernels: numpy"),
        ("numba", "native", "which numba in this config means now"),
    ],
)
def test_kernels_are_used_from_the_first_step_where_they_are_there(kernels, chosen, says):
    experiment = Experiment.build(from_mapping({**DATA, "kernels": kernels}))
    assert experiment.config.kernels == chosen
    assert experiment.model.network.backend.name == chosen
    assert any(says in note for note in experiment.notes)
    assert (experiment.trainer.steps.name is not None) == (chosen == "native")
    assert ("kernels" in experiment.environment) == (chosen == "native")


@pytest.fixture
def without_kernels(monkeypatch, tmp_path):
    """A package whose kernels were not compiled."""
    monkeypatch.setattr(library, "BUILT", tmp_path)
    library.library.cache_clear()
    yield
    library.library.cache_clear()


def test_without_kernels_auto_takes_numpy_and_says_why(without_kernels):
    experiment = Experiment.build(from_mapping(DATA))
    assert experiment.config.kernels == "numpy"
    (note,) = [note for note in experiment.notes if note.startswith("kernels")]
    assert note.startswith("kernels: numpy (the compiled ones cannot be used: they were not compiled when mlpbp was")


@pytest.mark.parametrize("kernels", ["native", "numba"])
def test_kernels_that_were_asked_for_and_are_not_there_are_refused(kernels, without_kernels):
    with pytest.raises(ConfigError, match=r"the compiled kernels cannot be used here: they were not compiled when"):
        Experiment.build(from_mapping({**DATA, "kernels": kernels}))


@pytest.mark.parametrize(
    ("cpus", "hidden", "batch", "threads"),
    [(1, 2048, 256, 1), (2, 16, 32, 1), (2, 2048, 256, 2), (64, 2048, 256, 32), (64, 256, 128, 4)],
)
def test_threads_go_as_far_as_the_largest_product_and_its_rows(cpus, hidden, batch, threads, monkeypatch):
    monkeypatch.setattr(resolve, "available_cpus", lambda: cpus)
    config = from_mapping({**DATA, "model": {"hidden": [hidden] * 2}, "train": {"batch_size": batch}})
    data = load_data(config)
    assert resolve.auto_threads(config, data, batch, "native") == threads
    assert resolve.auto_threads(config, data, batch, "numpy") == 1


@needs_kernels
@pytest.mark.parametrize(
    ("said", "threads", "note"), [("1", 1, ", OMP_NUM_THREADS is 1"), ("3,2", 2, ""), ("x", 2, "")]
)
def test_threads_are_no_more_than_the_environment_allows(said, threads, note, monkeypatch):
    monkeypatch.setattr(resolve, "available_cpus", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    config = from_mapping({**DATA, "model": {"hidden": [1024, 1024]}, "train": {"batch_size": 256}})
    decided, notes = resolve.resolve(config, load_data(config))
    assert decided.threads == threads
    assert f"threads: {threads}{note}" in notes


def test_numpy_takes_one_thread_and_says_so_where_more_are_asked_for():
    built = Experiment.build(from_mapping({**DATA, "kernels": "numpy", "threads": 4}))
    assert "threads: 1, kernels: numpy takes no more" in built.notes


@pytest.mark.parametrize("kernels", ["numpy", pytest.param("native", marks=needs_kernels)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, kernels, threads, monkeypatch):
    monkeypatch.setattr("mlp_core.backends.cpu.steps.STEPS_AT_ONCE", 1)
    path = tmp_path / "c.yaml"
    path.write_text(f"{SMALL}kernels: {kernels}\nthreads: {threads}\n")
    names = ["metrics.jsonl", "config.resolved.yaml", "checkpoints/last.safetensors", "checkpoints/best.safetensors"]
    for directory, stop in (("whole", 10**9), ("parts", 7)):
        run, count = Run.start(load(path), path.read_bytes(), tmp_path / directory), iter(range(1, 10**6))
        events = list(run.execute(lambda count=count, stop=stop: next(count) >= stop))
    assert events[-1] == Finished("stopped")
    resumed = Run.resume(tmp_path / "parts")
    assert resumed.experiment.model.network.backend.name == kernels
    list(resumed.execute())
    for name in names:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_resumed_run_keeps_its_kernels(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_text(f"{SMALL}kernels: numpy\n")
    list(Run.start(load(path), path.read_bytes(), tmp_path / "run").execute())
    with pytest.raises(ConfigError, match="numpy"):
        Run.resume(tmp_path / "run", ["kernels=native", "train.epochs=5"])

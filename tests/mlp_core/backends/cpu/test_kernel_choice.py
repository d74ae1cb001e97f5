"""Which kernels and how many threads a run uses: decided once, from the job alone, kept on resume."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mlp_core.backends.cpu.machine_code import machine_code
from mlp_core.config import from_mapping, load
from mlp_core.errors import ConfigError
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.runs.run import Run
from mlp_core.training import auto as resolve
from mlp_core.training import from_config as recipe
from mlp_core.training import model
from mlp_core.training.events import Finished
from mlp_core.training.experiment import Experiment

NUMBA = importlib.util.find_spec("numba") is not None
DATA = {"data": {"name": "digits"}}
LONG = {"model": {"hidden": [512, 512]}, "train": {"epochs": 500}}
SMALL = """
data: {name: digits, limit: 200, split: {val: 0.2, test: 0.1}}
model: {hidden: [12, 12], dropout: 0.2}
train: {epochs: 3, batch_size: 32, preflight: off}
"""


@pytest.mark.skipif(not NUMBA, reason="numba is not installed")
@pytest.mark.parametrize(
    ("more", "kernels"),
    [
        ({}, "numpy"),
        ({"train": {"epochs": 2000}}, "numba"),
        (LONG, "numba"),
        ({**LONG, "train": {"epochs": 500, "max_steps": 100}}, "numpy"),
        ({**LONG, "kernels": "numpy"}, "numpy"),
        ({"kernels": "numba"}, "numba"),
    ],
    ids=["short", "many steps", "many parameters", "few steps at most", "asked for numpy", "asked for numba"],
)
def test_compiled_kernels_are_for_long_jobs(more, kernels):
    experiment = Experiment.build(from_mapping({**DATA, **more}))
    assert experiment.config.kernels == kernels
    assert experiment.model.network.backend.name == kernels
    assert any(note.startswith(f"kernels: {kernels}") for note in experiment.notes)


@pytest.fixture
def without_numba(monkeypatch, tmp_path):
    """An environment in which nothing is compiled yet, and importing numba ends in the error given."""

    def refuse(error: str) -> None:
        (tmp_path / "numba.py").write_text(f"raise {error}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        machine_code.cache_clear()

    yield refuse
    machine_code.cache_clear()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("ModuleNotFoundError(\"No module named 'numba'\")", "pip install numba"),
        ("ImportError('Numba needs NumPy 2.3 or less')", "Numba needs NumPy 2.3 or less"),
    ],
    ids=["absent", "unfit"],
)
def test_without_numba_a_long_job_runs_on_numpy_and_says_why(error, says, without_numba):
    without_numba(error)
    experiment = Experiment.build(from_mapping({**DATA, **LONG}))
    assert experiment.config.kernels == "numpy"
    assert any(says in note for note in experiment.notes)


def test_numba_that_was_asked_for_and_is_not_there_is_refused(without_numba):
    without_numba("ImportError('no numba')")
    with pytest.raises(ConfigError, match=r"numba cannot be used here \(ImportError: no numba\)"):
        Experiment.build(from_mapping({**DATA, "kernels": "numba"}))


@pytest.mark.skipif(not NUMBA, reason="numba is not installed")
@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": {"name": name}} for name in OPTIMIZERS if name != "lbfgs"),
        *({"model": {"hidden": [16], "activation": name}} for name in ("tanh", "gelu_tanh", "silu", "elu", "gelu")),
        {"model": {"hidden": [16], "dropout": 0.2, "input_dropout": 0.1}},
        {"regularization": {"l1": 0.01}},
        {"data": {"name": "diabetes"}},
        {"dtype": "float64"},
        {"optimizer": {"clip_norm": 1.0}, "model": {"hidden": [16], "norm": "batch"}},
    ],
    ids=str,
)
def test_all_that_is_compiled_is_compiled_before_the_first_step(changes, monkeypatch):
    settings = {
        **DATA,
        "model": {"hidden": [16]},
        "train": {"epochs": 1, "max_steps": 3},
        "kernels": "numba",
        **changes,
    }
    experiment = Experiment.build(from_mapping(settings))
    prepared = set(recipe.compiled_functions(experiment.config))
    assert set(machine_code()._functions) >= prepared
    monkeypatch.setattr(
        machine_code(), "_functions", {n: f for n, f in machine_code()._functions.items() if n in prepared}
    )
    monkeypatch.setattr(machine_code(), "_obtain", lambda names: pytest.fail(f"compiled in a step: {names}"))
    for _ in experiment.trainer.run():
        pass


@pytest.mark.parametrize(
    ("cpus", "hidden", "batch", "threads"),
    [(1, 2048, 256, 1), (2, 16, 32, 1), (2, 2048, 256, 2), (64, 2048, 256, 32), (64, 512, 512, 10)],
)
def test_threads_go_as_far_as_the_largest_product_and_its_rows(cpus, hidden, batch, threads, monkeypatch):
    monkeypatch.setattr(resolve, "available_cpus", lambda: cpus)
    config = from_mapping({**DATA, "model": {"hidden": [hidden] * 2}, "train": {"batch_size": batch}})
    assert Experiment.build(config).config.threads == threads


@pytest.mark.parametrize("kernels", ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not NUMBA, reason="no"))])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, kernels, threads, monkeypatch):
    monkeypatch.setattr("mlp_core.nn.team.LEAST_FLOPS", 0)
    monkeypatch.setattr("mlp_core.nn.team.HEAD_START", 0)
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
    path.write_text(SMALL)
    list(Run.start(load(path), path.read_bytes(), tmp_path / "run").execute())
    with pytest.raises(ConfigError, match="numpy"):
        Run.resume(tmp_path / "run", ["kernels=numba", "train.epochs=5"])


def test_a_network_without_a_backward_pass_needs_no_compiler(without_numba):
    without_numba("ImportError('no numba')")
    assert model.numpy_backend(2).name == "numpy"

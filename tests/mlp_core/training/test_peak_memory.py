"""Memory: a step takes none that grows with batch or parameters; what a run takes is told before, within a tenth."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import skip_without_kernels

from mlp_core.backends.job import Job
from mlp_core.data.batches.batches import Augment, Batches
from mlp_core.nn.activations import Gelu, LeakyRelu, Relu, Tanh
from mlp_core.nn.backend import BLOCK, numpy_backend
from mlp_core.nn.losses import Bce, CrossEntropy, Mse
from mlp_core.nn.network import Architecture, Block, Network
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import Limits
from mlp_core.training.peak_memory import give_back, resident
from mlp_core.training.steps import make_steps
from mlp_core.training.trainer import Trainer

SETTINGS = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "rho": 0.9}
ALLOWED = 12 * 4 * BLOCK
"""Bytes of the generic primitives' temporaries: float32 blocks (most in gelu), whatever the size of the network."""


@pytest.fixture(params=["numpy", "native"])
def backend(request):
    if request.param == "numpy":
        return numpy_backend()
    skip_without_kernels()
    from mlp_core.backends.cpu.steps import native_backend

    return native_backend()


PLAIN = {"block": Block(1, Relu()), "loss": CrossEntropy(), "optimizer": "adam", "limits": Limits(10**6)}
CASES = {
    "plain": {},
    "gelu": {"block": Block(1, Gelu())},
    "leaky, dropout": {"block": Block(1, LeakyRelu(), dropout=0.3)},
    "batch norm": {"block": Block(1, Tanh(), norm="batch")},
    "layer norm": {"block": Block(1, Tanh(), norm="layer")},
    "residual": {"block": Block(1, Relu(), residual=True)},
    "mse, sgd": {"loss": Mse(), "optimizer": "sgd"},
    "bce, nesterov": {"loss": Bce(), "optimizer": "nesterov"},
    "rmsprop": {"optimizer": "rmsprop"},
    "amsgrad": {"optimizer": "amsgrad"},
    "clipped": {"limits": Limits(10**6, clip_norm=0.1, clip_value=0.01)},
    "averaged, short": {"limits": Limits(10**6, ema=0.9, max_norm=2.0)},
    "accumulated": {"limits": Limits(10**6, accumulate=2)},
    "penalties": {"penalty": Penalty(1e-3, 1e-3)},
    "noise": {"noise": 0.1},
    "mixup": {"mixup": 0.4},
}


def step_bytes(backend, rows: int, units: int, case: dict) -> int:
    """The most memory that the fourth step of training takes."""
    case = {**PLAIN, **case}
    hidden = tuple(replace(case["block"], units=units) for _ in range(2))
    loss = case["loss"]
    network = Network(Architecture(units, 4, hidden), backend, np.float32, rows)
    network.initialize(0)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5 * rows, units), dtype=np.float32)
    Y = rng.integers(0, 4, 5 * rows) if loss.name == "cross_entropy" else rng.integers(0, 2, (5 * rows, 4)) * X[:, :4]
    segments = [Segment(network.parameters.weights, 1.0, 0.01)]
    job = Job(
        objective=Objective(network, loss, case.get("penalty", Penalty())),
        optimizer=OPTIMIZERS[case["optimizer"]](network.parameters, backend, segments, **SETTINGS),
        batches=Batches(backend, X, Y, None, size=rows),
        limits=case["limits"],
        seed=0,
        augment=Augment(backend, case.get("noise", 0.0), case.get("mixup", 0.0), 4),
    )
    trainer = Trainer(make_steps(job), Schedule("cosine", 1e-3, 100, 5), evaluate=dict)
    events = trainer.run()
    next(events)
    tracemalloc.start()
    try:
        next(events)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_step_takes_no_memory_that_grows_with_batch_or_width(case, backend):
    """[1024, 512] is 2 MB, [512, 512] 1 MB; a permutation of the rows and what belongs to a row alone are allowed."""
    assert step_bytes(backend, 1024, 512, case) < step_bytes(backend, 64, 32, case) + ALLOWED


RUN = """
import json, sys
from pathlib import Path
from mlp_core.config import load
from mlp_core.training.peak_memory import expected_peak, peak
from mlp_core.runs.run import Run
run = Run.start(load(Path(sys.argv[1])), b"", Path(sys.argv[2]))
expected = expected_peak(run.experiment)
for event in run.execute(): pass
print(json.dumps([expected, peak()]))
"""


def told_and_taken(tmp_path: Path, X: np.ndarray, text: str) -> tuple[int, int]:
    """The peak that is told of a run of its own on these inputs, and the one it has."""
    tmp_path.mkdir(exist_ok=True)
    np.savez(tmp_path / "d.npz", x=X, y=np.random.default_rng(0).integers(0, 10, len(X)))
    (tmp_path / "c.yaml").write_text(f"data: {{train: {tmp_path / 'd.npz'}}}\n{text}\n")
    arguments = [sys.executable, "-P", "-c", RUN, str(tmp_path / "c.yaml"), str(tmp_path / "run")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    expected, actual = json.loads(result.stdout)
    return expected, actual


told = pytest.mark.skipif(resident() is None, reason="the system does not tell what memory a process holds")


@told
@pytest.mark.parametrize(
    "more",
    [
        "",
        "model: {hidden: [512, 512]}",
        "model: {hidden: [512, 512]}\ntrain: {preflight: 'off', epochs: 2}",
        "model: {hidden: [1024, 1024, 1024]}\noptimizer: {name: sgd}\ncheckpoint: {last: false, best: false}",
    ],
    ids=["small", "medium", "no preflight", "the check above all"],
)
def test_the_peak_is_told_before_training(tmp_path: Path, more: str):
    X = np.random.default_rng(0).standard_normal((2000, 500), dtype=np.float32)
    text = more if "train:" in more else f"{more}\ntrain: {{epochs: 2}}"
    expected, actual = told_and_taken(tmp_path, X, text)
    assert expected == pytest.approx(actual, rel=0.1)


NO_BASELINES = "eval: {baselines: false}"  # they take some rows in float64: up to 4,000, more of many than of few


@told
def test_bytes_are_held_once(tmp_path: Path):
    """80 MB of bytes, dealt into two splits; as float32 they would be 320 MB more."""
    skip_without_kernels()
    X = np.random.default_rng(0).integers(0, 256, (100_000, 800), np.uint8)
    text = "kernels: native\nthreads: 1\npreprocess: {numeric: {scale: minmax}}\n"
    text += f"train: {{epochs: 1, max_steps: 20, batch_size: 100}}\n{NO_BASELINES}"
    _, few = told_and_taken(tmp_path / "few", X[:1000], text)
    expected, actual = told_and_taken(tmp_path / "many", X, text)
    assert expected == pytest.approx(actual, rel=0.1)
    assert actual < few + 2 * X.nbytes


GENERIC = "kernels: numpy\nthreads: 1\ntrain: {epochs: 1, max_steps: 5, batch_size: 100, preflight: 'off'}\n"
GENERIC += NO_BASELINES
SHAPES = {
    "bytes become float32": (np.uint8, 5.5),  # as stored, and as inputs
    "float32 stays where it is": (np.float32, 1.5),
    "float64 becomes float32": (np.float64, 1.8),
}


@told
@pytest.mark.parametrize(("dtype", "times"), SHAPES.values(), ids=SHAPES.keys())
def test_rows_take_no_more_than_they_must(tmp_path: Path, dtype: type, times: float):
    """The peak with many rows, beyond that with few, in sizes of the file; dealt into two splits at random."""
    X = np.random.default_rng(0).integers(0, 256, (40_000_000 // 400 // np.dtype(dtype).itemsize, 400)).astype(dtype)
    _, few = told_and_taken(tmp_path / "few", X[:1000], GENERIC)
    expected, actual = told_and_taken(tmp_path / "many", X, GENERIC)
    assert expected == pytest.approx(actual, rel=0.1)
    assert actual - few < times * X.nbytes


@told
def test_a_table_is_held_once_while_it_is_read(tmp_path: Path):
    """32 MB of numbers more, of which the network gets 16 MB: the peak grows by less than two of them. What any table
    takes, pyarrow and the blocks that are parsed ahead, is in both."""
    X, peaks = np.random.default_rng(0).integers(0, 1000, (130_000, 40)), []
    for rows in (30_000, len(X)):
        lines = "\n".join(",".join(map(str, row)) for row in X[:rows].tolist())
        (tmp_path / "t.csv").write_text(f"{','.join(f'a{j}' for j in range(40))}\n{lines}\n")
        (tmp_path / "c.yaml").write_text(
            f"data: {{train: {tmp_path / 't.csv'}, target: a39, task: regression}}\n{GENERIC}\n"
        )
        arguments = [sys.executable, "-P", "-c", RUN, str(tmp_path / "c.yaml"), str(tmp_path / f"run-{rows}")]
        result = subprocess.run(arguments, capture_output=True, text=True, check=True)
        peaks.append(json.loads(result.stdout)[1])
    assert peaks[1] - peaks[0] < 2 * 8 * 100_000 * 40


def test_to_give_memory_back_changes_no_number():
    kept = [np.full(50_000, k) for k in range(100)]
    del kept[::2]
    give_back()
    assert [int(array[0]) for array in kept] == list(range(1, 100, 2))
    assert all((array == array[0]).all() for array in kept)

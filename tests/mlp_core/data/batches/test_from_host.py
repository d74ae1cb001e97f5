"""Rows on a device as stored, and rows on the host that are sent while the device works: always the same inputs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_shim import COMPILER
from fake_cuda import backend, equip
from strict_xp import StrictDevice
from test_cuda_engine import BATCH, Job, state
from test_whole_steps import DEEP, GPU, a_backend

from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.from_host import SentBatches
from mlp_core.data.batches.inputs import OnHost, Scaled, smaller_as_stored
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor
from mlp_core.nn.backend import Backend
from mlp_core.training.events import EpochDone, StepDone
from mlp_core.training.steps import StageSteps, make_steps

WHERE = pytest.mark.parametrize("where", ["stand-in", GPU])
ROWS = 5 * BATCH + 2


def bytes_of(rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (rows, 5)).astype(np.uint8)


def fitted(X: np.ndarray, scale: str = "standard", **more: Any) -> Preprocessor:
    return Preprocessor(NumericPlan(scale, **more)).fit(X)


def with_rows(job: Job, used: Backend, X: Any, kind: type[Batches] = Batches, **settings: Any) -> Any:
    """A training on these rows."""
    trainer = job.trainer(used)
    rng = np.random.default_rng(6)
    Y = used.asarray(rng.integers(0, 3, len(X)))
    w = used.asarray((rng.random(len(X)) + 0.5).astype(job.dtype)) if job.weighted else None
    batches = kind(used, X, Y, w, size=BATCH, seed=3, **settings)
    steps = make_steps(replace(trainer.job, batches=batches))
    return replace(trainer, steps=steps, progress=type(trainer.progress)())


CASES = {
    "bytes": (bytes_of(), {}, "float32", True),
    "bytes as they are": (bytes_of(), {"scale": "none"}, "float32", True),
    "bytes for float64": (bytes_of(), {}, "float64", True),
    "float32 for float64": (bytes_of().astype("float32"), {}, "float64", True),
    "float32 for float32": (bytes_of().astype("float32"), {}, "float32", False),
    "float64": (bytes_of().astype("float64"), {}, "float32", False),
    "limits": (bytes_of(), {"clip": 1.0}, "float32", False),
    "ranks": (bytes_of(), {"scale": "quantile"}, "float32", False),
    "a gap": (np.where(bytes_of() == bytes_of().max(), np.nan, bytes_of()).astype("float32"), {}, "float64", False),
}


@pytest.mark.parametrize(("X", "settings", "dtype", "smaller"), CASES.values(), ids=CASES.keys())
def test_what_is_kept_as_stored(X, settings, dtype, smaller):
    assert smaller_as_stored(X, fitted(X, **settings), dtype) == smaller


@WHERE
@pytest.mark.parametrize(("X", "settings", "dtype"), [case[:3] for case in CASES.values() if case[3]])
def test_rows_as_stored_become_the_inputs_that_the_host_makes(where, X, settings, dtype):
    used, inputs = a_backend(where), fitted(X, **settings)
    rows, expected = Scaled(used, X, inputs, dtype), inputs.transform(X, dtype=dtype)
    assert rows.resident.dtype == X.dtype
    assert (rows.shape, rows.dtype, len(rows)) == (expected.shape, expected.dtype, len(expected))
    numbers = np.random.default_rng(1).permutation(len(X))[:9]
    for key, there in ((slice(3, 20), slice(3, 20)), (slice(None), slice(None)), (numbers, used.asarray(numbers))):
        assert used.to_host(rows[there]).tobytes() == expected[key].tobytes()


@WHERE
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_training_on_rows_as_stored_gives_the_bits_of_training_on_inputs(where, dtype, shuffle):
    used, X = a_backend(where), bytes_of()
    job, inputs = Job(hidden=DEEP, dtype=dtype, weighted=True, epochs=3), fitted(X)
    stored = with_rows(job, used, Scaled(used, X, inputs, dtype), shuffle=shuffle)
    made = with_rows(job, used, used.asarray(inputs.transform(X, dtype=dtype)), shuffle=shuffle)
    assert stored.steps.hindrance is None
    assert stored.steps._launches(BATCH, 0)[0].name == "scaled_Byte"
    for trainer in (stored, made):
        list(trainer.run())
    assert stored.progress == made.progress
    for name, array in state(made).items():
        assert array.tobytes() == state(stored)[name].tobytes(), name
    layers = with_rows(job, replace(used, recorder=None), used.asarray(inputs.transform(X, dtype=dtype)))
    assert isinstance(layers.steps, StageSteps)


@WHERE
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_batches_that_are_sent_are_those_of_rows_that_are_there(where, shuffle, weighted):
    used, X = a_backend(where), bytes_of().astype(np.float32)
    job = Job(hidden=DEEP, weighted=weighted, epochs=4)
    sent = with_rows(job, used, OnHost(used, X), SentBatches, shuffle=shuffle)
    there = with_rows(job, replace(used, recorder=None), used.asarray(X), shuffle=shuffle)
    assert sent.steps.hindrance == "data that is not on the device"
    for trainer in (sent, there):
        list(trainer.run())
    assert sent.progress == there.progress
    for name, array in state(there).items():
        assert array.tobytes() == state(sent)[name].tobytes(), name


@WHERE
def test_batches_can_be_asked_for_in_any_order(where):
    used, X = a_backend(where), bytes_of().astype(np.float32)
    Y = used.asarray(np.arange(len(X)))
    sent = SentBatches(used, OnHost(used, X), Y, None, size=BATCH, seed=3)
    plain = Batches(used, used.asarray(X), Y, None, size=BATCH, seed=3)
    for epoch, position in ((0, 0), (0, 1), (0, 3), (0, 3), (1, 3), (0, 0), (2, 5), (2, 4), (2, 5), (3, 0)):
        for one, other in zip(sent.batch(epoch, position)[:2], plain.batch(epoch, position)[:2], strict=True):
            assert used.to_host(one).tobytes() == used.to_host(other).tobytes()
    assert used.to_host(OnHost(used, X)[2:9]).tobytes() == X[2:9].tobytes()


def test_a_batch_that_is_sent_costs_one_transfer_and_the_host_does_not_wait():
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    device = equip(StrictDevice())
    used, X, counts = backend(device), bytes_of(40 * BATCH).astype(np.float32), device.counts
    trainer, seen = with_rows(Job(hidden=DEEP, epochs=2), used, OnHost(used, X), SentBatches), []
    for event in trainer.run():
        if isinstance(event, StepDone):
            seen.append((counts.syncs, counts.uploads, counts.downloads))
    steps = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(seen)]
    assert steps[:38] == [(0, 1, 0)] * 38


def test_the_copies_wait_for_the_work_on_what_they_overwrite():
    """The order of events: used before it is filled again, sent before it is used."""
    if COMPILER is None:
        pytest.skip("g++ is not installed")
    device = equip(StrictDevice())
    used, X = backend(device), bytes_of().astype(np.float32)
    sent, told = SentBatches(used, OnHost(used, X), used.asarray(np.arange(ROWS)), None, size=BATCH), []
    names = {
        id(event): f"{kind} {place}"
        for kind in ("used", "sent")
        for place, event in enumerate(getattr(sent, f"_{kind}"))
    }
    for who, stream in (("work", used.recorder.graphs.stream), ("copies", sent._copies)):
        for what in ("record", "wait_event"):
            call = getattr(stream, what)
            setattr(
                stream,
                what,
                lambda event, who=who, what=what, call=call: (told.append((who, what, names[id(event)])), call(event)),
            )
    for position in range(4):
        sent.batch(0, position)
    assert told[:8] == [
        ("work", "record", "used 0"),
        ("copies", "wait_event", "used 1"),
        ("copies", "record", "sent 1"),
        ("work", "wait_event", "sent 1"),
        ("copies", "wait_event", "used 0"),
        ("copies", "record", "sent 0"),
        ("work", "record", "used 1"),
        ("work", "wait_event", "sent 0"),
    ]


def test_losses_of_epochs_are_those_of_numpy():
    X = bytes_of().astype(np.float32)
    used, job = a_backend(), Job(epochs=3)
    sent = with_rows(job, used, OnHost(used, X / 255), SentBatches)
    host = with_rows(job, Backend("numpy", np), X / 255)
    got, expected = ([e.metrics["train_loss"] for e in one.run() if isinstance(e, EpochDone)] for one in (sent, host))
    assert got == pytest.approx(expected, rel=1e-5)

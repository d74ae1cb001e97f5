"""Steps over shards by the kernels: those that are made stage by stage, with the same bits whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest
from compiled_kernels import every_library, needs_kernels
from small_trainings import BATCH, CASES, TOLERANCE, make, trained
from threads import together

from mlp_core.backends.cpu import program as do
from mlp_core.backends.cpu import programs, row_pass, shards
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.shards import CompiledShards
from mlp_core.backends.cpu.steps import native_backend
from mlp_core.data.batches.shards import cut
from mlp_core.nn.activations import Relu
from mlp_core.nn.backend import numpy_backend
from mlp_core.nn.network import Block
from mlp_core.nn.objective import Penalty
from mlp_core.training.sharded import ShardedSteps, StagedShards
from mlp_core.workers.tree import add_pairs

pytestmark = needs_kernels

SHARDS = 16  # of the 11 rows of the last batch five have none


@pytest.fixture(autouse=True)
def _share_everything(monkeypatch):
    monkeypatch.setattr(programs, "SHARED_FLOPS", 1)


def states(trainings) -> list[list[np.ndarray]]:
    """Losses and everything that a training ends with, for each of them."""
    found = []
    for trainer in trainings:
        events, state = trained(trainer)
        found.append([np.array([event.loss for event in events if hasattr(event, "loss")]), *state])
    return found


def of_workers(size: int, settings: dict) -> list[np.ndarray]:
    """The same for workers with a thread each, all of whom must have come to the same."""
    (first, *others) = together(size, lambda world: states([make(native_backend(1), world=world, **settings)])[0])
    for other in others:
        assert_same_bits(other, first)
    return first


def assert_same_bits(found: list[np.ndarray], right: list[np.ndarray]) -> None:
    for one, other in zip(found, right, strict=True):
        np.testing.assert_array_equal(one, other)


NAMES = """float32|squares|weights|weights, outputs|no hidden layer|in order|segments, one of them frozen|gelu
dropout|dropout, float32|dropout of everything|two quantiles|loss focal|layer norm|rms norm, without bias|prelu|skips
embeddings|embeddings of nothing but words|both cut, penalties|lengths cut, segments|short weights, embeddings
an average of everything|sums over two batches|sums, embeddings, the last rows dropped|noise, float32|mixup
mixup of squares, noise|sums over mixed batches|ntk|input scale, embeddings|waves|waves beside embeddings
a learned share, dropout|dropout and decay that fade|all ingredients|all ingredients, float32
all ingredients, two batches to a step"""
CHOSEN = NAMES.replace("\n", "|").split("|")


@pytest.mark.parametrize("name", CHOSEN)
def test_compiled_shards_are_those_made_stage_by_stage(name):
    settings = {**CASES[name], "shards": SHARDS}
    plain = make(numpy_backend(), **settings)
    assert isinstance(plain.steps._way, StagedShards)
    compiled = [make(native_backend(threads), **settings) for threads in (1, 2, 3)]
    assert all(isinstance(one.steps._way, CompiledShards) for one in compiled)
    right, first, *others = states([plain, *compiled])
    tolerance = 100 * TOLERANCE[settings.get("dtype", "float64")]
    for expected, actual in zip(right, first, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    for found in others:
        assert_same_bits(found, first)
    for size in (2, 16):
        assert_same_bits(of_workers(size, settings), first)


@pytest.mark.parametrize("limit", [1, 4])
@pytest.mark.parametrize("name", ["weights", "all ingredients"])
def test_long_shards_are_added_in_memory_with_the_same_bits(name, limit, monkeypatch):
    """Of many rows, or many shards, no more than a block is added in registers."""
    settings = {**CASES[name], "shards": SHARDS}
    (right,) = states([make(native_backend(1), **settings)])
    monkeypatch.setattr(do, "BLOCK", limit)
    for threads in (1, 2, 3):
        (found,) = states([make(native_backend(threads), **settings)])
        assert_same_bits(found, right)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_units_are_shared_out_by_columns_with_the_same_bits(threads, monkeypatch):
    shape = {"hidden": (Block(20, Relu()), Block(64, Relu())), "penalty": Penalty(l2=0.1), "shards": 4}
    (right,) = states([make(native_backend(1), **shape)])
    monkeypatch.setattr(row_pass, "CACHE", 0)
    for limit in (do.BLOCK, 1):
        monkeypatch.setattr(do, "BLOCK", limit)
        (found,) = states([make(native_backend(threads), **shape)])
        assert_same_bits(found, right)


def test_rows_are_what_they_are_in_the_whole_batch():
    """A worker of few rows multiplies as one that has them all, though a product of few rows goes another way."""
    settings = {"hidden": (Block(40, Relu()), Block(40, Relu())), "batch": 40, "shards": 8, "dtype": "float32"}
    (right,) = states([make(native_backend(1), **settings)])
    for size in (2, 8):
        assert_same_bits(of_workers(size, settings), right)


@every_library
@pytest.mark.parametrize("name", ["float32", "all ingredients, two batches to a step"])
def test_every_set_of_instructions_makes_these_steps(name, library):
    settings = {**CASES[name], "shards": SHARDS}
    right, found = states(make(backend, **settings) for backend in (numpy_backend(), native_backend(2, library)))
    tolerance = 100 * TOLERANCE[settings.get("dtype", "float64")]
    for expected, actual in zip(right, found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@every_library
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("by_columns", [False, True])
def test_a_product_over_shards_is_the_sum_of_products(dtype, by_columns, library):
    """Bit for bit, in the order of the tree; also with shards of no rows."""
    rng, crews = np.random.default_rng(0), [Crew(threads, kernels=library) for threads in (1, 2, 3)]
    for rows, units, inputs, count in ((64, 33, 70, 8), (5, 17, 40, 16), (0, 9, 20, 4), (256, 8, 300, 256)):
        Delta, X = (rng.standard_normal((rows + 1, n)).astype(dtype)[:rows] for n in (units, inputs))
        parts, found = cut(rows, count), np.full((units + 1, inputs), np.nan, dtype)
        ends, sums = np.array([part.stop for part in parts]), []
        for part in parts:
            sums.append(np.zeros((units, inputs), dtype))
            record = do.product(Delta[part].T, X[part], sums[-1], crews[0].scratch)
            crews[0].run(do.assemble(library, [record]))
        add_pairs(sums)
        for crew in crews:
            record = do.product(Delta.T, X, found[:-1], crew.scratch, by_columns, ends=ends)
            crew.run(do.assemble(library, [record]))
            np.testing.assert_array_equal(found[:-1], sums[0])
            assert np.isnan(found[-1]).all()
            found[:] = np.nan


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"hidden": (Block(9, Relu(), norm="batch"),)},
            "(norm batch is not in whole steps yet)",
        ),
        ({"rule": "muon"}, "; updates, operation by operation (optimizer.name muon is not in whole steps yet)"),
        ({}, "steps: in 4 shards of up to 4 rows, summed in an order of theirs"),
    ],
)
def test_what_is_not_compiled_is_said(settings, said):
    steps = make(native_backend(1), shards=4, **settings).steps
    assert isinstance(steps, ShardedSteps)
    assert steps.name.endswith(said)
    assert (steps.hindrance is None) == ("norm" not in said)


@pytest.mark.parametrize("rows", [16, 40])
def test_memory_for_sums_is_what_was_said(rows, monkeypatch):
    """One gradient, and one more for each floor of the tree on which products are too long for registers."""
    monkeypatch.setattr(do, "BLOCK", 16)
    trainer = make(native_backend(1), batch=rows, shards=8, hidden=(Block(300, Relu()), Block(300, Relu())))
    nbytes = trainer.job.network.parameters.grad.nbytes
    assert trainer.steps.spared == -(0 if rows == 16 else 2) * nbytes
    list(trainer.run())
    written = [(room != 0).mean() for room in trainer.steps._way._gradients._rooms]
    assert sum(share > 0.5 for share in written) == (0 if rows == 16 else 2)


SLIPS = {
    "a dropped shard": (shards.Gradients, "over", lambda sound: lambda self, one, parts: sound(self, one, parts[:4])),
    "masks of other rows": (
        shards,
        "RowPass",
        lambda sound: lambda *given, first, **more: sound(*given, first=0, **more),
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_another_training(name, monkeypatch):
    """What these tests compare does show it."""
    settings = {"hidden": (Block(37, Relu(), dropout=0.5),), "shards": SHARDS}
    (right,) = states([make(native_backend(1), **settings)])
    place, what, change = SLIPS[name]
    monkeypatch.setattr(place, what, change(getattr(place, what)))
    found = of_workers(2, settings)
    assert not np.allclose(found[1], right[1])


def test_no_rows_of_a_batch_are_no_gradient():
    trainer = make(native_backend(2), shards=4)
    steps, network = trainer.steps, trainer.job.network
    X, Y, _ = trainer.job.batches.batch(0, 0, slice(0, 0))
    network.parameters.grad[:] = np.nan
    losses = steps._way.gradient(X, Y, None, [slice(3, 3)] * 4, BATCH, 1.0, steps._pass(0))
    assert losses == [0.0] * 4
    assert not network.parameters.grad.any()

"""Our own threads: the parts of a piece of work are fixed, so its bits are too."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from waiting import LIMIT

from mlp_core.nn import team as room
from mlp_core.nn.team import Team


@pytest.fixture(autouse=True)
def _share_everything(monkeypatch):
    monkeypatch.setattr(room, "LEAST_FLOPS", 0)
    monkeypatch.setattr(room, "HEAD_START", 0)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("head_start", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 33, 1000])
def test_the_parts_cover_everything_once(length, head_start, threads):
    parts = Team(threads).parts(length, head_start)
    assert len(parts) <= threads
    np.testing.assert_array_equal(np.concatenate([np.arange(length)[part] for part in parts]), np.arange(length))


SHAPES = [(128, 784, 512), (512, 128, 784), (10, 128, 512), (1, 3, 1), (40, 7, 300)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", ["neither", "A", "B"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_is_that_of_numpy(shape, turned, dtype):
    i, k, j = shape
    rng = np.random.default_rng(0)
    A = rng.standard_normal((k, i)).astype(dtype).T if turned == "A" else rng.standard_normal((i, k)).astype(dtype)
    B = rng.standard_normal((j, k)).astype(dtype).T if turned == "B" else rng.standard_normal((k, j)).astype(dtype)
    team, results = Team(2), []
    for _ in range(3):
        out = np.full((i, j), np.nan, dtype)
        assert team.product(A, B, out) is out
        results.append(out)
    np.testing.assert_allclose(results[0], A @ B, rtol=0, atol=np.finfo(dtype).eps * 20 * np.sqrt(k))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_serial_and_concurrent_parts_give_the_same_bits():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 64, 64), dtype=np.float32)
    team, alone = Team(2), Team(2)
    alone.run = lambda tasks: [task() for task in tasks]
    np.testing.assert_array_equal(
        team.product(A, B, np.empty((64, 64), np.float32)), alone.product(A, B, np.empty((64, 64), np.float32))
    )


@pytest.mark.parametrize("place", [0, 1, 2], ids=["here", "first helper", "second helper"])
def test_an_error_comes_through_and_the_team_goes_on(place):
    team, done = Team(3), []

    def fail() -> None:
        raise ValueError("no")

    tasks = [fail if i == place else lambda i=i: done.append(i) for i in range(3)]
    with pytest.raises(ValueError, match="no"):
        team.run(tasks)
    team.run([lambda: done.append(7)] * 3)
    assert sorted(done) == sorted({0, 1, 2} - {place}) + [7] * 3


def test_the_threads_end_with_their_team():
    before, team = set(threading.enumerate()), Team(3)
    team.run([int, int, int])
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 2
    del team
    for helper in helpers:
        helper.join(timeout=LIMIT)
        assert not helper.is_alive()

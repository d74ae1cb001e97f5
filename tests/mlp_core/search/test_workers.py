"""Workers together take no more threads than there are processors, and leave what they were started from as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product

import pytest

from mlp_core.search import workers
from mlp_core.search.workers import at_once, carry_out


@pytest.mark.parametrize("processors", [1, 2, 3, 8, 64])
def test_processes_times_threads_are_no_more_than_processors(processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "available_cpus", lambda: processors)
    for asked, tasks, threads in product((None, 1, 2, 5, 100), (1, 3, 50), (1, 2, 7)):
        count = at_once(asked, tasks, threads, "cpu")
        assert 1 <= count <= tasks
        assert count * threads <= processors or count == 1  # a single one takes the threads that it is told to take
        assert asked is None or count <= asked
        if asked is None and threads == 1:
            assert count == min(processors, tasks)
    assert at_once(None, 5, 1, "cuda") == 1


def limits(task: int, stop: Callable[[], int]) -> tuple[int, str | None, int, int]:
    """What libraries of a worker read of how many threads they may take, and what Arrow took."""
    import pyarrow

    return task, os.environ.get("OMP_NUM_THREADS"), pyarrow.cpu_count(), os.getpid()


def test_libraries_of_workers_keep_to_their_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    told = dict(carry_out(limits, [10, 11], 2, 1, lambda: 0))
    assert [told[place][:3] for place in (0, 1)] == [(10, "1", 1), (11, "1", 1)]
    assert os.getpid() not in {one[3] for one in told.values()}
    assert os.environ["OMP_NUM_THREADS"] == "5"

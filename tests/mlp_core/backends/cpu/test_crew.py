"""Threads that go through lists of instructions together: shares, sleep, an end that leaves nothing behind."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from compiled_kernels import LIBRARIES, needs_kernels
from waiting import wait_until

from mlp_core.backends.cpu import kernels
from mlp_core.backends.cpu import program as instructions
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.steps import native_backend
from mlp_core.nn.optimizer import Segment
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.parameters import Parameters, Spec

FILES = Path("/proc/self/fd")
MEETINGS = instructions.assemble(LIBRARIES[-1], [(instructions.MEET,)] * 50) if LIBRARIES else None
pytestmark = needs_kernels


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 7, 15, 16, 17, 32, 33, 47, 48, 1000])
def test_shares_cover_everything_once(count, threads):
    """As seen by an instruction that writes rows."""
    X, rows, where = np.arange(1.0, 2.0 + count), np.arange(count), np.zeros(1, np.int64)
    where[0], library, shares = rows.ctypes.data, LIBRARIES[-1], []
    for part in range(threads):
        out = np.zeros(count)
        program = instructions.assemble(library, [instructions.gather(X, where.ctypes.data, 0, out)])
        library.code.gather(*map(ctypes.c_int64, (program.ctypes.data, part, threads)))
        written = np.flatnonzero(out)
        shares.append((written[0], written[-1] + 1) if len(written) else None)
    found = [share for share in shares if share]
    assert [first for first, _ in found[1:]] == [last for _, last in found[:-1]]
    assert not found or (found[0][0], found[-1][1]) == (0, count)
    if count >= 16 * threads:
        assert all(first % 16 == 0 for first, _ in found)


def wait_until_asleep() -> None:
    """Until the system says of every thread of a crew that it sleeps, and not that it runs."""
    places = [Path(f"/proc/self/task/{one.native_id}/stat") for one in threading.enumerate() if "mlpbp" in one.name]
    if not Path("/proc/self/task").is_dir():
        pytest.skip("the system does not tell what a thread does")
    wait_until(lambda: all(place.read_text().rpartition(")")[2].split()[0] == "S" for place in places))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_all_meet_as_often_as_they_should_also_after_sleep(threads):
    crew = Crew(threads)
    for asleep in (False, False, True, False, True):
        if asleep:
            wait_until_asleep()
        for _ in range(20):
            assert crew.run(MEETINGS) == 1


def test_a_wait_is_a_sleep():
    crew = Crew(3)
    crew.run(MEETINGS)
    wait_until_asleep()


@pytest.mark.skipif(not FILES.is_dir(), reason="no list of open files on this system")
def test_the_threads_end_with_their_crew():
    gc.collect()  # crews of other tests
    before, files = set(threading.enumerate()), len(list(FILES.iterdir()))
    crew = Crew(4)
    assert set(threading.enumerate()) == before  # none before there is work
    crew.run(MEETINGS)
    others = set(threading.enumerate()) - before
    assert len(others) == 3
    del crew
    gc.collect()
    assert not any(thread.is_alive() for thread in others)
    assert len(list(FILES.iterdir())) == files


@pytest.mark.parametrize("started", [0, 1])
def test_a_crew_that_could_not_start_tries_again(started, monkeypatch):
    def refuse(thread, start=threading.Thread.start):
        if thread.name == f"mlpbp {started + 1}":
            raise RuntimeError("can't start new thread")
        start(thread)

    crew = Crew(3)
    with monkeypatch.context() as limits:
        limits.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="can't start new thread"):
                crew.run(MEETINGS)
    assert crew.run(MEETINGS) == 1


FORKED = """
import os
from mlp_core.backends.cpu.crew import Crew
from mlp_core.backends.cpu.program import MEET, assemble
crew = Crew(2)
meetings = assemble(crew.library, [(MEET,)] * 9)
crew.run(meetings)
child = os.fork()
if child == 0:
    crew.run(meetings)
    os._exit(7)
_, status = os.waitpid(child, 0)
crew.run(meetings)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_a_crew_of_its_own():
    command = [sys.executable, "-P", "-W", "ignore", "-c", FORKED]
    assert subprocess.run(command, capture_output=True, text=True, timeout=600).stdout == "7\n"


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"lbfgs", "muon"}))
def test_an_update_has_the_bits_of_an_undivided_one(name, monkeypatch):
    monkeypatch.setattr(kernels, "LEAST_ENTRIES", 0)
    results = []
    for threads in (1, 2, 3):
        backend = native_backend(threads)
        parameters = Parameters([Spec("0.weight", (1000, 1), True)], backend, np.float32)
        rng = np.random.default_rng(0)
        parameters.theta[:] = rng.standard_normal(1000)
        settings = {"mu": 0.9, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "rho": 0.9}
        optimizer = OPTIMIZERS[name](parameters, backend, [Segment(slice(3, 1000), 1, 0.1)], **settings)
        for _ in range(8):
            parameters.grad[:] = rng.standard_normal(1000)
            optimizer.step(parameters.theta, parameters.grad, 1e-2)
        results.append([parameters.theta, *optimizer.state.values()])
    for shared in results[1:]:
        np.testing.assert_array_equal(shared, results[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_numbers_below_the_smallest_normal_one_count_as_nothing_in_a_crew_and_only_there(threads, monkeypatch):
    """They take a processor hundreds of times as long, and whoever has learned its rows has many."""
    monkeypatch.setattr(kernels, "LEAST_ENTRIES", 0)
    tiny, backend = np.finfo(np.float32).smallest_subnormal, native_backend(threads)
    parameters = Parameters([Spec("0.weight", (4096, 1), True)], backend, np.float32)
    optimizer = OPTIMIZERS["momentum"](parameters, backend, mu=0.9)
    optimizer.state["m"][:] = 1000 * tiny
    optimizer.step(parameters.theta, parameters.grad, lr=0.1)
    assert not optimizer.state["m"].any()
    assert (np.full(4096, 1000 * tiny) * np.float32(0.9)).all()

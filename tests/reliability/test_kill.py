"""Killed at any instant and resumed, a run ends with the same bytes (K1, K2, K3 of the plan)."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from fork_server import ForkServer
from small_runs import different, go_on, state, undisturbed

KILLS = int(os.environ.get("MLPBP_KILLS", "30"))
CHAINS = int(os.environ.get("MLPBP_KILL_CHAINS", "5"))
LINKS = 10
Whole = dict[str, bytes | list[str]]


@pytest.fixture(scope="module")
def seconds(server: ForkServer, folder: Path) -> float:
    """How long an uninterrupted run takes."""
    begun = time.monotonic()
    assert server.run("train", "c.yaml", "-o", "timed", cwd=folder, eager=True).code == 0
    return time.monotonic() - begun


def killed(server: ForkServer, folder: Path, run: Path, after: float) -> bool:
    """Begin or resume a run and kill it after so many seconds; whether it was still there to be killed."""
    words = ("--resume", run) if (run / "config.resolved.yaml").exists() else ("c.yaml", "-o", run)
    child = server.start("train", *words, cwd=folder, eager=True)
    time.sleep(after)
    child.kill()
    result = child.wait()
    assert result.code in (0, 128 + 9), result.stderr
    return result.code != 0


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_time(
    server: ForkServer, folder: Path, room: Path, whole: Whole, seconds: float, number: int
) -> None:
    killed(server, folder, room / "r", random.Random(number).uniform(0, seconds))
    result = go_on(server, folder, room / "r")
    assert result.code == 0, result.stderr
    assert different(room / "r", whole) == []


@pytest.mark.parametrize("number", range(CHAINS))
def test_killed_again_and_again(
    server: ForkServer, folder: Path, room: Path, whole: Whole, seconds: float, number: int
) -> None:
    rng = random.Random(1000 + number)
    for _ in range(rng.randint(2, LINKS)):
        killed(server, folder, room / "r", rng.uniform(0, 0.6 * seconds))
    result = go_on(server, folder, room / "r")
    assert result.code == 0, result.stderr
    assert different(room / "r", whole) == []


SHORT = ("train.epochs=2", "checkpoint.keep=1")


@pytest.fixture(scope="module")
def short(server: ForkServer, folder: Path) -> Whole:
    """What an uninterrupted run of two epochs leaves, of which the first is deleted again."""
    run = undisturbed(folder) / "short"
    assert server.run("train", "c.yaml", "-o", run, *SHORT, cwd=folder).code == 0
    return state(run)


def calls(server: ForkServer, folder: Path, run: Path, log: Path, *words: object) -> list[str]:
    """The file-system calls of a command line that change a run directory, one line each."""
    options = {"folder": str(run), "at": 0, "how": "kill", "log": str(log)}
    assert server.run("train", *words, cwd=folder, eager=True, fail=options).code == 0
    return log.read_text().splitlines()


def kill_at_every_call(
    server: ForkServer, folder: Path, room: Path, short: Whole, names: list[str], before: Path | None
) -> None:
    """Kill a run, or the resuming of the one in `before`, at every call, also within every write; go on; compare."""
    for at, name in enumerate(names, start=1):
        for how in ("kill", "torn") if " pwrite " in name else ("kill",):
            run = room / f"{how}-{at}"
            if before is not None:
                shutil.copytree(before, run)
            words = ("c.yaml", "-o", run, *SHORT) if before is None else ("--resume", run)
            options = {"folder": str(run), "at": at, "how": how}
            result = server.run("train", *words, cwd=folder, eager=True, fail=options)
            assert result.code == 128 + 9, f"{name}: {result.stderr}"
            result = go_on(server, folder, run, *SHORT)
            assert result.code == 0, f"{how} {name}: {result.stderr}"
            assert different(run, short) == [], f"{how} {name}"
            shutil.rmtree(run)


def test_killed_at_every_call_of_a_run(server: ForkServer, folder: Path, room: Path, short: Whole) -> None:
    names = calls(server, folder, room / "counted", room / "log", "c.yaml", "-o", room / "counted", *SHORT)
    assert len(names) > 80
    assert {line.split()[1] for line in names} >= {"open", "pwrite", "fsync", "replace", "unlink", "mkdir"}
    kill_at_every_call(server, folder, room, short, names, None)


def test_killed_at_every_call_of_a_resumption(server: ForkServer, folder: Path, room: Path, short: Whole) -> None:
    words = ("c.yaml", "-o", room / "r", *SHORT)
    begun = calls(server, folder, room / "first", room / "log", "c.yaml", "-o", room / "first", *SHORT)
    at = next(i for i, line in enumerate(begun, start=1) if " replace " in line and "epoch-0002" in line)
    killed = {"folder": str(room / "r"), "at": at, "how": "kill"}
    assert server.run("train", *words, cwd=folder, eager=True, fail=killed).code == 128 + 9
    (room / "r/checkpoints/best.safetensors").unlink()  # the best of epoch 2: go on from the end of the first
    shutil.copytree(room / "r", room / "counted")
    names = calls(server, folder, room / "counted", room / "log2", "--resume", room / "counted")
    kill_at_every_call(server, folder, room, short, names, room / "r")

"""Signals: the documented exit code, and a run that goes on to the same end (S1)."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from fork_server import ForkServer
from small_runs import different, go_on
from waiting import wait_for, wait_until

SIGNALS = int(os.environ.get("MLPBP_SIGNALS", "30"))
KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAVED = r"mlpbp: interrupted at step [\d,]+, saved; continue with: mlpbp train --resume (\S+)"
LONG = ("train.epochs=100000", "train.early_stopping=false", "checkpoint.every=null")


@pytest.mark.parametrize("number", range(SIGNALS))
def test_at_a_random_time(
    server: ForkServer, folder: Path, room: Path, whole: dict[str, bytes | list[str]], number: int
) -> None:
    """One signal, two, or a storm of them, from the first moment of the program to its last."""
    rng = random.Random(number)
    child = server.start("train", "c.yaml", "-o", room / "r", cwd=folder, eager=True)
    sent = []
    for _ in range((1, 1, 2, 20)[number % 4]):
        time.sleep(rng.uniform(0, 0.3) if not sent else rng.uniform(0, 0.01))
        sent.append(KINDS[rng.randrange(3)])
        child.kill(sent[-1])
    result = child.wait()
    assert result.code in {0, *(128 + kind for kind in sent)}, result.stderr
    assert result.errors() == []
    if result.code and len(sent) == 1 and "saved" in result.stderr:
        assert result.code == 128 + sent[0]
        assert re.fullmatch(SAVED, result.stderr.splitlines()[-1])
    assert go_on(server, folder, room / "r").code == 0
    assert different(room / "r", whole) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_finished_and_saved(server: ForkServer, folder: Path, room: Path, kind: signal.Signals) -> None:
    child = server.start("train", "c.yaml", "-o", room / "r", *LONG, cwd=folder)
    wait_for(room / "r/metrics.jsonl")
    child.kill(kind)
    result = child.wait()
    assert result.code == 128 + kind
    match = re.fullmatch(SAVED, result.stderr.splitlines()[-1])
    assert match, result.stderr
    assert match[1] == str(room / "r")
    record = (room / "r/run.json").read_text()
    assert '"status": "interrupted"' in record
    assert f'"exit_code": {128 + kind}' in record


@pytest.mark.parametrize("second", KINDS)
def test_a_second_signal_leaves_at_once(server: ForkServer, folder: Path, room: Path, second: signal.Signals) -> None:
    """Where the step, or a save, does not come to its end: here the first save takes for ever."""
    child = server.start("train", folder / "c.yaml", "-o", "r", cwd=room, stall="mlp_core.runs.run_directory:save")
    wait_for(room / "stalled")
    child.kill(signal.SIGTERM)
    wait_for(room / "heard")
    child.kill(second)
    result = child.wait()
    assert result.code == 128 + second
    assert result.stderr.splitlines()[-1] == "mlpbp: interrupted"


@pytest.mark.parametrize("kind", KINDS)
def test_before_training(server: ForkServer, folder: Path, room: Path, kind: signal.Signals) -> None:
    """While the config is read, which here takes for ever."""
    child = server.start("train", folder / "c.yaml", "-o", "r", cwd=room, stall="mlp_core.config:load")
    wait_for(room / "stalled")
    child.kill(kind)
    result = child.wait()
    assert result.code == 128 + kind
    assert result.stderr == "mlpbp: interrupted\n"
    assert not (room / "r").exists()


def test_what_is_ignored_stays_ignored(server: ForkServer, folder: Path, room: Path) -> None:
    """Under nohup a hang-up does not stop a run."""
    child = server.start("train", "c.yaml", "-o", room / "r", *LONG, cwd=folder, ignore=int(signal.SIGHUP))
    log = room / "r/metrics.jsonl"
    wait_for(log)
    child.kill(signal.SIGHUP)
    size = log.stat().st_size
    wait_until(lambda: log.stat().st_size > size)
    child.kill(signal.SIGTERM)
    assert child.wait().code == 128 + signal.SIGTERM

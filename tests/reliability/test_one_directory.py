"""Several processes that want one directory: exactly one gets it (P1)."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from fork_server import ForkServer
from test_signals import LONG
from waiting import wait_for, wait_until

RACES = int(os.environ.get("MLPBP_RACES", "10"))
IN_USE = r"mlpbp: error: \S+: in use by process \d+ since \d\d:\d\d; choose another --output or stop it"


@pytest.mark.parametrize("number", range(RACES))
def test_exactly_one_wins(server: ForkServer, folder: Path, room: Path, number: int) -> None:
    """New runs in one empty directory, or resumptions of one run."""
    resumed = number % 2 == 1
    if resumed:
        assert server.run("train", "c.yaml", "-o", room / "r", "train.epochs=1", cwd=folder).code == 0
    words = ("--resume", room / "r") if resumed else ("c.yaml", "-o", room / "r")
    children = [server.start("train", *words, *LONG[:2], cwd=folder) for _ in range(4)]
    wait_until(lambda: sum(has_ended(child.pid) for child in children) >= 3)
    losers = [child for child in children if has_ended(child.pid)]
    (winner,) = [child for child in children if child not in losers]
    wait_for(room / "r/metrics.jsonl")
    winner.kill(signal.SIGTERM)
    assert winner.wait().code == 128 + signal.SIGTERM
    for child in losers:
        result = child.wait()
        assert result.code == 1, result.stderr
        assert re.fullmatch(IN_USE, result.errors()[0]) or "in use by another process" in result.errors()[0]


def has_ended(pid: int) -> bool:
    """Whether a process is a zombie, without taking it from its parent."""
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "Z"


def test_who_has_it_is_said(server: ForkServer, folder: Path, room: Path) -> None:
    child = server.start("train", "c.yaml", "-o", room / "r", *LONG, cwd=folder)
    wait_for(room / "r/metrics.jsonl")
    refused = [server.run("train", "c.yaml", "-o", room / "r", cwd=folder)]
    refused += [server.run("train", "--resume", room / "r", cwd=folder)]
    child.kill(signal.SIGTERM)
    child.wait()
    for result in refused:
        assert result.code == 1
        pattern = f"mlpbp: error: {room}/r: in use by process {child.pid} since \\d\\d:\\d\\d; "
        assert re.fullmatch(pattern + "choose another --output or stop it", result.errors()[0])


def test_numbered_directories_are_never_shared(server: ForkServer, folder: Path, room: Path) -> None:
    children = [
        server.start("train", "c.yaml", "train.epochs=1", f"output.dir={room}", "--json", cwd=folder) for _ in range(6)
    ]
    results = [child.wait() for child in children]
    assert [result.code for result in results] == [0] * 6
    assert {json.loads(result.stdout)["run"] for result in results} == {f"{room}/c-{n:03d}" for n in range(1, 7)}


def test_a_finished_run_is_not_overwritten(server: ForkServer, folder: Path, room: Path) -> None:
    assert server.run("train", "c.yaml", "-o", room / "r", cwd=folder).code == 0
    before = {path: path.read_bytes() for path in (room / "r").rglob("*") if path.is_file()}
    result = server.run("train", "c.yaml", "-o", room / "r", cwd=folder)
    assert result.code == 2
    assert result.errors() == [
        f"mlpbp: error: {room}/r: the directory is not empty; choose another --output, or continue the run in it with: "
        f"mlpbp train --resume {room}/r"
    ]
    assert {path: path.read_bytes() for path in (room / "r").rglob("*") if path.is_file()} == before


def test_a_folder_of_somebody_else_is_not_touched(server: ForkServer, folder: Path, room: Path) -> None:
    (room / "mine").mkdir()
    (room / "mine/config.yaml").write_text("precious")
    assert server.run("train", "c.yaml", "-o", room / "mine", cwd=folder).code == 2
    assert [path.name for path in (room / "mine").iterdir()] == ["config.yaml"]

"""A disk that fails at any call, or is really full: an error or a warning, and what was saved stays good (I1, I2)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from failing import ERRORS
from fork_server import ForkServer, Result
from small_runs import different, go_on, state, undisturbed

from mlp_core.training.checkpoint import load

EVERY_ERROR = os.environ.get("MLPBP_EVERY_ERROR") == "1"
WORDS = ("train.epochs=2", "checkpoint.keep=1")
Whole = dict[str, bytes | list[str]]


@pytest.fixture(scope="module")
def short(server: ForkServer, folder: Path) -> Whole:
    run = undisturbed(folder) / "short-for-errors"
    assert server.run("train", "c.yaml", "-o", run, *WORDS, cwd=folder).code == 0
    return state(run)


def count(server: ForkServer, folder: Path, room: Path) -> int:
    """How many file-system calls an undisturbed run makes in its directory."""
    options = {"folder": str(room / "counted"), "at": 0, "how": "EIO", "log": str(room / "log")}
    result = server.run("train", "c.yaml", "-o", room / "counted", *WORDS, cwd=folder, eager=True, fail=options)
    assert result.code == 0, result.stderr
    return len((room / "log").read_text().splitlines())


def judge(result: Result, run: Path) -> None:
    """An error in one line and exit 1, or done with or without a warning; every checkpoint there is verifies."""
    if result.code:
        assert result.code == 1, result.stderr
        assert len(result.errors()) == 1, result.stderr
    else:
        assert result.errors() == []
    for path in (run / "checkpoints").glob("*.safetensors"):
        load(path)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_the_nth_call_fails(server: ForkServer, folder: Path, room: Path, short: Whole, lasting: bool) -> None:
    calls = count(server, folder, room)
    assert calls > 100
    for at in range(1, calls + 1):
        for error in ERRORS if EVERY_ERROR else (ERRORS[at % len(ERRORS)],):
            run = room / f"{error}-{at}"
            options = {"folder": str(run), "at": at, "how": error + "+" * lasting}
            result = server.run("train", "c.yaml", "-o", run, *WORDS, cwd=folder, eager=True, fail=options)
            judge(result, run)
            if result.code:
                result = go_on(server, folder, run, *WORDS)
                assert result.code == 0, f"{error} at {at}: {result.stderr}"
            assert different(run, short) == [], f"{error} at {at}"
            shutil.rmtree(run)


BIG = ("model.hidden=[300, 200]", "checkpoint.every=1", "checkpoint.keep=9", "train.epochs=3")


@pytest.mark.parametrize("limit", [100_000, 600_000, 900_000])
def test_a_largest_file_size(server: ForkServer, folder: Path, room: Path, limit: int) -> None:
    """RLIMIT_FSIZE: writes beyond it fail with EFBIG, as on a full disk with ENOSPC."""
    result = server.run("train", "c.yaml", "-o", room / "r", *BIG, cwd=folder, eager=True, limit=limit)
    judge(result, room / "r")
    assert result.code == 1
    assert "File too large" in result.errors()[0]
    assert go_on(server, folder, room / "r", *BIG).code == 0


def test_standard_output_is_full(server: ForkServer, folder: Path, room: Path) -> None:
    result = server.run("train", "c.yaml", "-o", room / "r", cwd=folder, stdout="/dev/full")
    assert result.code == 1
    assert result.errors() == ["mlpbp: error: No space left on device"]
    load(room / "r/checkpoints/last.safetensors")
    assert server.run("eval", room / "r", cwd=folder, stdout="/dev/full").code == 1
    assert server.run("eval", room / "r", "--json", cwd=folder, stdout="/dev/full").code == 1


def test_standard_error_is_full(server: ForkServer, folder: Path, room: Path) -> None:
    """Progress that nobody can see does not stop the work."""
    result = server.run("train", "c.yaml", "-o", room / "r", cwd=folder, stderr="/dev/full")
    assert result.code == 0
    assert "accuracy" in result.stdout


def test_dev_full_as_run_directory(server: ForkServer, folder: Path) -> None:
    result = server.run("train", "c.yaml", "-o", "/dev/full", cwd=folder)
    assert result.code == 2
    assert result.errors() == ["mlpbp: error: /dev/full: not a directory"]


def test_a_tmpfs_that_is_full(server: ForkServer, folder: Path, room: Path) -> None:
    """A real full disk, where this process may mount one."""
    (room / "disk").mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=1m none {room}/disk 2>/dev/null"):
        pytest.skip("no right to mount a small disk here")
    try:
        run = room / "disk/r"
        words = ("model.hidden=[100, 60]", "checkpoint.every=1", "checkpoint.keep=9", "train.epochs=9")
        result = server.run("train", "c.yaml", "-o", run, *words, cwd=folder, eager=True)
        judge(result, run)
        assert "No space left on device" in result.stderr
        for path in (run / "checkpoints").glob("epoch-*"):
            path.unlink()
        assert go_on(server, folder, run, "checkpoint.every=null").code == 0
    finally:
        os.system(f"umount {room}/disk")

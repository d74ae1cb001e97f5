"""Conversions over a table that is there: killed or failed at any call, and stopped by signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from failing import ERRORS
from fork_server import ForkServer
from waiting import wait_until

from mlp_core.data.readers.converted_table import read_folder

OLD, NEW = 30, 50


@pytest.fixture
def place(room: Path, server: ForkServer) -> Path:
    """A folder with two tables of text, the first one converted to `out`."""
    for name, rows in (("old", OLD), ("new", NEW)):
        lines = "".join(f"{i},{i / 7},{'xyz'[i % 3]}\n" for i in range(rows))
        (room / f"{name}.csv").write_text("a,b,c\n" + lines)
    (room / "in").mkdir()
    assert server.run("convert", "old.csv", "-o", "in/out", cwd=room).code == 0
    return room


def rows(place: Path) -> int:
    return read_folder(place / "in/out", on_disk=False).rows


def over(server: ForkServer, place: Path, at: int, how: str, log: Path | None = None) -> int:
    options = {"folder": str(place / "in"), "at": at, "how": how, "log": None if log is None else str(log)}
    result = server.run("convert", "new.csv", "-o", "in/out", "--force", cwd=place, fail=options)
    assert len(result.errors()) == (result.code == 1)
    return result.code


def calls(server: ForkServer, place: Path, how: str) -> list[str]:
    assert over(server, place, 0, how, place / "log") == 0
    assert rows(place) == NEW
    return (place / "log").read_text().splitlines()


def back(server: ForkServer, place: Path) -> None:
    """The old table again, and nothing beside it."""
    assert server.run("convert", "old.csv", "-o", "in/out", "--force", cwd=place).code == 0
    assert [path.name for path in (place / "in").iterdir()] == ["out"]
    assert rows(place) == OLD


def test_a_kill_at_any_call_loses_neither_table(server: ForkServer, place: Path) -> None:
    between = 0
    every = calls(server, place, "kill")
    assert sum(" rename " in call for call in every) == 2
    for at, call in enumerate(every, 1):
        for how in ("kill", "torn") if " pwrite " in call else ("kill",):
            back(server, place)
            assert over(server, place, at, how) == 128 + signal.SIGKILL
            if not (place / "in/out").exists():
                between += 1
                result = server.run("convert", "new.csv", "-o", "in/out", cwd=place)
                assert result.errors() == [
                    "mlpbp: error: in/out: there is such a file or folder; choose another with -o FOLDER, "
                    "or write over it with --force"
                ]
                assert rows(place) == NEW
                assert [path.name for path in (place / "in").iterdir()] == ["out"]
            assert rows(place) in (OLD, NEW)
    assert between == 1


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_failure_of_any_call_loses_neither_table(server: ForkServer, place: Path, lasting: bool) -> None:
    for at in range(1, len(calls(server, place, "EIO")) + 1):
        back(server, place)
        code = over(server, place, at, ERRORS[at % len(ERRORS)] + "+" * lasting)
        if not (place / "in/out").exists():
            assert code == 1
            assert server.run("convert", "new.csv", "-o", "in/out", cwd=place).code == 2
        assert rows(place) in ((NEW,) if code == 0 else (OLD, NEW))
        assert lasting or code == 0 or rows(place) == OLD or at > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(server: ForkServer, room: Path, number: signal.Signals) -> None:
    """Sent while rows are read: nothing is left, and the exit code says which signal it was."""
    lines = "".join(f"{i},{i / 7},{'xyz'[i % 3]}\n" for i in range(20_000))
    with (room / "long.csv").open("w") as file:
        file.write("a,b,c\n")
        for _ in range(100):
            file.write(lines)
    (room / "in").mkdir()
    child = server.start("convert", "long.csv", "-o", "in/out", cwd=room)
    wait_until(lambda: any((room / "in").glob(".out.*.tmp/values.npy")))
    child.kill(number)
    result = child.wait()
    assert result.code == 128 + number
    assert result.stderr.splitlines()[-1] == "mlpbp: interrupted"
    assert "Traceback" not in result.stderr
    assert list((room / "in").iterdir()) == []

"""Little memory, full screens, refused system calls, odd clocks: one line and the documented exit code."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fork_server import ForkServer
from small_runs import folder_with_config
from waiting import wait_until

OFTEN = os.environ.get("MLPBP_POOR") == "1"
START = "from mlpbp.__main__ import main; main()"
COMMANDS = [
    (("train", "c.yaml", "-q", "-o", "new"), 0),
    (("predict", "r", "table.csv"), 0),
    (("train", "c.yaml", "model.hiden=3"), 2),
]
WORDS = [words for words, _ in COMMANDS]


@pytest.fixture
def folder(server: ForkServer, room: Path) -> Path:
    folder_with_config(room)
    assert server.run("train", "c.yaml", "-o", "r", cwd=room).code == 0
    return room


def mlpbp(
    folder: Path, *words: str, before: str = "", limit: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own; `before` is Python that comes first."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'mlpbp'\n{before}\n{START}", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=120,
    )


@pytest.mark.parametrize("megabytes", range(50, 401, 10) if OFTEN else [60, 100, 140])
def test_an_address_space_that_is_too_small(folder: Path, megabytes: int) -> None:
    """Too small to be said for sure below 150 MB; above it may do, and the same line is said where it does not."""
    for words in COMMANDS[:2] if OFTEN else COMMANDS[1:2]:
        result = mlpbp(
            folder,
            *words[0],
            limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20)),
        )
        if result.returncode == 0 and megabytes >= 150:
            continue
        assert result.returncode == 1, result.stderr
        *_, line = result.stderr.splitlines()
        assert line.startswith("mlpbp: error: not enough memory; ")
        assert "Traceback" not in result.stderr
    assert not list(folder.glob("mlpbp-crash*"))


@pytest.mark.parametrize(("words", "code"), COMMANDS, ids=[" ".join(words[:2]) for words in WORDS])
def test_nobody_can_be_told(folder: Path, server: ForkServer, words: tuple[str, ...], code: int) -> None:
    """A full stderr changes no exit code; a full stdout is exit code 1 where there is a result."""
    script = "import os; {}os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"
    assert mlpbp(folder, *words, before=script.format("")).returncode == code
    full = mlpbp(folder, *words, "--json", before=script.format("os.dup2(os.open('/dev/full', os.O_WRONLY), 1); "))
    assert full.returncode == (code or (2 if words[0] == "train" else 1))


def test_files_of_no_size(folder: Path) -> None:
    """With a file size limit of 0 nothing can be saved, nor written to a stdout that is a file."""
    to_files = "import os\nfor n in (1, 2): os.dup2(os.open(f'said{n}', os.O_WRONLY | os.O_CREAT), n)"
    for words, code in (("eval", "nothing"), 2), (("eval", "r"), 1), (("train", "c.yaml", "-o", "new"), 1):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731
        assert mlpbp(folder, *words, before=to_files, limit=limit).returncode == code
    assert not list(folder.glob("mlpbp-crash*"))


REFUSED = {
    "uname": "import os\ndef refused(): raise OSError(1, 'Operation not permitted')\nos.uname = refused",
    "the processors": "import os\ndef refused(*a): raise OSError(1, 'no')\nos.sched_getaffinity = refused",
    "a clock in the year 1,000,000": "import time\ntime.time = lambda: 3.15e13\n"
    "real = time.localtime\ntime.localtime = lambda *a: real(3.15e13)\n"
    "form = time.strftime\ntime.strftime = lambda f, *a: form(f, *(a or (real(3.15e13),)))",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_system_refuses_or_tells_wrongly(folder: Path, what: str) -> None:
    for words in (("train", "c.yaml", "-o", "new", "-q"), ("predict", "r", "table.csv", "-o", "p.npz")):
        result = mlpbp(folder, *words, before=REFUSED[what])
        assert result.returncode == (1 if what == "uname" else 0), result.stderr  # the standard library asks it, too
        assert "Traceback" not in result.stderr
        assert len(result.stderr.splitlines()) < 4


@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"PYTHONUTF8": "0", "LC_ALL": "C"},
        {"COLUMNS": "1"},
        {"TERM": "dumb"},
        {"HOME": "/nowhere"},
    ],
    ids=str,
)
def test_odd_environments(folder: Path, environment: dict[str, str]) -> None:
    (folder / "table.csv").write_text((folder / "table.csv").read_text().replace("a,b,y", "größe,b,y"), "utf-8")
    for words in (
        ("train", "c.yaml", "-o", "new"),
        ("predict", "new", "table.csv"),
        ("predict", "new", "table.csv", "--keep", "größe"),
    ):
        result = mlpbp(folder, *words, **environment)
        assert result.returncode == 0, result.stderr


def test_closed_streams_and_a_removed_working_folder(folder: Path) -> None:
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    result = mlpbp(folder, "eval", str(folder / "r"), before=gone)
    assert result.returncode in (0, 1, 2), result.stderr
    assert "Traceback" not in result.stderr
    for closed in ("1", "2", "0 1 2"):
        words = f"exec {sys.executable} -m mlpbp eval r " + " ".join(f"{n}>&-" for n in closed.split())
        assert subprocess.run(["sh", "-c", words], cwd=folder, capture_output=True).returncode == 0


def test_signals_are_handled_before_anything_heavy_is_loaded() -> None:
    """What the entry point imports before its handlers stand: what `signal` itself needs, and two files of ours."""
    script = "import __future__, os, signal, sys, types; before = set(sys.modules); import mlpbp.__main__; "
    script += "print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["mlpbp", "mlpbp.__main__", "mlpbp.signals"]


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell which signals are caught")
@pytest.mark.parametrize("attempt", range(120 if OFTEN else 3))
def test_a_signal_in_the_first_second(folder: Path, attempt: int) -> None:
    """From the moment that the handlers stand, whatever is being loaded, on a busy machine."""
    rng, kind = random.Random(attempt), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[attempt % 3]
    words = [sys.executable, "-m", "mlpbp", "train", "c.yaml", "-o", "new", "train.epochs=100000"]
    words += ["train.early_stopping=false"]
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        usual = partial(signal.signal, kind, signal.SIG_DFL)  # nohup, and shells in the background, have them ignored
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child = subprocess.Popen(words, cwd=folder, preexec_fn=usual, **pipes)
        try:
            wait_until(lambda: catches(child.pid, signal.SIGTERM))
            time.sleep(rng.uniform(0, 1.2))
            child.send_signal(kind)
            _, said = child.communicate()
        finally:
            busy.kill()
            child.kill()
    assert child.returncode == 128 + kind, said
    assert said.splitlines()[-1].startswith("mlpbp: interrupted"), said

"""M2: one system call of a training run is refused, each in turn: an end with our words, never a hang; nothing lost.

By strace, in a process that has everything loaded and works with two threads. MLPBP_EVERY_CALL=1 takes every call of a
run and not a few of each kind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fork_server import ForkServer, Result
from small_runs import TABLE
from waiting import wait_until

from mlp_core.training.checkpoint import load

EVERY = os.environ.get("MLPBP_EVERY_CALL") == "1"
STRACE = shutil.which("strace")
PATIENCE = 120  # seconds after which a run counts as one that hangs; it takes a fraction of one
CONFIG = """
data: {train: table.csv, target: y, split: {val: 0.1}}
model: {hidden: [400, 300]}
train: {epochs: 2, batch_size: full, preflight: 'off'}
threads: 2
"""
ERRORS = {
    **{"mmap": "ENOMEM", "clone": "EAGAIN", "clone3": "EAGAIN", "write": "EPIPE"},
    **{"pwrite64": "ENOSPC", "fsync": "EIO", "openat": "EACCES", "mkdir": "EROFS", "read": "EIO", "uname": "EPERM"},
}
"""What a call of each kind fails with; EPERM where nothing else is said. In the suite, these alone."""
BEYOND_US = {"exit_group", "exit", "rt_sigreturn", "restart_syscall", "execve", "brk", "kill", "rt_sigsuspend", "futex"}
"""What never returns, or tells of a failure in another way than by an error; and waking another thread, which
never fails with memory that is there: a refused wake is a lost one."""
ABORTING = {"rseq", "set_robust_list", "munmap", "mprotect", "madvise", "rt_sigprocmask"}
"""Where the C library itself may end a process, with a word of its own and signal 6."""


def _traceable() -> bool:
    return (
        STRACE is not None
        and subprocess.run([STRACE, "-qq", "-o", os.devnull, "true"], capture_output=True).returncode == 0
    )


pytestmark = pytest.mark.skipif(not _traceable(), reason="strace is missing, or may not trace here")


@pytest.fixture(scope="module")
def place(shelf: Path) -> Path:
    folder = shelf / "calls"
    folder.mkdir()
    (folder / "table.csv").write_text(TABLE)
    (folder / "c.yaml").write_text(CONFIG)
    return folder


def _status(pid: int, name: str) -> str:
    """What the system tells of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{name}:"))


def traced(server: ForkServer, folder: Path, run: Path, *options: str) -> Result:
    """A training run under strace with these options; exit code 137 if it had to be killed."""
    child = server.start("train", "c.yaml", "-o", run, cwd=folder, traced=True)
    wait_until(lambda: _status(child.pid, "State").startswith("T"))
    tracer = subprocess.Popen([str(STRACE), "-f", "-qq", *options, "-p", str(child.pid)], stderr=subprocess.DEVNULL)
    wait_until(lambda: _status(child.pid, "TracerPid") != "0")
    child.kill(signal.SIGCONT)
    watch = threading.Timer(PATIENCE, child.kill)
    watch.start()
    try:
        return child.wait()
    finally:
        watch.cancel()
        tracer.wait()


def calls(server: ForkServer, folder: Path) -> Iterator[tuple[str, int]]:
    """The kinds of calls of a whole run, and how often a thread makes each at most."""
    log = folder / "log"
    result = traced(server, folder, folder / "whole", "-o", str(log))
    assert result.code == 0, result.stderr
    found = re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE)
    most: dict[str, int] = {}
    for (_, name), count in Counter(found).items():
        most[name] = max(count, most.get(name, 0))
    shutil.rmtree(folder / "whole")
    yield from sorted(item for item in most.items() if item[0] not in BEYOND_US)


def judge(call: str, at: int, result: Result, run: Path) -> None:
    """An end of ours, or done; and what was saved is good."""
    told = f"{call} number {at}: {result.code}\n{result.stdout[-300:]}\n{result.stderr[-1500:]}"
    ours = (0, 1, 2, 141) if call == "write" else (0, 1, 2)  # 141: nobody reads what it says
    assert result.code in ours or (call in ABORTING and result.code == 128 + signal.SIGABRT), told
    assert "Traceback" not in result.stderr, told
    for path in (run / "checkpoints").glob("*.safetensors"):
        load(path)


def test_a_system_call_is_refused(server: ForkServer, place: Path) -> None:
    for call, count in calls(server, place):
        for at in range(1, count + 1) if EVERY else [1 + count // 2] if call in ERRORS else []:
            run = place / f"{call}-{at}"
            error = ERRORS.get(call, "EPERM")
            result = traced(server, place, run, "-o", os.devnull, "-e", f"inject={call}:error={error}:when={at}")
            judge(call, at, result, run)
            if run.exists() and (run / "config.resolved.yaml").exists():
                again = server.run("train", "--resume", run, cwd=place)
                assert again.code == 0, f"after {call} number {at}: {again.stderr}"
                shutil.rmtree(run)

"""Nothing on the way of a run needs POSIX: the commands, where its names are missing one by one and all together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NAMES = (
    *("fcntl", "resource", "signal.SIGHUP", "os.O_NOFOLLOW", "os.O_NONBLOCK", "os.O_CLOEXEC", "os.O_DIRECTORY"),
    *("os.preadv", "os.pread", "os.pwrite", "os.geteuid", "os.sched_getaffinity", "CDLL(None)", "/proc"),
)
MORE = (
    *("pwd", "grp", "termios", "tty", "/sys", "signal.SIGKILL", "signal.SIGALRM", "signal.SIGPIPE", "signal.SIGUSR1"),
    *("os.fork", "os.uname", "os.sysconf", "os.statvfs", "os.getuid", "os.getpgid", "os.getloadavg", "os.fchmod"),
    *("os.chown", "os.mkfifo", "os.pwritev", "os.posix_fadvise", "os.posix_fallocate", "os.register_at_fork"),
)
CASES = [*([name] for name in NAMES), [*NAMES, *MORE]]
SMALL = "model: {hidden: [4]}\ntrain: {epochs: 1}\nthreads: 1\n"


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> list[str | None]:
    """What each case printed where it failed."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork, and few of the names")
    folder, rng = tmp_path_factory.mktemp("portable"), np.random.default_rng(3)
    X = rng.standard_normal((60, 3)).astype(np.float32)
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", (X.sum(axis=1) > 0).astype(np.int64))
    rows = "".join(f"{a},{b},{'ab'[int(a + b > 0)]}\n" for a, b, _ in X)
    (folder / "table.csv").write_text("first,second,kind\n" + rows)
    (folder / "table.yaml").write_text("data: {train: table.csv, target: kind}\n" + SMALL)
    (folder / "rows.yaml").write_text("data: {train: {x: x.npy, y: y.npy}, memory: memmap}\n" + SMALL)
    program = Path(__file__).with_name("without_posix.py")
    result = subprocess.run(
        [sys.executable, program, folder],
        input=json.dumps(CASES),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("case", range(len(CASES)), ids=[*NAMES, "all"])
def test_the_commands_run_without(case: int, failures: list[str | None]):
    assert failures[case] is None, failures[case]

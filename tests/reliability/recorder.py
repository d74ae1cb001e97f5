"""Carries out command lines in one process and records what each writes, deletes, starts and opens, as Python tells.

As a program: reads a list of command lines (JSON) from stdin, carries each out, and prints for each its exit code, the
events and what it said. `walk` is its client.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = {
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move", "tempfile.mkstemp"),
}
STARTS = {
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen"),
    *("socket.connect", "pickle.find_class"),
}


@dataclass(frozen=True)
class Deed:
    """What one command line did: what it said, and the paths it wrote or deleted and those it read, in order."""

    words: list[str]
    code: int
    said: str
    changed: list[str]
    started: list[str]
    read: list[str]


def walk(commands: list[list[str]], folder: Path) -> list[Deed]:
    """Carry out command lines in `folder`, one after another."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    environment |= {"HOME": str(folder), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [Deed(**one) for one in json.loads(done.stdout)]


class Recorder:
    """An audit hook: it cannot be taken away again, so nothing that is loaded later gets past it."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.started: list[str] = []
        self.read: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if isinstance(path, str | bytes):
                (self.changed if writes else self.read).append(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100
        elif event in CHANGES:
            self.changed += [os.path.abspath(os.fsdecode(a)) for a in arguments if isinstance(a, str | bytes)]  # noqa: PTH100
        elif event in STARTS and arguments[:1] != ("fc-list",):  # matplotlib's look at the fonts
            self.started.append(f"{event} {arguments[:1]}")


def serve() -> None:
    commands = json.load(sys.stdin)
    from mlpbp.main import app  # noqa: F401 - everything that is loaded once is loaded before anything is recorded

    recorder = Recorder()
    sys.addaudithook(recorder)
    deeds = []
    for words in commands:
        recorder.changed, recorder.started, recorder.read = [], [], []
        said = io.StringIO()
        code: object = 99
        sys.argv = ["mlpbp", *words]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                from mlpbp.main import main

                main()
            except SystemExit as leaving:
                code = leaving.code
        lists = {name: sorted(set(getattr(recorder, name))) for name in ("changed", "started", "read")}
        deeds.append({"words": words, "code": code, "said": said.getvalue(), **lists})
    print(json.dumps(deeds))


if __name__ == "__main__":
    serve()

"""A process that has everything loaded and forks a child for every command line: a kill costs milliseconds.

As a program it reads requests from stdin, one JSON object a line, and answers each; `ForkServer` is its client.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any


@dataclass
class Child:
    """A command line that is being carried out."""

    server: ForkServer
    pid: int
    folder: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)  # a zombie until it is waited for, so this is never another process

    def wait(self) -> Result:
        """The exit code (128 + n when killed by signal n, as a shell has it) and what was printed."""
        answer = self.server.ask({"wait": self.pid})
        return Result(
            answer["code"], self._printed("stdout"), self._printed("stderr"), answer["megabytes"], answer["seconds"]
        )

    def _printed(self, name: str) -> str:
        """What it printed; a child that was killed at once has not even a file for it."""
        path = self.folder / f"{name}-{self.pid}.txt"
        return path.read_text() if path.exists() else ""


@dataclass(frozen=True)
class Result:
    code: int
    stdout: str
    stderr: str
    megabytes: float
    seconds: float = 0.0  # of processor time

    def errors(self) -> list[str]:
        """The error lines; fails where there is a traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        return [line for line in self.stderr.splitlines() if line.startswith("mlpbp: error: ")]


class ForkServer:
    """Starts command lines of mlpbp in `folder`, where their output is kept too, in files next to it."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "80"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def start(self, *arguments: object, cwd: Path, **options: Any) -> Child:
        """Begin a command line; options are those of `_prepare`."""
        request = {"arguments": list(map(str, arguments)), "cwd": str(cwd), "logs": str(self.logs), **options}
        return Child(self, self.ask(request)["pid"], self.logs)

    def run(self, *arguments: object, cwd: Path, **options: Any) -> Result:
        return self.start(*arguments, cwd=cwd, **options).wait()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def _prepare(request: dict[str, Any]) -> None:
    """In the child: output to files, and what the test asks for; `traced`: stop, and wait to be continued.

    `eager` saves after every epoch however short; `fail` are arguments of `failing.install`; `limit` is the largest
    file size in bytes; `cpu` is the most processor time in seconds; `patch` or `stall` is a function "module:name" to
    be replaced; `stdout` and `stderr` are files
    to write to; `ignore` is a signal to be ignored.
    """
    pid = os.getpid()
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        path = request.get(name) or os.path.join(request["logs"], f"{name}-{pid}.txt")  # noqa: PTH118
        os.close(os.open(os.path.join(request["logs"], f"{name}-{pid}.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC))  # noqa: PTH118
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY), descriptor)
        setattr(sys, name, open(descriptor, "w", 1, "utf-8", closefd=False))  # noqa: SIM115 - perhaps a terminal
    os.chdir(request["cwd"])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number == request.get("ignore") else signal.SIG_DFL)
    import mlp_core.runs.run
    import mlp_core.runs.saves

    if request.get("eager"):
        mlp_core.runs.saves.SHARE = 1e9
    if "fail" in request:
        import failing

        failing.install(**request["fail"])
    if "cpu" in request:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (request["cpu"], request["cpu"]))
    if "limit" in request:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    for option in ("patch", "stall"):
        if option in request:
            _replace(request[option], option)


def _replace(target: str, option: str) -> None:
    """Put a function in the place of "module:name" that fails, or that makes a file `stalled` and sleeps for ever.

    While it does, a signal that was dealt with makes a file `heard`.
    """
    module, name = target.split(":")
    holder: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        holder = getattr(holder, part)

    def broken(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("broken on purpose\x1b[31m")

    def heard(handler: Any, number: int, frame: object) -> None:
        handler(number, frame)
        Path("heard").touch()

    def stalled(*arguments: object, **keywords: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, partial(heard, signal.getsignal(number)))
        Path("stalled").touch()
        while True:
            time.sleep(0.01)

    setattr(holder, last, broken if option == "patch" else stalled)


def _child(request: dict[str, Any]) -> None:
    code = 99
    try:
        _prepare(request)
        sys.argv = ["mlpbp", *request["arguments"]]
        from mlpbp.__main__ import main

        if request.get("traced"):
            os.kill(os.getpid(), signal.SIGSTOP)
        main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _warm_up() -> None:
    """Train, resume and evaluate once, so that everything a child needs is loaded."""
    from mlpbp.main import app
    from small_runs import folder_with_config

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        folder_with_config(Path(folder))
        for words in ("train c.yaml -o r", "train --resume r", "eval r"):
            app(args=["--quiet", *words.split()], standalone_mode=False)


def serve() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    _warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status, usage = os.wait4(request["wait"], 0)
            code = os.waitstatus_to_exitcode(status)
            used = {"megabytes": usage.ru_maxrss / 1024, "seconds": usage.ru_utime + usage.ru_stime}
            answer = {"code": 128 - code if code < 0 else code, **used}
        else:
            pid = os.fork()
            if pid == 0:
                answers.close()
                _child(request)
            answer = {"pid": pid}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    serve()

"""Starting workers: what MPI tells a process about itself, and `mpiexec` as a child that is watched.

A worker that is killed cannot say so, and `mpiexec` then ends all others without saying which was first. So the process
that started `mpiexec` watches the workers' processes, and names the first that is gone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.errors import Failed, Problem, UsageError, typed
from mlp_core.workers.parent import Parent

RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
TELL = "MLPBP_WATCHED"
"""Says to the workers which process watches them."""
MARK = "\x1fmlpbp\x1f"
"""Begins a line of worker 0 that is meant for the process that watches it."""
CHATTER = re.compile(
    rb"\[(mpiexec|proxy)[@:]|=   |={20,}|YOUR APPLICATION TERMINATED|This typically refers|Please see the FAQ|Abort\("
)
"""How lines begin in which mpiexec tells of what is told in one line here."""
DOCUMENTED = frozenset({0, 1, 2, 3, 129, 130, 143})


def _told(names: Sequence[str], environment: Mapping[str, str]) -> int | None:
    return next((int(text) for name in names if (text := environment.get(name, "")).isdecimal()), None)


def launched(environment: Mapping[str, str] = os.environ) -> int | None:
    """The number of this worker, where MPI started several; None where this process is the only one."""
    rank, size = _told(RANKS, environment), _told(SIZES, environment)
    return rank if rank is not None and size is not None and size > 1 else None


def need_mpi() -> None:
    """Raise UsageError without mpi4py."""
    if importlib.util.find_spec("mpi4py") is None:
        hint = "pip install 'mlpbp[mpi]', and where there is no MPI: pip install mpich"
        raise UsageError(Problem("no_mpi", "several workers talk through MPI, and mpi4py is not installed", hint))


def find_mpiexec() -> Path:
    """The `mpiexec` of this Python's environment, else that of the PATH; raises UsageError."""
    for folder in (str(Path(sys.executable).parent), *os.get_exec_path()):
        if os.access(path := Path(folder, "mpiexec"), os.X_OK) and path.is_file():
            return path
    hint = "install an MPI, for example: pip install mpich"
    raise UsageError(Problem("no_mpi", "several workers are started by mpiexec, and there is none", hint))


def watched() -> Parent | None:
    """The process that watches this worker, if there is one."""
    told = os.environ.get(TELL)
    return None if told is None else Parent(told)


def tell(what: str, value: Any) -> None:
    """Tell the process that watches, if there is one, what it should know."""
    if os.environ.get(TELL):
        sys.stderr.write(f"{MARK}{json.dumps([what, value])}\n")
        sys.stderr.flush()


class Watched:
    """`mpiexec` with so many workers, which do what `arguments` of this program say. more: of their environment."""

    def __init__(self, count: int, arguments: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        """Raises UsageError where there is no MPI."""
        need_mpi()
        mpiexec = find_mpiexec()
        self.count = count
        environment = {**os.environ, **(more or {}), TELL: Parent.me()}
        for library in (mpiexec.parent.parent / "lib").glob("libmpi.so.*"):  # what belongs to it, in an environment of
            environment.setdefault("MPI4PY_LIBMPI", str(library))  # Python, too, where the system does not look
        command = [str(mpiexec), "-n", str(count), sys.executable, "-P", "-m", "mlpbp", *arguments]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # the terminal's Ctrl-C comes to us, and goes on from here, once
        )
        self._told: dict[str, Any] = {}  # what worker 0 says, by `tell`
        self._gone: int | None = None

    def signal(self, number: int) -> None:
        """Hand a signal on; one that says that the terminal is closed would end mpiexec alone."""
        hang_up = getattr(signal, "SIGHUP", None)
        self._child.send_signal(signal.SIGTERM if number == hang_up else number)

    def wait(self, asked: Callable[[], int]) -> int:
        """Hand on what the workers say until they are done; gives the exit code. `asked()` is that of a signal that
        was handed on, or 0. Raises Failed where a worker was killed."""
        with selectors.DefaultSelector() as selector:
            for stream, number in ((self._child.stdout, 1), (self._child.stderr, 2)):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ, _Lines(number, self._told.__setitem__))
            streams = 2
            while streams:
                for key, _ in selector.select():  # the first that is gone comes first
                    if isinstance(key.data, int):
                        self._gone = key.data if self._gone is None else self._gone
                        selector.unregister(key.fd)
                        os.close(key.fd)
                    elif not key.data.read(key.fd):
                        selector.unregister(key.fileobj)
                        streams -= 1
                if "processes" in self._told and self._gone is None:
                    self._watch(selector)
        code = self._child.wait()
        if code and asked():
            return asked()
        if code in DOCUMENTED:
            return code
        raise Failed(self._killed(code))

    def _watch(self, selector: selectors.BaseSelector) -> None:
        self._watching = self._told.pop("processes")
        for rank, process in enumerate(self._watching):
            try:
                selector.register(os.pidfd_open(process), selectors.EVENT_READ, rank)
            except (OSError, AttributeError):  # it is gone; or a system that does not have this
                continue

    def _killed(self, code: int) -> Problem:
        name = "a worker"
        if self._gone is not None:
            name = f"worker {self._gone} (process {self._watching[self._gone]})"
        number = code if code < 128 else code - 128
        if code < 0:
            name, number = "mpiexec", -code  # what it started sees that this process ends, and ends, too
        why = f" by {signal.Signals(number).name}" if number in signal.valid_signals() else ""
        if number == signal.SIGKILL:
            why += ", perhaps for want of memory"
        hint = None
        if "run" in self._told:
            hint = f"go on with: mlpbp train --resume {typed(self._told['run'])} --workers {self.count}"
        others = "workers" if code < 0 else "others"
        return Problem("worker_killed", f"{name} was killed{why}; the {others} were ended", hint)


class _Lines:
    """What comes from a pipe, line by line: chatter is left out, what is told is heard, the rest is handed on."""

    def __init__(self, number: int, heard: Callable[[str, Any], None]) -> None:
        self._number, self._heard = number, heard
        self._rest, self._blank, self._chatter = b"", False, False

    def read(self, descriptor: int) -> bool:
        """Whether there is more to come."""
        data = os.read(descriptor, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        if not data and self._blank and not self._chatter:
            _write(self._number, b"\n")
        if not data and self._rest:
            _write(self._number, self._rest + b"\n")  # cut off where a worker was killed: the next line is another's
        return bool(data)

    def _line(self, line: bytes) -> None:
        blank, self._blank = self._blank, False
        if line.startswith(MARK.encode()):
            self._heard(*json.loads(line[len(MARK) :]))
        elif not line:
            self._blank = True  # it may be the first line of chatter
            if blank:
                _write(self._number, b"\n")
        elif CHATTER.match(line):
            self._chatter = True
        else:
            self._chatter = False
            _write(self._number, b"\n" * blank + line + b"\n")


def _write(number: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(number, data) :]
        except OSError:  # nobody reads any more; the work goes on
            return

"""A program that runs commands where names of POSIX are missing: `without_posix.py FOLDER`, with the cases on stdin.

A case is a list of names; each is tried in a process of its own, which imports mlpbp only after they are gone. The
answer is one JSON list: what each case printed where it failed, null where it did not.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np  # noqa: F401  what other libraries need they have taken before
import pydantic  # noqa: F401
import rich.live  # noqa: F401
import safetensors.numpy  # noqa: F401
import threadpoolctl  # noqa: F401
import typer.testing  # noqa: F401
import yaml  # noqa: F401


def take_away(name: str) -> None:
    """`os.x`, `signal.x`, a module, `CDLL(None)`, or the files below `/proc`."""
    where, _, what = name.partition(".")
    if name == "CDLL(None)":
        ctypes.CDLL = _refusing(ctypes.CDLL, lambda given: given is None, TypeError("no name of a library"))
    elif name.startswith("/"):
        gone = FileNotFoundError(2, "no such file", name)
        below = lambda given: isinstance(given, str | os.PathLike) and os.fspath(given).startswith(name + "/")  # noqa: E731
        io.open = builtins.open = _refusing(io.open, below, gone)
        os.open, os.listdir = _refusing(os.open, below, gone), _refusing(os.listdir, below, gone)
    elif what:
        with contextlib.suppress(AttributeError):
            delattr(sys.modules[where], what)
    else:
        sys.modules[name] = None  # type: ignore[assignment]


def _refusing(call: Any, refused: Any, error: Exception) -> Any:
    def called(first: Any, *rest: Any, **keywords: Any) -> Any:
        if refused(first):
            raise error
        return call(first, *rest, **keywords)

    return called


def commands() -> None:
    """Import, `--help`, train from a table and from rows on the disk, eval, predict."""
    quiet = "kernels=numpy", "-q", "--debug"
    for line in (
        ("--help",),
        ("train", "../table.yaml", "-o", "run", *quiet),
        ("eval", "run", "-q"),
        ("predict", "run", "../table.csv", "-o", "answers.csv", "-q"),
        ("train", "../rows.yaml", "-o", "second", *quiet),
        ("train", "--resume", "second", "train.epochs=2", "-q"),
    ):
        sys.argv = ["mlpbp", *line]
        try:
            runpy.run_module("mlpbp", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"{' '.join(line)}: exit code {end.code}") from None


def tried(names: list[str], number: int) -> str | None:
    """What a process without these names prints where it fails."""
    os.mkdir(folder := str(number))  # noqa: PTH102
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        end, pipe = os._exit, os.dup2(writing, 100)
        try:
            os.chdir(folder)
            os.dup2(os.open("output", os.O_RDWR | os.O_CREAT), 1)
            os.dup2(1, 2)
            for name in names:
                take_away(name)
            commands()
        except BaseException:
            os.write(pipe, traceback.format_exc().encode())
        end(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        failure = file.read().decode()
    os.waitpid(child, 0)
    return failure + Path(folder, "output").read_text() if failure else None


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    assert not any(name.startswith(("mlpbp", "mlp_core")) for name in sys.modules)
    assert signal.SIGINT
    cases = json.load(sys.stdin)
    print(json.dumps([tried(names, number) for number, names in enumerate(cases)]))

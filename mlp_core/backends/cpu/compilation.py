"""Starting the compiler: functions are compiled in processes of their own, which end with the work or with this one."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mlp_core.backends.cpu.compiled.layout import CANNOT_KEEP
from mlp_core.machine import available_cpus

PROCESSES = 2
"""Compilers at once, at most: each takes 190 MiB, and to start as long as a few functions."""

START = """
import json, sys
sys.path += json.loads(sys.argv.pop(1))
from mlp_core.backends.cpu.compiled.compiler import main
main(*sys.argv[1:])
"""
"""What a compiler runs. It finds packages where this process does, but after the standard library."""


class CannotCompile(Exception):
    """There is no compiler, or it failed; the message is its reason."""


class CannotKeep(CannotCompile):
    """What was compiled could not be written."""


def compile_into(folder: Path, names: Sequence[str], spare: bool) -> None:
    """Compile functions into files of their names, shared out among some processes.

    spare: the folder is for this process alone; a compiler that outlives it removes it. Raises CannotCompile.
    """
    if importlib.util.find_spec("numba") is None:
        raise CannotCompile("No module named 'numba'")
    count = max(1, min(PROCESSES, available_cpus(), len(names)))
    bounds = [len(names) * number // count for number in range(count + 1)]  # neighbours have inner functions in common
    compilers: list[subprocess.Popen[str]] = []
    with ExitStack() as ends:
        for first, last in itertools.pairwise(bounds):
            try:
                compilers.append(_start(folder, names[first:last], spare))
            except OSError as error:
                raise CannotCompile(f"no process for the compiler: {error}") from None
            ends.callback(_end, compilers[-1])
        said = [one.stderr.read() for one in compilers if one.stderr is not None]
        codes = [one.wait() for one in compilers]
    for code, text in zip(codes, said, strict=True):
        if code:
            lines = text.strip().splitlines() or [f"the compiler ended with {code}"]
            raise (CannotKeep if code == CANNOT_KEEP else CannotCompile)(lines[-1])


def settings() -> dict[str, str]:
    """The variables of the environment that decide what numba compiles for; no others of its reach it."""
    return {name: os.environ[name] for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if name in os.environ}


def _start(folder: Path, names: Sequence[str], spare: bool) -> subprocess.Popen[str]:
    """A compiler, in the folder it writes to: numba reads settings from where it is."""
    root, places = str(Path(__file__).parents[3]), [*filter(None, sys.path)]
    places = places if root in places else [root, *places]
    command = [sys.executable, "-P", "-S", "-W", "ignore", "-c", START, json.dumps(places)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "PYTHON"))}
    return subprocess.Popen(
        [*command, str(folder), "spare" if spare else "kept", *names],
        cwd=folder,
        env={**plain, **settings(), "NUMBA_DISABLE_INTEL_SVML": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _end(one: subprocess.Popen[str]) -> None:
    one.kill()
    one.wait()
    for stream in (one.stdin, one.stderr):
        if stream is not None:
            stream.close()

"""Running what was exported on the test rows that it carries, as its user would."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mlp_core.errors import Failed, Problem, UsageError
from mlp_core.export.python_parts import intact
from mlp_core.scratch import scratch_folder

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O2", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
SECONDS = 600
_WORST = re.compile(r"(\d+) test rows: .* difference (\S+) ")


@dataclass(frozen=True)
class Checked:
    """What a check found. by: what ran the file, "" where there is nothing to run it, which `why` tells.

    difference: the largest one of any number from what the trained model answered, in units of 1 for probabilities,
    else of the largest value; labels are equal.
    """

    by: str
    difference: float = 0.0
    why: str = ""


def check(path: Path, meant: Path | None = None) -> Checked:
    """Run the test rows of an exported file, which is told of as `meant`.

    Raises Failed where it is damaged or answers otherwise, UsageError for a file that is no export.
    """
    runner = {".onnx": _onnx, ".c": _c, ".py": _python}.get(path.suffix)
    if runner is None:
        hint = "give the .onnx, .c or .py file"
        raise UsageError(Problem("usage", "not an exported model by its name", hint, file=str(path)))
    if not path.is_file():
        raise UsageError(Problem("no_such_file", "no such file", file=str(path)))
    try:
        return runner(path)
    except ValueError as error:
        message = f"the exported model does not pass its check: {error}"
        raise Failed(Problem("check_failed", message, file=str(meant or path))) from None


def need_onnx() -> None:
    """Raise UsageError where the package is missing."""
    if find_spec("onnx") is None:
        raise UsageError(Problem("no_onnx", "ONNX needs the package onnx", "pip install 'mlpbp[onnx]'"))


def _onnx(path: Path) -> Checked:
    need_onnx()
    from mlp_core.export.to_onnx import verify

    difference, by, limit = verify(path.read_bytes())
    if not difference <= limit:
        raise ValueError(f"the test rows differ by {difference:.1e}")
    return Checked(by, difference)


def _c(path: Path) -> Checked:
    for file in (path, path.with_suffix(".h")):
        if not file.is_file():
            raise ValueError(f"{file.name}: no such file")
        intact(file, b"\n/* sha256 ")
    compiler = next(
        (found for name in (os.environ.get("CC"), *COMPILERS) if name and (found := shutil.which(name))), None
    )
    if compiler is None:
        return Checked("", why="there is no C compiler (cc, gcc, clang)")
    with scratch_folder() as folder:
        program = folder / "check"
        name = re.search(r"#ifdef (\w+_CHECK)\b", path.read_text("utf-8"))
        if name is None:
            raise ValueError("there is no check in it")
        macro = f"-D{name[1]}"
        _run(path, [compiler, *FLAGS, macro, str(path.absolute()), "-lm", "-o", str(program)])
        return Checked(Path(compiler).name, _worst(_run(path, [str(program)])))


def _python(path: Path) -> Checked:
    text = path.read_text("utf-8", "replace")
    if "\nimport torch\n" in text and find_spec("torch") is None:
        return Checked("", why="PyTorch is not installed")
    by = "PyTorch" if "\nimport torch\n" in text else "numpy"
    return Checked(by, _worst(_run(path, [sys.executable, "-P", str(path.absolute())])))


def _run(path: Path, command: Sequence[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"it has not ended after {SECONDS} seconds") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        errors = [line for line in said if "error" in line]
        raise ValueError((errors or said[-1:])[0])
    return done.stdout


def _worst(said: str) -> float:
    found = _WORST.search(said)
    if found is None or not math.isfinite(float(found[2])):
        raise ValueError("it says nothing about test rows")
    return float(found[2])

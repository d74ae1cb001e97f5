"""What docs/export.md says is run as it stands there: its commands, its Python and its C."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.S)
SHELL = [block.splitlines() for kind, block in BLOCKS if not kind]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
(MAIN,) = [block for kind, block in BLOCKS if kind == "c"]
NEEDS = {"onnx": "onnxruntime", "torch": "torch"}


def missing(text: str) -> str | None:
    """What a command or an example needs that is not here."""
    for word, package in NEEDS.items():
        if word in text and find_spec(package) is None:
            return f"needs {package}"
    if re.search(r"\bcc\b|\.c\b", text) and shutil.which("cc") is None:
        return "needs a C compiler"
    return None


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    programs = {"mlpbp": f"{shlex.quote(sys.executable)} -m mlpbp", "python": shlex.quote(sys.executable)}
    first, rest = line.split(" ", 1)
    command = f"{programs.get(first, first)} {rest}"
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first commands of the page have been run."""
    folder = tmp_path_factory.mktemp("docs")
    for line in SHELL[0]:
        if line.startswith("mlpbp train") or not missing(line):
            done = shell(line, folder)
            assert done.returncode == 0, done.stderr
    return folder


def test_there_is_something_to_run() -> None:
    assert [len(block) for block in SHELL] == [5, 5]
    assert len(PYTHON) == 3


@pytest.mark.parametrize("line", SHELL[1])
def test_a_check_passes(line: str, folder: Path) -> None:
    if why := missing(line):
        pytest.skip(why)
    done = shell(line, folder)
    assert done.returncode == 0, done.stderr
    assert "labels agree" in done.stdout


@pytest.mark.parametrize("code", PYTHON, ids=["onnx", "numpy", "torch"])
def test_the_python_runs(code: str, folder: Path) -> None:
    if why := missing(code):
        pytest.skip(why)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_c_runs(folder: Path) -> None:
    if why := missing("cc"):
        pytest.skip(why)
    (folder / "main.c").write_text(MAIN)
    done = shell("cc -Wall -Wextra -Werror -std=c99 -pedantic main.c digits.c -lm -o main && ./main", folder)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d, probability [01]\.\d{3}\n", done.stdout)

"""The guide is run: every command in its order, and what it shows is what is printed, but for the numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent.parent / "docs" / "guide.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
LINK = re.compile(r"\]\(([^)#]+)\)")


def masked(line: str) -> str:
    """A line without its numbers, rules and bars, and with single blanks."""
    return " ".join(re.sub(r"[-+]?\d[\d.,e-]*|[-+─]{2,}|(?<= )[-+±](?= |$)", "#", line).replace("#", " ").split())


def test_links_lead_somewhere() -> None:
    for target in LINK.findall(GUIDE.read_text(encoding="utf-8")):
        assert (GUIDE.parent / target).is_file(), target


def test_every_command_does_what_the_guide_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    command = scripts / "mlpbp"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mlpbp "$@"\n')
    command.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    printed: set[str] = set()
    counted = dict.fromkeys(("python", "sh", "text"), 0)
    for kind, text in BLOCKS:
        counted[kind] += 1
        if kind == "text":
            for line in text.splitlines():
                assert masked(line) in printed, line
            continue
        shell = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
        result = subprocess.run(shell, cwd=work, env=environment, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, f"{text}\n{result.stderr}"
        printed = {masked(line) for line in (result.stdout + result.stderr).splitlines()}
    assert counted["sh"] >= 12
    assert counted["text"] >= 10
    assert (work / "answers.csv").is_file()
    assert (work / "worst.csv").is_file()
    assert (work / "compared.html").is_file()

"""The guide is run: every command in its order, and what it shows is what is printed, but for the numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
GUIDE, SEARCH = DOCS / "guide.md", DOCS / "search.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#]+)\)")


def masked(line: str) -> str:
    """A line without its numbers, rules and bars, and with single blanks."""
    return " ".join(re.sub(r"[-+]?\d[\d.,e-]*|[-+─]{2,}|(?<= )[-+±](?= |$)", "#", line).replace("#", " ").split())


@pytest.mark.parametrize("page", [GUIDE, SEARCH], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target


def run_page(page: Path, tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """Every block of a page, in its order: where it was run, and how many blocks there are of each kind."""
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
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        counted[kind] += 1
        if kind == "text":
            for line in text.splitlines():
                assert masked(line) in printed, line
            continue
        shell = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
        result = subprocess.run(shell, cwd=work, env=environment, capture_output=True, text=True, timeout=900)
        assert result.returncode == 0, f"{text}\n{result.stderr}"
        printed = {masked(line) for line in (result.stdout + result.stderr).splitlines()}
    return work, counted


def test_every_command_does_what_the_page_about_searches_says(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    work, counted = run_page(SEARCH, tmp_path)
    assert counted["sh"] >= 3
    assert counted["text"] >= 3
    assert (work / "runs" / "small-cv-001" / "oof.csv").is_file()
    assert (work / "runs" / "small-sweep-001" / "best.yaml").is_file()


def test_every_command_does_what_the_guide_says(tmp_path: Path) -> None:
    work, counted = run_page(GUIDE, tmp_path)
    assert counted["sh"] >= 12
    assert counted["text"] >= 10
    assert (work / "answers.csv").is_file()
    assert (work / "worst.csv").is_file()
    assert (work / "compared.html").is_file()

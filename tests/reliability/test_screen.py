"""Words from files reach a terminal escaped, and a file or a pipe as they are."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from fork_server import ForkServer

from mlp_core.errors import printable

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e\r\x7f"
CONFIG = f"""
data: {{train: t.csv, target: {json.dumps("y" + EVIL)}, split: {{val: 0.2}}}}
model: {{hidden: [3]}}
train: {{epochs: 1, preflight: off}}
threads: 1
"""


@pytest.fixture
def evil(server: ForkServer, room: Path) -> Path:
    """A folder with a model whose columns and classes are hostile words, and rows to predict."""
    rows = "".join(f'{i % 13},{"uvw"[i % 3]}{EVIL[:-2]},"{("x" + EVIL, "z", EVIL)[i % 3]}"\n' for i in range(60))
    (room / "t.csv").write_text(f'"a{EVIL}",b,"y{EVIL}"\n{rows}', newline="")
    (room / "c.yaml").write_text(CONFIG)
    assert server.run("train", "c.yaml", "-o", "r", cwd=room).code == 0
    lines = (room / "t.csv").read_bytes().split(b"\n")
    (room / "few.csv").write_bytes(b"\n".join(lines[:6]) + b"\n")
    return room


def on_a_terminal(server: ForkServer, folder: Path, *words: str) -> str:
    """What a terminal is sent, stdout and stderr."""
    ours, theirs = os.openpty()
    seen: list[bytes] = []

    def collect() -> None:
        try:
            while part := os.read(ours, 1 << 16):
                seen.append(part)
        except OSError:  # nobody holds the other end any more
            return

    reader = threading.Thread(target=collect)
    reader.start()
    name = os.ttyname(theirs)
    result = server.run(*words, cwd=folder, stdout=name, stderr=name)
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert result.code == 0, b"".join(seen).decode()
    return b"".join(seen).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("words", [(), ("--format", "jsonl"), ("--proba", "--keep", f"a{EVIL}")])
def test_predictions_on_a_terminal(server: ForkServer, evil: Path, words: tuple[str, ...]) -> None:
    shown = on_a_terminal(server, evil, "predict", "r", "few.csv", *words)
    assert shown.count("owned") >= 3
    assert all(c.isprintable() or c == "\n" for c in shown)


def test_predictions_in_a_pipe_are_the_data(server: ForkServer, evil: Path) -> None:
    piped = server.run("predict", "r", "few.csv", "-q", cwd=evil)
    assert server.run("predict", "r", "few.csv", "-q", "-o", "p.csv", cwd=evil).code == 0
    raw = (evil / "p.csv").read_bytes().decode()
    assert EVIL in raw
    assert piped.stdout == raw.replace("\r", "\n")  # as text that was read with universal newlines
    lines = server.run("predict", "r", "few.csv", "-q", "--format", "jsonl", cwd=evil).stdout.splitlines()
    assert {json.loads(line)["prediction"] for line in lines if line} <= {f"x{EVIL}", "z", EVIL}


@pytest.mark.parametrize(
    "words",
    [
        *(("check", "c.yaml", "--deep"), ("data", "t.csv"), ("eval", "r"), ("inspect", "r"), ("train", "c.yaml")),
        *(("explain", "c.yaml"), ("trace", "c.yaml"), ("eval", "r", "t.csv", "--by", "b")),
    ],
    ids=lambda words: words[0],
)
def test_reports_on_a_terminal(server: ForkServer, evil: Path, words: tuple[str, ...]) -> None:
    """Only what rich itself writes to a terminal, colours and the place of the cursor, is left."""
    shown = on_a_terminal(server, evil, *words, "--no-progress")
    for bad in ("\x1b]", "\x1b[31mred", "\x9b", "\x07", "\u202e", "\x7f"):
        assert bad not in shown


def test_what_is_escaped() -> None:
    assert printable("a\tb\x1b[0m\u2028\n\u202e\x9b\ud800") == "a\\tb\\x1b[0m\\u2028\n\\u202e\\x9b\\ud800"
    assert printable("größe 漢字 €") == "größe 漢字 €"

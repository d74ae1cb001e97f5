"""No damaged checkpoint is accepted: truncations, flipped bits, random damage (C1, C2, C3)."""

from __future__ import annotations

import io
import os
import random
import shutil
from pathlib import Path

import pytest
from fork_server import ForkServer
from small_runs import undisturbed

from mlp_core.errors import CheckpointError
from mlp_core.training.checkpoint import verify

DAMAGES = int(os.environ.get("MLPBP_DAMAGES", "2000"))
SHOWN = int(os.environ.get("MLPBP_SHOWN_DAMAGES", "30"))


@pytest.fixture(scope="module")
def run(server: ForkServer, folder: Path) -> Path:
    """A finished run with a small checkpoint."""
    words = ("~model.norm", "model.hidden=[2]", "optimizer.name=sgd", "~optimizer.ema", "checkpoint.every=null")
    run = undisturbed(folder) / "small-run"
    result = server.run("train", "c.yaml", "-o", run, *words, cwd=folder)
    assert result.code == 0, result.stderr
    return run


@pytest.fixture(scope="module")
def blob(run: Path) -> bytes:
    blob = (run / "checkpoints/last.safetensors").read_bytes()
    assert len(blob) < 6500
    verify(io.BytesIO(blob), "x")
    return blob


def accepted(blob: bytes) -> bool:
    """Whether it verifies; fails for any error but the right one, in one line."""
    try:
        verify(io.BytesIO(blob), "x.safetensors")
    except CheckpointError as error:
        (problem,) = error.problems
        assert str(problem).startswith("x.safetensors: ")
        assert "\n" not in str(problem)
        return False
    return True


def test_every_truncation(blob: bytes) -> None:
    assert not [length for length in range(len(blob)) if accepted(blob[:length])]


def test_every_extension(blob: bytes) -> None:
    assert not [count for count in range(1, 300) if accepted(blob + bytes(count)) or accepted(blob + blob[:count])]


def test_every_flipped_bit(blob: bytes) -> None:
    damaged, survivors = bytearray(blob), []
    for place in range(len(blob)):
        for bit in range(8):
            damaged[place] ^= 1 << bit
            if accepted(bytes(damaged)):
                survivors.append((place, bit))
            damaged[place] ^= 1 << bit
    assert survivors == []


def damage(blob: bytes, rng: random.Random) -> bytes:
    """Some of what happens to files: bytes changed, zeroed, cut out, moved, doubled, or replaced by another page."""
    start, stop = sorted((rng.randrange(len(blob)), rng.randrange(len(blob) + 1)))
    piece, other = blob[start:stop], rng.randbytes(rng.randrange(1, 64))
    kind = rng.randrange(6)
    if kind == 0:
        return blob[:start] + other + blob[start + len(other) :]
    if kind == 1:
        return blob[:start] + bytes(len(piece)) + blob[stop:]
    if kind == 2:
        return blob[:start] + blob[stop:]
    if kind == 3:
        return blob[:stop] + piece + blob[stop:]
    if kind == 4:
        return blob[:start] + piece[::-1] + blob[stop:]
    return blob[stop:] + blob[:stop]


def test_random_damage(blob: bytes) -> None:
    rng = random.Random(0)
    for number in range(DAMAGES):
        damaged = damage(blob, rng)
        assert damaged == blob or not accepted(damaged), number


@pytest.mark.parametrize("number", range(SHOWN))
def test_the_program_refuses_in_one_line(
    server: ForkServer, folder: Path, room: Path, run: Path, blob: bytes, number: int
) -> None:
    """Named, it is refused with what is left that is good; a resumed run says so and falls back on it."""
    rng = random.Random(number)
    shutil.copytree(run, room / "r")
    last = room / "r/checkpoints/last.safetensors"
    damaged = damage(blob, rng)
    last.write_bytes(damaged)
    result = server.run("eval", last, cwd=folder)
    if damaged == blob:
        assert result.code == 0
        return
    assert result.code == 1
    (line,) = result.errors()
    assert line.startswith(f"mlpbp: error: {last}: ")
    assert line.endswith(f"; newest good checkpoint: {room}/r/checkpoints/best.safetensors")
    assert server.run("eval", room / "r", cwd=folder).code == 0
    result = server.run("train", "--resume", room / "r", cwd=folder)
    assert result.code == 0
    assert f"; newest good checkpoint: {room}/r/checkpoints/best.safetensors" in result.stderr
    assert last.read_bytes() == blob
    assert isinstance(verify(io.BytesIO(last.read_bytes()), "x"), dict)

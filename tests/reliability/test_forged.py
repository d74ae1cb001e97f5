"""F1: a model, or a run, in which a single value is another one, under a digest that is right: every value, every use.

Each is refused in one line, or used; never more than the stated memory. MLPBP_FORGERIES sets the number of cases (24);
0 stands for all.
"""

from __future__ import annotations

import copy
import json
import math
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fork_server import ForkServer, Result

from mlp_core.errors import CheckpointError
from mlp_core.training.checkpoint import Checkpoint, load, serialize

COUNT = int(os.environ.get("MLPBP_FORGERIES", "24"))
PORTION, MEGABYTES, SECONDS = 8, 200, 20
CONFIG = """
data: {train: t.csv, target: y, split: {val: 0.2}, types: {d: date}}
model: {hidden: [4], norm: batch}
preprocess:
  categorical: {encode: embedding}
  columns: {b: {scale: quantile}, v: {encode: onehot}}
loss: {class_weight: balanced}
optimizer: {ema: 0.9}
train: {epochs: 2, batch_size: 16, preflight: 'off'}
eval: {calibrate: temperature}
threads: 1
"""
ROWS = "a,b,w,v,d,y\n" + "".join(
    f"{i % 13},{(i * 7) % 11 / 4 if i % 9 else ''},{'pqr'[i % 3]},{'st'[i % 2]},2024-0{1 + i % 9}-1{i % 8},"
    f"{['no', 'yes'][(i * 7) % 11 > 5]}\n"
    for i in range(60)
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 0.5, 2**31, 2**63, 10**30, 10**4200, 1e308, -1e308, 1e-320, -0.5, "", "x", "nan"),
    *("x" * 70_000, "\x1b]0;\x07\u202e", "\ud800", "/dev/zero", [], {}, [[]], [None], [1], ["x"], [1e308] * 3),
    *({"x": 1}, {"": {}}, ["x"] * 5000, [0.0] * 100_000),
)
MISSING = object()
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Forgery:
    """In `file` the value at a path is another one."""

    file: str
    path: Path_
    value: Any

    def __str__(self) -> str:
        return f"{self.file} {'.'.join(map(str, self.path))} = {str(self.value)[:60]!r}"

    def of(self, document: Any) -> Any:
        document = copy.deepcopy(document)
        inner = document
        for part in self.path[:-1]:
            inner = inner[part]
        if self.value is MISSING:
            del inner[self.path[-1]]
        else:
            inner[self.path[-1]] = self.value
        return document


def places(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every place in a document; of a long list the first two."""
    parts = node.items() if isinstance(node, dict) else enumerate(node[:2]) if isinstance(node, list) else ()
    for name, inner in parts:
        yield (*path, name)
        yield from places(inner, (*path, name))


MODEL = "checkpoints/best.safetensors"
USES: dict[str, tuple[tuple[str, ...], ...]] = {
    MODEL: (
        ("predict", "r", "t.csv", "-o", "p.csv"),
        ("eval", "r", "t.csv"),
        ("inspect", "r"),
        ("importance", "r", "t.csv", "--most", "20", "--repeats", "2"),
        ("importance", "r", "t.csv", "--row", "3"),
        ("export", "r", "-o", "m.py"),
        ("gradcheck", "r"),
        ("train", "--resume", "r", "train.epochs=3"),
        ("train", "c.yaml", "model.weights=r", "-o", "new"),
    ),
    "run.json": (("runs", "."), ("report", "r"), ("train", "--resume", "r", "train.epochs=3"), ("inspect", "r")),
    "metrics.jsonl": (
        ("report", "r"),
        ("runs", "."),
        ("train", "--resume", "r", "train.epochs=3"),
        ("report", "r", "r"),
    ),
    "split.json": (("train", "--resume", "r", "train.epochs=3"), ("report", "r"), ("eval", "r")),
}


@pytest.fixture(scope="module")
def honest(server: ForkServer, shelf: Path) -> Path:
    """A folder with a run in which no value is forged yet."""
    folder = shelf / "honest"
    folder.mkdir()
    (folder / "t.csv").write_text(ROWS)
    (folder / "c.yaml").write_text(CONFIG)
    result = server.run("train", "c.yaml", "-o", "r", cwd=folder)
    assert result.code == 0, result.stderr
    return folder


def documents(run: Path) -> dict[str, Any]:
    """What there is to forge, by file."""
    found: dict[str, Any] = {MODEL: dict(load(run / MODEL).document)}
    for name in ("run.json", "split.json"):
        found[name] = json.loads((run / name).read_text())
    found["metrics.jsonl"] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return found


def forgeries(run: Path) -> list[tuple[Forgery, tuple[str, ...]]]:
    """All that can be forged, with each use, or as many as asked for; a config is the matter of other tests."""
    every = [
        (Forgery(file, path, value), words)
        for file, document in documents(run).items()
        for path in places(document)
        if path[0] != "config"
        for value in (*VALUES, MISSING)
        for words in USES[file]
    ]
    random.Random(1).shuffle(every)
    return every[: COUNT or None]


def plant(forgery: Forgery, run: Path) -> None:
    """Write the forged file in its place."""
    path = run / forgery.file
    document = forgery.of(documents(run)[forgery.file])
    if forgery.file == MODEL:
        checkpoint = load(path)
        path.write_bytes(b"".join(serialize(Checkpoint(checkpoint.tensors, document))))
        shutil.copyfile(path, path.with_name("last.safetensors"))
    elif forgery.file == "metrics.jsonl":
        path.write_text("".join(json.dumps(line) + "\n" for line in document))
    else:
        path.write_text(json.dumps(document))


def judge(what: str, result: Result, folder: Path) -> None:
    """Used or refused in one line of ours, within the bound."""
    told = f"{what}: {result.code}\n{result.stdout[-300:]}\n{result.stderr[-1500:]}"
    assert result.code in (0, 1, 2), told
    assert "Traceback" not in result.stderr, told
    assert "Warning:" not in result.stderr, told
    assert "\x1b" not in result.stderr, told
    assert bool(result.errors()) == bool(result.code), told
    assert len(result.errors()) <= (3 if "predict" in what else 2 if "--resume" in what else 1), (
        told
    )  # columns, checkpoints
    assert not list(folder.glob("mlpbp-crash*")), told
    assert result.megabytes < MEGABYTES, told
    assert result.seconds < SECONDS, told


@pytest.mark.parametrize("portion", range(math.ceil(COUNT / PORTION) if COUNT else 100))
def test_a_forged_value_is_refused_or_harmless(server: ForkServer, honest: Path, room: Path, portion: int) -> None:
    every = forgeries(honest / "r")
    for number, (forgery, words) in enumerate(every[portion :: math.ceil(COUNT / PORTION) if COUNT else 100]):
        folder = Path(shutil.copytree(honest, room / str(number)))
        try:
            plant(forgery, folder / "r")
        except (ValueError, CheckpointError):  # what no file of this kind can hold
            continue
        judge(f"{forgery}, {' '.join(words)}", server.run(*words, cwd=folder, cpu=2 * SECONDS), folder)
        shutil.rmtree(folder)

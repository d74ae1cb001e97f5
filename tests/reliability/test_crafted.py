"""Crafted checkpoints, each with a digest that is right: refused in one line, in little memory (C4)."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fork_server import ForkServer

from mlp_core.training.checkpoint import Checkpoint, load, serialize

MEGABYTES = 200
BEGINNING = b'{"__metadata__":{"mlpbp":"{\\"sha256\\":\\"'


@pytest.fixture(scope="module")
def good(server: ForkServer, folder: Path) -> Checkpoint:
    result = server.run("train", "c.yaml", "-o", "for-crafting", cwd=folder)
    assert result.code == 0, result.stderr
    return load(folder / "for-crafting/checkpoints/last.safetensors")


def sealed(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of a header that begins as ours does, with the right digest in it."""
    blob = (len(header) if length is None else length).to_bytes(8, "little") + header + data
    digest = hashlib.sha256(blob).hexdigest().encode()
    place = 8 + len(BEGINNING)
    return blob[:place] + digest + blob[place + 64 :]


def header(document: str, tensors: dict[str, Any] | None = None) -> bytes:
    """A header with any text as the rest of the document, and any tensors."""
    inner = json.dumps('{"sha256":"' + "0" * 64 + '",' + document)
    rest = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in (tensors or {}).items())
    return ('{"__metadata__":{"mlpbp":' + inner + "}" + rest + "}").encode()


Change = Callable[[dict[str, Any], dict[str, np.ndarray]], None]


def put(*path: str | int, to: Any) -> Change:
    """Another value somewhere in the document."""

    def change(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return change


def without(*path: str) -> Change:
    def change(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        inner: Any = document
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


def tensor(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(document: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        tensors[name] = make(tensors["0.weight"])

    return change


def nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flat[0] = np.nan
    return array


CHANGED: dict[str, Change] = {
    "weights of nan": tensor("0.weight", nan),
    "weights of another type": tensor("0.weight", lambda a: a.astype(np.float64)),
    "weights of half precision": tensor("0.weight", lambda a: a.astype(np.float16)),
    "whole numbers as weights": tensor("0.weight", lambda a: a.astype(np.int32)),
    "weights transposed": tensor("0.weight", lambda a: np.ascontiguousarray(a.T)),
    "another tensor": tensor("9.weight", lambda a: a),
    "a wider network": put("config", "model", "hidden", to=[5, 3]),
    "a network of 10^18 weights": put("config", "model", "hidden", to=[10**9, 10**9]),
    "ten thousand layers": put("config", "model", "hidden", to=[1000] * 5000),
    "no layer": put("config", "model", "hidden", to=[]),
    "a config that is no config": put("config", to={"data": 3}),
    "an unknown key in the config": put("config", "model", "hiden", to=3),
    "a config that is a list": put("config", to=[]),
    "no config": without("config"),
    "no task": without("task"),
    "a task of another kind": put("task", "kind", to="regression"),
    "a task without classes": put("task", "classes", to=[]),
    "a task with a million outputs": put("task", "outputs", to=10**6),
    "classes that are numbers": put("task", "classes", to=[1, 2]),
    "fewer columns": put("task", "features", to=["a"]),
    "preprocessing of text": put("inputs", to="x"),
    "the next format": put("format", to=2),
    "format 0": put("format", to=0),
    "a format that is true": put("format", to=True),
    "a format of 10^4000": put("format", to=10**4000),
}
RESUMED: dict[str, Change] = {
    "no progress": without("progress"),
    "progress of text": put("progress", "step", to="7"),
    "progress before the start": put("progress", "epoch", to=-1),
    "progress beyond all numbers": put("progress", "step", to=10**40),
    "no log": without("log"),
    "a log of text": put("log", "jsonl", to="all"),
    "no environment": without("environment"),
    "metrics that are a list": put("metrics", to=[1]),
    "other data": put("data", to=3),
    "steps of text": put("optimizer_steps", to="x"),
}
FILES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not a checkpoint at all",
    "a length of 2^63": lambda: b"\xff" * 7 + b"\x7f" + b"{}",
    "a header of 8 MiB of brackets": lambda: sealed(header('"format":1,"x":' + "[" * (8 * 2**20 - 200))),
    "a header of empty lists": lambda: sealed(header('"format":1,"x":[' + "[]," * 2_700_000 + "1]}")),
    "a header of numbers": lambda: sealed(header('"format":1,"x":[' + "1.5," * 2_000_000 + "1]}")),
    "deep JSON": lambda: sealed(header('"format":1,"x":' + "[" * 90_000 + "]" * 90_000 + "}")),
    "a number of a million digits": lambda: sealed(header('"format":1,"x":' + "9" * 1_000_000 + "}")),
    "no document": lambda: sealed(header("}")),
    "a document that is not JSON": lambda: sealed(header("nonsense")),
    "overlapping tensors": lambda: sealed(
        header(
            '"format":1}',
            {
                "0.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                "0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            },
        ),
        bytes(12),
    ),
    "a tensor beyond the end": lambda: sealed(
        header('"format":1}', {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}), bytes(4)
    ),
    "a tensor of 10^18 entries": lambda: sealed(
        header('"format":1}', {"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 8]}}), bytes(8)
    ),
    "a tensor that is larger than it says": lambda: sealed(
        header('"format":1}', {"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}), bytes(8)
    ),
    "a type there is not": lambda: sealed(
        header('"format":1}', {"a": {"dtype": "F13", "shape": [2], "data_offsets": [0, 8]}}), bytes(8)
    ),
    "bytes after the end": lambda: sealed(header('"format":1}'), bytes(100)),
    "a pickle": lambda: b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93\x94.",
    "a zip": lambda: b"PK\x03\x04" + bytes(200),
}


def refused(server: ForkServer, folder: Path, path: Path, *words: object) -> str:
    result = server.run(*words, cwd=folder)
    assert result.code == 1, f"{result.code} {result.stdout} {result.stderr}"
    (line,) = result.errors()
    assert line.startswith(f"mlpbp: error: {path}"), line
    assert result.megabytes < MEGABYTES
    return line


@pytest.mark.parametrize("name", FILES)
def test_files(server: ForkServer, folder: Path, room: Path, name: str) -> None:
    path = room / "x.safetensors"
    path.write_bytes(FILES[name]())
    refused(server, folder, path, "eval", path)


@pytest.mark.parametrize("name", CHANGED)
def test_documents(server: ForkServer, folder: Path, room: Path, good: Checkpoint, name: str) -> None:
    document, tensors = copy.deepcopy(dict(good.document)), dict(good.tensors)
    CHANGED[name](document, tensors)
    path = room / "x.safetensors"
    path.write_bytes(forged(Checkpoint(tensors, document)))
    line = refused(server, folder, path, "eval", path)
    if name == "the next format":
        hint = "written in checkpoint format 2, this program reads up to 1; upgrade mlpbp"
        assert line == f"mlpbp: error: {path}: {hint}"


@pytest.mark.parametrize("name", {**CHANGED, **RESUMED})
def test_resuming_from_it(server: ForkServer, folder: Path, room: Path, good: Checkpoint, name: str) -> None:
    document, tensors = copy.deepcopy(dict(good.document)), dict(good.tensors)
    {**CHANGED, **RESUMED}[name](document, tensors)
    path = room / "r/checkpoints/last.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(forged(Checkpoint(tensors, document)))
    (room / "r/config.resolved.yaml").write_bytes((folder / "for-crafting/config.resolved.yaml").read_bytes())
    result = server.run("train", "--resume", room / "r", cwd=folder)
    if name in ("preprocessing of text", *TASK):
        assert result.code in (0, 1, 2)  # what the data decides is decided anew
    else:
        assert result.code in (1, 2), result.stderr
        assert len(result.errors()) >= 1
    assert "Traceback" not in result.stderr
    assert result.code != 3
    assert result.megabytes < MEGABYTES


TASK = [name for name in CHANGED if "task" in name or "class" in name or "columns" in name]


def forged(checkpoint: Checkpoint) -> bytes:
    """As `serialize`, but without its own limits and with any format."""
    version = checkpoint.document.get("format", 1)
    blob = b"".join(serialize(Checkpoint(checkpoint.tensors, {**checkpoint.document, "format": version})))
    assert hashlib.sha256(blob).digest()
    return blob


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "missing"])
def test_what_is_no_file(server: ForkServer, folder: Path, room: Path, kind: str) -> None:
    path = room / "x.safetensors"
    if kind == "directory":
        (room / "x.safetensors/checkpoints/best.safetensors").mkdir(parents=True)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    result = server.run("eval", path, cwd=folder)
    assert result.code in (1, 2)
    assert len(result.errors()) == 1


def test_a_sparse_file_of_100_gigabytes(server: ForkServer, folder: Path, room: Path) -> None:
    """A length that its header denies is noticed before the file is read."""
    path = room / "x.safetensors"
    path.write_bytes(sealed(header('"format":1}', {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})))
    os.truncate(path, 100 * 2**30)
    refused(server, folder, path, "eval", path)


def test_a_checkpoint_that_cannot_be_read_again_is_not_written(room: Path) -> None:
    from mlp_core.errors import CheckpointError

    with pytest.raises(CheckpointError, match="the description of this run takes 9 MiB, a checkpoint holds 8"):
        serialize(Checkpoint({}, {"inputs": "x" * 9 * 2**20}))


def test_a_text_of_zeros_is_not_taken_for_the_digest(room: Path) -> None:
    zeros = '"sha256":"' + "0" * 64
    path = room / "x.safetensors"
    path.write_bytes(b"".join(serialize(Checkpoint({}, {"a": "0" * 64, "config": zeros, "sha256": "0" * 64}))))
    assert load(path).document["config"] == zeros

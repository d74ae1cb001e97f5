"""Small files that would take much memory or time: refused, or read, within 200 MB and some seconds, every kind."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fork_server import ForkServer
from small_runs import folder_with_config

EVERY = os.environ.get("MLPBP_EVERY_BOMB") == "1"
MEGABYTES = 200
SECONDS = 20  # of processor time, an order above what a fast machine needs
CONFIG = """
data: {{train: {train}, {target} split: {{val: 0.2}}}}
model: {{hidden: [3]}}
train: {{epochs: 1, preflight: off}}
threads: 1
"""


def packed(start: bytes, zeros: int, end: bytes = b"") -> bytes:
    """gzip of a start, many zeros, and an end."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as file:
        file.write(start)
        for _ in range(zeros >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(zeros % (1 << 20)) + end)
    return out.getvalue()


def npy_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(**members: tuple[bytes, int]) -> bytes:
    """An archive of arrays, each a start and then zeros, packed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (start, zeros) in members.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(start)
                for _ in range(zeros >> 20):
                    member.write(bytes(1 << 20))
    return out.getvalue()


def many_members(count: int) -> bytes:
    """An archive of empty members: its directory is what takes memory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            archive.writestr(str(number), b"")
    return out.getvalue()


def zipped(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", content)
    return out.getvalue()


def lying_parquet() -> bytes:
    """A column of 200,000,000 equal numbers in a few kilobytes."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    with parquet.ParquetWriter(out, pyarrow.schema([("x", "float64"), ("y", "int64")])) as writer:
        part = pyarrow.table({"x": np.zeros(1 << 22), "y": np.zeros(1 << 22, np.int64)})
        for _ in range(12):
            writer.write_table(part)
    return out.getvalue()


GB = 256 << 20  # well above the bound
ROWS = b"x,y\n" + (b"1" * 200 + b",2\n") * (1 << 18)
"""A table of equal rows, 50 MiB that shrink to nearly nothing."""
TABLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "csv that unpacks to zeros": ("t.csv.gz", lambda: packed(b"x,y\n1,2\n", GB)),
    "csv that unpacks to one cell": ("t.csv.gz", lambda: gzip.compress(b"x,y\n" + b"7" * (200 << 20), 9)),
    "csv that unpacks to equal rows": ("t.csv.gz", lambda: gzip.compress(b"x,y\n" + b"1,2\n" * (64 << 20), 9)),
    "csv of one line": ("t.csv", lambda: b"x,y\n" + b"1," * (10 << 20)),
    "csv with 300,000 columns": ("t.csv", lambda: (b",".join(b"c%d" % i for i in range(300_000)) + b"\n") * 2),
    "csv of empty cells": ("t.csv", lambda: (b"," * 299_999 + b"\n") * 6),
    "csv of quotes": ("t.csv", lambda: b'x,y\n"' + b'""' * (1 << 20)),
    "csv of a quote never closed": ("t.csv", lambda: b'x,y\n"a' + b",b\n" * (1 << 20)),
    "csv of empty lines": ("t.csv", lambda: b"x,y\n" + b"\n" * (2 << 20)),
    "csv with as many words as rows": (
        "t.csv",
        lambda: b"x,y\n" + b"".join(b"w%d,%d\n" % (i, i % 2) for i in range(150_000)),
    ),
    "json lines with many keys in one": (
        "t.jsonl",
        lambda: json.dumps({f"k{i}": i for i in range(400_000)}).encode() + b"\n",
    ),
    "json lines with other keys in each": (
        "t.jsonl",
        lambda: b"".join(json.dumps({f"k{j}_{i}": i for i in range(3000)}).encode() + b"\n" for j in range(150)),
    ),
    "json lines that nest": ("t.jsonl", lambda: b'{"a":' + b"[" * (1 << 20) + b"\n"),
    "json lines with a number of a million digits": ("t.jsonl", lambda: b'{"y":' + b"9" * 10**6 + b"}\n"),
    "json lines that unpack": ("t.jsonl.gz", lambda: packed(b'{"a":1}\n', GB)),
    "libsvm with a huge place": ("t.libsvm", lambda: b"1 9999999:1\n0 1:1\n" * 20),
    "libsvm with many places": ("t.libsvm", lambda: b"1 " + b" ".join(b"%d:1" % i for i in range(1, 10**6)) + b"\n"),
    "libsvm that unpacks": ("t.libsvm.gz", lambda: gzip.compress(b"1 1:1\n" * (40 << 20), 9)),
    "libsvm of empty rows": ("t.libsvm", lambda: b"1 900000:1\n" + b"0\n" * 10**6),
    "parquet of equal rows": ("t.parquet", lying_parquet),
    "csv packed by bz2": ("t.csv.bz2", lambda: bz2.compress(ROWS)),
    "csv packed by xz": ("t.csv.xz", lambda: lzma.compress(ROWS, preset=0)),
    "csv in a zip": ("t.csv.zip", lambda: zipped(ROWS)),
    "a list in json": ("t.json", lambda: b"[" + b'{"x":1,"y":2},' * (4 << 20) + b'{"x":1,"y":2}]'),
    "lists in lists in json": ("t.json", lambda: b"[" * (1 << 20)),
    "safetensors for a table": ("t.safetensors", lambda: (1 << 40).to_bytes(8, "little") + b"{}" + bytes(1 << 20)),
}
ARRAYS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "npz with a bomb inside": (
        "t.npz",
        lambda: npz(x=(npy_header((GB // 16, 2)), GB), y=(npy_header((GB // 16,)), GB // 2)),
    ),
    "npz that declares more": (
        "t.npz",
        lambda: npz(x=(npy_header((1 << 40, 2)), 1 << 20), y=(npy_header((1 << 40,)), 0)),
    ),
    "npz with many members": ("t.npz", lambda: many_members(150_000)),
    "npz whose member goes on": ("t.npz", lambda: npz(x=(npy_header((2, 2)), GB), y=(npy_header((2,)), 0))),
}
PAIRS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "idx that unpacks": ("x.gz", lambda: packed(struct.pack(">4B2I", 0, 0, 8, 2, GB >> 10, 1 << 10), GB)),
    "idx that goes on": ("x.gz", lambda: packed(struct.pack(">4B2I", 0, 0, 8, 2, 2, 2), GB)),
    "idx that declares more": ("x.gz", lambda: packed(struct.pack(">4B2I", 0, 0, 8, 2, 1 << 31, 1 << 31), 1 << 20)),
    "npy that unpacks": ("x.gz", lambda: packed(npy_header((GB // 8, 1)), GB)),
    "npy of 10^18 entries": ("x.npy", lambda: npy_header((10**9, 10**9)) + bytes(64)),
    "npy of no width": ("x.npy", lambda: npy_header((10**12, 0))),
}


def bounded(server: ForkServer, folder: Path, *words: str, codes: tuple[int, ...] = (0, 1, 2)) -> None:
    result = server.run(*words, cwd=folder, cpu=2 * SECONDS)
    assert "Traceback" not in result.stderr, result.stderr
    assert result.code in codes, f"{words} {result.code} {result.stderr[:2000]}"
    assert result.megabytes < MEGABYTES, f"{words} {result.megabytes:.0f} MB {result.stderr[:300]}"
    assert result.seconds < SECONDS, f"{words} {result.seconds:.1f} s {result.stderr[:300]}"
    assert not list(folder.glob("mlpbp-crash*"))


@pytest.fixture(scope="module")
def model(server: ForkServer, shelf: Path) -> Path:
    folder = folder_with_config(shelf / "bombs")
    assert server.run("train", "c.yaml", "-o", "r", cwd=folder).code == 0
    return folder / "r"


HARMLESS = {
    ("csv of empty lines", "predict"),
    *(("json lines with a number of a million digits", command) for command in ("data", "convert")),
    *(("csv with as many words as rows", command) for command in ("data", "convert")),
    ("parquet of equal rows", "convert"),
    *(("csv in a zip", command) for command in ("data", "convert")),  # deflate makes such rows 203 times smaller
}
"""What can be done with a file that is large only in what it is; everything else is refused with exit code 2."""


def uses(model: Path, file: str) -> list[tuple[str, ...]]:
    """Every command that reads a table, of a file."""
    saved = str(model)
    return [
        *[("check", "c.yaml", "--data"), ("predict", saved, file, "-o", "p.csv"), ("eval", saved, file)],
        *[("importance", saved, file), ("data", file), ("convert", file, "-o", "converted")],
        ("init", file, "--target", "y", "-o", "new.yaml"),
    ]


@pytest.mark.parametrize("name", [*TABLES, *ARRAYS])
def test_tables(server: ForkServer, room: Path, model: Path, name: str) -> None:
    """Training from each, and one other command that reads a table, another one each time; or all of them."""
    file, make = {**TABLES, **ARRAYS}[name]
    (room / file).write_bytes(make())
    (room / "c.yaml").write_text(CONFIG.format(train=file, target="" if name in ARRAYS else "target: y,"))
    bounded(server, room, "train", "c.yaml", codes=(2,))
    others = uses(model, file)
    for words in others if EVERY else [others[[*TABLES, *ARRAYS].index(name) % len(others)]]:
        bounded(server, room, *words, codes=(0 if (name, words[0]) in HARMLESS else 2,))


@pytest.mark.parametrize("name", PAIRS)
def test_arrays(server: ForkServer, room: Path, name: str) -> None:
    file, make = PAIRS[name]
    (room / file).write_bytes(make())
    (room / "y.gz").write_bytes(packed(struct.pack(">4BI", 0, 0, 8, 1, 2), 2))
    (room / "c.yaml").write_text(CONFIG.format(train=f"{{x: {file}, y: y.gz}}", target=""))
    bounded(server, room, "train", "c.yaml", codes=(2,))
    bounded(server, room, "check", "c.yaml", "--data", codes=(2,))
    bounded(server, room, "train", "c.yaml", "data.memory=memmap", codes=(2,))

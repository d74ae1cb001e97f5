"""Random damage to every kind of file: it is refused, or what is read equals what an independent reader reads.

The number of damaged files is MLPBP_DAMAGED_FILES (300 unless told otherwise).
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import struct
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.data.readers.arrays import Arrays
from mlp_core.data.readers.csv_options import CsvOptions, number
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import read
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError

COUNT = int(os.environ.get("MLPBP_DAMAGED_FILES", "300"))
INSERTS = (
    b"\0",
    b"\xef\xbb\xbf",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"\xff",
    b"<!DOCTYPE html>",
    b"nan",
    b"1e999",
    b"_",
    b"9" * 40,
)


def numbers_csv() -> bytes:
    values = np.random.default_rng(1).normal(size=(40, 4)).round(3)
    return b"a,b,c,d\n" + b"".join(b"%g,%g,%g,%g\n" % tuple(row) for row in values)


def text_csv() -> bytes:
    return b'size,"colour",label\r\n' + b'1.5,"red, dark",yes\r\n2,blue,no\r\n,"a ""b""\nc",yes\r\n' * 15


def image_idx() -> bytes:
    return b"\0\0\x08\x03" + struct.pack(">3I", 30, 4, 4) + np.random.default_rng(2).bytes(480)


def label_idx() -> bytes:
    return b"\0\0\x08\x01" + struct.pack(">I", 30) + bytes(range(30))


def npz(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, x=np.random.default_rng(3).normal(size=(20, 3)), y=np.arange(20))
    return stream.getvalue()


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(4).integers(0, 9, (30, 3)))
    return stream.getvalue()


WHOLE: dict[str, bytes] = {
    "numbers.csv": numbers_csv(),
    "text.csv": text_csv(),
    "numbers.csv.gz": gzip.compress(numbers_csv(), mtime=0),
    "images.idx": image_idx(),
    "images.idx.gz": gzip.compress(image_idx(), mtime=0),
    "stored.npz": npz(np.savez),
    "packed.npz": npz(np.savez_compressed),
    "array.npy": npy(),
}


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """One random damage: cut, bit flipped, byte replaced, slice lost, slice doubled, something put in."""
    at, end = sorted(int(place) for place in rng.integers(0, len(data), 2))
    match rng.integers(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
        case 2:
            return data[:at] + rng.bytes(1) + data[at + 1 :]
        case 3:
            return data[:at] + data[min(end, at + 20) :]
        case 4:
            return data[:end] + data[at:end] + data[end:]
        case _:
            return data[:at] + INSERTS[int(rng.integers(len(INSERTS)))] + data[at:]


def where(path: Path) -> Path | tuple[Path, Path]:
    """What to read for a damaged file: array files get their labels from a whole one."""
    if path.suffix == ".npy" or ".idx" in path.name:
        (path.parent / "labels").write_bytes(label_idx())
        return path, path.parent / "labels"
    return path


def same_as_reference(path: Path, source: Table | Arrays) -> bool:
    """Whether a reader that trusts its file reads the same from it."""
    if isinstance(source, Arrays):
        if path.suffix in (".npy", ".npz"):
            loaded = np.load(path, allow_pickle=False)
            x = loaded["x"] if path.suffix == ".npz" else loaded
            y = loaded["y"] if path.suffix == ".npz" else np.arange(30)
        else:
            raw = path.read_bytes()
            raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            kind = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}[raw[2]]
            shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
            x, y = np.frombuffer(raw[4 + 4 * raw[3] :], kind).reshape(shape), np.arange(30)
        inputs = np.asarray(x.reshape(len(x), -1), source.cells.dtype)
        return np.array_equal(inputs, source.cells, equal_nan=True) and np.array_equal(y, source.Y[:, 0])
    return cells_of(source) == reference_cells(path, source)


def cells_of(table: Table) -> list[list[Any]]:
    def cell(row: int, column: int) -> Any:
        value = float(table.cells[row, column])
        return value if column not in table.words and not np.isnan(value) else table.cell(row, column)

    return [[cell(row, column) for column in range(len(table.names))] for row in range(table.rows)]


def reference_cells(path: Path, table: Table) -> list[list[Any]]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    note = table.notes[0]
    delimiter = next((d for d in ",;|" if f'delimiter "{d}"' in note), "\t" if "delimiter tab" in note else " ")
    if delimiter == " ":
        rows = [line.split() for line in text.splitlines()]
    else:
        lines = io.StringIO(text, newline="")
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True))
    rows = [row for row in rows if row and (len(row) > 1 or row[0].strip() or len(table.names) == 1)]
    na = CsvOptions().na

    def cell(text: str, column: int) -> Any:
        text = text if text.strip() not in na else ""
        value = None if column in table.words else number(text)
        if column in table.words:
            return text.strip()
        return text if value is None or np.isinf(value) else value

    body = rows[1:] if table.header else rows
    return [[cell(text, column) for column, text in enumerate(row)] for row in body]


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_file_reads_as_the_reference(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    assert same_as_reference(path, read(where(path), ReadOptions()))


@pytest.mark.parametrize("batch", range(10))
@pytest.mark.parametrize("name", WHOLE)
def test_a_damaged_file_is_refused_or_read_right(name: str, batch: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([batch, *name.encode()])
    path = tmp_path / name
    for case in range(-(-COUNT // (10 * len(WHOLE)))):
        path.write_bytes(damage(WHOLE[name], rng))
        tracemalloc.start()
        try:
            source = read(where(path), ReadOptions())
        except DataError:
            continue
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 100e6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the reference may doubt what it reads
            assert same_as_reference(path, source), f"case {case}: {path.read_bytes()!r}"


@pytest.mark.parametrize(
    "name", ["numbers.csv.gz", "images.idx.gz", "stored.npz", "packed.npz", "array.npy", "images.idx"]
)
def test_every_truncation_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    data = WHOLE[name]
    for length in {*range(0, len(data), 1 + len(data) // 150), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(DataError):
            read(where(path), ReadOptions())


def parquets() -> dict[str, bytes]:
    """A table of every kind of column, in the ways in which Parquet packs it."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    days = np.arange(100).astype("datetime64[D]")
    columns = {
        "x": np.random.default_rng(5).normal(size=100),
        "i": [None, *range(99)],
        "w": ["abc", "d", None, "é"] * 25,
    }
    table = pyarrow.table({**columns, "b": [True, False] * 50, "d": days, "t": days.astype("datetime64[us]")})
    ways: dict[str, dict[str, Any]] = {
        **{"snappy": {}, "plain": {"compression": "none", "use_dictionary": False}, "zstd": {"compression": "zstd"}},
        "second": {"compression": "gzip", "data_page_version": "2.0"},
    }
    found = {}
    for name, options in ways.items():
        stream = io.BytesIO()
        parquet.write_table(table, stream, **options)
        found[name] = stream.getvalue()
    return found


def test_a_damaged_parquet_file_is_refused_or_read(tmp_path: Path) -> None:
    """There is no digest in it, so a changed number may pass; half of the damages are in the footer."""
    path = tmp_path / "t.parquet"
    for name, data in parquets().items():
        rng = np.random.default_rng([*name.encode()])
        for _ in range(-(-COUNT // 4)):
            damaged = bytearray(damage(data, rng))
            if rng.random() < 0.5 and damaged:
                damaged[-1 - int(rng.integers(min(len(damaged), 900)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with contextlib.suppress(DataError):
                assert read(path, ReadOptions()).rows <= 200

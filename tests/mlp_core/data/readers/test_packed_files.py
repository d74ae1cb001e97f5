"""Files that are packed, JSON in an array, and formats that are named where they cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import detect, read
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError

ROWS = "a,b\n" + "".join(f"{row},word{row % 3}\n" for row in range(200))


def zipped(content: bytes, *names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return made.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda content: zipped(content, "t.csv"),
}


@pytest.mark.parametrize("end", PACKERS)
@pytest.mark.parametrize("named", [True, False])
def test_a_packed_table_is_read_as_it_is(end: str, named: bool, tmp_path: Path) -> None:
    if not named and end == ".zip":
        pytest.skip("a zip archive is told by its content and by its name")
    path = tmp_path / ("t.csv" + end if named else "t.csv")
    path.write_bytes(PACKERS[end](ROWS.encode()))
    table = read(path, ReadOptions())
    assert isinstance(table, Table)
    assert (table.names, table.rows, table.words[1]) == (("a", "b"), 200, ["word0", "word1", "word2"])


@pytest.mark.parametrize("end", PACKERS)
def test_the_name_inside_tells_the_format(end: str, tmp_path: Path) -> None:
    (tmp_path / ("t.tsv" + end)).write_bytes(PACKERS[end](b"a\tb\n1\t2\n") if end != ".zip" else zipped(b"1", "t.tsv"))
    assert detect(tmp_path / ("t.tsv" + end)) == "tsv"


@pytest.mark.parametrize("end", PACKERS)
def test_damage_is_told(end: str, tmp_path: Path) -> None:
    whole = PACKERS[end](ROWS.encode())
    path = tmp_path / ("t.csv" + end)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        read(path, ReadOptions())
    assert caught.value.problems[0].code in ("truncated", "damaged", "too_large")
    path.write_bytes(b"a,b\n1,2\n")
    if end != ".zip":
        with pytest.raises(DataError, match=rf"rename it without \{end}"):
            read(path, ReadOptions())


@pytest.mark.parametrize("end", [".bz2", ".xz"])
def test_a_bomb_is_refused(end: str, tmp_path: Path) -> None:
    (tmp_path / ("t.csv" + end)).write_bytes(PACKERS[end](b"1,2\n" * 5_000_000))
    with pytest.raises(DataError, match="unpacks to more than"):
        read(tmp_path / ("t.csv" + end), ReadOptions())


def test_an_archive_of_several_files_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "t.zip").write_bytes(zipped(b"1,2\n", "a.csv", "b.csv"))
    with pytest.raises(DataError, match=r"an archive of 2 files \(a\.csv, b\.csv\); unpack it first"):
        read(tmp_path / "t.zip", ReadOptions())


def tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("t.csv"), io.BytesIO())
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x28\xb5\x2f\xfd123", "this is a zstd file; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c12", "this is a 7-Zip archive; unpack it first"),
        (tar(), "this is a tar archive; unpack it first"),
        (b"@RELATION iris\n@ATTRIBUTE a REAL\n@DATA\n1\n", "this is an ARFF file, of Weka; save it as CSV"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "t.dat").write_bytes(content)
    with pytest.raises(DataError, match=what):
        read(tmp_path / "t.dat", ReadOptions())


RECORDS = [{"a": 1.5, "b": "x}]"}, {"a": None, "b": "y"}, {"a": float("nan"), "b": "x}]"}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["t.json", "t.dat"])
def test_an_array_of_objects_is_a_table(indent: int | None, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(RECORDS * 30, indent=indent) + "\n")
    table = read(tmp_path / name, ReadOptions())
    assert isinstance(table, Table)
    assert table.names == ("a", "b")
    assert table.words == {1: ["x}]", "y"]}
    np.testing.assert_array_equal(table.cells[:, 0], [1.5, np.nan, np.nan] * 30)
    assert table.pieces[0].lines[1] == (1 if indent is None else 6)


@pytest.mark.parametrize(
    ("text", "line"), [('[{"a": 1},\n {"a": }]', 2), ('[{"a": 1}', 1), ('[{"a": 1}] x', 1), ('[{"a": 1},\n3]', 2)]
)
def test_a_broken_array_is_refused_at_its_line(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "t.json", ReadOptions())
    assert (caught.value.problems[0].code, caught.value.problems[0].line) == ("bad_json", line)

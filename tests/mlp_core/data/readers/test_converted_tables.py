"""A converted table is the table that its files give, cell for cell and word for word, and nothing half-written."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_core.data.readers import csv, jsonl
from mlp_core.data.readers import npy_writer as growing
from mlp_core.data.readers.convert_table import convert
from mlp_core.data.readers.converted_table import DamagedTable, read_folder
from mlp_core.data.readers.csv_options import CsvOptions
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import read, read_all
from mlp_core.data.readers.npy_writer import Growing
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError, Failed, UsageError

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "CHUNK", 32)
    monkeypatch.setattr(jsonl, "CHUNK", 32)


def same(ours: Table, theirs: Table) -> None:
    assert (ours.names, ours.words, ours.odd) == (theirs.names, theirs.words, theirs.odd)
    assert (ours.header, ours.keyed, ours.named) == (theirs.header, theirs.keyed, theirs.named)
    assert ours.notes[:-1] == theirs.notes
    assert ours.gaps == tuple(int(count) for count in np.isnan(theirs.cells).sum(axis=0))
    np.testing.assert_array_equal(np.asarray(ours.cells[:]), theirs.cells)
    assert ours.cells.dtype == theirs.cells.dtype
    for row in range(0, theirs.rows, 7):
        for column in range(len(theirs.names)):
            assert ours.cell(row, column) == theirs.cell(row, column)
            assert ours.problem("x", "y", row, column) == theirs.problem("x", "y", row, column)


def rows(count: int = 300, late: str | None = None) -> str:
    """A table with numbers, gaps, words, odd cells, blank lines; `late` words in column d begin after 250 rows."""
    text = "a,b,c,d\n"
    for i in range(count):
        a = "?" if i % 11 == 0 else f"{RNG.standard_normal():.5f}"
        b = "x" if i == 77 else str(i % 256)
        c = ["red", "blue", "", "green"][i % 4]
        d = late if late is not None and i >= 250 else str(i / 3)
        text += f"{a},{b},{c},{d}\n" + ("\n" if i % 50 == 0 else "")
    return text


CASES: dict[str, dict[str, str]] = {
    "words and gaps": {"t.csv": rows()},
    "words that come late": {"t.csv": rows(400, "late")},
    "quotes": {"t.csv": 'a,b\n' + '"1,5","two\nlines"\n' * 90},
    "no header": {"t.csv": "1,2,x\n3,4,y\n" * 40},
    "tabs": {"t.tsv": rows().replace(",", "\t")},
    "several": {"a.csv": rows(60), "b.csv": rows(90).replace("red", "pink"), "c.csv": rows(40)},
    "text in one of them": {"a.csv": "a,b\n" + "1,2\n" * 50, "b.csv": "a,b\n" + "1,x\n" * 50},
    "JSON Lines": {"t.jsonl": "".join(json.dumps({"a": i / 7, "b": f"w{i % 3}", "c": None}) + "\n" for i in range(99))},
    "one row": {"t.csv": "a,b\n1,2\n"},
}  # fmt: skip


def written(tmp_path: Path, case: str) -> list[Path]:
    for name, text in CASES[case].items():
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in CASES[case]]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_converted_table_is_that_of_its_files(case: str, on_disk: bool, tmp_path: Path) -> None:
    paths = written(tmp_path, case)
    done = convert(paths, ReadOptions(), tmp_path / "out")
    theirs = read_all(paths, ReadOptions())
    assert isinstance(theirs, Table)
    same(read_folder(tmp_path / "out", on_disk), theirs)
    assert (done.rows, done.names) == (theirs.rows, theirs.names)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["table.json", "values.npy"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_large_files_go_through_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "LARGE", 0)
    (tmp_path / "t.csv").write_text(rows())
    convert([tmp_path / "t.csv"], ReadOptions(), tmp_path / "out")
    theirs = read(tmp_path / "t.csv", ReadOptions())
    assert isinstance(theirs, Table)
    same(read_folder(tmp_path / "out", True), theirs)


def test_options_of_reading_are_followed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("# made by hand\na;b;c\n" + "1,5;-9;7\n2,5;3;8\n" * 50)
    options = ReadOptions(csv=CsvOptions(delimiter=";", decimal=",", comment="#", na=("-9",)), text=("c",))
    convert([tmp_path / "t.csv.gz"], options, tmp_path / "out")
    theirs = read(tmp_path / "t.csv.gz", options)
    assert isinstance(theirs, Table)
    same(read_folder(tmp_path / "out", False), theirs)


@pytest.mark.parametrize("count", [1, 100, 70_000])
def test_parquet_is_converted(count: int, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    i = np.arange(count)
    columns = {
        "a": i / 3,
        "b": [["x", "y", None][j % 3] for j in i],
        "c": i % 2 == 0,
        "d": np.where(i == 40, np.inf, i),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    convert([tmp_path / "t.parquet"], ReadOptions(), tmp_path / "out")
    theirs = read(tmp_path / "t.parquet", ReadOptions())
    assert isinstance(theirs, Table)
    ours = read_folder(tmp_path / "out", True)
    np.testing.assert_array_equal(ours.cells[:], theirs.cells)
    assert (ours.names, ours.words, ours.odd, ours.keyed) == (theirs.names, theirs.words, theirs.odd, theirs.keyed)


def test_columns_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(rows())
    convert([tmp_path / "t.csv"], ReadOptions(), tmp_path / "out", drop=("c", 0))
    whole, ours = read(tmp_path / "t.csv", ReadOptions()), read_folder(tmp_path / "out", True)
    assert (ours.names, ours.words) == (("b", "d"), {})
    np.testing.assert_array_equal(ours.cells[:], whole.matrix([1, 3]))


@given(st.lists(st.sampled_from(["u1", "f4", "f8", "gap", "-0"]), min_size=1, max_size=6), st.integers(1, 3))
def test_numbers_are_stored_as_narrow_as_holds_them(tmp_path_factory: Any, kinds: list[str], columns: int) -> None:
    blocks = []
    for kind in kinds:
        whole = RNG.integers(0, 256, (RNG.integers(0, 20), columns)).astype(np.float64)
        change = {"u1": 0.0, "f4": 0.5, "f8": 0.1, "gap": np.nan, "-0": 0.0}[kind]
        blocks.append(-0.0 * whole if kind == "-0" else whole + change)
    path = tmp_path_factory.mktemp("x") / "values.npy"
    file = Growing(path, columns)
    for block in blocks:
        file.add(block)
    file.finish()
    found, wanted = np.load(path), np.concatenate(blocks)
    np.testing.assert_array_equal(found.astype(np.float64), wanted)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
    used = {kind for kind, block in zip(kinds, blocks, strict=True) if len(block)}
    expected = "float64" if "f8" in used else "float32" if used & {"f4", "gap", "-0"} else "uint8"
    assert found.dtype == expected


def test_what_was_written_narrow_is_widened_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "_ROWS", 7)
    file = Growing(tmp_path / "values.npy", 3)
    blocks = [np.arange(300.0).reshape(100, 3) % 256, np.full((1, 3), 0.5), np.full((1, 3), 0.1)]
    for block in blocks:
        file.add(block)
    file.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), np.concatenate(blocks))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "a,b\n1,2\n3\n", r"t\.csv:3"),
        ("t.csv", "", "empty"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.jsonl", '{"a": 1}\n[1]\n', "not an object"),
        ("t.npy", "\x93NUMPY", "npy is not converted"),
        ("t.html.csv", "<!DOCTYPE html><html>", "HTML page"),
    ],
)
def test_bad_files_are_refused_and_leave_nothing(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=says):
        convert([tmp_path / name], ReadOptions(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_columns_in_a_second_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DataError, match="other columns than"):
        convert([tmp_path / "a.csv", tmp_path / "b.csv"], ReadOptions(), tmp_path / "out")


def test_a_column_that_is_missed_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("income,b\n1,2\n")
    with pytest.raises(DataError, match='did you mean "income"'):
        convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out", needed=("incom",))


def test_more_words_than_memory_should_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlp_core.data.readers.convert_table.MOST_WORDS", 100)
    (tmp_path / "a.csv").write_text("id,b\n" + "".join(f"r{i},2\n" for i in range(300)))
    with pytest.raises(DataError, match=r"leave it out with data\.drop=\[id\]"):
        convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out")
    convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out", drop=("id",))


@pytest.mark.parametrize("call", ["pwrite", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("force", [False, True])
def test_a_disk_that_fails_leaves_what_was_there(
    call: str, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text(rows())
    if force:
        (tmp_path / "old.csv").write_text("a\n1\n2\n")
        convert([tmp_path / "old.csv"], ReadOptions(), tmp_path / "out")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(Failed, match="cannot be written: No space left"):
            convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out", force=force)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    if force:
        assert read_folder(tmp_path / "out", False).rows == 2
    else:
        assert not (tmp_path / "out").exists()


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows())

    def stop(path: Path, count: int) -> None:
        if count > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert([tmp_path / "a.csv"], ReadOptions(progress=stop), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows())
    left = [tmp_path / f".out.{number}.tmp" for number in (999999999, os.getppid(), os.getpid())]
    alive = tmp_path / ".out.1.tmp"
    for folder in (*left, alive):
        folder.mkdir()
    descriptor = os.open(alive, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out")
    os.close(descriptor)
    assert not any(folder.exists() for folder in left)  # whichever process has these numbers now
    assert alive.exists()


def test_the_current_folder_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text(rows())
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UsageError, match=r"\.: the current folder is not written over; choose another with -o FOLDER"):
        convert([Path("../a.csv")], ReadOptions(), Path(), force=True)


def test_only_a_converted_table_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="there is such a file or folder"):
        convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out")
    with pytest.raises(UsageError, match="no converted table"):
        convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out", force=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "x"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(rows())
    convert([tmp_path / "a.csv"], ReadOptions(), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["table.json", "values.npy"])
@settings(max_examples=60)
@given(flip=st.booleans(), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_damage_is_found(
    name: str, flip: bool, place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("d")
    (folder / "a.csv").write_text("a,b,c\n" + "1,x,2.5\n3,y,\n" * 20)
    convert([folder / "a.csv"], ReadOptions(), folder / "out")
    file = folder / "out" / name
    content = bytearray(file.read_bytes())
    at = int(place * (len(content) - 1))
    if flip:
        content[at] ^= 1 << bit
    else:
        content = content[:at]
    file.write_bytes(content)
    try:
        found = read_folder(folder / "out", False)
    except DamagedTable:
        return
    assert name == "table.json", "only white space and the writing of JSON may differ"
    np.testing.assert_array_equal(found.cells, read(folder / "a.csv", ReadOptions()).cells)


@pytest.mark.parametrize(
    "change",
    [
        {"words": {"2": []}}, {"words": {"99": ["a"]}}, {"names": ["a", "a", "c", "d"]}, {"names": [1, 2, 3, 4]},
        {"pieces": []}, {"gaps": [0]}, {"rows": 5}, {"odd": {"x": {}}}, {"notes": [3]}, {"pieces": [{"path": 3}]},
        {"sha256": "0"}, {"format": "another"}, {"words": {"2": [3, 4, 5]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_crafted_description_is_refused_though_its_digest_is_right(change: dict[str, Any], table: Path) -> None:
    from mlp_core.data.readers.converted_table import text_of

    document = json.loads((table / "table.json").read_text())
    del document["digest"]
    (table / "table.json").write_text(text_of({**document, **change}))
    with pytest.raises(DamagedTable):
        read_folder(table, False)


def test_the_json_file_names_the_folder(table: Path) -> None:
    assert read(table / "table.json", ReadOptions(memory="memmap")).names == read(table, ReadOptions()).names

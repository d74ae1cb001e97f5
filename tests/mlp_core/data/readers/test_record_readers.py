"""JSON Lines, Parquet and libsvm: the same tables as from CSV, and what is refused where."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csv_tables import read_csv

from mlp_core.config.data import FORMATS as CONFIG_FORMATS
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import FORMATS, read, read_all, stream
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError

CSV = "a,w,b,y\n1,red,true,0.5\n,blue,false,1\n2.5,?,true,-2\n1e-3,red,,7\n"
JSON = """{"a": 1, "w": "red", "b": true, "y": 0.5}
{"a": null, "w": "blue", "b": false, "y": 1}

{"y": -2, "b": true, "a": 2.5}
{"a": 1e-3, "w": "red", "b": null, "y": 7, "late": 3}
"""


def cells(table: Any) -> list[list[str]]:
    return [[table.cell(row, column) for column in range(len(table.names))] for row in range(table.rows)]


def code(path: Path, **options: Any) -> tuple[str, int | None]:
    with pytest.raises(DataError) as caught:
        read(path, ReadOptions(**options))
    problem = caught.value.problems[0]
    return problem.code, problem.line


@pytest.fixture
def csv_table(tmp_path: Path) -> Table:
    (tmp_path / "t.csv").write_text(CSV)
    return read_csv(tmp_path / "t.csv")


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    writer = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow, which reads Parquet")
    writer.write_table(pytest.importorskip("pyarrow").table(columns), path, **options)
    return path


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.txt"])
def test_json_lines_are_the_same_table(name: str, csv_table: Table, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(JSON.encode()) if name.endswith("gz") else JSON.encode())
    table = read(path, ReadOptions())
    assert isinstance(table, Table)
    assert table.names == (*csv_table.names, "late")
    assert [row[:4] for row in cells(table)] == cells(csv_table)
    assert table.problem("x", "y", 2, 0).line == 4


def test_parquet_is_the_same_table(csv_table: Table, tmp_path: Path) -> None:
    columns = {
        "a": [1.0, None, 2.5, 1e-3],
        "w": ["red", "blue", "?", "red"],
        "b": [True, False, True, None],
        "y": [0.5, 1, -2, 7],
    }
    table = read(parquet(tmp_path / "t.parquet", columns, row_group_size=2), ReadOptions())
    assert isinstance(table, Table)
    assert (table.names, table.named, cells(table)) == (csv_table.names, True, cells(csv_table))
    parts = list(stream(tmp_path / "t.parquet", ReadOptions(), (), {"a"}))
    assert [row for part in parts for row in cells(part)] == cells(csv_table)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_parquet_file_is_refused(damage: str, tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", {"a": list(range(1000))})
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[-12:] = b"\xff" * 4 + data[-8:]
    path.write_bytes(data)
    assert code(path) == ("damaged", None)


def test_lists_in_parquet_are_refused(tmp_path: Path) -> None:
    assert code(parquet(tmp_path / "t.parquet", {"a": [[1], [2]]}))[0] == "nested_column"


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    with pytest.raises(DataError, match=r"Parquet needs the package pyarrow; pip install pyarrow"):
        read(tmp_path / "t.parquet", ReadOptions())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1}\n{"a": 2\n', 2),
        ('{"a": 1}\n[1, 2]\n', 2),
        ('{"a": 1}\n{"a": {"b": 1}}\n', 2),
        ('{"a": 1, "a": 2}\n', 1),
        ('{"a": [1]}\n', 1),
        ('{"a": ' + "[" * 100_000 + "\n", 1),
    ],
)
def test_bad_json_is_refused_at_its_line(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    assert code(tmp_path / "t.jsonl") == ("bad_json", line)


def test_libsvm_equals_scikit_learn(tmp_path: Path) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn as the reference")
    rng = np.random.default_rng(0)
    X = np.where(rng.random((30, 8)) < 0.5, 0, rng.normal(size=(30, 8)))
    X[0, 7] = 1.0
    y = rng.integers(0, 3, 30)
    for zero_based in (True, False):
        path = tmp_path / "t.libsvm"
        datasets.dump_svmlight_file(X, y, str(path), zero_based=zero_based, comment="made")
        arrays = read(path, ReadOptions())
        np.testing.assert_allclose(arrays.matrix(range(8)), X, rtol=1e-15)
        np.testing.assert_array_equal(arrays.matrix([8])[:, 0], y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 1:2\nx 1:2\n", ("not_a_number", 2)),
        ("1 1:2\n1 1:x\n", ("bad_pair", 2)),
        ("1 2:2 1:3\n", ("bad_pair", 1)),
        ("1 999999999:3\n", ("too_wide", None)),
        ("1,2 1:3\n", ("not_a_number", 1)),
        ("\n", ("no_rows", None)),
    ],
)
def test_bad_libsvm_is_refused(text: str, expected: tuple[str, int | None], tmp_path: Path) -> None:
    (tmp_path / "t.svm").write_text(text)
    assert code(tmp_path / "t.svm") == expected


def test_several_files_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,k\n1,7\n2,8\n")
    (tmp_path / "2.csv").write_text("a,k\n3,x9\n4,7\n")
    table = read_all([tmp_path / "1.csv", tmp_path / "2.csv"], ReadOptions())
    assert cells(table) == [["1", "7"], ["2", "8"], ["3", "x9"], ["4", "7"]]
    assert table.problem("x", "y", 2, 0).file == str(tmp_path / "2.csv")
    (tmp_path / "2.csv").write_text("a,q\n3,x9\n")
    with pytest.raises(DataError, match="other columns than"):
        read_all([tmp_path / "1.csv", tmp_path / "2.csv"], ReadOptions())


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_stream_gives_the_rows_of_the_table_in_parts(name: str, tmp_path: Path) -> None:
    rows = [(k, f"w{k % 7}", k / 3) for k in range(200_000)]
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("a,w,b\n" + "".join(f"{a},{w},{b}\n" for a, w, b in rows))
    else:
        path.write_text("".join(f'{{"a": {a}, "w": "{w}", "b": {b}}}\n' for a, w, b in rows))
    parts = list(stream(path, ReadOptions(), (), {"a", "b"}))
    assert len(parts) == 4
    assert max(part.rows for part in parts) < 70_000
    np.testing.assert_array_equal(np.concatenate([part.matrix([0])[:, 0] for part in parts]), np.arange(200_000))
    assert [parts[-1].cell(part_row, 1) for part_row in range(3)] == [
        f"w{(200_000 - parts[-1].rows + part_row) % 7}" for part_row in range(3)
    ]
    assert parts[1].problem("x", "y", 0, 0).line == parts[0].rows + (2 if name.endswith("csv") else 1)


def test_the_config_knows_every_format_that_there_is() -> None:
    assert set(CONFIG_FORMATS) == {"auto", *FORMATS}
    assert all(name == each.name for name, each in FORMATS.items())


def test_a_key_that_comes_late_is_left_out_and_told(tmp_path: Path) -> None:
    lines = ['{"a": 1}'] * 120 + ['{"a": 2, "b": 3}', '{"a": 2, "b": 4}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    table = read(tmp_path / "t.jsonl", ReadOptions())
    assert table.names == ("a",)
    assert table.notes[-1] == "note: left out, since no row among the first 100 has it: b (line 121)"


def test_an_array_on_one_line_is_read_in_time_that_grows_with_its_rows(tmp_path: Path) -> None:
    """As `to_json(orient="records")` of pandas writes it; copying what is left for every object took minutes here."""
    (tmp_path / "t.json").write_text("[" + ", ".join(['{"a": 1.5, "w": "x"}'] * 60_000) + "]")
    table = read(tmp_path / "t.json", ReadOptions())
    assert table.rows == 60_000
    assert [table.cell(59_999, column) for column in range(2)] == ["1.5", "x"]


def piped(text: str, numbers: set[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What comes of a text on standard input, by its columns of numbers."""
    out, into = os.pipe()
    os.write(into, text.encode())
    os.close(into)
    with io.TextIOWrapper(os.fdopen(out, "rb")) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        return list(stream(Path("-"), ReadOptions(), (), numbers))


@pytest.mark.parametrize("text", ['{"a": 1}\n' * 19 + '{"a": 1.5}\n', "[" + '{"a": 1},\n' * 19 + '{"a": 1.5}]'])
def test_fractions_are_numbers_where_they_come_through_a_pipe(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no first lines tell the decimal sign, it is a point: one of twenty cells was refused as no number."""
    (table,) = piped(text, {"a"}, monkeypatch)
    assert table.matrix([0])[:, 0].tolist() == [1.0] * 19 + [1.5]
    assert not table.odd


def test_a_quote_inside_a_cell_keeps_no_rows_back_that_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between blanks it opens nothing; all rows from there on were lost."""
    (table,) = piped('a b\n1 2\n3 4"x\n5 6\n', {"a"}, monkeypatch)
    assert [[table.cell(row, column) for column in range(2)] for row in range(table.rows)] == [
        *(["1", "2"], ["3", '4"x'], ["5", "6"]),
    ]

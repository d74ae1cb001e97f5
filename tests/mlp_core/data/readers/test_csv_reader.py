"""Text tables: how they may be written, and where every complaint points."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from csv_tables import read_csv

from mlp_core.data.readers import csv as csv_module
from mlp_core.data.readers.csv import TSV
from mlp_core.data.readers.csv_options import CsvOptions, number
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.table import concatenate
from mlp_core.data.readers.text_stream import TextBytes
from mlp_core.errors import DataError, Problem

NUMBERS = [[1.0, 2.5, -3.0], [4.0, 5e-3, 6.0]]
WRITTEN = {
    "comma": b"a,b,c\n1,2.5,-3\n4,5e-3,6\n",
    "no final newline": b"a,b,c\n1,2.5,-3\n4,5e-3,6",
    "semicolon": b"a;b;c\n1;2.5;-3\n4;5e-3;6\n",
    "tab": b"a\tb\tc\n1\t2.5\t-3\n4\t5e-3\t6\n",
    "bar": b"a|b|c\n1|2.5|-3\n4|5e-3|6\n",
    "blanks": b"a  b c\n 1 2.5   -3\n4  5e-3 6 \n",
    "blank after comma": b"a, b, c\n1, 2.5, -3\n4, 5e-3, 6\n",
    "quoted": b'"a","b","c"\n"1","2.5","-3"\n"4","5e-3","6"\n',
    "quoted after blank": b'"a", "b", "c"\n"1", "2.5", "-3"\n"4", "5e-3", "6"\n',
    "CRLF": b"a,b,c\r\n1,2.5,-3\r\n4,5e-3,6\r\n",
    "CR": b"a,b,c\r1,2.5,-3\r4,5e-3,6\r",
    "byte order mark": b"\xef\xbb\xbfa,b,c\n1,2.5,-3\n4,5e-3,6\n",
    "empty lines": b"\na,b,c\n\n1,2.5,-3\n  \n4,5e-3,6\n\n",
    "plus and points": b"a,b,c\n+1,2.50,-3.\n4,.005,6E0\n",
}


def refused(content: bytes, path: Path, options: CsvOptions | None = None) -> Problem:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_csv(path, options)
    assert str(caught.value).startswith(str(path))
    return caught.value.problems[0]


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_table_reads_the_same_however_it_is_written(content: bytes, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    table = read_csv(path)
    assert table.names == ("a", "b", "c")
    assert table.cells.tolist() == NUMBERS
    assert not table.words
    assert not table.odd


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b"a;b;c\n1;2,5;-3\n4;5e-3;6\n", CsvOptions(decimal=",")),
        (b"a,b,c\n1,2.5,-3\n4,5e-3,6\n".decode().encode("utf-16"), CsvOptions(encoding="utf-16")),
        (b"# made by 'x', \"y\n# 1,2\na,b,c\n1,2.5,-3\n#\n4,5e-3,6\n", CsvOptions(comment="#")),
        (b"a:b:c\n1:2.5:-3\n4:5e-3:6\n", CsvOptions(delimiter=":")),
        (b"'a','b','c'\n'1',2.5,-3\n4,5e-3,6\n", CsvOptions(quote="'")),
    ],
    ids=["decimal comma", "utf-16", "comments", "delimiter", "quote"],
)
def test_options_are_followed(content: bytes, options: CsvOptions, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    table = read_csv(path, options)
    assert table.names == ("a", "b", "c")
    assert table.cells.tolist() == NUMBERS


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"1,2\n3,4\n", ("c0", "c1")),
        (b"T,2\nI,5\n", ("c0", "c1")),  # the letter set: text first, then numbers
        (b"name,2019\nx,4\n", ("c0", "c1")),  # a number in the first line: never dropped in silence
        (b"x,label\n1,red\n2,blue\n", ("x", "label")),
        (b"colour,size\nred,big\nblue,small\n", ("colour", "size")),
        (b"red,big\nblue,small\nred,small\n", ("c0", "c1")),  # its words come again below
        (b"?,red\n1,blue\n", ("c0", "c1")),
        (b"a,,c\n1,2,3\n", ("a", "c1", "c")),
    ],
)
def test_the_header_is_told_from_the_first_line(content: bytes, names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert read_csv(path).names == names


def test_a_first_line_with_the_sought_name_is_the_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"name,2019\nx,4\n")
    assert read_csv(path, names=["name"]).names == ("name", "2019")


def test_text_columns_hold_codes_and_missing_cells_are_nan(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'kind,n\nred,1\n"a, ""b""\nc",\n ? ,3\nred ,NA\n')
    table = read_csv(path)
    assert table.words == {0: ["red", 'a, "b"\nc']}
    np.testing.assert_array_equal(table.cells, [[0, 1], [1, np.nan], [np.nan, 3], [0, np.nan]])
    assert [table.problem("x", "", row, 1).line for row in range(4)] == [2, 3, 5, 6]


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_column_of_numbers_may_hold_few_other_cells(share: float, tmp_path: Path) -> None:
    cells = ["oops" if row < 40 * share else str(row) for row in range(40)]
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"1,{cell}\n" for cell in cells))
    table = read_csv(path)
    assert table.odd == ({1: {0: "oops", 1: "oops"}} if share < 0.1 else {})
    assert table.words.keys() == (set() if share < 0.1 else {1})


def test_a_column_that_turns_to_text_later_is_text_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_module, "CHUNK", 4)
    cells = ["1", "2.50", "3", "4", "x", "y", "z", "01"]
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"1,{cell}\n" for cell in cells))
    table = read_csv(path)
    assert [table.cell(row, 1) for row in range(8)] == cells


def test_lines_are_right_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_module, "CHUNK", 3)
    records = ["1,2\n", "\n", '"3","4\n"\n', "5,6\n", "7,8\n", '"a\nb\nc\nd",9\n', "10,11\n", "12,13\n"]
    path = tmp_path / "t.csv"
    path.write_text("p,q\n" + "".join(records))
    starts = np.cumsum([2, *(record.count("\n") for record in records)])[:-1]
    table = read_csv(path)
    assert [table.problem("", "", row).line for row in range(7)] == [int(s) for i, s in enumerate(starts) if i != 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), (" -2.5e3 ", -2500.0), ("+.5", 0.5), ("5.", 5.0), ("1_000", None), ("nan", None), ("inf", None),
        ("0x10", None), ("1,5", None), ("", None), ("١", None), ("1e", None), ("1 2", None), ("--1", None), (".", None),
    ],
)  # fmt: skip
def test_only_plain_decimal_notation_is_a_number(text: str, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize("cell", ["1_000", "NAN", "inf", "-Infinity", "1e999", "١", "0x10", "1d3"])
def test_what_float_accepts_but_people_do_not_mean_is_odd(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 30 + f"1,{cell}\n")
    assert read_csv(path).odd == {1: {30: cell}}


def test_a_marker_that_is_a_number_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,-999\n2,3\n")
    np.testing.assert_array_equal(read_csv(path, CsvOptions(na=("-999",))).cells, [[1, np.nan], [2, 3]])


BROKEN = {
    "ragged, short": (b"a,b,c\n1,2,3\n4,5\n", "ragged_row", 3, 3),
    "ragged, long": (b"a,b,c\n1,2,3\n4,5,6,7\n", "ragged_row", 3, 4),
    "ragged, late": (b"1,2\n" * 9000 + b"3\n" + b"1,2\n" * 9, "ragged_row", 9001, 2),
    "open quote": (b'a,b\n1,"2\n3,4\n', "broken_quotes", 2, None),
    "text after quote": (b'a,b\n1,2\n"3"x,4\n', "broken_quotes", 3, None),
    "open quote in the first line": (b'"a,b\n1,2\n', "broken_quotes", 1, None),
    "zero byte": (b"a,b\n1,2\n3,\x004\n", "zero_byte", 3, None),
    "not utf-8": (b"a,b\n1,2\ncaf\xe9,4\n", "not_text", 3, None),
    "not utf-8, late": (b"1,2\n" * 200_000 + b"\xe9,2\n", "not_text", 200_001, None),
    "empty": (b"", "empty_file", None, None),
    "blank": (b"\n \n\n", "no_rows", None, None),
    "header only": (b"a,b\n", "no_rows", None, None),
    "web page": (b"\n<!doctype HTML>\n<html>", "html_page", None, None),
    "endless line": (b"1," * (9 << 20), "line_too_long", 1, None),
    "too wide": (b"1," * 100_001 + b"1\n", "too_large", None, None),
}


@pytest.mark.parametrize(("content", "code", "line", "column"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_refused_at_its_place(
    content: bytes, code: str, line: int | None, column: int | None, tmp_path: Path
) -> None:
    options = CsvOptions(header=True) if code == "no_rows" and content else None
    problem = refused(content, tmp_path / "t.csv", options)
    assert (problem.code, problem.line, problem.column) == (code, line, column)


def test_a_web_page_in_place_of_gzip_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images.gz").write_bytes(b"<!DOCTYPE html>\n<html><body>404")
    with pytest.raises(DataError) as caught:
        read_csv(tmp_path / "images.gz")
    assert str(caught.value) == (
        'images.gz: this is an HTML page, not gzip (starts "<!DOCTYPE"); the download failed, fetch it again'
    )


def test_a_missing_file_tells_what_was_tried_and_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r'no such file \(tried .*/trian.csv\); did you mean "train.csv"\?'):
        read_csv(tmp_path / "trian.csv")


def test_a_link_to_nowhere_is_not_proposed_in_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "train.csv").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"no such file \(tried .*/train.csv\); check the path"):
        read_csv(tmp_path / "train.csv")


@pytest.mark.parametrize("kind", ["directory", "pipe", "device", "link to nowhere", "name too long"])
def test_what_is_no_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link to nowhere":
        path.symlink_to("nowhere")
    else:
        path = tmp_path / ("x" * 300)
    with pytest.raises(DataError):
        read_csv(path)


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_tells_the_encoding(codec: str, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes("größe\tb\r\n1\té\r\n2\t漢\r\n".encode(codec))
    table = TSV.read(tmp_path / "t.tsv", ReadOptions(), ())
    assert table.names == ("größe", "b")
    assert table.words == {1: ["é", "漢"]}


def test_a_comment_before_the_table_is_suspected(tmp_path: Path) -> None:
    problem = refused(b"|1x3 Cross validator\n1,2\n3,4\n", tmp_path / "t.csv", CsvOptions())
    assert (problem.line, problem.hint) == (
        2,
        'if the first line is no data, set data.csv.comment: "|"',
    )
    problem = refused(b"Report of 2024\n\nx,y\n1,2\n3,4\n", tmp_path / "r.csv", CsvOptions())
    hint = 'delete the lines above the names of the columns, or set data.csv.delimiter (now ",")'
    assert (problem.line, problem.hint) == (3, hint)


def test_rows_that_end_in_a_delimiter_keep_their_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("y,x,z\na,1,2,\nb,3,4,\nc,5,6,\n")
    table = read_csv(tmp_path / "t.csv")
    assert table.names == ("y", "x", "z", "c3")
    assert table.words[0] == ["a", "b", "c"]
    np.testing.assert_array_equal(table.cells[:, 1:3], [[1, 2], [3, 4], [5, 6]])
    assert np.isnan(table.cells[:, 3]).all()


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the size that gzip writes at its end."""
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 4_000_000))
    monkeypatch.setattr(TextBytes, "readinto", None)
    with pytest.raises(DataError, match="unpacks to more than 250 times its size"):
        read_csv(tmp_path / "t.csv.gz")


@pytest.mark.parametrize("line", [b"0" * 999 + b"\n", b"0," * 500 + b"0\n", b"\n"])
@pytest.mark.parametrize("lies", [False, True])
def test_a_gzip_bomb_is_refused(line: bytes, lies: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    packed = gzip.compress(line * ((12 << 20) // len(line)))
    path.write_bytes(packed[:-4] + bytes(4) if lies else packed)
    with pytest.raises(DataError) as caught:
        read_csv(path)
    assert caught.value.problems[0].code == "too_large"


def test_tables_are_joined_with_one_vocabulary(tmp_path: Path) -> None:
    for name, rows in (("a", "red,1\nblue,2\n"), ("b", "green,3\nred,4\n")):
        (tmp_path / name).write_text("kind,n\n" + rows)
    table = concatenate([read_csv(tmp_path / "a"), read_csv(tmp_path / "b")])
    assert [table.cell(row, 0) for row in range(4)] == ["red", "blue", "green", "red"]
    assert table.notes[0].startswith("table: 4 rows in 2 files of 2 columns, ")
    problem = table.problem("", "", 3, 0)
    assert (Path(problem.file or "").name, problem.line) == ("b", 3)
    (tmp_path / "b").write_text("kind,m\nred,1\n")
    with pytest.raises(DataError, match="other columns"):
        concatenate([read_csv(tmp_path / "a"), read_csv(tmp_path / "b")])


def test_a_row_of_empty_cells_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n,\n")
    np.testing.assert_array_equal(read_csv(path).cells, [[1, 2], [np.nan, np.nan]])


def test_a_table_may_start_late(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("% words\n" * 500 + "\na,b\n1,2\n3,x\n")
    table = read_csv(path, CsvOptions(comment="%"))
    assert table.names == ("a", "b")
    assert (table.header, table.problem("", "", 1).line) == (502, 504)


def test_utf_16_without_its_mark_is_refused(tmp_path: Path) -> None:
    problem = refused(b"a,b\n1,2\n", tmp_path / "t.csv", CsvOptions(encoding="utf-16"))
    assert problem.code == "not_text"


def test_one_column_with_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1,5\n2,5\n")
    assert read_csv(path, CsvOptions(decimal=",")).cells.tolist() == [[1.5], [2.5]]


def test_numbers_among_the_sought_names_do_not_make_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("0,9,9,9\n1,8,8,8\n")
    assert read_csv(path, names=["0", "1", "2", "3"]).rows == 2

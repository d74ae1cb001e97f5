"""How a table is written is told from its first lines: header, decimal sign, quotes, row names, Excel's line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_tables import read_csv

from mlp_core.data.readers.csv_options import CsvOptions, Dialect
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import read_all
from mlp_core.data.readers.table import Table
from mlp_core.errors import DataError

HEADED = {
    "pandas": ("0,1,2\n0.5,0.25,1\n1.5,0.75,0\n", ("0", "1", "2")),
    "pandas with an index": (",0,1\n0,0.25,1\n1,0.75,0\n", ("c0", "0", "1")),
    "years after a word": ("country,2018,2019,2020\nPeru,1.5,2.5,3.5\nChad,0.5,0.25,0.75\n", None),
    "years": ("2018,2019,2020\n1.5,2.5,3.5\n0.5,0.25,0.75\n", None),
    "years above counts": ("2018,2019,2020\n417,88,1300\n90,7,25\n", None),
    "years backwards": ("place,2020,2019\na,1.5,2\na,2.5,3.25\n", None),
    "a word above numbers": ("id,2019,x\n1,3.5,7\n2,4.5,8\n", None),
    "words above words": ("who,what\nann,tea\nbob,milk\n", None),
    "words above numbers": ("a,b\n1,2\n", None),
}
HEADLESS = {
    "numbers": "5.1,3.5,setosa\n4.9,3.0,setosa\n",
    "whole numbers": "1,2,3\n4,5,6\n7,8,10\n",
    "numbers in order": "1,2,3\n2,3,4\n3,4,5\n",
    "words that come again": "red,blue\nblue,red\nred,red\n",
    "a missing cell": "NA,3\n4,5\n",
    "labels after numbers": "3,7,cat\n4,9,dog\n5,1,cat\n",
    "years in rows": "Peru,2018,2019\nChad,2020,2021\nPeru,2019,2020\n",
}


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "names"), HEADED.values(), ids=HEADED)
def test_a_first_line_of_names_is_known(text: str, names: tuple[str, ...] | None, tmp_path: Path) -> None:
    table = read_csv(written(tmp_path / "t.csv", text))
    assert table.header == 1
    assert table.names == (names or tuple(text.split("\n", 1)[0].split(",")))


@pytest.mark.parametrize("text", HEADLESS.values(), ids=HEADLESS)
def test_a_first_line_of_data_is_known(text: str, tmp_path: Path) -> None:
    table = read_csv(written(tmp_path / "t.csv", text))
    assert (table.header, table.rows) == (0, text.count("\n"))


def test_a_first_line_of_data_with_words_is_told(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path / "t.csv", HEADLESS["labels after numbers"]))
    assert table.notes[-1] == "note: the first line is taken as data; data.csv.header: true takes it as names"


@pytest.mark.parametrize(("name", "header"), [("2020", 1), ("1", 0), ("3.5", 1)])
def test_a_name_that_is_looked_for_tells_the_header_but_for_a_position(name: str, header: int, tmp_path: Path) -> None:
    text = f"{name},7,3\n1,2,3\n1,1,3\n"
    assert read_csv(written(tmp_path / "t.csv", text), names=(name,)).header == header


DECIMALS = {
    "semicolons": ("a;b\n3,5;1\n-2,75;2\n", ",", [3.5, -2.75]),
    "tabs": ("a\tb\n3,5\t1\n12,25\t2\n", ",", [3.5, 12.25]),
    "quoted": ('a,b\n"3,5",1\n"12,25",2\n', ",", [3.5, 12.25]),
    "three digits between semicolons": ("a;b\n48,137;1\n11,575;2\n", ",", [48.137, 11.575]),
    "points beside them": ("a;b\n3,5;1.5\n12,25;2\n", ".", None),
    "points": ("a;b\n3.5;1\n12.25;2\n", ".", [3.5, 12.25]),
    "thousands": ('a,b\n"1,500",1\n"12,250",2\n', ".", None),
    "gaps": ("a;b\nNA;1\n3,5;2\n", ",", [np.nan, 3.5]),
}


@pytest.mark.parametrize(("text", "decimal", "numbers"), DECIMALS.values(), ids=DECIMALS)
def test_the_decimal_sign_is_told_by_the_first_lines(
    text: str, decimal: str, numbers: list[float] | None, tmp_path: Path
) -> None:
    table = read_csv(written(tmp_path / "t.csv", text))
    assert table.dialect is not None
    assert table.dialect.decimal == decimal
    if numbers is not None:
        np.testing.assert_array_equal(table.cells[:, 0], numbers)


def test_what_was_told_on_the_training_file_holds_for_others(tmp_path: Path) -> None:
    kept = CsvOptions(kept=Dialect(";", '"', True, ","))
    table = read_csv(written(tmp_path / "t.csv", "a;b\n1;2\n3;4\n"), kept, names=("a", "b"))
    assert table.dialect == Dialect(";", '"', True, ",")
    table = read_csv(written(tmp_path / "t.csv", "a,b\n1,2\n3,4\n"), kept, names=("a", "b"))
    assert (table.names, table.rows) == (("a", "b"), 2)  # another delimiter, the same names
    headless = CsvOptions(kept=Dialect(",", '"', False, "."))
    table = read_csv(written(tmp_path / "t.csv", "red,one\nblue,2\ngreen,3\n"), headless, names=("c0", "c1"))
    assert (table.header, table.rows) == (0, 3)
    table = read_csv(written(tmp_path / "t.csv", "c0,c1\nblue,2\n"), headless, names=("c0", "c1"))
    assert (table.header, table.rows) == (1, 1)


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffSEP=;"])
def test_the_line_for_excel_is_no_row(first: str, tmp_path: Path) -> None:
    table = read_csv(written(tmp_path / "t.csv", f"{first}\na;b\n1,5;x\n2;y\n"))
    assert (table.names, table.rows, table.pieces[0].lines[0]) == (("a", "b"), 2, 3)


def test_quotes_hold_cells_together_between_blanks(tmp_path: Path) -> None:
    text = 'age "first name"  town\n31 "Anna Maria"   Ulm\n32 Bob "Bad ""X"" Ems"\n'
    table = read_csv(written(tmp_path / "t.txt", text))
    assert table.names == ("age", "first name", "town")
    assert table.words == {1: ["Anna Maria", "Bob"], 2: ["Ulm", 'Bad "X" Ems']}


@pytest.mark.parametrize("sign", [" ", "\t", ","])
def test_the_header_of_r_is_one_cell_shorter(sign: str, tmp_path: Path) -> None:
    rows = [['"mpg"', '"cyl"'], ['"Mazda RX4"', "21", "6"], ['"Datsun 710"', "22.8", "4"]]
    table = read_csv(written(tmp_path / "t.txt", "".join(sign.join(row) + "\n" for row in rows)))
    assert table.names == ("row", "mpg", "cyl")
    assert table.words == {0: ["Mazda RX4", "Datsun 710"]}


def test_a_name_that_comes_twice_is_numbered(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a,b,a,a.1,a\n1,2,3,4,5\n")
    table = read_csv(path)
    assert table.names == ("a", "b", "a.2", "a.1", "a.3")
    assert table.notes[-1] == "note: column names given twice; the further ones are a.2, a.3"
    table = read_csv(path, CsvOptions(header=True, names=tuple("vwxyz")))
    assert (table.names, table.rows) == (tuple("vwxyz"), 1)


@pytest.mark.parametrize("large", [0, 1 << 60])
def test_a_long_cell_is_read(large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlp_core.data.readers.csv.LARGE", large)
    text = "a,b\n" + "1,x\n" * 20 + f'2,"{"long " * 30_000}"\n' + "3,y\n" * 20
    table = read_csv(written(tmp_path / "t.csv", text))
    assert (table.rows, len(table.words[1][1])) == (41, 149_999)


def test_several_files_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    a = written(tmp_path / "a.csv", "x,w,y\n1,red,2\n3,blue,4\n")
    b = written(tmp_path / "b.csv", "y,x,w\n6,5,blue\n8,7,green\n")
    table = read_all([a, b], ReadOptions())
    assert isinstance(table, Table)
    assert table.names == ("x", "w", "y")
    assert table.cells.tolist() == [[1, 0, 2], [3, 1, 4], [5, 1, 6], [7, 2, 8]]
    assert table.words == {1: ["red", "blue", "green"]}
    with pytest.raises(DataError, match=r"other columns than .*a\.csv: no w.*"):
        read_all([a, written(tmp_path / "c.csv", "x,y\n1,2\n")], ReadOptions())


NEXT_TO_EACH_OTHER = "3,2,1\n0.5,7,1\n0.25,8,4\n"


def test_numbers_next_to_each_other_are_names_where_one_of_them_is_looked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", NEXT_TO_EACH_OTHER)
    assert read_csv(path, names=("2",)).names == ("3", "2", "1")
    table = read_csv(path)
    assert table.names == ("c0", "c1", "c2")
    assert table.notes[-1] == "note: the first line is taken as data; data.csv.header: true takes it as names"


def test_years_above_years_are_data_and_told(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path / "t.csv", "2018,2019,2020\n1990,1850,2001\n1999,2010,1900\n"))
    assert not table.named
    assert "taken as data" in table.notes[-1]

"""Large tables through pyarrow, and all others cell by cell: the same table, every number to the last bit."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from csv_tables import read_csv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlp_core.data.readers import csv as reader
from mlp_core.data.readers.blocks import Parser
from mlp_core.data.readers.by_blocks import table_format
from mlp_core.data.readers.cells import Cells
from mlp_core.data.readers.csv import CSV
from mlp_core.data.readers.csv_options import CsvOptions, Dialect
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.text_stream import TextLines
from mlp_core.errors import DataError

EDGES = (
    *("0", "-0", "0.0", "-0.000", "00012.50", ".5", "5.", "+3", "1e5", "1E-5", "9007199254740993", "1e23", "8.5e22"),
    *("9007199254740992.5", "0e999", "1e-400", "123456789012345678901234567890", "5e-324", "1.7976931348623157e308"),
)


def number(rng: random.Random) -> str:
    """A number as people and programs write them, halfway between two doubles more often than not."""
    return rng.choice(
        [
            repr(rng.gauss(0, 1)),
            repr(struct.unpack("<d", (rng.getrandbits(64) & ~(1 << 62)).to_bytes(8, "little"))[0]),
            f"{rng.gauss(0, 1e3):.{rng.randrange(20)}f}",
            f" {rng.gauss(0, 1):.{rng.randrange(25)}e} ",
            str(rng.randrange(-(10 ** rng.randrange(1, 25)), 10 ** rng.randrange(1, 25))),
            str((2 * (rng.getrandbits(53) | 1 << 52) + 1) * 2 ** rng.randrange(9)),
            rng.choice(EDGES),
        ]
    )


@pytest.mark.parametrize("quote", ["", '"'], ids=["bare", "quoted"])
@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_read_to_the_last_bit(seed: int, quote: str) -> None:
    rng = random.Random(seed)
    rows = [[number(rng) for _ in range(7)] for _ in range(500)]
    plain = [[cell for cell in row if not cell.startswith("+")] or ["0"] for row in rows]  # pyarrow takes no sign +
    cells = [cell for row in plain for cell in row]
    lines = "".join(f"{quote}{cell}{quote}\r\n" for cell in cells)
    parsed = Parser(1, Dialect(",", '"', False), Cells(CsvOptions(), ".")).parse(lines.encode(), ())
    assert parsed is not None
    assert not parsed.cells
    expected = np.array([float(cell) for cell in cells])
    np.testing.assert_array_equal(parsed.values[:, 0].view(np.uint64), expected.view(np.uint64))


def outcome(path: Path, options: CsvOptions, large: int, monkeypatch: pytest.MonkeyPatch) -> object:
    """What one of the ways makes of a file: the table, or the problem."""
    monkeypatch.setattr(reader, "LARGE", large)
    try:
        table = read_csv(path, options)
    except DataError as error:
        return error.problems
    rows = range(table.rows)
    cells = [[table.cell(row, column) for column in range(len(table.names))] for row in rows]
    places = [table.problem("x", "y", row).line for row in rows]
    words = {table.names[column]: words for column, words in table.words.items()}
    return table.names, table.cells.tobytes(), cells, places, words, table.odd, table.notes, table.dialect


def same_both_ways(path: Path, monkeypatch: pytest.MonkeyPatch, options: CsvOptions | None = None) -> object:
    options = options or CsvOptions()
    slow = outcome(path, options, 1 << 60, monkeypatch)
    assert outcome(path, options, 0, monkeypatch) == slow
    return slow


CELL = st.one_of(
    st.sampled_from(
        ["", "NA", " NA", "?", "-999", "-999.0", "w1", "w2", "é", "nan", "inf", "+3", "1e999", "1_0", "1,5"]
    ),
    st.sampled_from(
        ['"w1"', '"a,b"', '"a""b"', ' "x"', '"x" ', 'x"y', '"', '"a\nb"', "1\r", "\t3", "\x0bw1\x1f", "1 2"]
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-9, 9).map(str),
    st.text('0123456789.eE+- \tx,\n\rNA"', max_size=6),
)
ROW = st.lists(CELL, min_size=3, max_size=3).map(",".join)
OPTIONS = st.builds(
    CsvOptions,
    decimal=st.sampled_from([".", ".", ","]),
    delimiter=st.sampled_from([",", ",", "auto", ";"]),
    header=st.sampled_from([True, "auto"]),
    quote=st.sampled_from(['"', '"', '"', None, "'"]),
    na=st.sampled_from([CsvOptions().na, ("-999",), ("", "-999", "w1")]),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\n", "\r\n"]),
    options=OPTIONS,
    calm=st.booleans(),
)
def test_random_tables_are_the_same_both_ways(
    rows: list[str], end: str, options: CsvOptions, calm: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks of a few lines, so that tables have many; `calm`: rows of numbers before and between."""
    monkeypatch.setattr(TextLines, "BLOCK", 40)
    monkeypatch.setattr(reader, "CHUNK", 4)
    path = tmp_path / "t.csv"
    if calm:
        rows = [line for row in rows for line in ("1,w1,2.5", "-2,w2,", "7,w1,1e3", row)]
    path.write_bytes(end.join(["a,b,c", *rows, ""]).encode())
    same_both_ways(path, monkeypatch, options)


ROWS = "".join(f"{k},w{k % 5},{k / 7},{'' if k % 11 == 0 else k}\n" for k in range(9000))


@pytest.mark.parametrize(
    "text",
    [
        "a_b,w_w,b,c\n" + ROWS,
        "a,w,b,c\n" + ROWS.replace(",w", ",é_w"),
        "a,w,b,c\n"
        + ROWS.replace(",w", ',"w')
        .replace("w0", 'w0"')
        .replace("w1", 'w1"')
        .replace("w2", 'w2"')
        .replace("w3", 'w3, x"')
        .replace("w4", 'w4"'),
        "a,w,b,c\n" + ROWS.replace("7,", '"7",'),
        "a,w,b,c\n" + ROWS + '9000,"w""4",1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + '9000,w"4,1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + '9000,\t"w4",1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + '9000,"x\ny",1,1\n' + ROWS + '9000,"x\n\ny",1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + "9000,\x0bw1\x1f,1,1\n" + ROWS,
        "a,w,b,c\n" + ROWS.replace(",\n", ",NA\n"),
        "a,w,b,c\n" + ROWS.replace(",\n", ",NA\n").replace("\n", "\r", 100),
        "a,w,b,c\n" + ROWS + "   \n" + ROWS + ' "" \n',
        "a,w,b,c\n" + ROWS.replace(",w4", ","),
        "a,w,b,c\r\n" + ROWS.replace("\n", "\r\n"),
        "a;w;b;c\n" + ROWS.replace(",", " ; "),
        "a,w,b,c\n" + ROWS + "9000,?,NA,1\n",
        "a,w,b,c\n" + ROWS + '9000,"x,y",1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,inf,1\n",
        "a,w,b,c\n" + ROWS + "9000,n,1e999,1\n",
        "a,w,b,c\n" + ROWS + "9000,n,+5,1\n" + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,1,n/a\n" * 30 + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,1,n/a\n" * 3000 + ROWS,
        "a,w,b,c\n" + ROWS + "\n" + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,1\n",
        "a,w,b,c\n" + ROWS + "9000,n,1,1,1\n" + ROWS,
        "a,w,b,c\n" + ROWS.rstrip("\n"),
        "a\n" + "1\n2\n\n3\n" * 2000,
    ],
)
def test_what_files_hold_is_the_same_both_ways(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    path = tmp_path / "t.csv"
    path.write_text(text)
    same_both_ways(path, monkeypatch)


def test_a_marker_that_is_a_number_is_missing_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "-999,1\n -999 ,2\n-9.99e2,3\n5,4\n" * 30)
    for large in (0, 1 << 60):
        monkeypatch.setattr(reader, "LARGE", large)
        table = read_csv(path, CsvOptions(na=("-999",)))
        assert table.missing(0) == 90
        assert table.missing(1) == 0


def test_of_odd_cells_that_are_alike_only_the_first_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 300 + "oops,2\n" * 4 + "none,2\n" + "1,2\n" * 300 + "oops,2\n")
    monkeypatch.setattr(TextLines, "BLOCK", 50)
    same_both_ways(path, monkeypatch)
    assert read_csv(path).odd == {0: {300: "oops", 301: "oops", 304: "none"}}


@pytest.mark.parametrize("large", [0, 1 << 60], ids=["pyarrow", "csv module"])
@pytest.mark.parametrize("comment", [None, "#"])
def test_a_table_in_parts_is_the_whole_table(
    comment: str | None, large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b,c\n" + ROWS + ('# "remark\n' if comment else "") + ROWS + '9000,"w""4",1,1\n' + ROWS)
    monkeypatch.setattr(reader, "LARGE", large)
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    options = CsvOptions(comment=comment)
    whole = read_csv(path, options)
    in_parts = table_format("csv", CSV.told, partial(reader._blocks, None), part=5000).parts
    parts = list(in_parts(path, ReadOptions(csv=options), (), ("a", "b", "c")))
    assert [part.rows for part in parts] == [5000] * 5 + [2001]
    cells = [[part.cell(row, column) for column in range(4)] for part in parts for row in range(part.rows)]
    assert cells == [[whole.cell(row, column) for column in range(4)] for row in range(whole.rows)]
    last = parts[-1]
    assert last.problem("x", "y", last.rows - 1) == whole.problem("x", "y", whole.rows - 1)


@pytest.mark.parametrize("large", [0, 1 << 60], ids=["pyarrow", "csv module"])
def test_a_byte_that_is_no_text_is_named_by_its_line(
    large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are handed over undecoded, yet nothing that is not UTF-8 gets through."""
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    monkeypatch.setattr(reader, "LARGE", large)
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,w,b,c\n" + ROWS.encode() + b"9000,caf\xe9,1,1\n" + ROWS.encode())
    with pytest.raises(DataError, match=r"t\.csv:9002: not utf-8 text \(byte 0xe9\)"):
        read_csv(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["bare", "marked"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_line_ends_and_marks(
    ends: str, mark: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    monkeypatch.setattr(reader, "LARGE", 0)
    path = tmp_path / "t.csv"
    text = "a,w,b,c\n" + ROWS.replace("w1", "é")
    path.write_bytes(((mark if encoding == "utf-8" else "") + text.replace("\n", ends)).encode(encoding))
    table = read_csv(path, CsvOptions(encoding=encoding))
    assert table.names == ("a", "w", "b", "c")
    assert table.words[1] == ["w0", "é", "w2", "w3", "w4"]
    assert table.rows == 9000
    assert table.cell(8999, 0) == "8999"
    assert table.problem("x", "y", 8999).line == 9001


def test_a_large_table_is_parsed_by_pyarrow_and_a_small_one_does_not_load_it(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mlp_core.data.readers.csv import LARGE\n"
        "from mlp_core.data.readers.formats import read; from mlp_core.data.readers.format import ReadOptions\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    print(read(path, ReadOptions()).rows, path.stat().st_size >= LARGE, 'pyarrow' in sys.modules)\n"
    )
    (tmp_path / "small.csv").write_text("a,w,b,c\n" + ROWS)
    (tmp_path / "large.csv").write_text("a,w,b,c\n" + ROWS * 10)
    command = [sys.executable, "-c", script, str(tmp_path / "small.csv"), str(tmp_path / "large.csv")]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout == "9000 False False\n90000 True True\n"

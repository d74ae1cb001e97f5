"""The compiled parser: the same table as the slow way, every number to the last bit."""

from __future__ import annotations

import csv
import io
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_core.backends.cpu import linker, machine_code
from mlp_core.backends.cpu.machine_code import CannotCompile, MachineCode
from mlp_core.data.readers import table_builder as builder
from mlp_core.data.readers.csv import read_csv, stream_csv
from mlp_core.data.readers.csv_dialect import CsvOptions
from mlp_core.data.readers.text_stream import TextLines
from mlp_core.errors import DataError

pytest.importorskip("numba", reason="needs numba, which compiles the parser")

EDGES = (
    *("0", "-0", "0.0", "-0.000", "00012.50", ".5", "5.", "+3", "1e5", "1E-5", "9007199254740993", "1e23", "8.5e22"),
    *("9007199254740992.5", "0e999", "1e-400", "123456789012345678901234567890", "5e-324", "1.7976931348623157e308"),
)


@pytest.fixture(autouse=True)
def compiled_however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "COMPILING_SIZE", 0)


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


def parsed(lines: str, columns: int) -> np.ndarray | None:
    """The values that the compiled parser finds in lines of numbers, or None."""
    from mlp_core.data.readers.blocks import Parser

    found = Parser(columns, (), ("", "NA")).parse(lines.encode(), ",", '"')
    if found is None:
        return None
    values, missing = found
    np.testing.assert_array_equal(missing, np.isnan(values).sum(axis=0))
    return values


@pytest.mark.parametrize("quote", ["", '"'], ids=["bare", "quoted"])
@pytest.mark.parametrize("seed", range(8))
def test_numbers_are_read_to_the_last_bit(seed: int, quote: str) -> None:
    rng = random.Random(seed)
    rows = [[number(rng) for _ in range(7)] for _ in range(1000)]
    values = parsed("".join(",".join(f"{quote}{cell}{quote}" for cell in row) + "\r\n" for row in rows), 7)
    assert values is not None
    expected = np.array([[float(cell) for cell in row] for row in rows])
    np.testing.assert_array_equal(values.view(np.uint64), expected.view(np.uint64))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text('0123456789.eE+- \tx,\n\rNA"', max_size=24), min_size=1, max_size=4))
def test_what_it_takes_is_what_python_reads(cells: list[str]) -> None:
    line = ",".join(cells) + "\n"
    values = parsed(line, len(cells))
    if values is not None:
        rows = csv.reader(io.StringIO(line, newline=""), skipinitialspace=True, strict=True)
        expected = [[np.nan if cell.strip() in ("", "NA") else float(cell) for cell in row] for row in rows]
        np.testing.assert_array_equal(values, expected)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text('ab é \t;,"_', max_size=4), min_size=3, max_size=3), min_size=1, max_size=40))
def test_words_are_told_apart(rows: list[list[str]]) -> None:
    """Against the csv module: equal words have equal numbers, in order of appearance, column by column."""
    from mlp_core.data.readers.blocks import Parser

    lines = "".join(",".join(row) + "\n" for row in rows)
    parser = Parser(3, (0, 1, 2), ("",))
    if (found := parser.parse(lines.encode(), ",", '"')) is None:
        return
    expected = list(csv.reader(lines.splitlines(keepends=True), skipinitialspace=True, strict=True))
    words = parser.since(0)
    assert [[words[int(value)] for value in row] for row in found[0]] == [
        [(column, cell.strip(" \t")) for column, cell in enumerate(row)] for row in expected
    ]
    assert len(set(words)) == len(words)
    assert list(dict.fromkeys(words)) == list(
        dict.fromkeys((column, cell.strip(" \t")) for row in expected for column, cell in enumerate(row))
    )


def test_the_table_of_words_grows() -> None:
    """Over many blocks, from its first size to thousands of words: no word is lost or met twice."""
    from mlp_core.data.readers.blocks import Parser

    rng = random.Random(0)
    parser, seen = Parser(2, (0, 1), ()), dict[tuple[int, str], int]()
    for block in range(30):
        rows = [[f"w{rng.randrange(200 * block + 1)}", "x" * rng.randrange(400)] for _ in range(200)]
        found = parser.parse("".join(",".join(row) + "\n" for row in rows).encode(), ",", None)
        assert found is not None
        for row, codes in zip(rows, found[0], strict=True):
            for column, (word, code) in enumerate(zip(row, codes, strict=True)):
                assert seen.setdefault((column, word), len(seen)) == code
    assert [(column, word) for column, word in parser.since(0)] == list(seen)


def both(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the compiled and the slow way make of a file: the table, or the problem."""
    path, results = folder / "t.csv", []
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    path.write_text(text)
    for size in (0, 1 << 60):
        monkeypatch.setattr(builder, "COMPILED_SIZE", size)
        try:
            table = read_csv(path)
            cells = [[table.cell(row, column) for column in range(len(table.names))] for row in range(table.rows)]
            results.append((table.names, cells, table.words, table.odd, table.problem("x", "y", table.rows - 1)))
        except DataError as error:
            results.append(error.problems)
    return results


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
        "a,w,b,c\n" + ROWS,
        "a,w,b,c\r\n" + ROWS.replace("\n", "\r\n"),
        "a;w;b;c\n" + ROWS.replace(",", " ; "),
        "a,w,b,c\n" + ROWS + "9000,?,NA,1\n",
        "a,w,b,c\n" + ROWS + '9000,"x,y",1,1\n' + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,inf,1\n",
        "a,w,b,c\n" + ROWS + "9000,n,1e999,1\n",
        "a,w,b,c\n" + ROWS + "9000,é,1,1\n",
        "a,w,b,c\n" + ROWS + "\n" + ROWS,
        "a,w,b,c\n" + ROWS + "9000,n,1\n",
        "a,w,b,c\n" + ROWS + "9000,n,1,1,1\n" + ROWS,
        "a,w,b,c\n" + ROWS.rstrip("\n"),
        "a\n" + "1\n2\n\n3\n" * 2000,
    ],
)
def test_both_ways_agree(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, slow = both(text, tmp_path, monkeypatch)
    assert compiled == slow


@pytest.mark.parametrize("size", [0, 1 << 60], ids=["compiled", "slow"])
@pytest.mark.parametrize("comment", [None, "#"])
def test_a_table_in_parts_is_the_whole_table(
    comment: str | None, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b,c\n" + ROWS + ('# "remark\n' if comment else "") + ROWS + '9000,"w""4",1,1\n' + ROWS)
    monkeypatch.setattr(builder, "COMPILED_SIZE", size)
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    options = CsvOptions(comment=comment)
    whole = read_csv(path, options)
    parts = list(stream_csv(path, options, numbers=("a", "b", "c"), rows=5000))
    assert [part.rows for part in parts] == [5000] * 5 + [2001]
    cells = [[part.cell(row, column) for column in range(4)] for part in parts for row in range(part.rows)]
    assert cells == [[whole.cell(row, column) for column in range(4)] for row in range(whole.rows)]
    last = parts[-1]
    assert last.problem("x", "y", last.rows - 1) == whole.problem("x", "y", whole.rows - 1)


@pytest.mark.parametrize("size", [0, 1 << 60], ids=["compiled", "slow"])
def test_a_byte_that_is_no_text_is_named_by_its_line(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are handed over undecoded, yet nothing that is not UTF-8 gets through."""
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    monkeypatch.setattr(builder, "COMPILED_SIZE", size)
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
    monkeypatch.setattr(builder, "COMPILED_SIZE", 0)
    path = tmp_path / "t.csv"
    text = "a,w,b,c\n" + ROWS.replace("w1", "é")
    path.write_bytes(((mark if encoding == "utf-8" else "") + text.replace("\n", ends)).encode(encoding))
    table = read_csv(path, CsvOptions(encoding=encoding))
    assert table.names == ("a", "w", "b", "c")
    assert table.words[1] == ["w0", "é", "w2", "w3", "w4"]
    assert table.rows == 9000
    assert table.cell(8999, 0) == "8999"
    assert table.problem("x", "y", 8999).line == 9001


def test_room_is_made_at_once_for_what_the_file_will_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its lines turn out shorter, or longer, than those that it begins with."""
    monkeypatch.setattr(TextLines, "BLOCK", 5000)
    monkeypatch.setattr(builder, "COMPILED_SIZE", 0)
    path = tmp_path / "t.csv"
    for first, last in (("1", "1.25000000000000"), ("1.25000000000000", "1")):
        path.write_text("a,b\n" + f"{first},2\n" * 20_000 + f"{last},3\n" * 20_000)
        values = read_csv(path).values
        assert values.shape == (40_000, 2)
        np.testing.assert_array_equal(values[:, 0], np.repeat([float(first), float(last)], 20_000))
        np.testing.assert_array_equal(values[:, 1], np.repeat([2.0, 3.0], 20_000))


SCRIPT = """
import sys
from pathlib import Path
from mlp_core.data.readers import builder, csv
builder.COMPILED_SIZE = builder.COMPILING_SIZE = 0
print(csv.read_csv(Path(sys.argv[1])).rows, "mlp_core.data.readers.blocks" in sys.modules)
print(*({"numba", "llvmlite", "scipy"} & set(sys.modules)))
"""


@pytest.mark.skipif(not linker.POSSIBLE, reason="numba links on this system")
@pytest.mark.parametrize("place", ["folder", "file"], ids=["kept", "no place to keep it"])
def test_a_process_that_reads_a_large_table_has_no_compiler(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,w,b,c\n" + ROWS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    run = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, capture_output=True, text=True)
    assert run.stdout == "9000 True\n\n"
    kept = {file.name for file in (tmp_path / "folder").rglob("*") if file.is_file()}
    assert kept == ({"parse", "fill"} if place == "folder" else set())


def parser_of(path: Path, code: MachineCode, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(machine_code, "machine_code", lambda: code)
    return builder._compiled(path)


def test_only_a_large_file_is_worth_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for from one size on; code that is kept is used from a far smaller one on."""
    asked = []

    def refuse(folder: Path, names: list[str], spare: bool) -> None:
        asked.append(names)
        raise CannotCompile("no compiler")

    monkeypatch.setattr(builder, "COMPILED_SIZE", 10)
    monkeypatch.setattr(builder, "COMPILING_SIZE", 20)
    kept = MachineCode(tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    kept.functions(["parse", "fill"])
    monkeypatch.setattr(machine_code, "compile_into", refuse)
    for size, compiled, asks in ((9, False, False), (10, True, False), (19, True, False), (20, True, True)):
        path = tmp_path / "t.csv"
        path.write_bytes(b"1" * size)
        assert (parser_of(path, MachineCode(tmp_path / "kept"), monkeypatch) is not None) == compiled
        asked.clear()
        assert parser_of(path, MachineCode(None), monkeypatch) is None
        assert asked == ([["parse", "fill"]] if asks else [])
    path.write_bytes(b"1" * 10)
    assert parser_of(path, kept, monkeypatch) is not None


def test_without_a_compiler_tables_are_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, names: list[str], spare: bool) -> None:
        raise CannotCompile("no compiler")

    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(builder, "COMPILED_SIZE", 0)
    monkeypatch.setattr(machine_code, "compile_into", refuse)
    monkeypatch.setattr(machine_code, "machine_code", lambda: MachineCode(tmp_path / "empty"))
    path = tmp_path / "t.csv"
    path.write_text("a,w,b,c\n" + ROWS)
    assert read_csv(path).rows == 9000

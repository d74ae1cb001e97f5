"""The compiled parser: the same table as the slow way, every number to the last bit."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlp_core.errors import DataError
from mlp_core.readers import builder
from mlp_core.readers.csv import read_csv

pytest.importorskip("numba", reason="needs numba, which compiles the parser")

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


@pytest.mark.parametrize("seed", range(8))
def test_numbers_are_read_to_the_last_bit(seed: int) -> None:
    from mlp_core.readers.digits import parse_lines

    rng = random.Random(seed)
    rows = [[number(rng) for _ in range(7)] for _ in range(1000)]
    block = parse_lines([",".join(row) + "\r\n" for row in rows], ",", np.zeros(7, bool))
    assert block is not None
    expected = np.array([[float(cell) for cell in row] for row in rows])
    np.testing.assert_array_equal(block.values.view(np.uint64), expected.view(np.uint64))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("0123456789.eE+- \tx,\n\r", max_size=24), min_size=1, max_size=4))
def test_what_it_takes_is_what_python_reads(cells: list[str]) -> None:
    from mlp_core.readers.digits import parse_lines

    block = parse_lines([",".join(cells) + "\n"], ",", np.zeros(len(cells), bool))
    if block is not None:
        for found, cell in zip(block.values[0], cells, strict=True):
            np.testing.assert_equal(found, float(cell) if cell.strip() else np.nan)


def both(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the compiled and the slow way make of a file: the table, or the problem."""
    path, results = folder / "t.csv", []
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

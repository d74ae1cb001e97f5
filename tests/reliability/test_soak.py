"""The plan of the soak names tests that are there, and its table tells of no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import soak

TABLE = soak.PAGE.read_text("utf-8").split(soak.MARKS[0])[1].split(soak.MARKS[1])[0] if soak.PAGE.exists() else ""


@pytest.mark.parametrize("row", soak.PLAN, ids=lambda row: row.id)
def test_every_row_has_its_tests(row: soak.Row) -> None:
    assert (soak.ROOT / row.tests).is_file()
    text = (soak.ROOT / row.tests).read_text("utf-8")
    assert all(name in text for name, _ in row.variables), "nothing reads how often"


def test_the_table_tells_of_rows_of_the_plan() -> None:
    if not TABLE:
        pytest.skip("the page is not here")
    told = [line.split("|")[1].strip() for line in TABLE.splitlines() if line.startswith("| ")]
    assert set(told) - {"id"} <= {row.id for row in soak.PLAN}


def test_a_row_takes_the_place_of_its_old_one() -> None:
    page = f"before {soak.MARKS[0]} {soak.MARKS[1]} after"
    one = soak.written(page, {"K1": "| K1 | new | 3 | 0 | 1 | today |"})
    assert "| K1 | new | 3 |" in one
    assert one.count("not run") == len(soak.PLAN) - 1
    two = soak.written(one, {"K1": "| K1 | newer | 4 | 0 | 1 | today |"})
    assert "newer" in two
    assert "| new |" not in two
    assert (two.startswith("before"), two.endswith("after")) == (True, True)


def test_every_file_of_this_folder_has_a_row_or_is_quick() -> None:
    named = {Path(row.tests).name for row in soak.PLAN}
    quick = {"test_source.py", "test_soak.py", "test_messages.py", "test_screen.py", "test_saving.py"}
    quick |= {"test_converting.py"}
    assert {path.name for path in Path(__file__).parent.glob("test_*.py")} <= named | quick

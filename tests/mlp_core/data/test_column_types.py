"""What columns hold: inferred from their cells, or as told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_tables import read_csv

from mlp_core.data.column_types import infer_types, profile, truth
from mlp_core.data.encode import inputs
from mlp_core.data.readers.arrays import pair
from mlp_core.data.task import Task


def column(cells: list[str], folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("a,b\n" + "".join(f"{cell},{row}\n" for row, cell in enumerate(cells)))
    return path


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3e2"] * 10, "numeric"),
        (["1", "", "3"] * 10, "numeric"),
        (["0", "1"] * 20, "numeric"),
        (["red", "blue", "?"] * 10, "categorical"),
        (["male", "female"] * 10, "categorical"),
        (["True", "False"] * 10, "boolean"),
        (["yes", "no", ""] * 10, "boolean"),
        (["Y", "n"] * 10, "boolean"),
        (["yes", "no", "maybe"] * 10, "categorical"),
        (["2024-01-31", "2024-02-01"] * 10, "date"),
        (["31.12.2024", "1.1.2025"] * 10, "date"),
        (["2024-01-31T12:00:00Z", "2024-02-01 13:00"] * 10, "date"),
        (["12/31/24", "n.d.", "1/1/25"] * 10, "date"),
        ([f"id-{k:x}" for k in range(40)], "ignore"),
        ([f"id-{k:x}" for k in range(10)], "categorical"),
        ([f"word-{k % 20}" for k in range(40)], "categorical"),
    ],
)
def test_a_kind_follows_from_the_cells(cells: list[str], kind: str, tmp_path: Path) -> None:
    found = infer_types(read_csv(column(cells, tmp_path)))
    assert [one.name for one in found] == ["a", "b"]
    assert found[0].kind == kind
    assert found[0].missing == sum(cell in ("", "?", "n.d.") for cell in cells)
    assert found[0].why


@pytest.mark.parametrize("kind", ["numeric", "categorical", "boolean", "ignore"])
def test_a_kind_can_be_told(kind: str, tmp_path: Path) -> None:
    found = infer_types(read_csv(column(["1", "0"] * 10, tmp_path)), {"a": kind})
    assert (found[0].kind, found[1].kind) == (kind, "numeric")


def test_arrays_are_numbers() -> None:
    arrays = pair(np.ones((4, 2)), np.arange(4), Path("x"), Path("y"))
    assert [one.kind for one in infer_types(arrays)] == ["numeric"] * 3


def test_a_profile_has_the_commonest_values_and_the_range(tmp_path: Path) -> None:
    table = read_csv(column(["3", "1", "3", "", "2.5"] * 5, tmp_path))
    found = profile(table, 0)
    assert (found.distinct, found.examples, found.top) == (3, ("3", "1", "2.5"), 10)
    assert (found.low, found.mean, found.high) == (1, 2.375, 3)
    words = profile(read_csv(column(["x", "y", "y"] * 5, tmp_path)), 0)
    assert (words.examples, words.low) == (("y", "x"), None)


def test_numbers_that_are_names_become_words() -> None:
    source = pair(np.array([[10.0], [np.nan], [2.5], [10.0]]), np.zeros(4), Path("x"), Path("y"))
    codes, words = inputs(source, [0], Task("regression", 1, (), ("y",), ("x0",), ("categorical",)))
    assert words == {0: ["2.5", "10"]}
    np.testing.assert_array_equal(codes[:, 0], [1, np.nan, 0, 1])


@pytest.mark.parametrize(("word", "value"), [("Yes", 1), ("no", 0), ("TRUE", 1), ("f", 0), ("maybe", np.nan)])
def test_the_truth_of_words(word: str, value: float) -> None:
    np.testing.assert_equal(truth(word), value)

"""What is told about data before it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.load import load

RNG = np.random.default_rng(0)


def notes(columns: dict[str, Any], folder: Path, **data: Any) -> list[str]:
    """The notes on a table with these columns and the target y."""
    rows = zip(*columns.values(), strict=True)
    path = folder / "t.csv"
    path.write_text(",".join(columns) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    data = {"train": str(path), "target": "y", **data}
    return [note for note in load(from_mapping({"data": data})).notes if note.startswith("note: ")]


X = RNG.normal(size=200)
WORDS = RNG.choice(["red", "green", "blue"], 200)
Y = RNG.integers(0, 2, 200)
Z = RNG.random(200)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"a": X, "y": Y}, None),
        ({"a": X, "w": WORDS, "y": Z}, None),
        ({"a": X, "b": np.full(200, 7), "y": Y}, "note: b: constant in training"),
        ({"a": X, "b": ["u"] * 200, "y": Y}, "note: b: constant in training"),
        ({"a": X, "b": np.where(Y, "yes", "no"), "y": Y}, "note: b: tells the target"),
        ({"a": X, "b": np.where(Y, "lost", "won"), "y": np.where(Y, "p", "q")}, "note: b: tells the target"),
        ({"a": X, "b": np.round(Z, 6) * 2 + 1, "y": Z}, "note: b: tells the target"),
        ({"a": X, "b": np.arange(200), "y": Y}, "note: b: counts the rows"),
    ],
)
def test_suspicious_columns_are_told(columns: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    found = notes(columns, tmp_path)
    assert found == [] if expected is None else len(found) == 1 and found[0].startswith(expected)


SOME = np.arange(200) % 9 == 0
DAYS = np.array([f"2023-{k % 12 + 1:02d}-{k % 28 + 1:02d}" for k in range(200)])


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (np.where(SOME, -999, X.round(2)), "a (-999)"),
        (np.where(SOME, 9999.9, 100 * X.round(2)), "a (9999.9)"),
        (np.where(SOME, -(2**31), (9 * X).round()), "a (-2147483648)"),
        (np.where(SOME, -999, (1500 * Z).round()), None),  # as far as the others are from each other
        (np.where(SOME, 99, (20 + 60 * Z).round()), None),  # an age
        (np.where(np.arange(200) == 5, -999, X.round(2)), None),  # once: a mistake, or a measurement
        (np.where(SOME, -997, X.round(2)), None),
        (np.where(SOME, "9999-12-31", DAYS), "a (9999-12-31)"),
        (np.where(SOME, "1900-01-01", DAYS), "a (1900-01-01)"),
        (DAYS, None),
    ],
)
def test_numbers_that_stand_for_a_missing_one_are_told(column: Any, told: str | None, tmp_path: Path) -> None:
    found = [note for note in notes({"a": column, "w": WORDS, "y": Y}, tmp_path) if "far from all others" in note]
    assert [note.split(" in ")[1].split(";")[0] for note in found] == ([] if told is None else [told])
    if told == "a (-999)":
        listed = notes({"a": column, "w": WORDS, "y": Y}, tmp_path, csv={"na": ["-999"]})
        assert not any("far from all others" in note for note in listed)


def test_labels_that_differ_in_capitals_only_are_told(tmp_path: Path) -> None:
    y = np.where(Y, np.where(SOME, "No", "no"), "yes")
    (note,) = notes({"a": X, "y": y}, tmp_path)
    assert note.startswith('note: the labels "No" and "no" differ in small and capital letters only')
    assert 'data.labels: {"No": "no"}' in note
    assert notes({"a": X, "y": y}, tmp_path, labels={"No": "no"}) == []
    assert notes({"a": X, "y": np.where(Y, "no", "yes")}, tmp_path) == []


def test_equal_rows_in_two_parts_are_counted(tmp_path: Path) -> None:
    columns = {"a": np.tile(X[:100], 2), "w": np.tile(WORDS[:100], 2), "y": np.tile(Y[:100], 2)}
    split = {"method": "ordered", "val": 50, "test": 50}
    assert notes(columns, tmp_path, split=split) == [
        "note: 50 of 50 val rows and 50 of 50 test rows have the inputs of a training row"
    ]


def test_equal_words_under_other_codes_are_equal(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("w,v,y\nblue,1,0\nred,1,1\n")
    columns = {"w": ["red", "blue"] * 50, "v": [1, 2] * 50, "y": [0, 1] * 50}
    found = notes(columns, tmp_path, val=str(tmp_path / "val.csv"))
    assert found[0] == "note: 1 of 2 val rows have the inputs of a training row"

"""Columns that are called like identifiers: told where they are inputs, left out by `init` where most rows have their
own, and neither for columns that are called otherwise or hold few values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.identifiers import named
from mlp_core.data.load import load
from mlp_core.diagnostics.propose_config import propose

ROWS = 200
RNG = np.random.default_rng(0)


def repeated(each: float) -> list[str]:
    """Numbers of which one stands in `each` rows, in no order."""
    return [str(90_000 + int(k / each)) for k in RNG.permutation(ROWS)]


COLUMNS = {  # name: cells, whether told as an input, whether init leaves it out
    "own": ("customer_id", repeated(1), True, True),
    "some twice": ("CustomerID", repeated(1.25), True, True),
    "three rows each": ("customer_id", repeated(3), True, False),
    "words": ("account key", [f"k-{k // 3}" for k in RNG.permutation(ROWS)], True, False),
    "a customer's number": ("CustomerNumber", repeated(3), True, False),
    "few": ("region_id", [str(k % 12) for k in range(ROWS)], False, False),
    "amounts": ("number", repeated(3), False, False),
    "fractions": ("id", [f"{value:.3f}" for value in RNG.normal(size=ROWS)], False, False),
    "another name": ("income", repeated(1), False, False),
}


def table(folder: Path, name: str, cells: list[str]) -> Path:
    lines = [f"{name},x,y", *(f"{cell},{k % 7},{'ab'[k % 2]}" for k, cell in enumerate(cells))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder / "t.csv"


@pytest.mark.parametrize("case", COLUMNS)
def test_identifiers_are_told_and_left_out(case: str, tmp_path: Path) -> None:
    name, cells, told, dropped = COLUMNS[case]
    file = table(tmp_path, name, cells)
    data = {"train": str(file), "target": "y"}
    found = [note for note in load(from_mapping({"data": data})).notes if "looks like an identifier" in note]
    assert bool(found) == told, found
    assert (name in propose(file, ["y"], tmp_path / "c.yaml").drops) == dropped
    for keys in ({"drop": [name]}, {"features": [name, "x"]}):
        again = load(from_mapping({"data": {**data, **keys}})).notes
        assert not [note for note in again if "identifier" in note]
    if case == "three rows each":
        keeps = "data.split: {method: group, column: customer_id} keeps rows of one together, too"
        assert found == [
            "note: customer_id is an input though it looks like an identifier (67 values in 200 rows): "
            f"data.drop: [customer_id] leaves it out, {keeps}"
        ]
        split = {"method": "group", "column": name, "val": 0.2}
        assert load(from_mapping({"data": {**data, "split": split}})).task.features == ("x",)


@pytest.mark.parametrize("name", ["customer_id", "CustomerId", "Customer-ID", "Row Id.", "ID2", "id"])
def test_names_that_say_so(name: str) -> None:
    assert named(name) is True


def test_names_that_do_not_or_may() -> None:
    assert [named(name) for name in ("paid", "", "3", "idea")] == [False] * 4
    assert [named(name) for name in ("heat_index", "number", "Unnamed: 0")] == [None] * 3
    assert [named(name) for name in ("customer_number", "AccountNo", "row index")] == [True] * 3

"""What init decides: identifiers, columns that tell the target, keys that are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mlp_core.config import load as load_config
from mlp_core.data.load import load
from mlp_core.diagnostics.propose_config import Proposal, propose
from mlp_core.errors import UsageError

RNG = np.random.default_rng(9)


def proposed(folder: Path, header: str, *columns: Any, given: tuple[str, ...] = (), target: str = "y") -> Proposal:
    path, sign = folder / "t.csv", ";" if ";" in header else ","
    rows = (sign.join(map(str, row)) + "\n" for row in zip(*columns, strict=True))
    path.write_text(header + "\n" + "".join(rows))
    return propose(path, [target], folder / "t.yaml", given)


def dropped(proposal: Proposal) -> list[str]:
    return yaml.safe_load(proposal.text)["data"].get("drop", [])


@pytest.mark.parametrize(
    "name", ["customer_id", "CustomerId", "Customer-ID", "Row Id.", "EmployeeNumber", "ID2", "UNIQUE KEY"]
)
def test_a_column_that_is_called_an_identifier_is_dropped(name: str, tmp_path: Path) -> None:
    numbers = RNG.permutation(np.arange(10_000, 10_100))
    x = RNG.normal(size=100).round(3)
    assert dropped(proposed(tmp_path, f"{name},x,y", numbers, x, ["a", "b"] * 50)) == [name]


@pytest.mark.parametrize("name", ["income", "valid", "paid", "hybrid", "Nord", "keyboard"])
def test_other_whole_numbers_that_differ_are_kept(name: str, tmp_path: Path) -> None:
    numbers = RNG.permutation(np.arange(10_000, 10_100))
    assert dropped(proposed(tmp_path, f"{name},y", numbers, ["a", "b"] * 50)) == []


def test_identifiers_of_words_are_dropped(tmp_path: Path) -> None:
    words = [f"N{k // 2 + 1}A" for k in range(100)]
    x = RNG.normal(size=100).round(3)
    assert dropped(proposed(tmp_path, "Individual ID,x,y", words, x, ["a", "b"] * 50)) == []
    words[::2] = [f"N{k}B" for k in range(50)]
    assert dropped(proposed(tmp_path, "Individual ID,x,y", words, x, ["a", "b"] * 50)) in ([], ["Individual ID"])


def test_an_honest_measurement_is_kept_with_a_word_and_a_copy_dropped(tmp_path: Path) -> None:
    y = RNG.normal(size=200).round(4)
    raw = (3 * y + RNG.normal(scale=0.05, size=200)).round(4)
    found = proposed(tmp_path, "raw,fahrenheit,noise,y", raw, 1.8 * y + 32, RNG.normal(size=200).round(3), y)
    assert dropped(found) == ["fahrenheit"]
    assert "  # raw tells the target almost by itself: right only if it is known when\n  # predicting\n" in found.text
    assert "# regression, 200 rows, 2 inputs\n# look again with: mlpbp check " in found.text.replace(
        "; look", "\n# look"
    )
    assert max(len(line) for line in found.text.splitlines() if tmp_path.name not in line) <= 80  # but for its path


def test_words_of_classes_are_dropped_and_a_threshold_is_kept(tmp_path: Path) -> None:
    x = RNG.normal(size=200).round(4)
    y = np.where(x > 0, "yes", "no")
    found = proposed(tmp_path, "x,said,noise,y", x, np.where(x > 0, "alive", "dead"), RNG.normal(size=200).round(3), y)
    assert dropped(found) == ["said"]


def test_a_rare_class_does_not_hide_that_the_others_are_told(tmp_path: Path) -> None:
    hurt = RNG.integers(0, 2, 500)
    y = np.where(RNG.random(500) < 0.02, 2, hurt)
    found = proposed(tmp_path, "hurt,speed,y", hurt, RNG.normal(size=500).round(2), y)
    assert dropped(found) == ["hurt"]


def test_a_target_that_is_a_sum_of_inputs_is_told(tmp_path: Path) -> None:
    a, b, c = RNG.integers(0, 500, 300), RNG.integers(0, 500, 300), RNG.normal(size=300).round(2)
    found = proposed(tmp_path, "casual,registered,wind,y", a, b, c, a + b)
    assert any(note.startswith("note: casual, registered: the target is a sum of these inputs") for note in found.notes)
    noisy = proposed(tmp_path, "casual,registered,wind,y", a, b, c, a + b + RNG.normal(size=300).round(3))
    assert not any("is a sum" in note for note in noisy.notes)


def test_codes_are_told(tmp_path: Path) -> None:
    codes = [f"{k % 7:05d}" for k in range(100)]
    found = proposed(
        tmp_path,
        "station,ZIP Code,x,y",
        codes,
        RNG.integers(10_000, 10_009, 100),
        RNG.normal(size=100).round(3),
        ["a", "b"] * 50,
    )
    (note,) = [note for note in found.notes if "perhaps codes" in note]
    assert "station (00000), ZIP Code; for what has no order: data.types: {station: categorical}" in note


def test_whole_numbers_that_would_fall_together_are_told(tmp_path: Path) -> None:
    """From 2^53 on, different whole numbers are one number of 64 bits; below, each is its own."""
    users, stamps = [2**60 + 1 + k % 9 for k in range(100)], [2**53 - 1 - k % 9 for k in range(100)]
    x = RNG.normal(size=100).round(3)
    found = proposed(tmp_path, "user,stamp,x,y", users, stamps, x, ["a", "b"] * 50)
    (note,) = [note for note in found.notes if "perhaps codes" in note]
    assert f"perhaps codes: user ({2**60 + 1}); for what has no order: data.types: {{user: categorical}}" in note


def test_keys_that_are_given_stand_in_the_config(tmp_path: Path) -> None:
    given = ('data.csv.delimiter=";"', "data.csv.na=[oops]", "data.types={w: categorical}")
    x = ["oops", *RNG.normal(size=99).round(3)]
    found = proposed(tmp_path, "x;w;y", x, RNG.integers(1, 4, 100), ["a", "b"] * 50, given=given)
    made = yaml.safe_load(found.text)
    assert made["data"]["csv"] == {"delimiter": ";", "na": ["oops"]}
    assert made["data"]["types"] == {"w": "categorical"}
    (tmp_path / "t.yaml").write_text(found.text)
    assert load(load_config(tmp_path / "t.yaml")).task.kinds == ("numeric", "categorical")
    given = (*given, "data.limit=60", "data.split.test=0", "data.split.method=random")
    found = proposed(tmp_path, "x;w;y", x, RNG.integers(1, 4, 100), ["a", "b"] * 50, given=given)
    made = yaml.safe_load(found.text)["data"]
    assert (made["limit"], made["split"]) == (60, {"val": 0.15, "test": 0, "method": "random"})
    for wrong in ("train.epochs=3", "data.target=x", "nothing"):
        with pytest.raises(UsageError, match="init takes keys of the section data"):
            proposed(tmp_path, "x;w;y", x, RNG.integers(1, 4, 100), ["a", "b"] * 50, given=(wrong,))


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ("data.split.val=0", "split", {"val": 0, "test": 0.15}),
        ("data.split={val: 0.3, method: random}", "split", {"val": 0.3, "test": 0, "method": "random"}),
        ("data.limit=80", "limit", 80),
        ("data.csv.na+=[-999]", "csv", {"na": ["-999"]}),
        ('data.csv.quote="', "csv", {"quote": '"'}),
        ("data.csv.header=true", "csv", {"header": True}),
        ("data.drop=[w]", "drop", ["w"]),
        ("data.labels={a: no}", "labels", {"a": "no"}),
        ("data.val=t.csv", "split", {"test": 0.15}),
    ],
)
def test_a_config_with_a_key_that_is_given_says_it_once_and_means_it(
    given: str, key: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = RNG.normal(size=100).round(3)
    found = proposed(tmp_path, "x,w,y", x, RNG.integers(1, 4, 100), ["a", "b"] * 50, given=(given,))
    assert yaml.safe_load(found.text)["data"][key] == value
    (tmp_path / "t.yaml").write_text(found.text)
    written, asked = load_config(tmp_path / "t.yaml"), load_config(tmp_path / "t.yaml", [given.replace("+=", "=")])
    assert written.data == asked.data


def test_a_header_with_a_number_is_told_by_the_target(tmp_path: Path) -> None:
    days = [f"2023-01-{k % 28 + 1:02d}" for k in range(60)]
    found = proposed(
        tmp_path, "date,2023,2024", days, RNG.normal(size=60).round(3), RNG.normal(size=60).round(3), target="2024"
    )
    assert yaml.safe_load(found.text)["data"]["target"] == "2024"
    assert any("60 rows" in note for note in found.notes)

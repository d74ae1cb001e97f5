"""A further file written otherwise than the training file: what can be read is read and told, the rest refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.load import load, load_split
from mlp_core.data.task import by_truth
from mlp_core.errors import DataError
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run

RNG = np.random.default_rng(8)
X = RNG.random(60).round(3) + 0.0005
TRUE = X > 0.5


def table(path: Path, header: str, *columns: Sequence[Any], sep: str = ",") -> Path:
    rows = zip(*columns, strict=True)
    path.write_text(header + "\n" + "".join(sep.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def notes_of(train: Path, further: Path, folder: Path, **data: Any) -> tuple[list[str], list[str], Any]:
    """What `eval` and `predict` say of a further file, and the accuracy that both measure."""
    wish = {"data": {"train": str(train), "target": "y", "split": {"val": 0}, **data}, "train": {"epochs": 40}}
    run = Run.start(
        from_mapping({**wish, "model": {"hidden": [8]}, "optimizer": {"lr": 0.05}, "kernels": "numpy"}), b"", folder
    )
    for _ in run.execute():
        pass
    model, _ = open_model(folder)
    report = evaluate_model(model, Wishes(data=further))
    predictor = Predictor(model)
    list(predictor.predict(further))
    assert predictor.report.metrics["accuracy"] == report.splits["data"].metrics["accuracy"]
    return list(report.notes), list(predictor.report.notes.values()), predictor.report.metrics["accuracy"]


def test_numbers_without_the_unit_of_training_are_told(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", [f"{100 * x:.1f}%" for x in X], np.where(TRUE, "p", "q"))
    further = table(tmp_path / "b.csv", "x,y", X, np.where(TRUE, "p", "q"))
    told, said, _ = notes_of(train, further, tmp_path / "run")
    wanted = f'column "x": numbers without "%", which all had in training; {X[0]} is taken as {X[0]}%'
    assert told == said
    assert told[0] == wanted
    assert told[1].startswith("numbers far from those of training: x (about 0.")


def test_zeros_and_money_need_no_unit(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,m,y", [f"{x} km" for x in X], [f"${x}" for x in X], np.where(TRUE, "p", "q"))
    further = table(tmp_path / "b.csv", "x,m,y", ["0", *(f"{x} km" for x in X[1:])], X, np.where(TRUE, "p", "q"))
    assert notes_of(train, further, tmp_path / "run")[:2] == ([], [])


@pytest.mark.parametrize("others", [(1, 0), ("yes", "no"), ("TRUE", "FALSE"), ("t", "f")])
def test_labels_of_yes_and_no_are_matched_by_what_they_mean(others: tuple[Any, Any], tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, TRUE)
    further = table(tmp_path / "b.csv", "x,y", X, [others[0] if one else others[1] for one in TRUE])
    told, said, accuracy = notes_of(train, further, tmp_path / "run")
    assert accuracy > 0.9
    assert len(told) == len(said) == 1
    assert told[0].startswith('column "y": labels taken by what they mean')


def test_labels_of_0_and_1_are_matched_by_truth_too(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, TRUE.astype(int))
    further = table(tmp_path / "b.csv", "x,y", X, TRUE)
    told, said, accuracy = notes_of(train, further, tmp_path / "run")
    assert accuracy > 0.9
    assert len(told) == len(said) == 1


def test_other_labels_do_not_mean_yes_or_no() -> None:
    assert by_truth(("a", "b"), "1") is None
    assert by_truth(("1", "2"), "yes") is None
    assert by_truth(("no", "yes"), "maybe") is None
    assert by_truth(("yes", "y"), "1") is None  # which of the two?


def test_words_for_missing_that_training_never_saw_are_taken_and_told(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    z = [f"${x}" for x in X]
    train = table(tmp_path / "a.csv", "x,z,b,y", X, z, ["yes", "no"] * 30, y)
    odd = ["unknown" if i % 7 == 0 else x for i, x in enumerate(X)]
    further = table(tmp_path / "b.csv", "x,z,b,y", odd, ["-", *z[1:]], ["?!"[:1], "n.a.", "yes"] * 20, y)
    told, said, _ = notes_of(train, further, tmp_path / "run")
    wanted = ['column "x": "unknown" is taken as missing', 'column "z": "-" is taken as missing']
    assert told == said == [*wanted, 'column "b": "n.a." is taken as missing']


def test_a_word_that_is_no_number_is_refused_with_what_helps_a_saved_model(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, np.where(TRUE, "p", "q"))
    config = from_mapping({"data": {"train": str(train), "target": "y"}})
    task = load(config).task
    further = table(tmp_path / "b.csv", "x,y", ["about 5", *X[1:]], np.where(TRUE, "p", "q"))
    with pytest.raises(DataError, match=r'b.csv:2:1: not a number \("about 5"\).*; fix the cell, or leave it empty'):
        load_split(config, task, further)


def test_a_target_that_is_no_number_in_its_notation_is_refused(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, [f"${100 * x:.2f}" for x in X])
    config = from_mapping({"data": {"train": str(train), "target": "y"}})
    task = load(config).task
    further = table(tmp_path / "b.csv", "x,y", X, ["cheap", *(f"${x}" for x in X[1:])])
    with pytest.raises(DataError, match=r'b.csv:2:2: not a number \("cheap"\) in column "y"'):
        load_split(config, task, further)


def test_a_column_that_comes_twice_in_a_further_file_is_told(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    train = table(tmp_path / "a.csv", "x,y", X, y)
    further = table(tmp_path / "b.csv", "x,y,x", X, y, -X)
    told, said, accuracy = notes_of(train, further, tmp_path / "run")
    assert told == said == ['column "x" stands there more than once; the first one is taken']
    assert accuracy > 0.9


def test_a_column_that_came_twice_in_training_too_is_not_told(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    train = table(tmp_path / "a.csv", "x,y,x", X, y, -X)
    assert notes_of(train, train, tmp_path / "run")[:2] == ([], [])


def test_rows_without_a_target_in_a_further_file_are_told(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, np.where(TRUE, "p", "q"))
    further = table(tmp_path / "b.csv", "x,y", X, ["", "", *np.where(TRUE, "p", "q")[2:]])
    told, _, _ = notes_of(train, further, tmp_path / "run")
    assert told == ["2 of 60 rows have no y (lines 2, 3): left out"]


def test_so_are_those_of_validation_and_test_files(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    train = table(tmp_path / "a.csv", "x,y", X, y)
    val = table(tmp_path / "b.csv", "x,y", ["-", *X[1:]], ["p", "", *y[2:]])
    notes = load(from_mapping({"data": {"train": str(train), "val": str(val), "target": "y"}})).notes
    assert 'note: val rows: column "x": "-" is taken as missing' in notes
    assert "note: val rows: 1 of 60 rows have no y (line 3): left out" in notes


def test_points_between_semicolons_may_be_of_thousands_and_are_told(tmp_path: Path) -> None:
    price = [f"{1 + i}.{(i * 37) % 1000:03d}" for i in range(60)]
    file = table(tmp_path / "a.csv", "price;n;y", price, range(60), np.where(TRUE, "p", "q"), sep=";")
    wish = {"data": {"train": str(file), "target": "y"}}
    hint = 'where it separates thousands: data.csv.decimal: ","'
    assert f"note: the point is taken as a decimal sign: price (1.000 is 1); {hint}" in load(from_mapping(wish)).notes
    read = load(from_mapping(wish, ["data.csv.decimal=,"]))
    assert read.task.kept.columns["price"].thousands == "."


def test_fractions_between_semicolons_are_not_told(tmp_path: Path) -> None:
    values = [f"{x:.3f}" for x in X]
    file = table(tmp_path / "a.csv", "v;n;y", values, range(60), np.where(TRUE, "p", "q"), sep=";")
    assert not [
        note for note in load(from_mapping({"data": {"train": str(file), "target": "y"}})).notes if "point" in note
    ]


def test_dates_of_eight_digits_are_dates_in_a_further_file_too(tmp_path: Path) -> None:
    days = [f"{2020 + i % 5}{1 + i % 12:02d}{1 + i % 28:02d}" for i in range(60)]
    train = table(tmp_path / "a.csv", "d,x,y", days, X, np.where(TRUE, "p", "q"))
    config = from_mapping({"data": {"train": str(train), "target": "y"}})
    read = load(config)
    assert read.task.kinds == ("date", "numeric")
    assert 'read as numbers: d (dates such as "20200101")' in read.notes
    further = table(tmp_path / "b.csv", "d,x,y", ["20240131"] * 60, X, np.where(TRUE, "p", "q"))
    assert (load_split(config, read.task, further).X[:, 0] == 19753).all()
    codes = table(tmp_path / "c.csv", "d,x,y", ["20241350", *days[1:]], X, np.where(TRUE, "p", "q"))
    assert load(from_mapping({"data": {"train": str(codes), "target": "y"}})).task.kinds == ()


def test_signs_and_brackets_that_are_read_are_told(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", [f"({x})" if i % 3 else x for i, x in enumerate(X)], np.where(TRUE, 1, 0))
    notes = load(from_mapping({"data": {"train": str(train), "target": "y"}})).notes
    assert f'read as numbers: x ("({X[1]})" is {-X[1]})' in notes


def test_quantities_in_two_units_are_told_to_stay_words(tmp_path: Path) -> None:
    cells = [f"{x} kg" if i % 2 else f"{1000 * x:.0f} g" for i, x in enumerate(X)]
    train = table(tmp_path / "a.csv", "v,x,y", cells, X, np.where(TRUE, 1, 0))
    notes = load(from_mapping({"data": {"train": str(train), "target": "y"}})).notes
    assert any(note.startswith("note: words that begin with numbers stay words: v (") for note in notes)


def test_yes_and_no_in_a_column_of_numbers_are_taken_and_told(tmp_path: Path) -> None:
    y, b = np.where(TRUE, "p", "q"), TRUE.astype(int)
    train = table(tmp_path / "a.csv", "b,x,y", b, X, y)
    further = table(tmp_path / "b.csv", "b,x,y", TRUE, X, y)
    told, said, accuracy = notes_of(train, further, tmp_path / "run")
    assert accuracy > 0.9
    assert told[0] == said[0] == 'column "b": taken as numbers, "False" as 0, "True" as 1'
    mixed = table(tmp_path / "c.csv", "b,x,y", ["perhaps", *TRUE[1:]], X, y)
    task = load(from_mapping({"data": {"train": str(train), "target": "y"}})).task
    with pytest.raises(DataError, match=r'c.csv:2:1: not a number \("perhaps"\)'):
        load_split(from_mapping({"data": {"train": str(train), "target": "y"}}), task, mixed)


def test_yes_and_no_may_be_numbers_with_a_fraction(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    train = table(tmp_path / "a.csv", "b,x,y", np.where(TRUE, "yes", "no"), X, y)
    further = table(tmp_path / "b.csv", "b,x,y", np.where(TRUE, "1.0", "0.0"), X, y)
    assert notes_of(train, further, tmp_path / "run")[2] > 0.9


def test_numbers_in_another_unit_are_told(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    train = table(tmp_path / "a.csv", "x,y", X, y)
    further = table(tmp_path / "b.csv", "x,y", 100 * X, y)
    told, said, _ = notes_of(train, further, tmp_path / "run")
    assert told == said
    assert told[0].startswith("numbers far from those of training: x (about ")


def test_dates_that_fit_the_other_order_throughout_are_told(tmp_path: Path) -> None:
    y = np.where(TRUE, "p", "q")
    days = [f"{k % 12 + 1}/{k % 28 + 1}/2023" for k in range(60)]
    train = table(tmp_path / "a.csv", "d,x,y", days, X, y)
    task = load(config := from_mapping({"data": {"train": str(train), "target": "y"}})).task
    turned = [f"{k % 12 + 1}/{k // 12 + 1}/2023" for k in range(60)]
    (note,) = load_split(config, task, table(tmp_path / "b.csv", "d,x,y", turned, X, y)).notes
    assert note == (
        'column "d": dates such as "1/1/2023" taken with the month first, as in training, though all would fit with '
        "the day first"
    )
    assert load_split(config, task, table(tmp_path / "c.csv", "d,x,y", days, X, y)).notes == ()


def test_letters_with_accents_are_the_same_in_one_sign_and_in_two(tmp_path: Path) -> None:
    one, two = "caf\u00e9", "cafe\u0301"
    train = table(tmp_path / "a.csv", f"{one},x,y", np.where(TRUE, one, "bar"), X, np.where(TRUE, one, "q"))
    further = table(tmp_path / "b.csv", f"{two},x,y", np.where(TRUE, two, "bar"), X, np.where(TRUE, two, "q"))
    told, said, accuracy = notes_of(train, further, tmp_path / "run")
    assert (told, said) == ([], [])
    assert accuracy > 0.9


def test_a_target_without_the_unit_of_training_is_told(tmp_path: Path) -> None:
    train = table(tmp_path / "a.csv", "x,y", X, [f"{100 * x:.2f}%" for x in X])
    further = table(tmp_path / "b.csv", "x,y", X, X)
    config = from_mapping({"data": {"train": str(train), "target": "y"}})
    (note,) = load_split(config, load(config).task, further).notes
    assert note == f'column "y": numbers without "%", which all had in training; {X[0]} is taken as {X[0]}%'

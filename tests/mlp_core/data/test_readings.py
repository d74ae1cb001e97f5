"""What was decided on the training file holds for every further file: bases, notations, spellings, constants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.convert import convert_data
from mlp_core.data.load import Data, load
from mlp_core.data.readers.frames import InMemory
from mlp_core.errors import DataError
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run

RNG = np.random.default_rng(5)


def data(path: Path, **options: Any) -> Data:
    return load(from_mapping({"data": {"train": str(path), "target": "y", **options}}))


def table(path: Path, header: str, *columns: Any) -> Path:
    path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in zip(*columns, strict=True)))
    return path


def trained(folder: Path, train: Path, **sections: Any) -> Path:
    wish = {
        "data": {"train": str(train), "target": "y", **sections.pop("data", {})},
        "train": {"epochs": sections.pop("epochs", 25)},
    }
    wish |= {"model": {"hidden": [8]}, "optimizer": {"lr": 0.02}, "kernels": "numpy", **sections}
    if train.suffix in (".libsvm", ".npz"):
        del wish["data"]["target"]
    run = Run.start(from_mapping(wish), b"", folder)
    for _ in run.execute():
        pass
    return folder


def accuracy(run: Path, file: Path) -> float:
    model, _ = open_model(run)
    return evaluate_model(model, Wishes(data=file)).splits["data"].metrics["accuracy"]


def predicted(run: Path, file: Path, name: str = "prediction") -> list[Any]:
    model, _ = open_model(run)
    return [value for part in Predictor(model, probabilities=True).predict(file) for value in part[name]]


COMPACT = [20230101 + 100 * (k % 12) + k % 28 for k in range(60)]


def test_dates_in_digits_are_dates_by_every_way(tmp_path: Path) -> None:
    days, y = [float(one) for one in COMPACT], ["p", "q"] * 30
    csv = table(tmp_path / "t.csv", "d,x,y", COMPACT, RNG.random(60).round(3), y)
    plain = data(csv)
    assert plain.task.kinds == ("date", "numeric")
    cached = data(csv, cache=str(tmp_path / "cache"))
    made = convert_data(from_mapping({"data": {"train": str(csv), "target": "y"}}), ["y"], tmp_path / "folder")
    folder = data(made.folder)
    held = {"d": np.array(days), "x": np.arange(60.0), "y": np.array(y)}
    config = from_mapping({"data": {"train": "-", "target": "y"}}).holding({"train": InMemory(held)})
    for other in (cached, folder, load(config)):
        assert other.task.kinds == plain.task.kinds
        assert other.task.kept.columns == plain.task.kept.columns
    np.testing.assert_array_equal(cached.splits["train"].X, plain.splits["train"].X)
    np.savez(tmp_path / "t.npz", x=np.array([days, days]).T, y=np.arange(60) % 2)
    (note,) = [
        note for note in load(from_mapping({"data": {"train": str(tmp_path / "t.npz")}})).notes if "date" in note
    ]
    assert note.startswith("note: numbers that look like dates are taken as numbers: x0, x1; ")


def test_thousands_in_few_cells_are_read_by_every_way(tmp_path: Path) -> None:
    cells = ['"1,234"' if k % 20 == 0 else str(k) for k in range(60)]
    csv = table(tmp_path / "t.csv", "n,y", cells, ["p", "q"] * 30)
    plain, cached = data(csv), data(csv, cache=str(tmp_path / "cache"))
    assert plain.task.kept.columns == cached.task.kept.columns
    np.testing.assert_array_equal(cached.splits["train"].X, plain.splits["train"].X)


def test_a_month_before_its_year_is_no_fraction(tmp_path: Path) -> None:
    csv = table(tmp_path / "t.csv", "d,y", [f"{k % 12 + 1:02d}.20{k % 3 + 21}" for k in range(60)], ["p", "q"] * 30)
    assert data(csv).task.kinds == ("date",)
    csv = table(tmp_path / "t.csv", "d,y", [f"{k % 12 + 1}.{20 + k % 3}" for k in range(60)], ["p", "q"] * 30)
    assert data(csv).task.kinds == ()


def test_days_without_a_year_stay_words_and_are_told(tmp_path: Path) -> None:
    csv = table(tmp_path / "t.csv", "d,y", [f"{k % 28 + 1}-Oct" for k in range(60)], ["p", "q"] * 30)
    (note,) = [note for note in data(csv).notes if note.startswith("note: words that look like dates stay words")]
    assert note.endswith('d ("1-Oct"); write them as 2024-01-31')


def test_long_numbers_in_json_are_told(tmp_path: Path) -> None:
    rows = [{"u": 2**60 + k % 9, "x": k % 7, "y": "pq"[k % 2]} for k in range(60)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert [note for note in data(tmp_path / "t.json").notes if "perhaps codes: u (1.153e+18)" in note]
    (tmp_path / "t.json").write_text(json.dumps([[1, 2], [3, 4]]))
    with pytest.raises(DataError, match="an array of arrays, which have no names"):
        data(tmp_path / "t.json")


def test_a_name_in_other_letters_is_named(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", table(tmp_path / "t.csv", "age,y", RNG.random(40).round(3), ["p", "q"] * 20))
    further = table(tmp_path / "f.csv", "AGE,y", RNG.random(40).round(3), ["p", "q"] * 20)
    with pytest.raises(DataError, match=r'no column "age"; did you mean "AGE"\?'):
        accuracy(run, further)


def libsvm(path: Path, X: Any, y: Any, base: int) -> Path:
    lines = (
        f"{k} " + " ".join(f"{j + base}:{v:.4f}" for j, v in enumerate(row) if v) for k, row in zip(y, X, strict=True)
    )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("base", [0, 1])
def test_places_count_from_where_they_did_in_training(base: int, tmp_path: Path) -> None:
    X = RNG.normal(size=(200, 4))
    y = (X[:, 1] > X[:, 2]).astype(int)
    X[:, 3] = 1.0
    run = trained(tmp_path / "run", libsvm(tmp_path / "t.libsvm", X, y, base))
    X[:, 0] = 0.0  # a file that names no first place
    test = libsvm(tmp_path / "e.libsvm", X, y, base)
    assert accuracy(run, test) > 0.9
    assert np.mean(np.array(predicted(run, test)) == y.astype(str)) > 0.9
    if base == 1:
        (tmp_path / "e.libsvm").write_text("1 1:2\n0 0:1 2:1\n")
        with pytest.raises(DataError, match=r"e\.libsvm:2: a place 0, but the training file counts from 1"):
            accuracy(run, test)


@pytest.mark.parametrize("scale", ["standard", "minmax", "robust", "maxabs", "quantile", "none"])
def test_a_constant_column_never_acts(scale: str, tmp_path: Path) -> None:
    x = RNG.normal(size=120).round(3)
    y = np.where(x > 0, "up", "down")
    train = table(tmp_path / "t.csv", "x,year,word,y", x, [2023] * 120, ["old"] * 120, y)
    run = trained(tmp_path / "run", train, preprocess={"numeric": {"scale": scale}})
    later = table(tmp_path / "n.csv", "x,year,word,y", x, [2030] * 120, ["new"] * 120, y)
    assert predicted(run, later, "p_up") == predicted(run, train, "p_up")


@pytest.mark.parametrize("encode", ["onehot", "ordinal", "hash", "embedding"])
def test_a_word_that_training_never_saw_does_not_act_by_chance(encode: str, tmp_path: Path) -> None:
    words = np.array(["a", "b", "a", "c"] * 30)
    y = np.where(words == "b", "up", "down")
    run = trained(tmp_path / "run", table(tmp_path / "t.csv", "w,x,y", words, RNG.normal(size=120).round(3), y),
                  preprocess={"categorical": {"encode": encode}})  # fmt: skip
    found = {
        word: predicted(run, table(tmp_path / "n.csv", "w,x", [word], [0.5]), "p_up")[0] for word in ("q", "z", "", "a")
    }
    assert found["q"] == found["z"] == found[""]
    if encode == "embedding":
        assert found["q"] == found["a"]


@pytest.mark.parametrize("spelling", ["{}", "{}.0", "{}.00", "{}e0"])
def test_numbers_that_are_categories_are_found_by_value(spelling: str, tmp_path: Path) -> None:
    grade = np.array([1, 2, 3, 12] * 30)
    y = np.where(grade == 2, "up", "down")
    train = table(tmp_path / "t.csv", "g,x,y", grade, RNG.normal(size=120).round(3), y)
    run = trained(tmp_path / "run", train, data={"types": {"g": "categorical"}})
    new = table(tmp_path / "n.csv", "g,x,y", [spelling.format(g) for g in grade], RNG.normal(size=120).round(3), y)
    model, _ = open_model(run)
    predictor = Predictor(model)
    assert [label for part in predictor.predict(new) for label in part["prediction"]] == y.tolist()
    assert not predictor.report.unseen
    lines = "".join(f'{{"g": {spelling.format(g)}, "x": 0.5}}\n' for g in grade[:4])
    (tmp_path / "n.jsonl").write_text(lines)
    assert predicted(run, tmp_path / "n.jsonl") == y[:4].tolist()


def test_codes_with_zeros_before_them_stay_apart(tmp_path: Path) -> None:
    found = data(table(tmp_path / "t.csv", "g,y", ["1", "01", "001"] * 20, ["a", "b"] * 30), types={"g": "categorical"})
    assert found.splits["train"].words[0] == ["1", "01", "001"]


def test_notations_hold_for_the_files_that_follow(tmp_path: Path) -> None:
    amount = RNG.uniform(500, 9000, 150).round(2)
    y = np.where(amount > 4000, "dear", "cheap")
    written = [f'"${value:,.2f}"' for value in amount]
    run = trained(tmp_path / "run", table(tmp_path / "t.csv", "amount,y", written, y))
    plain = table(tmp_path / "n.csv", "amount,y", amount, y)
    assert accuracy(run, plain) > 0.9
    assert predicted(run, plain, "p_dear") == predicted(run, tmp_path / "t.csv", "p_dear")
    with pytest.raises(DataError, match=r'n\.csv:2:1: not a number \("€5"\)'):
        predicted(run, table(tmp_path / "n.csv", "amount", ["€5"]))


def test_dates_are_days_and_circles(tmp_path: Path) -> None:
    days = np.datetime64("2023-01-01") + RNG.integers(0, 700, 200)
    y = np.where(days.astype("datetime64[D]").astype(int) % 7 < 3, "early", "late")
    cells = ["" if place % 20 == 0 else str(day) for place, day in enumerate(days)]
    train = table(tmp_path / "t.csv", "day,y", cells, y)
    run = trained(tmp_path / "run", train, epochs=150)
    model, _ = open_model(run)
    circles = [f"day {what} {part}" for what in ("time of year", "day of week") for part in ("sin", "cos")]
    assert model.inputs.input_names() == ["day", "day missing", *circles]
    assert model.task.kept.columns["day"].way == "date"
    X = model.inputs.transform(np.array([[np.nan], [19723.0], [19730.0]]))
    np.testing.assert_allclose(X[0, 1:], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(X[1, 4:], X[2, 4:], atol=1e-9)  # a week apart
    angle = 2 * np.pi * 19723.0 / 365.2425
    np.testing.assert_allclose(X[1, 2:4], [np.sin(angle), np.cos(angle)], atol=1e-9)
    assert accuracy(run, train) > 0.9
    other = [f"{day.astype(object):%d %b %Y}" for day in days]
    assert accuracy(run, table(tmp_path / "n.csv", "day,y", other, y)) > 0.9


def test_rows_without_a_target_are_left_out_and_told(tmp_path: Path) -> None:
    y = [["red", "blue", "", "NA"][place % 4] for place in range(80)]
    path = table(tmp_path / "t.csv", "x,y", RNG.normal(size=80).round(3), y)
    found = data(path, split={"val": 0.25})
    assert any(note.startswith("note: 40 of 80 rows have no y (lines 4, 5, 8, 9, ...)") for note in found.notes)
    dealt = np.concatenate(list(found.indices.values()))
    assert sorted(dealt.tolist()) == [row for row in range(80) if row % 4 < 2]
    assert sum(part.rows for part in found.splits.values()) == 40
    with pytest.raises(DataError, match=r"t\.csv:4:2: 40 of 80 rows have no y"):
        data(path, missing_target="error")
    assert data(path, csv={"na": [""]}, missing_target="drop").task.classes == ("NA", "blue", "red")


def test_rows_without_a_target_are_predicted_but_not_measured(tmp_path: Path) -> None:
    x = RNG.normal(size=100).round(3)
    cells = [f"{3 * value:.3f}" if place % 5 else "N/A" for place, value in enumerate(x)]
    train = table(tmp_path / "t.csv", "x,y", x, cells)
    run = trained(tmp_path / "run", train)
    model, _ = open_model(run)
    predictor = Predictor(model)
    assert sum(len(part["prediction"]) for part in predictor.predict(train)) == 100
    assert (predictor.report.measured, predictor.report.why) == (80, None)
    report = evaluate_model(model, Wishes(data=train, by="x"))
    assert sum(group.rows for group in report.groups) == 80


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_targets_of_which_one_is_1_are_classes(kind: str, tmp_path: Path) -> None:
    X = RNG.normal(size=(150, 2))
    label = X.argmax(axis=1) + (X.sum(axis=1) > 1.5)
    Y = np.eye(3)[label]
    if kind == "npz":
        np.savez(tmp_path / "t.npz", x=X, y=Y)
        run, file = trained(tmp_path / "run", tmp_path / "t.npz"), tmp_path / "t.npz"
    else:
        file = table(tmp_path / "t.csv", "a,b,k0,k1,k2", *X.T.round(4), *Y.T.astype(int))
        run = trained(tmp_path / "run", file, data={"target": ["k0", "k1", "k2"]})
    model, _ = open_model(run)
    names = ("0", "1", "2") if kind == "npz" else ("k0", "k1", "k2")
    assert (model.task.kind, model.task.classes, model.task.outputs) == ("multiclass", names, 3)
    assert accuracy(run, file) > 0.8
    wish = {"train": str(file), "task": "multilabel", **({} if kind == "npz" else {"target": ["k0", "k1", "k2"]})}
    assert load(from_mapping({"data": wish})).task.kind == "multilabel"


def test_a_missing_number_in_an_array_is_filled_as_in_a_table(tmp_path: Path) -> None:
    X = RNG.normal(size=(60, 3))
    X[7, 2] = np.nan
    np.savez(tmp_path / "t.npz", x=X, y=(X[:, 0] > 0).astype(int))
    run = trained(tmp_path / "run", tmp_path / "t.npz")
    model, _ = open_model(run)
    assert model.inputs.input_names() == ["x0", "x1", "x2", "x2 missing"]
    assert np.isfinite(model.inputs.transform(X)).all()


@pytest.mark.parametrize("method", ["group", "hash"])
def test_rows_are_grouped_by_the_text_of_their_cells(method: str, tmp_path: Path) -> None:
    users = [f"{1_000_000_000_000_000_000 + k // 2}" for k in range(80)]
    path = table(tmp_path / "t.csv", "user,x,y", users, RNG.normal(size=80).round(3), ["a", "b"] * 40)
    found = data(path, split={"method": method, "column": "user", "val": 0.25})
    parts = [{users[row] for row in rows} for rows in found.indices.values()]
    assert len(parts) == 2
    assert all(parts)
    assert not set.intersection(*parts)
    by_place = data(path, split={"method": method, "column": 0, "val": 0.25})
    assert {name: rows.tolist() for name, rows in by_place.indices.items()} == {
        name: rows.tolist() for name, rows in found.indices.items()
    }


@pytest.mark.parametrize("word", ["nan", "N/A", "n/a", "NULL", "None", "na", "-", ".", "#N/A", "<NA>", "inf", "*"])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_word_for_missing_does_not_make_a_category_of_numbers(word: str, share: float, tmp_path: Path) -> None:
    x = [word if row < 200 * share else row / 7 for row in range(200)]
    found = data(table(tmp_path / "t.csv", "x,y", x, ["a", "b"] * 100))
    assert found.task.kinds == ()
    assert np.isnan(found.splits["train"].X).sum() + np.isnan(found.splits["val"].X).sum() == 200 * share


def test_given_markers_are_added_and_numbers_compare_as_numbers(tmp_path: Path) -> None:
    x = ["", "N/A", "missing", "-999.0", "-999", *range(60)]
    path = table(tmp_path / "t.csv", "x,y", x, [*"ababa", *"ab" * 30])
    found = data(path, csv={"na": ["missing", "-999"]}, split={"val": 0})
    assert np.isnan(found.splits["train"].X).sum() == 5
    assert found.task.kinds == ()


def test_words_most_of_which_are_numbers_are_told(tmp_path: Path) -> None:
    x = ["<0.1" if row % 5 == 0 else row / 7 for row in range(200)]
    found = data(table(tmp_path / "t.csv", "x,w,y", x, [row % 3 for row in range(200)], ["a", "b"] * 100))
    assert any(note.startswith('note: taken as words, though most are numbers: x ("<0.1")') for note in found.notes)

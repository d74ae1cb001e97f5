"""From a config to arrays: the embedded sets, files of every format, the task, and what is refused where."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import Config, from_mapping
from mlp_core.config import load as load_config
from mlp_core.config.data import EMBEDDED
from mlp_core.data.load import Data, load, load_split
from mlp_core.data.readers.embedded import SETS
from mlp_core.data.task import Task
from mlp_core.errors import DataError, Problem

SHARED = Path(__file__).parents[3].parent / "shared/data"


def config(**data: Any) -> Config:
    return from_mapping({"data": data})


def table(path: Path, rows: str, header: str = "a,b,y\n") -> str:
    path.write_text(header + rows)
    return str(path)


def problem(**data: Any) -> Problem:
    with pytest.raises(DataError) as caught:
        load(config(**data))
    return caught.value.problems[0]


CLASSES = "".join(f"{i},{i % 5},{'red' if i % 3 else 'blue'}\n" for i in range(30))
WHOLE = "".join(f"{i},{i % 5},{i % 3}\n" for i in range(30))
REALS = "".join(f"{i},{i % 5},{i / 7}\n" for i in range(30))


def test_digits_load_by_name() -> None:
    data = load(config(name="digits", split={"val": 0.2, "test": 0.2}))
    assert data.task.kind == "multiclass"
    assert data.task.classes == tuple("0123456789")
    assert (data.task.outputs, data.task.targets, len(data.task.features)) == (10, ("digit",), 64)
    assert {name: part.X.shape for name, part in data.splits.items()} == {
        "train": (1079, 64), "val": (359, 64), "test": (359, 64)
    }  # fmt: skip
    assert data.splits["train"].X.dtype == np.float64
    assert data.splits["train"].y.dtype == np.int64
    assert 'task: multiclass (target "digit" has 10 whole values)' in data.notes


def test_the_embedded_sets_equal_their_source() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn as the reference")
    for name, peer in (("digits", datasets.load_digits()), ("diabetes", datasets.load_diabetes(scaled=False))):
        whole = load(config(name=name, split={"val": 0})).splits["train"]
        np.testing.assert_array_equal(whole.X, peer.data)
        np.testing.assert_array_equal(whole.y.reshape(-1), peer.target)


def test_every_name_in_the_config_is_an_embedded_set() -> None:
    assert set(EMBEDDED) == set(SETS)


def test_diabetes_is_regression() -> None:
    data = load(config(name="diabetes"))
    assert (data.task.kind, data.task.outputs, data.task.classes) == ("regression", 1, ())
    assert data.splits["train"].y.shape == (354, 1)
    assert data.splits["train"].y.dtype == np.float64
    assert data.task.features[:3] == ("age", "sex", "bmi")


@pytest.mark.parametrize(
    ("rows", "options", "kind", "outputs", "classes"),
    [
        (CLASSES, {}, "binary", 1, ("blue", "red")),
        (CLASSES, {"task": "multiclass"}, "multiclass", 2, ("blue", "red")),
        (CLASSES, {"positive": "blue"}, "binary", 1, ("red", "blue")),
        (CLASSES, {"classes": ["red", "blue", "green"]}, "multiclass", 3, ("red", "blue", "green")),
        (WHOLE, {}, "multiclass", 3, ("0", "1", "2")),
        (WHOLE, {"task": "regression"}, "regression", 1, ()),
        (WHOLE, {"classes": ["2", "1", "0"]}, "multiclass", 3, ("2", "1", "0")),
        (REALS, {}, "regression", 1, ()),
        ("".join(f"1,2,{10 - i % 11}\n" for i in range(44)), {}, "multiclass", 11, tuple(map(str, range(11)))),
        ("".join(f"1,2,{i % 21}\n" for i in range(84)), {}, "regression", 1, ()),
        ("".join(f"1,2,{i}\n" for i in range(12)), {}, "regression", 1, ()),
        ("".join(f"1,2,{(-1) ** i}\n" for i in range(12)), {}, "binary", 1, ("-1", "1")),
        (WHOLE, {"target": ["b", "y"]}, "regression", 2, ()),
        (
            "".join(f"{i},{i % 2},{i % 3 // 2}\n" for i in range(12)),
            {"target": ["b", "y"]},
            "multilabel",
            2,
            ("b", "y"),
        ),
    ],
)
def test_the_task_follows_from_the_target(
    rows: str, options: dict[str, Any], kind: str, outputs: int, classes: tuple[str, ...], tmp_path: Path
) -> None:
    data = load(config(train=table(tmp_path / "t.csv", rows), **{"target": "y", **options}))
    assert (data.task.kind, data.task.outputs, data.task.classes) == (kind, outputs, classes)
    assert any(note.startswith(f"task: {kind}") for note in data.notes)
    y = data.splits["train"].y
    assert y.dtype == (np.int64 if data.task.classifies else np.float64)
    assert y.shape == ((len(y),) if data.task.classifies else (len(y), outputs))


def test_labels_become_the_index_of_their_class(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", CLASSES)
    data = load(config(train=path, target="y", classes=["red", "blue"], split={"val": 0}))
    assert data.splits["train"].y.tolist() == [int(i % 3 == 0) for i in range(30)]


@pytest.mark.parametrize(
    ("target", "drop", "features"),
    [("y", [], ("a", "b")), (-1, [], ("a", "b")), (2, ["a"], ("b",)), (0, [-1], ("b",)), ("b", [], ("a", "y"))],
)
def test_columns_go_by_name_or_position(target: Any, drop: Any, features: tuple[str, ...], tmp_path: Path) -> None:
    data = load(config(train=table(tmp_path / "t.csv", REALS), target=target, drop=drop, task="regression"))
    assert data.task.features == features


def test_indices_lead_back_to_the_file(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", REALS)
    data = load(config(train=path, target="y", split={"val": 5, "test": 4}, limit=20))
    assert {name: len(rows) for name, rows in data.indices.items()} == {"train": 11, "val": 5, "test": 4}
    for name, rows in data.indices.items():
        np.testing.assert_array_equal(data.splits[name].X[:, 0], rows)


def test_the_digest_follows_the_values(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", REALS)
    same, again = (load(config(train=path, target="y")) for _ in range(2))
    assert same.sha256 == again.sha256
    assert same.sha256 != load(config(train=path, target="y", split={"seed": 1})).sha256
    table(tmp_path / "t.csv", REALS.replace("29,4,", "29,5,"))
    assert same.sha256 != load(config(train=path, target="y")).sha256


def test_the_seed_of_the_run_splits_unless_the_split_has_its_own(tmp_path: Path) -> None:
    data = {"train": table(tmp_path / "t.csv", REALS), "target": "y"}
    run, own = (
        load(from_mapping({"seed": seed, "data": {**data, "split": {"seed": split}}}))
        for seed, split in ((7, None), (0, 7))
    )
    assert run.sha256 == own.sha256


def test_given_files_are_taken_as_they_are(tmp_path: Path) -> None:
    files = {name: table(tmp_path / f"{name}.csv", CLASSES) for name in ("train", "val", "test")}
    data = load(config(**files, target="y"))
    assert {name: part.rows for name, part in data.splits.items()} == {"train": 30, "val": 30, "test": 30}
    assert data.indices == {}
    split = load(config(train=files["train"], test=files["test"], target="y", split={"test": 0.5}))
    assert {name: part.rows for name, part in split.splits.items()} == {"train": 24, "val": 6, "test": 30}


def test_columns_of_further_files_go_by_name(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", CLASSES)
    test = table(tmp_path / "test.csv", "red,9,1,2\nblue,9,3,4\n", "y,extra,b,a\n")
    data = load(config(train=train, test=test, target=-1))
    assert data.splits["test"].X.tolist() == [[2, 1], [4, 3]]
    assert data.splits["test"].y.tolist() == [1, 0]


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, Any]:
    """The same ten images and labels as IDX, npz, and a pair of npy files."""
    x, y = np.arange(160, dtype=np.uint8).reshape(40, 2, 2), np.arange(40, dtype=np.uint8) % 4
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 40, 2, 2) + x.tobytes()))
    (tmp_path / "y").write_bytes(b"\0\0\x08\x01" + struct.pack(">I", 40) + y.tobytes())
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return {
        "idx": {"x": str(tmp_path / "x.gz"), "y": str(tmp_path / "y")},
        "npy": {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")},
        "npz": str(tmp_path / "a.npz"),
    }


def test_arrays_of_every_format_are_the_same_data(arrays: dict[str, Any]) -> None:
    loaded = {name: load(config(train=where)) for name, where in arrays.items()}
    assert len({data.sha256 for data in loaded.values()}) == 1
    data = loaded["idx"]
    assert (data.task.kind, data.task.outputs, data.splits["train"].X.dtype.name) == ("multiclass", 4, "uint8")
    part = load_split(config(train=arrays["idx"]), data.task, arrays["npy"])
    assert (part.rows, part.X.shape) == (40, (40, 4))


def test_a_further_file_is_read_with_the_classes_of_the_task(tmp_path: Path) -> None:
    run = config(train=table(tmp_path / "t.csv", CLASSES), target="y")
    task = Task.from_state(load(run).task.to_state())
    part = load_split(run, task, table(tmp_path / "new.csv", "blue,1,2\nblue,3,4\n", "y,b,a\n"))
    assert part.X.tolist() == [[2, 1], [4, 3]]
    assert part.y.tolist() == [0, 0]
    for rows, header, code in (
        ("1,2,green\n", "a,b,y\n", "unknown_label"),
        ("1,red\n", "a,y\n", "missing_column"),
        ("1,2,red\n2,3,blue\n", "", "columns_differ"),
    ):
        with pytest.raises(DataError) as caught:
            load_split(run, task, table(tmp_path / "new.csv", rows, header))
        assert caught.value.problems[0].code == code


def test_digits_can_be_judged_on_a_file_without_names(tmp_path: Path) -> None:
    run = config(name="digits")
    data = load(run)
    rows = np.column_stack([data.splits["val"].X, data.splits["val"].y]).astype(int)
    np.savetxt(tmp_path / "val.csv", rows, fmt="%d", delimiter=",")
    part = load_split(run, data.task, tmp_path / "val.csv")
    np.testing.assert_array_equal(part.X, data.splits["val"].X)
    np.testing.assert_array_equal(part.y, data.splits["val"].y)


BAD_TABLES = {
    "text cell": ("1,2,0.5\n" * 20 + "oops,2,0.5\n", {}, "not_a_number", 22, 1),
    "text for numbers": ("1,5,0.5\n2,y,0.6\n" * 9, {"types": {"b": "numeric"}}, "not_a_number", 3, 2),
    "no truth": ("1,yes,0.5\n2,maybe,0.6\n" * 9, {"types": {"b": "boolean"}}, "not_a_boolean", 3, 2),
    "no date": ("1,2024-01-31,0.5\n2,2024-02-01,0.6\n" * 9 + "1,2024-13-01,0.5\n", {}, "not_a_number", 20, 2),
    "negative weight": ("1,2,0.5\n2,-1,0.6\n" * 9, {"weight": "b"}, "bad_weight", 3, 2),
    "all missing": ("1,?,0.5\n1,?,0.6\n", {}, "empty_column", 2, 2),
    "too large": ("1,2,0.5\n" * 20 + "1e400,2,0.5\n", {}, "not_a_number", 22, 1),
    "missing target": ("1,2,0.5\n1,2,\n", {"missing_target": "error"}, "missing_target", 3, 3),
    "no target": ("1,2,\n1,2,\n", {}, "missing_target", 1, 3),
    "text in target": ("1,2,0.5\n" * 20 + "1,2,x\n", {}, "not_a_number", 22, 3),
    "text for regression": (CLASSES, {"task": "regression"}, "not_a_number", 2, 3),
    "one class": ("1,2,red\n3,4,red\n", {}, "one_class", 1, 3),
    "class of one row": (CLASSES + "1,2,green\n", {}, "too_few_rows", 32, 3),
    "unlisted label": (CLASSES, {"classes": ["red", "green"]}, "unknown_label", 2, 3),
    "label neither 0 nor 1": (WHOLE, {"task": "multilabel"}, "label_out_of_range", 4, 3),
    "no inputs": ("1\n2\n", {"target": 0, "header": "y\n"}, "no_inputs", 1, None),
    "one class left": (
        "1,2,0\n" * 20 + "1,2,1\n" * 5, {"split": {"method": "ordered", "val": 5}}, "one_class", 1, 3
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "options", "code", "line", "column"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_values_are_refused_at_their_cell(
    rows: str, options: dict[str, Any], code: str, line: int, column: int | None, tmp_path: Path
) -> None:
    options = {"target": "y", **options}
    path = table(tmp_path / "t.csv", rows, options.pop("header", "a,b,y\n"))
    found = problem(train=path, **options)
    assert (found.code, found.file, found.line, found.column) == (code, path, line, column)


def test_the_message_for_a_bad_cell_word_for_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    table(Path("data/train.csv"), "1,2,3\n" * 1040 + "1,oops,3\n")
    found = problem(train="data/train.csv", target="a", task="regression")
    hint = "fix the cell, or list it under data.csv.na if it means missing"
    assert str(found) == f'data/train.csv:1042:2: not a number ("oops"); {hint}'


def test_labels_that_are_none_are_suspected(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{k},w{k}\n" for k in range(1000)))
    with pytest.raises(DataError, match="and so have 999 other classes; is this the column to predict"):
        load(config(train=str(tmp_path / "t.csv"), target="y"))


def test_a_target_by_its_position_may_be_written_as_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("5,6,a\n3,4,b\n" * 9)
    assert load(config(train=str(tmp_path / "t.csv"), target="2")).task.targets == ("c2",)


def test_every_bad_column_is_told_at_once(tmp_path: Path) -> None:
    rows = "2020-01-01,1,1.5\n2020-01-02,1,1.6\n" * 10 + "2020-02-30,oops,2.5\n"
    with pytest.raises(DataError) as caught:
        load(config(train=table(tmp_path / "t.csv", rows), target="y"))
    assert [(found.line, found.column) for found in caught.value.problems] == [(22, 1), (22, 2)]
    rows = "1,1,1.5\n" * 19 + "1.5.2,x,2.5\n"
    with pytest.raises(DataError) as caught:
        load(config(train=table(tmp_path / "t.csv", rows), target="y"))
    assert [(found.line, found.column) for found in caught.value.problems] == [(21, 1), (21, 2)]


BAD_WISHES = {
    "no target": ({"target": None}, "data.target", "missing"),
    "unknown target": ({"target": "z"}, "data.target", "unknown_column"),
    "far target": ({"target": 3}, "data.target", "unknown_column"),
    "target twice": ({"target": ["y", -1]}, "data.target", "inconsistent"),
    "dropped target": ({"drop": ["y"]}, "data.drop", "inconsistent"),
    "unknown drop": ({"drop": ["q"]}, "data.drop", "unknown_column"),
    "binary of three": ({"task": "binary"}, "data.task", "task_does_not_fit"),
    "one target": ({"task": "binary", "target": ["b", "y"]}, "data.task", "task_does_not_fit"),
    "classes of numbers": ({"task": "regression", "classes": ["0", "1"]}, "data.classes", "task_does_not_fit"),
    "positive of three": ({"positive": "1"}, "data.positive", "task_does_not_fit"),
    "val of nothing": ({"split": {"val": 0.01}}, "data.split.val", "too_few_rows"),
    "all rows split off": ({"split": {"val": 10, "test": 20}}, "data.split.val", "too_few_rows"),
    "classes of reals": (
        {"task": "regression", "split": {"method": "stratified"}},
        "data.split.method",
        "inconsistent",
    ),
}


@pytest.mark.parametrize(("options", "key", "code"), BAD_WISHES.values(), ids=BAD_WISHES)
def test_a_wish_that_does_not_fit_names_its_key(options: dict[str, Any], key: str, code: str, tmp_path: Path) -> None:
    found = problem(train=table(tmp_path / "t.csv", WHOLE), **{"target": "y", **options})
    assert (found.key, found.code) == (key, code)


def test_a_wish_is_placed_where_the_config_has_it(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", WHOLE)
    (tmp_path / "c.yaml").write_text("data:\n  train: t.csv\n  target: why\n")
    with pytest.raises(
        DataError, match=r'c\.yaml:3:11: data\.target: no column "why" in the data; columns are a, b, y'
    ):
        load(load_config(tmp_path / "c.yaml"))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_label_unseen_in_training_is_named_with_its_row(part: str, tmp_path: Path) -> None:
    train, other = table(tmp_path / "t.csv", CLASSES), table(tmp_path / "o.csv", "1,2,red\n3,4,green\n")
    found = problem(train=train, target="y", **{part: other})
    assert (found.file, found.line, found.column) == (other, 3, 3)
    assert 'label "green"' in found.message
    assert found.hint == "the classes are blue, red"


def test_infinities_in_arrays_are_refused_at_their_place(tmp_path: Path) -> None:
    x, value = np.ones((30, 4), np.float32), np.inf
    x[7, 2] = value
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 2)
    assert "at row 7, column 2 (from 0)" in problem(train=str(tmp_path / "a.npz")).message
    np.savez(tmp_path / "a.npz", x=np.ones((30, 4)), y=np.where(np.arange(30) == 9, value, 0.5))
    assert "at row 9 (from 0)" in problem(train=str(tmp_path / "a.npz")).message


def test_a_label_out_of_range_in_arrays_names_its_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((30, 2)), y=np.arange(30) % 3)
    np.savez(tmp_path / "b.npz", x=np.ones((5, 2)), y=np.array([0, 1, 2, 7, 1]))
    found = problem(train=str(tmp_path / "a.npz"), val=str(tmp_path / "b.npz"))
    assert found.message == 'label "7" is not one of the classes at row 3 (from 0)'


def test_an_empty_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    data = load(config(train=table(tmp_path / "t.csv", "1,2,0.5,\n3,4,0.6,\n" * 9, "a,b,y,\n"), target="y"))
    assert data.task.features == ("a", "b")
    assert "left out: c3, without name and values" in data.notes


def loaded(data: Data) -> tuple[Any, ...]:
    return data.task.kind, data.task.outputs, {name: part.X.shape for name, part in data.splits.items()}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data sets beside the repository")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"train": "optdigits/optdigits.tra", "test": "optdigits/optdigits.tes", "target": -1},
            ("multiclass", 10, {"train": (3058, 64), "val": (765, 64), "test": (1797, 64)}),
        ),
        (
            {"train": "letter/letter-recognition.data", "target": 0, "split": {"method": "ordered", "val": 4000}},
            ("multiclass", 26, {"train": (16000, 16), "val": (4000, 16)}),
        ),
        (
            {"train": "wine-quality/winequality-red.csv", "target": "quality"},
            ("multiclass", 6, {"train": (1279, 11), "val": (320, 11)}),
        ),
        (
            {"train": "california-housing/cal_housing_sklearn_layout.csv", "target": -1},
            ("regression", 1, {"train": (16512, 8), "val": (4128, 8)}),
        ),
        (
            {"train": "uci-regression/power-plant/data.txt", "target": -1},
            ("regression", 1, {"train": (7654, 4), "val": (1914, 4)}),
        ),
    ],
    ids=["optdigits", "letter", "wine", "california", "power plant"],
)  # fmt: skip
def test_real_tables_load(options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    files = {key: str(SHARED / value) for key, value in options.items() if key in ("train", "test")}
    assert loaded(load(config(**{**options, **files}))) == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data sets beside the repository")
def test_mnist_loads() -> None:
    parts = {
        name: {
            "x": str(SHARED / f"mnist/{prefix}-images-idx3-ubyte.gz"),
            "y": str(SHARED / f"mnist/{prefix}-labels-idx1-ubyte.gz"),
        }
        for name, prefix in (("train", "train"), ("test", "t10k"))
    }
    data = load(config(**parts, split={"method": "ordered", "val": 10000}))
    shapes = {"train": (50000, 784), "val": (10000, 784), "test": (10000, 784)}
    assert loaded(data) == ("multiclass", 10, shapes)
    assert data.splits["train"].y[:5].tolist() == [5, 0, 4, 1, 9]


COLOURS = ("red", "blue", "", "rare")
PEOPLE = "".join(
    f"p{i},{20 + i % 30},{COLOURS[i % 3 if i else 3]},{('yes', 'no')[i % 2]},{i % 4},{1 + i % 2},{i % 3}\n"
    for i in range(60)
)
PEOPLE_NAMES = "who,age,colour,member,code,w,y\n"


def people(folder: Path, rows: str = PEOPLE, **data: Any) -> Data:
    return load(config(train=table(folder / "p.csv", rows, PEOPLE_NAMES), target="y", **data))


def test_columns_of_words_come_with_their_vocabulary(tmp_path: Path) -> None:
    data = people(tmp_path)
    assert data.task.features == ("age", "colour", "member", "code", "w")
    assert data.task.kinds == ("numeric", "categorical", "boolean", "numeric", "numeric")
    train = data.splits["train"]
    assert train.words == {1: ["rare", "blue", "red"]}
    assert set(np.unique(train.X[:, 2])) == {0, 1}
    assert np.isnan(train.X[:, 1]).any()
    left_out = next(note for note in data.notes if note.startswith("left out: who (60 different words in 60 cells, "))
    assert left_out.endswith('", like names or identifiers)')
    assert "inputs: 3 numeric, 1 categorical (colour), 1 boolean (member)" in data.notes


def test_types_parts_and_weights_as_told(tmp_path: Path) -> None:
    data = people(tmp_path, types={"code": "categorical", "member": "ignore"}, id=["who"], weight="w")
    assert data.task.features == ("age", "colour", "code")
    assert (data.task.kinds[2], data.task.ids, data.task.weight) == ("categorical", ("who",), "w")
    train = data.splits["train"]
    assert train.words[2] == ["0", "1", "2", "3"]
    assert train.weight is not None
    np.testing.assert_array_equal(train.weight, 1 + data.indices["train"] % 2)


@pytest.mark.parametrize(
    ("features", "expected"),
    [(["age", "c*"], ("age", "colour", "code")), ([4, "age"], ("code", "age")), (["?"], ("w",))],
)
def test_features_go_by_name_place_or_pattern(features: Any, expected: tuple[str, ...], tmp_path: Path) -> None:
    assert people(tmp_path, features=features).task.features == expected


def test_words_of_further_files_are_matched_by_name(tmp_path: Path) -> None:
    test = table(tmp_path / "t.csv", "2,green,no,1,1,31\n1,blue,yes,0,1,32\n", "y,colour,member,code,w,age\n")
    data = people(tmp_path, test=test)
    part = data.splits["test"]
    assert part.words[1] == ["green", "blue"]
    assert part.X[:, 0].tolist() == [31, 32]
    assert part.X[:, 2].tolist() == [0, 1]


def test_labels_may_be_written_in_another_way(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv", "1,<=50K\n2,>50K\n" * 10, "")
    (tmp_path / "test.csv").write_text("|a comment\n1, <=50K.\n2, >50K.\n")
    options = {"names": ["a", "income"], "comment": "|"}
    data = load(
        config(train=train, test=str(tmp_path / "test.csv"), target="income", csv=options,
               labels={"<=50K.": "<=50K", ">50K.": ">50K"})
    )  # fmt: skip
    assert (data.task.classes, data.task.features) == (("<=50K", ">50K"), ("a",))
    assert data.splits["test"].y.tolist() == [0, 1]


def test_files_of_a_list_or_pattern_are_one(tmp_path: Path) -> None:
    whole = load(config(train=table(tmp_path / "whole.csv", REALS), target="y", split={"val": 0}))
    lines = REALS.splitlines(keepends=True)
    parts = [table(tmp_path / f"part-{k}.csv", "".join(lines[10 * k : 10 * k + 10])) for k in range(3)]
    for where in (parts, str(tmp_path / "part-*.csv")):
        found = load(config(train=where, target="y", split={"val": 0}))
        np.testing.assert_array_equal(found.splits["train"].X, whole.splits["train"].X)


@pytest.mark.parametrize(
    ("method", "column"), [("group", "code"), ("hash", "who"), ("group", "colour"), ("hash", "age")]
)
def test_a_column_that_splits_is_no_input(method: str, column: str, tmp_path: Path) -> None:
    data = people(tmp_path, split={"method": method, "column": column, "val": 0.3})
    assert column not in data.task.features
    assert set(data.splits) == {"train", "val"}
    assert sorted(np.concatenate(list(data.indices.values()))) == list(range(60))


def test_what_is_inferred_survives_a_checkpoint(tmp_path: Path) -> None:
    task = people(tmp_path, id=["who"], weight="w").task
    assert Task.from_state(task.to_state()) == task


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"types": {"colr": "categorical"}}, "data.types"),
        ({"features": ["age", "x*"]}, "data.features"),
        ({"weight": "y"}, "data.weight"),
        ({"id": ["nobody"]}, "data.id"),
        ({"split": {"method": "group", "column": "y"}}, "data.split.column"),
        ({"split": {"method": "column", "column": "colour"}}, "data.split.column"),
    ],
)
def test_a_part_that_no_column_can_play_is_refused(options: dict[str, Any], key: str, tmp_path: Path) -> None:
    found = problem(train=table(tmp_path / "p.csv", PEOPLE, PEOPLE_NAMES), target="y", **options)
    assert found.key == key


def test_missing_cells_can_be_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "p.csv", PEOPLE.replace("p5,25,", "p5,,"), PEOPLE_NAMES)
    for section, line in (({"numeric": {"impute": "error"}}, 7), ({"categorical": {"missing": "error"}}, 4)):
        with pytest.raises(DataError) as caught:
            load(from_mapping({"data": {"train": path, "target": "y"}, "preprocess": section}))
        assert (caught.value.problems[0].code, caught.value.problems[0].line) == ("missing_value", line)


def test_very_many_words_are_names_and_names_are_left_out(tmp_path: Path) -> None:
    rows = "".join(f"word {i},{i % 7},{i % 2}\n" for i in range(50_000))
    path = table(tmp_path / "t.csv", rows)
    assert load(config(train=path, target="y")).task.features == ("b",)
    data = load(config(train=path, target="y", types={"a": "categorical"}))
    from mlp_core.data.preprocess.from_config import make_preprocessor

    train = data.splits["train"]
    fitted = make_preprocessor(config(train=path, target="y"), data.task.features, data.task.kinds)
    assert fitted.fit(train.X, train.words).inputs == 2  # one place for all of them


def test_more_categories_than_can_be_learned_are_refused_at_their_row(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mlp_core.data.encode.MOST_WORDS", 20)
    rows = "".join(f"{i},w{i % 25},{'red' if i % 3 else 'blue'}\n" for i in range(60))
    found = problem(train=table(tmp_path / "t.csv", rows), target="y", types={"b": "categorical"})
    assert (found.code, found.line, found.column) == ("too_many_words", 22, 2)
    assert found.message == 'more than 20 categories in column "b"'
    assert "data.drop: [b]" in (found.hint or "")
    monkeypatch.setattr("mlp_core.data.encode.MOST_WORDS", 25)
    assert (
        load(config(train=str(tmp_path / "t.csv"), target="y", types={"b": "categorical"})).splits["train"].rows == 48
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the data sets beside the repository")
def test_titanic_loads_and_its_leak_is_told() -> None:
    data = load(config(train=str(SHARED / "seaborn/titanic.csv"), target="survived"))
    assert data.task.kinds.count("categorical") == 6
    assert data.task.kinds.count("boolean") == 3
    assert any(note.startswith("note: alive: tells the target") for note in data.notes)

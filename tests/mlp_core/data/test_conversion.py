"""Training on a converted table and through the cache gives what training on the files themselves gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.config import Config, from_mapping
from mlp_core.data import scan as survey
from mlp_core.data.convert import config_for, convert_data
from mlp_core.data.load import load
from mlp_core.data.readers import convert_table as converter
from mlp_core.data.readers import npy_on_disk as on_disk
from mlp_core.data.readers import table_cache as cache
from mlp_core.errors import DataError
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.experiment import Experiment

RNG = np.random.default_rng(6)


def table(path: Path, rows: int = 240) -> Path:
    """Numbers with gaps, words, yes and no, digits that are names, a weight, a label."""
    lines = ["name,age,job,member,zip,weight,split,y"]
    for i in range(rows):
        age = "?" if i % 9 == 0 else f"{RNG.standard_normal() * 10 + 40:.3f}"
        job, member = ["clerk", "smith", "", "baker"][i % 4], ["yes", "no"][i // 2 % 2]
        part = ["train", "train", "val", "test"][i % 4]
        lines.append(f"n{i},{age},{job},{member},{1000 + i % 5},{1 + i % 3},{part},{['low', 'high', 'mid'][i % 3]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def config(train: Path, **data: Any) -> Config:
    data = {
        "train": str(train),
        "target": "y",
        "types": {"zip": "categorical"},
        "weight": "weight",
        "split": {"method": "column", "column": "split"},
        "labels": {"mid": "high"},
        **data,
    }
    return from_mapping({"data": data, "model": {"hidden": [6]}, "train": {"epochs": 2, "batch_size": 16}})


def finished(wish: Config, folder: Path) -> Path:
    for _ in Run.start(wish, b"", folder).execute():
        pass
    return folder / "checkpoints" / "last.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    convert_data(config(table(tmp_path / "t.csv")), ["y"], tmp_path / "conv")
    return tmp_path / "conv"


def test_a_converted_table_in_memory_gives_the_same_model_bit_for_bit(folder: Path) -> None:
    parent = folder.parent
    ours = load_checkpoint(finished(config(folder, memory="ram"), parent / "a"))
    theirs = load_checkpoint(finished(config(parent / "t.csv", memory="ram"), parent / "b"))
    for name, tensor in theirs.tensors.items():
        assert ours.tensors[name].tobytes() == tensor.tobytes()
    for key in ("data", "task", "inputs", "metrics", "progress"):
        assert ours.document[key] == theirs.document[key]


@pytest.mark.parametrize("encode", ["onehot", "embedding", "ordinal", "hash"])
@pytest.mark.parametrize("sampled", [False, True])
def test_on_the_disk_it_gives_the_same_inputs_and_targets(
    encode: str, sampled: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampled:
        monkeypatch.setattr(survey, "SAMPLE", 100 * 4)
    monkeypatch.setattr(on_disk, "PIECE", 1000)
    wish = {"preprocess.categorical.encode": encode, "preprocess.numeric.impute": "mean"}
    disk = Experiment.build(config(folder, memory="memmap").replace(**wish))
    ram = Experiment.build(config(folder.parent / "t.csv").replace(**wish))
    assert disk.data.memory == "memmap"
    assert disk.data.task == ram.data.task
    for name, split in ram.splits.items():
        np.testing.assert_allclose(disk.splits[name].X[:], split.X, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(disk.splits[name].Y, split.Y)
        np.testing.assert_array_equal(disk.splits[name].w, split.w)
    told = [
        [note for note in one.notes if not note.startswith(("memory", "converted", "steps"))] for one in (disk, ram)
    ]
    assert told[0] == told[1]
    assert disk.evaluate()["test"].metrics == pytest.approx(ram.evaluate()["test"].metrics, rel=1e-5)


def test_words_that_training_did_not_keep_are_counted_on_the_disk_too(tmp_path: Path) -> None:
    lines = [f"{i},{'rare' if i % 40 == 3 else 'common'},{i % 2}" for i in range(200)]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(lines) + "\n")
    (tmp_path / "v.csv").write_text("a,b,y\n" + "1,new,0\n2,common,1\n3,new,0\n")
    notes = []
    for memory, name in (("ram", "{}.csv"), ("memmap", "{}")):
        for part in "tv":
            if memory == "memmap":
                convert_data(from_mapping({"data": {"train": str(tmp_path / f"{part}.csv")}}), [], tmp_path / part)
        train, val = (str(tmp_path / name.format(part)) for part in "tv")
        wish = from_mapping({"data": {"train": train, "val": val, "target": "y", "memory": memory}})
        notes.append([note for note in Experiment.build(wish).notes if "unseen" in note])
    assert notes[0] == notes[1] == ['note: val rows with words that are rare or unseen in training: b 2 ("new")']


def test_a_run_on_the_disk_is_measured_and_used_like_any_other(folder: Path) -> None:
    parent = folder.parent
    model, _ = open_model(finished(config(folder, memory="memmap"), parent / "a"))
    report = evaluate_model(model, Wishes(by="job"))
    assert set(report.splits) == {"train", "val", "test"}
    assert {group.name for group in report.groups} >= {"clerk", "smith"} or report.groups
    tables = []
    for data in (folder, parent / "t.csv"):
        predictor = Predictor(model, probabilities=True, keep=["name"])
        parts = list(predictor.predict(data))
        tables.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
        assert predictor.report.rows == 240
    for name in tables[1]:
        np.testing.assert_array_equal(tables[0][name], tables[1][name])
    other = evaluate_model(model, Wishes(data=folder)).splits["data"].metrics
    assert other == pytest.approx(evaluate_model(model, Wishes(data=parent / "t.csv")).splits["data"].metrics)


def test_arrays_are_predicted_in_parts_with_rows_counted_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = RNG.standard_normal((300, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", (X[:, 0] > 0).astype(np.int64))
    wish = from_mapping(
        {"data": {"train": {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}}, "train": {"epochs": 1}}
    )
    model, _ = open_model(finished(wish, tmp_path / "run"))
    whole = [part["prediction"] for part in Predictor(model).predict(tmp_path / "x.npy")]
    monkeypatch.setattr("mlp_core.data.readers.npy_on_disk.PIECE", 12 * 100)
    parts = [part["prediction"] for part in Predictor(model).predict(tmp_path / "x.npy")]
    assert (len(whole), len(parts)) == (1, 3)
    assert [label for part in parts for label in part] == list(whole[0])
    X[250, 1] = np.inf
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match=r"not a finite number \(inf\) at row 250, column 1"):
        list(Predictor(model).predict(tmp_path / "x.npy"))


def test_damage_is_found_when_the_table_is_read(folder: Path) -> None:
    with (folder / "values.npy").open("r+b") as file:
        file.seek(-3, 2)
        byte = file.read(1)
        file.seek(-3, 2)
        file.write(bytes([byte[0] ^ 1]))
    for memory in ("ram", "memmap"):
        with pytest.raises(DataError, match=r"digest mismatch, the file is damaged; delete the folder|holds no word"):
            load(config(folder, memory=memory))


def test_the_cache_is_made_once_and_found_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, made = table(tmp_path / "t.csv"), []
    real = converter._written
    monkeypatch.setattr(converter, "_written", lambda *rest: made.append(1) or real(*rest))
    plain, cache = load(config(train)), str(tmp_path / "cache")
    assert load(config(train, cache=cache)).sha256 == plain.sha256
    train.rename(tmp_path / "moved.csv")
    again = load(config(tmp_path / "moved.csv", cache=cache))
    assert (len(made), again.sha256) == (2, plain.sha256)  # the name is part of the entry's name
    for count, change in ((2, {}), (3, {"csv": {"na": ["", "?"]}}), (4, {"types": {}})):
        load(config(tmp_path / "moved.csv", cache=cache, **change))
        load(config(tmp_path / "moved.csv", cache=cache, **change))
        assert len(made) == count
    (tmp_path / "moved.csv").write_text((tmp_path / "moved.csv").read_text().replace("clerk", "judge"))
    assert load(config(tmp_path / "moved.csv", cache=cache)).sha256 != plain.sha256
    assert len(made) == 5


@pytest.mark.parametrize("memory", ["ram", "memmap"])
@pytest.mark.parametrize("damage", ["cells", "table", "truncated", "half", "empty"])
def test_a_damaged_cache_is_made_again(memory: str, damage: str, tmp_path: Path) -> None:
    wish = config(table(tmp_path / "t.csv"), cache=str(tmp_path / "cache"), memory=memory)
    before = load(wish).sha256
    (entry,) = (tmp_path / "cache").iterdir()
    cells, description = (entry / "values.npy").read_bytes(), (entry / "table.json").read_bytes()
    if damage == "cells":
        (entry / "values.npy").write_bytes(cells[:-9] + bytes([cells[-9] ^ 4]) + cells[-8:])
    elif damage == "truncated":
        (entry / "values.npy").write_bytes(cells[:-7])
    elif damage == "table":
        (entry / "table.json").write_bytes(description.replace(b"clerk", b"clown"))
    else:
        for file in entry.iterdir() if damage == "empty" else [entry / "table.json"]:
            file.unlink()
    assert load(wish).sha256 == before
    assert (entry / "values.npy").read_bytes() == cells
    assert (entry / "table.json").read_bytes() == description


def test_what_killed_runs_left_in_a_cache_goes_with_the_next_entry(tmp_path: Path) -> None:
    left = [tmp_path / "cache" / name for name in (".other-1.999999999.tmp", ".old-2.999999999.old.tmp")]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "values.npy").write_bytes(b"half")
    wish = config(table(tmp_path / "t.csv"), cache=str(tmp_path / "cache"))
    load(wish)
    assert [path.name[:2] for path in (tmp_path / "cache").iterdir()] == ["t-"]


def test_an_entry_that_another_run_makes_meanwhile_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = config(table(tmp_path / "t.csv"), cache=str(tmp_path / "cache"))
    real = cache.convert

    def late(*rest: Any, **more: Any) -> Any:
        real(*rest, **more)
        return real(*rest, **more)

    monkeypatch.setattr(cache, "convert", late)
    assert load(wish).splits["train"].rows == 120


def test_memmap_of_a_table_goes_through_the_cache(tmp_path: Path) -> None:
    train = table(tmp_path / "t.csv")
    with pytest.raises(DataError, match="mlpbp convert"):
        load(config(train, memory="memmap"))
    data = load(config(train, memory="memmap", cache=str(tmp_path / "cache")))
    assert data.memory == "memmap"


def test_several_converted_tables_are_read_as_one_into_memory(tmp_path: Path) -> None:
    for name in ("a b", "c"):
        convert_data(config(table(tmp_path / f"{name}.csv")), ["y"], tmp_path / name)
    both = [str(tmp_path / "a b"), str(tmp_path / "c")]
    wish = config(tmp_path / "c", cache=str(tmp_path / "cache")).replace(**{"data.train": both})
    assert sum(part.rows for part in load(wish).splits.values()) == 480
    with pytest.raises(
        DataError, match=r"several converted tables are read into memory .*convert their files together"
    ):
        load(wish.replace(**{"data.memory": "memmap"}))


def test_the_command_that_is_advised_can_be_pasted(tmp_path: Path) -> None:
    train = [str(table(tmp_path / f"{name}.csv")) for name in ("a b", "c")]
    with pytest.raises(DataError, match=r"mlpbp convert '\S*/a b.csv' \S*/c.csv -o FOLDER"):
        load(config(tmp_path, memory="memmap").replace(**{"data.train": train}))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Exception, match="cannot be written") as caught:
        load(config(table(tmp_path / "t.csv"), cache=str(tmp_path / "file" / "cache")))
    assert caught.type.__name__ == "Failed"


def test_a_resumed_run_may_change_the_cache(tmp_path: Path) -> None:
    wish = config(table(tmp_path / "t.csv"), memory="ram")
    finished(wish, tmp_path / "run")
    run = Run.resume(tmp_path / "run", ["train.epochs=3", f"data.cache={tmp_path / 'cache'}"])
    assert len(list(run.execute())) > 1


@pytest.mark.parametrize(
    ("targets", "folder", "types", "text"),
    [
        (["income"], "out", {}, "data:\n  train: out\n  target: income\n"),
        (["y", "a b"], "my data", {}, 'data:\n  train: "my data"\n  target: ["y", "a b"]\n'),
        ([], "out", {"zip": "categorical"}, "data:\n  train: out\n  types: {zip: categorical}\n"),
    ],
)
def test_the_config_that_is_shown_is_one(targets: list[str], folder: str, types: dict[str, str], text: str) -> None:
    import yaml

    wish = from_mapping({"data": {"train": "x.csv", "types": types}})
    assert config_for(wish, targets, Path(folder)) == text
    assert from_mapping(yaml.safe_load(text)).data.train == folder


@pytest.mark.parametrize("target", ["2.5", "3.25"])
def test_a_target_that_is_always_the_same_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{target}\n" for i in range(30)))
    with pytest.raises(DataError, match="the target is the same in all 24 training rows"):
        load(from_mapping({"data": {"train": str(tmp_path / "t.csv"), "target": "y"}}))


def test_one_of_several_targets_that_is_always_the_same_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y,z\n" + "".join(f"{i},{i / 7},2.5\n" for i in range(30)))
    data = load(from_mapping({"data": {"train": str(tmp_path / "t.csv"), "target": ["y", "z"]}}))
    assert "note: z: the same in all training rows, teaches nothing" in data.notes


@pytest.mark.parametrize("address", ["https://example.org/a.csv", "s3://bucket/a.csv", "http://x/y.csv"])
def test_addresses_are_not_fetched_and_that_is_said(address: str) -> None:
    with pytest.raises(DataError, match="addresses are not fetched: download the file"):
        load(from_mapping({"data": {"train": address, "target": "y"}}))

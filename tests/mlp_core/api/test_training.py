"""Training and trained models from Python: events as they happen, runs that can be left, data of any kind."""

from __future__ import annotations

import gc
import json
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mlpbp import load, train

from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.frames import InMemory, parts
from mlp_core.errors import CheckpointError, ConfigError, DataError, Failed, UsageError
from mlp_core.training.events import EpochDone, StepDone

KEYS = {"model": {"hidden": [8]}, "optimizer": {"lr": 0.02}, "train": {"epochs": 4, "batch_size": 16}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(rows: int = 100) -> dict[str, list]:
    return {
        "age": [20.0 + k % 50 for k in range(rows)],
        "job": [("clerk", "farmer", None, "smith")[k % 4] for k in range(rows)],
        "rich": ["yes" if k % 50 > 25 else "no" for k in range(rows)],
    }


def config(**data) -> dict:
    return {**KEYS, "data": {"target": "rich", **data}}


def test_events_come_while_it_trains_and_a_loop_that_was_left_goes_on():
    run = train(config(), table())
    first = next(iter(run))
    assert isinstance(first, StepDone)
    assert not run.history
    for event in run:
        if isinstance(event, EpochDone):
            break
    assert [row["epoch"] for row in run.history] == [1]
    assert [event.epoch for event in run if isinstance(event, EpochDone)] == [2, 3, 4]
    assert json.loads((run.path / "run.json").read_text())["status"] == "finished"
    assert run.summary.epochs == 4
    assert not list(run)


def test_nothing_is_left_of_a_run_that_nobody_carried_out(tmp_path):
    run = train(config(), table())
    path = run.path
    assert path.is_dir()
    with pytest.warns(RuntimeWarning, match="nothing was trained: iterate"):
        del run
    gc.collect()
    assert not path.exists()


def test_a_stopped_run_says_so_and_can_be_resumed_on_the_command_line():
    run = train(config(), table())
    next(iter(run))
    run.stop()
    with pytest.raises(Failed, match="mlpbp train --resume runs/run-001"):
        _ = run.metrics
    assert (run.path / "checkpoints/last.safetensors").is_file()


def test_an_interrupt_saves_the_run_and_is_raised_again(monkeypatch):
    run = train(config(), table())

    def interrupted(self, event):
        if isinstance(event, EpochDone) and event.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("mlp_core.api.training.Progress.show", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert json.loads((run.path / "run.json").read_text())["status"] == "interrupted"
    assert len(run.history) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_notebook_shows_curves_that_need_nothing_around_them():
    page = train(config(), table())._repr_html_()
    assert "<svg" in page
    assert "accuracy" in page
    assert "\ue000" not in page
    used, given = (set(re.findall(pattern, page)) for pattern in (r"var\(--([\w-]+)\)", r"--([\w-]+):"))
    assert used <= given


def test_errors_are_those_of_the_command_line():
    with pytest.raises(ConfigError, match=r'unknown key; did you mean "epochs"\?'):
        train({"data": {"name": "digits"}, "train": {"epoch": 3}})
    with pytest.raises(DataError, match=r'no column "rihc" in the data; did you mean "rich"\?'):
        train(config(target="rihc"), table())
    with pytest.raises(ConfigError, match="names a data set, and data is given"):
        train({"data": {"name": "digits"}}, table())
    with pytest.raises(ConfigError, match=r"ensemble: train\(\) trains one network"):
        train({**config(), "ensemble": 2}, table())
    with pytest.raises(UsageError, match="not a model"):
        load(3)
    broken = {**table(), "age": [np.inf, *table()["age"][1:]]}
    with pytest.raises(DataError, match=r'data: not a number \("inf \(float64\)"\) at row 0, column "age" \(from 0\)'):
        train(config(), broken)
    assert not list(tmp for tmp in Path().iterdir())


def test_a_model_knows_its_rows_by_name():
    run = train(config(), table())
    model, given = load(run), table()
    turned = {name: given[name] for name in ("rich", "job", "age")} | {"further": [0] * 100}
    assert (model.predict(turned) == model.predict(given)).all()
    assert (model.predict([{"age": 30, "job": "smith"}]) == model.predict({"job": ["smith"], "age": [30]})).all()
    with pytest.raises(DataError, match='no column "job"'):
        model.predict({"age": [3]})
    assert set(model.evaluate(given)) >= {"loss", "accuracy", "f1"}
    assert model.evaluate(({"age": given["age"], "job": given["job"]}, given["rich"])) == model.evaluate(given)
    assert model.evaluate() == model.evaluate(split="val")
    assert load(run.path).predict(given).tolist() == model.predict(given).tolist()
    with pytest.raises(DataError, match="was in memory or came through a pipe"):
        load(run.path).evaluate()
    assert model.answer(pa.table(given), keep=["age"]).column_names == ["age", "prediction"]


def test_parts_of_the_data_may_be_given_apart():
    run = train(config(), {"train": table(80), "val": table(40), "test": table(30)})
    assert set(run.metrics) == {"train", "val", "test"}
    model = load(run)
    assert model.evaluate() == model.evaluate(split="test")


def test_rows_and_targets_may_be_given_apart():
    given = table()
    X = {name: given[name] for name in ("age", "job")}
    assert load(train(KEYS, (X, given["rich"]))).predict(X).shape == (100,)
    numbers = np.array(given["age"])[:, None]
    model = load(train({**KEYS, "data": {"task": "regression"}}, (numbers, numbers[:, 0] * 2)))
    assert model.kind == "regression"
    with pytest.raises(UsageError, match="a regression has no probabilities"):
        model.predict_proba(numbers)


def test_a_model_proves_explains_saves_and_exports_itself():
    run = train(config(), table())
    model = load(run)
    assert model.gradcheck(batch=3).passed
    assert "One training step" in str(model.explain())
    assert model.explain()._repr_markdown_().startswith("#")
    assert [path.name for path in model.export("numpy", "rich.py")] == ["rich.py", "rich.npz"]
    path = model.save("model.safetensors")
    assert (load(path).predict(table()) == model.predict(table())).all()
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="digest mismatch"):
        load(path)


@pytest.mark.parametrize("classes", [[0, 1], [0.5, 1.5], ["a", "b"]])
def test_labels_are_numbers_where_all_of_them_are(classes):
    rows = {"x": list(range(40)), "y": classes * 20}
    model = load(train({**KEYS, "data": {"target": "y", "task": "binary"}}, rows))
    assert model.classes.tolist() == classes


def test_frames_are_taken_in_parts_and_tell_of_their_own_rows():
    cells = InMemory.of({"a": [1.0, 2.0, np.inf], "b": ["x", "y", "z"]}).read(ReadOptions())
    pieces = list(parts(cells, 2))
    assert [piece.rows for piece in pieces] == [2, 1]
    assert str(pieces[1].problem("c", "wrong", 0, 1)) == 'data: wrong at row 2, column "b" (from 0)'
    assert pieces[1].odd == {0: {0: "inf (float64)"}}
    assert not cells.cells.flags.writeable


def test_columns_of_all_kinds_are_read_as_a_parquet_file_of_them(tmp_path):
    import pyarrow.parquet as pq

    from mlp_core.data.readers.formats import read

    given = pa.table(
        {
            "whole": [1, None, 3],
            "number": [0.5, float("nan"), 2.0],
            "word": ["a", None, " b "],
            "truth": [True, False, None],
            "day": pa.array([0, 1, None], pa.date32()),
            "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        }
    )
    pq.write_table(given, tmp_path / "t.parquet")
    file, memory = read(tmp_path / "t.parquet", ReadOptions()), InMemory.of(given).read(ReadOptions())
    assert memory.names == file.names
    assert memory.words == file.words
    assert np.array_equal(memory.cells, file.cells, equal_nan=True)


def test_nothing_warns_in_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(train(config(), table())).predict(table())

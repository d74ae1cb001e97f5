"""Rows that a model was trained on are known again: in any order of rows and columns, with words and gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.fingerprints import fingerprints
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run
from mlp_core.runs.trained_rows import trained_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    rng = np.random.default_rng(0)
    lines = [
        f"{a:.4f},{'' if a > 1.5 else round(b, 2)},{rng.choice(['red', 'blue', '']):s},{'yes' if a > b else 'no'}"
        for a, b in rng.normal(size=(200, 2))
    ]
    (folder / "t.csv").write_text("a,b,c,y\n" + "\n".join(lines) + "\n")
    config = {
        "data": {"train": str(folder / "t.csv"), "target": "y", "split": {"val": 0.2, "test": 0.1}},
        "model": {"hidden": [4]},
        "train": {"epochs": 1},
        "threads": 1,
    }
    for _ in Run.start(from_mapping(config), b"", folder / "run").execute():
        pass
    return folder


def told(folder: Path, file: Path) -> tuple[int | None, int | None]:
    """What `eval` and `predict` count in a file."""
    model, path = open_model(folder / "run")
    known = trained_rows(path)
    predictor = Predictor(model, trained=known)
    list(predictor.predict(file))
    return evaluate_model(model, Wishes(data=file, trained=known)).trained_on, predictor.report.trained_on


def test_the_training_file_itself(folder: Path) -> None:
    assert told(folder, folder / "t.csv") == (140, 140)


def test_some_of_its_rows_in_another_order_with_other_columns(folder: Path) -> None:
    lines = [line.split(",") for line in (folder / "t.csv").read_text().splitlines()]
    split = __import__("json").loads((folder / "run" / "split.json").read_text())
    rows = [*split["train"][:30], *split["test"]][::-1]
    text = "more,c,y,a,b\n" + "".join(f"x,{c},{y},{a},{b}\n" for a, b, c, y in (lines[1 + row] for row in rows))
    (folder / "part.csv").write_text(text)
    assert told(folder, folder / "part.csv") == (30, 30)
    (folder / "held.csv").write_text("a,b,c,y\n" + "\n".join(",".join(lines[1 + row]) for row in split["test"]))
    assert told(folder, folder / "held.csv") == (0, 0)


def test_no_run_no_count(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "trained_rows.npy").write_bytes(b"no array")
    assert trained_rows(tmp_path / "checkpoints" / "best.safetensors") is None
    assert trained_rows(tmp_path / "x" / "y" / "best.safetensors") is None


def test_fingerprints_tell_rows_apart_and_forget_how_they_were_written() -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 4, (20_000, 9))
    distinct = len(np.unique(whole, axis=0))
    prints = fingerprints(whole.astype(np.uint8), {})
    assert len(np.unique(prints)) == distinct
    assert np.array_equal(prints, fingerprints(whole.astype(np.float64), {}))
    assert np.array_equal(prints[::-1], fingerprints(whole[::-1].astype(np.float32), {}))
    a, b = np.array([[0.0, 1.0, np.nan]]), np.array([[-0.0, 0.0, -np.nan]])
    assert fingerprints(a, {1: ["x", "red"]}) == fingerprints(b, {1: ["red"]})
    assert fingerprints(a, {1: ["x", "red"]}) != fingerprints(b, {1: ["x", "red"]})
    assert fingerprints(np.array([[1.0, 2.0]]), {}) != fingerprints(np.array([[2.0, 1.0]]), {})

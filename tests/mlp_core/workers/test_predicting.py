"""Predictions and measurements of several workers: those of one, in the order of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threads import together

from mlp_core.config import load
from mlp_core.data.readers import npy_on_disk
from mlp_core.errors import DataError, UsageError
from mlp_core.runs.evaluate import Wishes, evaluate_model, help_evaluate, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run
from mlp_core.workers.world import World

CONFIG = """
data: {train: {x: x.npy, y: y.npy}, split: {val: 0.3}}
model: {hidden: [4]}
train: {epochs: 1, preflight: off, eval_batch_size: 7}
eval: {baselines: false}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", (X.sum(axis=1) > 0).astype(np.int64))
    (tmp_path / "c.yaml").write_text(CONFIG)
    list(Run.start(load(tmp_path / "c.yaml"), b"", tmp_path / "run").execute())
    return tmp_path / "run"


def predicted(model: Path, x: Path, world: World) -> tuple[list[Any], Any]:
    """The values of all columns, and the report."""
    predictor = Predictor(open_model(model)[0], probabilities=True)
    parts = [[np.asarray(column).tolist() for column in part.values()] for part in predictor.predict(x, world)]
    return parts, predictor.report


def test_parts_are_predicted_in_turn_and_given_in_their_order(model, monkeypatch):
    monkeypatch.setattr(npy_on_disk, "PIECE", 16 * 7)  # seven rows
    x = model.parent / "x.npy"
    whole, report = predicted(model, x, World())
    assert len(whole) == 9
    for workers in (2, 4):
        (parts, theirs), *others = together(workers, lambda world: predicted(model, x, world))
        assert parts == whole
        assert theirs == report
        assert not any(parts for parts, _ in others)


def test_a_cell_that_cannot_be_used_is_told_by_the_worker_that_meets_it(model, monkeypatch):
    monkeypatch.setattr(npy_on_disk, "PIECE", 16 * 7)
    X = np.load(model.parent / "x.npy")
    X[10, 2] = np.inf
    np.save(model.parent / "bad.npy", X)
    with pytest.raises(DataError):
        together(2, lambda world: predicted(model, model.parent / "bad.npy", world))


@pytest.mark.parametrize("memory", ["ram", "memmap"])
def test_splits_are_measured_by_all_workers(model, memory):
    config = load(model.parent / "c.yaml", [f"data.memory={memory}"])
    list(Run.start(config, b"", model.parent / memory).execute())

    def measured(world: World) -> Any:
        saved, _ = open_model(model.parent / memory)
        wishes = Wishes(calibrate="temperature", worst=3)
        if not world.writes:
            return help_evaluate(saved, wishes, world)
        report = evaluate_model(saved, wishes, world=world)
        P = {name: one.outcome.P.tolist() for name, one in report.splits.items()}
        return P, {name: one.metrics for name, one in report.splits.items()}, report.calibration, report.worst

    alone = measured(World())
    for workers in (2, 4):
        assert together(workers, measured) == [alone] + [None] * (workers - 1)


def test_members_are_not_measured_by_several(model):
    from mlp_core.training.ensemble import Ensemble

    saved, _ = open_model(model)
    members = Ensemble.of([saved, saved], ["a", "b"])
    with pytest.raises(UsageError, match="member by member"):
        together(2, lambda world: help_evaluate(members, Wishes(), world))

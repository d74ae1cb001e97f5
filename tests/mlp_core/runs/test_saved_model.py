"""What a saved model says about rows: probabilities that are ones, and the same numbers wherever they are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run

SHORT = {"model": {"hidden": [8]}, "train": {"epochs": 2}, "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with three classes and three labels."""
    folder = tmp_path_factory.mktemp("saved")
    rng = np.random.default_rng(0)
    X, lines = rng.normal(size=(150, 3)), ["a,b,c,kind,l0,l1,l2"]
    for x in X:
        cells = [*x.round(3), ("red", "green", "blue")[int(np.argmax(x))], *(x > 0).astype(int)]
        lines.append(",".join(map(str, cells)))
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    return folder


def trained(folder: Path, name: str, target: object, **sections: object) -> Path:
    features = {"features": ["a", "b", "c"]}
    config = from_mapping({**SHORT, "data": {"train": str(folder / "t.csv"), "target": target, **features}, **sections})
    for _ in (run := Run.start(config, b"", folder / name)).execute():
        pass
    return run.directory.path


@pytest.mark.parametrize("loss", ["bce", "quadratic"])
def test_probabilities_of_exclusive_classes_sum_to_1(folder: Path, loss: str) -> None:
    """Losses that ask every output for itself: sigmoids over their sum, in predictions and in every metric."""
    model, _ = open_model(trained(folder, loss, "kind", loss={"name": loss}))
    outcome = evaluate_model(model, Wishes(data=folder / "t.csv")).splits["data"].outcome
    assert np.abs(outcome.P.sum(axis=1) - 1).max() < 1e-12
    lines = [line.split(",") for line in (folder / "t.csv").read_text().splitlines()[1:]]
    Z = np.asarray(model.evaluator(150).objective.network.forward(model.inputs.transform(
        np.array([line[:3] for line in lines], float), {}, dtype="float32")), np.float64)  # fmt: skip
    sigmoid = 1 / (1 + np.exp(-Z))
    assert pytest.approx(sigmoid / sigmoid.sum(axis=1, keepdims=True), abs=1e-9) == outcome.P
    parts = list(Predictor(model, probabilities=True).predict(folder / "t.csv"))
    told = np.concatenate([np.stack([part[f"p_{name}"] for name in model.task.classes], axis=1) for part in parts])
    assert told == pytest.approx(outcome.P, abs=1e-6)
    truth = np.eye(3)[outcome.y]
    metrics = evaluate_model(model, Wishes(data=folder / "t.csv")).splits["data"].metrics
    assert metrics["brier"] == pytest.approx(np.square(outcome.P - truth).sum(axis=1).mean())
    assert metrics["log_loss"] == pytest.approx(-np.log(outcome.P[truth == 1]).mean())


def test_a_table_with_labels_is_predicted_and_measured(folder: Path) -> None:
    model, _ = open_model(trained(folder, "labels", ["l0", "l1", "l2"]))
    predictor = Predictor(model)
    (part,) = predictor.predict(folder / "t.csv")
    assert (predictor.report.why, predictor.report.measured, len(part["prediction_l0"])) == (None, 150, 150)
    measured = evaluate_model(model, Wishes(data=folder / "t.csv")).splits["data"].metrics
    for name, value in predictor.report.metrics.items():
        assert value == pytest.approx(measured[name], abs=1e-6)

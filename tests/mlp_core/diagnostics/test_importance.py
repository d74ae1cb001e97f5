"""Importance of columns and integrated gradients against numpy by hand, and on data made by a known rule."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mlp_core.config import from_mapping
from mlp_core.data.load import load
from mlp_core.diagnostics.attribution import Attributor
from mlp_core.diagnostics.explain_rows import explain_rows
from mlp_core.diagnostics.importance import importance, some_rows
from mlp_core.errors import UsageError
from mlp_core.metrics.intervals import t_quantile
from mlp_core.rng import generator
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model

RULE = {"a": 2.0, "b": 1.0, "c": 0.0, "d": 0.0}  # what the answer depends on, with the word beside


def write(path: Path, seed: int = 0, rows: int = 400, kind: str = "binary") -> None:
    """A table whose answer is known to depend on a, b and the word alone; a has gaps."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4))
    words = rng.choice(["red", "green", "blue"], rows)
    score = X @ np.array(list(RULE.values())) + 1.5 * (words == "red")
    answer = np.where(score + 0.3 * rng.normal(size=rows) > 0.5, "yes", "no") if kind == "binary" else score.round(3)
    if kind == "three":
        answer = np.digitize(score, [-1.0, 1.0])
    gaps = rng.random(rows) < 0.05
    lines = [
        ",".join(["" if gap else f"{x[0]:.3f}", *(f"{v:.3f}" for v in x[1:]), word, str(y)])
        for x, gap, word, y in zip(X, gaps, words, answer, strict=True)
    ]
    path.write_text("a,b,c,d,word,y\n" + "\n".join(lines) + "\n")


def trained(path: Path, epochs: int = 15, **overrides: object) -> Experiment:
    config = from_mapping(
        {
            "data": {"train": str(path), "target": "y", "split": {"val": 0.4}},
            "model": {"hidden": [16]},
            "optimizer": {"lr": 0.01},
            "train": {"epochs": epochs, "early_stopping": False},
            "threads": 1,
            "kernels": "numpy",
        },
        [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()],
    )
    experiment = Experiment.build(config)
    for _ in experiment.trainer.run(lambda: False):
        pass
    return experiment


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("importance") / "t.csv"
    write(path)
    return path


def test_importance_is_what_numpy_finds_by_hand(table: Path) -> None:
    experiment = trained(table)
    model, split = experiment.model, experiment.splits["val"]
    found = importance(model, split, repeats=4, metric="accuracy", seed=3)
    X, y = np.array(split.X), np.asarray(split.y)
    names = model.inputs.input_names()
    groups = {
        "a": [i for i, name in enumerate(names) if name in ("a", "a missing")],
        "word": [i for i, name in enumerate(names) if name.startswith("word=")],
    }
    assert len(groups["a"]) == 2
    assert len(groups["word"]) >= 3

    def told(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        W = {name: np.asarray(value) for name, value in model.network.parameters.values.items()}
        hidden = np.maximum(X @ W["0.weight"].T + W["0.bias"], 0)
        z = (hidden @ W["2.weight"].T + W["2.bias"])[:, 0].astype(float)
        return np.logaddexp(0, np.where(y == 1, -z, z)), (z >= 0) == (y == 1)

    base, right = told(X)
    for place, (name, inputs) in zip((0, 4), groups.items(), strict=True):
        one = next(one for one in found.columns if one.column == name)
        losses, hits = [], []
        for r in range(4):
            order = generator(3, "importance", place, r).permutation(len(X))
            other = X.copy()
            other[:, inputs] = X[order][:, inputs]
            loss, hit = told(other)
            losses.append(loss)
            hits.append(hit.mean())
        d = np.mean(losses, axis=0) - base
        reach = t_quantile(0.975, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
        assert one.inputs == len(inputs)
        assert one.loss == pytest.approx(d.mean(), rel=1e-5, abs=1e-7)
        assert (one.low, one.high) == pytest.approx((d.mean() - reach, d.mean() + reach), rel=1e-4, abs=1e-6)
        assert one.change == pytest.approx(np.mean(hits) - right.mean())
        assert one.deviation == pytest.approx(np.std(hits, ddof=1))
    assert found.loss == pytest.approx(base.mean(), rel=1e-5)
    assert found.value == pytest.approx(right.mean())


def test_a_known_rule_is_found_and_noise_stays_below_the_line(tmp_path: Path) -> None:
    clean = 0
    for seed in range(20):
        write(tmp_path / "t.csv", seed, 300)
        experiment = trained(tmp_path / "t.csv", 8)
        found = importance(experiment.model, experiment.splits["val"], repeats=5, seed=seed)
        by = {one.column: one for one in found.columns}
        assert by["a"].loss > by["b"].loss
        assert not by["a"].noise
        clean += by["c"].noise and by["d"].noise
    assert clean >= 19


def test_columns_of_one_value_and_columns_alike_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    rows = [f"{v:.4f},{2 * v + 0.01 * e:.4f},1.5,{v > 0:d}" for v, e in zip(x, rng.normal(size=200), strict=True)]
    (tmp_path / "t.csv").write_text("a,twin,one,y\n" + "\n".join(rows) + "\n")
    experiment = trained(tmp_path / "t.csv", 2)
    found = importance(experiment.model, experiment.splits["val"], repeats=2)
    last = found.columns[-1]
    assert (last.column, last.loss, last.noise) == ("one", 0.0, True)
    assert [(one, other) for one, other, _ in found.alike] == [("a", "twin")]
    assert found.alike[0][2] > 0.99


def test_row_weights_count(table: Path) -> None:
    experiment = trained(table, 3, **{"loss__class_weight": "{no: 1, yes: 0}"})
    model, split = experiment.model, experiment.splits["val"]
    rows = np.flatnonzero(split.y == 0)
    found = importance(model, split, repeats=3)
    losses, _ = model.evaluator(64).rows(some_rows(split, 10_000))
    assert found.loss == pytest.approx(losses[rows].mean())


def test_a_metric_that_is_none_is_refused(table: Path) -> None:
    experiment = trained(table, 1)
    with pytest.raises(UsageError, match=r"no such metric for a binary task .got rmse.; for example accuracy"):
        importance(experiment.model, experiment.splits["val"], metric="rmse")


KINDS = {
    "plain": {},
    "embedding, norm, residual": {
        "preprocess__categorical__encode": "embedding",
        "model__hidden": "[8,8]",
        "model__norm": "batch",
        "model__residual": "true",
        "model__activation": "gelu",
    },
    "float64, prelu": {"dtype": "float64", "model__activation": "prelu"},
}


@pytest.mark.parametrize("kind", ["binary", "three", "regression"])
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_contributions_are_complete_and_add_up_by_hand(tmp_path: Path, kind: str, settings: dict[str, str]) -> None:
    write(tmp_path / "t.csv", 1, 200, kind)
    model = trained(tmp_path / "t.csv", 5, **settings).model
    explainer = Attributor(model)
    data = load(model.config).splits["train"]
    A = explainer.place(model.inputs.transform(data.X, data.words))
    base, k = A.mean(axis=0), 0 if kind == "regression" else 1
    for row in range(3):
        found = explainer.attribute(A[row], base, k)
        assert found.complete
        assert abs(found.gap) < 1e-4 * found.unit
        assert found.columns.sum() == pytest.approx(found.value - found.baseline, abs=1e-4 * found.unit)
    # by hand: central differences of the prediction along the same line
    t = (np.arange(4000) + 0.5) / 4000
    line = base + t[:, None] * (A[0] - base)
    sums = np.zeros(len(model.task.features))
    for i, owner in enumerate(explainer.owner):
        step = np.zeros(len(base))
        step[i] = 1e-6
        slope = (explainer.predict(line + step)[:, k] - explainer.predict(line - step)[:, k]) / 2e-6
        sums[owner] += (A[0, i] - base[i]) * slope.mean()
    found = explainer.attribute(A[0], base, k)
    assert found.columns == pytest.approx(sums, abs=2e-3 * found.unit)


def test_the_slope_of_calibrated_probabilities_is_exact(table: Path) -> None:
    experiment = trained(table, 3, **{"eval__calibrate": "platt"})
    assert experiment.calibrate() is not None
    model = experiment.model
    found = explain_rows(model, rows=[7], baseline="zeros")[0]
    assert found.probability
    assert found.parts.complete
    assert found.parts.value == pytest.approx(_calibrated(model, 7), rel=1e-6)


def _calibrated(model: Model, row: int) -> float:
    """The probability of the predicted class that `predict` gives for a row of the training file."""
    from mlp_core.runs.predict import Predictor

    part = next(Predictor(model, probabilities=True).predict(Path(str(model.config.data.train))))
    return max(part["p_no"][row], part["p_yes"][row])


def test_a_linear_model_is_explained_by_its_weights(tmp_path: Path) -> None:
    """Without hidden layers a contribution is weight times distance from the baseline, whatever the path."""
    write(tmp_path / "t.csv", 2, 200, "regression")
    model = trained(tmp_path / "t.csv", 5, **{"model__hidden": "[]", "dtype": "float64"}).model
    explainer = Attributor(model)
    rng = np.random.default_rng(0)
    a, base = rng.normal(size=(2, model.inputs.inputs))
    W = np.asarray(model.network.parameters.values["0.weight"])[0] / model.target.scale[0]  # type: ignore[union-attr]
    expected = np.bincount(explainer.owner, weights=W * (a - base), minlength=5)
    assert explainer.attribute(a, base, 0).columns == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_rows_are_found_by_their_number_in_the_file(table: Path, tmp_path: Path) -> None:
    model: Model = trained(table, 2).model
    first, second = explain_rows(model, rows=[0, 399], wanted="no")
    lines = table.read_text().splitlines()
    for one, line in ((first, lines[1]), (second, lines[400])):
        cells = line.split(",")
        assert one.cells["word"] == cells[4]
        assert [float(one.cells[name] or 0) for name in "abcd"] == [float(cell or 0) for cell in cells[:4]]
    assert second.place.endswith("t.csv:401")
    assert first.output == "no"
    assert first.parts.baseline == second.parts.baseline
    (tmp_path / "new.csv").write_text("\n".join([lines[0], *lines[5:8]]) + "\n")
    assert [one.row for one in explain_rows(model, tmp_path / "new.csv")] == [0, 1, 2]
    with pytest.raises(UsageError, match=r"there is no such row .got 400.; rows are 0 to 399"):
        explain_rows(model, rows=[400])
    with pytest.raises(UsageError, match=r"no such class or target .got perhaps.; there are no, yes"):
        explain_rows(model, rows=[0], wanted="perhaps")


def test_every_input_is_made_of_the_column_it_is_said_to_be(table: Path) -> None:
    """A changed cell changes the inputs of its own column only."""
    for encode in ("onehot", "ordinal", "embedding", "hash"):
        model = trained(table, 1, **{"preprocess__categorical__encode": encode}).model
        data = load(model.config).splits["train"]
        owner = np.array(model.inputs.input_columns())
        assert len(owner) == model.inputs.inputs == len(model.inputs.input_names())
        before = model.inputs.transform(data.X, data.words)
        for column in range(data.X.shape[1]):
            X = data.X.copy()
            X[:, column] = np.roll(X[:, column], 1)
            changed = (model.inputs.transform(X, data.words) != before).any(axis=0)
            assert changed.any()
            assert (owner[changed] == column).all()

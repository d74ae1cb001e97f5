"""Outcomes by class, by group and by error, against scikit-learn and numpy on the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlp_core.metrics import Outcome, compute
from mlp_core.metrics.groups import by_group, confusions, groups, per_class, residuals


@pytest.mark.parametrize("weighted", [False, True])
def test_classes_equal_scikit_learn(weighted):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    outcome = Outcome(rng.random((80, 3)), rng.integers(0, 3, 80), rng.random(80) if weighted else None)
    expected = metrics.precision_recall_fscore_support(outcome.y, outcome.guess, sample_weight=outcome.w)
    rows = per_class(outcome, ["a", "b", "c"])
    assert np.allclose([[r.precision, r.recall, r.f1, r.rows] for r in rows], np.stack(expected, axis=1))
    assert [r.name for r in rows] == ["a", "b", "c"]


def test_the_most_frequent_mistakes():
    cells = np.array([[9.0, 2, 0], [0, 5, 3], [2, 0, 7]])
    assert confusions(cells, "abc") == [("b", "c", 3), ("a", "b", 2), ("c", "a", 2)]
    assert confusions(cells, "abc", most=1) == [("b", "c", 3)]


def test_a_class_that_is_nowhere_has_no_numbers():
    row = per_class(Outcome(np.eye(3)[[0, 1]], np.array([0, 1])), ["a", "b", "c"])[2]
    assert all(math.isnan(value) for value in (row.precision, row.recall, row.f1))
    assert (row.rows, row.predicted) == (0, 0)


GROUPS = [
    (["b", "a", "b", "", "b", ""], ["b", "(missing)", "a"], [0, 2, 0, 1, 0, 1]),
    (["2", "10", "", "2"], ["2", "10", "(missing)"], [0, 1, 2, 0]),
    ([str(v) for v in range(16)], ["<= 3.75", "3.75 .. 7.5", "7.5 .. 11.25", "> 11.25"], [v // 4 for v in range(16)]),
    (["", ""], ["(missing)"], [0, 0]),
]


@pytest.mark.parametrize(("cells", "names", "index"), GROUPS, ids=["words", "values", "quartiles", "missing"])
def test_groups(cells, names, index):
    found, places = groups(cells)
    assert found == names
    assert places.tolist() == index


def test_rare_words_are_one_group():
    cells = [f"w{i}" for i in range(15) for _ in range(20 - i)]
    names, places = groups(cells)
    assert names == [*(f"w{i}" for i in range(10)), "(others)"]
    assert (places == 10).sum() == sum(20 - i for i in range(10, 15))


def test_a_group_has_the_metrics_of_its_rows():
    rng = np.random.default_rng(1)
    outcome = Outcome(rng.random((30, 2)), rng.integers(0, 2, 30), rng.random(30), threshold=0.3)
    cells = ["x" if i % 3 else "y" for i in range(30)]
    for row in by_group("binary", outcome, cells):
        mine = np.array([cell == row.name for cell in cells])
        alone = Outcome(outcome.P[mine], outcome.y[mine], outcome.w[mine], 0.3)
        assert row.rows == mine.sum()
        assert row.metrics == compute("binary", list(row.metrics), alone)


def test_residuals():
    rng = np.random.default_rng(2)
    y, e = rng.normal(size=(50, 2)), rng.normal([1, -2], [0.5, 2], (50, 2))
    rows = residuals(Outcome(y + e, y), ["p", "q"])
    assert [row.name for row in rows] == ["p", "q"]
    assert np.allclose([row.bias for row in rows], e.mean(axis=0))
    assert np.allclose([row.spread for row in rows], e.std(axis=0))
    assert np.allclose([row.quantiles[2] for row in rows], np.median(e, axis=0))
    assert [row.row for row in rows] == np.abs(e).argmax(axis=0).tolist()

"""What holds for metrics by themselves: independent loops, cases that are not defined, names in the config."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_core.config.training import METRICS
from mlp_core.metrics import BRIEF, Outcome, compute, decide, defined, fitting, full, known, plain, smaller_is_better

KINDS = ("binary", "multiclass", "multilabel", "regression")


def probabilities(rng, n, c):
    P = rng.random((n, c)) + 1e-3
    return P / P.sum(axis=1, keepdims=True)


def calibration_error_by_hand(confidence, right, w, bins):
    """The definition, one bin after another."""
    error, total = 0.0, sum(w)
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        inside = [i for i in range(len(w)) if low < confidence[i] <= high or (b == 0 and confidence[i] == 0)]
        weight = sum(w[i] for i in inside)
        if weight:
            was = sum(w[i] * right[i] for i in inside) / weight
            said = sum(w[i] * confidence[i] for i in inside) / weight
            error += weight / total * abs(was - said)
    return error


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [2, 4])
def test_calibration_error_is_its_definition(c, weighted, bins):
    rng = np.random.default_rng(c)
    P, y = probabilities(rng, 60, c), rng.integers(0, c, 60)
    w = rng.random(60) if weighted else None
    o = Outcome(P, y, w, bins=bins)
    expected = calibration_error_by_hand(P.max(axis=1), P.argmax(axis=1) == y, o.weight, bins)
    assert compute("multiclass", ["ece"], o)["ece"] == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_labels_is_the_mean_over_labels():
    rng = np.random.default_rng(0)
    P, y = rng.random((50, 3)), (rng.random((50, 3)) < 0.4).astype(float)
    by_hand = [calibration_error_by_hand(P[:, j], y[:, j], np.ones(50), 15) for j in range(3)]
    assert compute("multilabel", ["ece"], Outcome(P, y))["ece"] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize(("score", "bin_error"), [(0.0, 0.0), (1.0, 1.0)])
def test_calibration_error_counts_the_edges(score, bin_error):
    o = Outcome(np.full((4, 1), score), np.zeros((4, 1)))
    assert compute("multilabel", ["ece"], o)["ece"] == bin_error


ONE_CLASS = Outcome(np.array([[0.4, 0.6], [0.7, 0.3]]), np.array([0, 0]))
UNDEFINED = [
    ("binary", ONE_CLASS, {"roc_auc", "pr_auc", "mcc", "balanced_accuracy", "precision", "recall", "f1"}),
    (
        "multiclass",
        Outcome(np.full((2, 3), 1 / 3), np.array([2, 2])),
        {"roc_auc", "mcc", "balanced_accuracy"},
    ),
    ("multilabel", Outcome(np.full((3, 2), 0.25), np.zeros((3, 2))), {"roc_auc", "pr_auc", *("precision_weighted",)}),
    ("regression", Outcome(np.array([[1.0]]), np.array([[0.0]])), {"r2", "explained_variance", "mape"}),
]


@pytest.mark.parametrize(("kind", "outcome", "names"), UNDEFINED, ids=KINDS)
def test_what_cannot_be_said_is_null_and_nothing_else_is(kind, outcome, names):
    values = compute(kind, [name for name in fitting(kind) if name != "top_k(k)"], outcome)
    missing = {name for name, value in values.items() if math.isnan(value)}
    assert names <= missing <= names | {"recall_weighted", "f1_weighted"}
    assert all(plain(values)[name] is None for name in missing)
    assert not missing & set(defined(values))


def test_constant_guesses_have_no_correlation():
    assert compute("binary", ["mcc"], Outcome(np.tile([0.9, 0.1], (4, 1)), np.array([0, 1, 0, 1])))["mcc"] == 0


def test_a_million_rows_are_not_too_many_for_a_correlation():
    y = np.arange(1_000_000) % 2
    P = np.where((np.arange(1_000_000) % 10 < 2) ^ (y == 1), 0.9, 0.1)
    found = compute("binary", ["mcc"], Outcome(np.column_stack([1 - P, P]), y))["mcc"]
    assert found == pytest.approx(0.6)  # both classes are as frequent, four of five right


def test_r2_of_constant_targets():
    y = np.ones((3, 1))
    assert compute("regression", ["r2"], Outcome(y, y))["r2"] == 1
    assert compute("regression", ["r2"], Outcome(y + 1, y))["r2"] == 0


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.lists(st.booleans(), min_size=30, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(scores, answers):
    s, y = np.array(scores) / 3, np.array(answers[: len(scores)]).astype(int)
    value = compute("binary", ["roc_auc"], Outcome(np.stack([1 - s, s], axis=1), y))["roc_auc"]
    pairs = [(a > b) + (a == b) / 2 for a, p in zip(s, y, strict=True) for b, q in zip(s, y, strict=True) if p > q]
    assert value == pytest.approx(np.mean(pairs)) if pairs else math.isnan(value)


@given(st.integers(0, 1000))
def test_metrics_are_the_same_for_repeated_rows_and_weights(seed):
    rng = np.random.default_rng(seed)
    times = rng.integers(1, 4, 12)
    P, y = probabilities(rng, 12, 3), rng.integers(0, 3, 12)
    names = [name for name in fitting("multiclass") if name != "top_k(k)"] + ["top_k(2)"]
    weighted = compute("multiclass", names, Outcome(P, y, times.astype(float)))
    repeated = compute("multiclass", names, Outcome(np.repeat(P, times, axis=0), np.repeat(y, times)))
    assert weighted == pytest.approx(repeated, nan_ok=True)


def test_the_config_knows_exactly_the_names_there_are():
    there = {name for kind in KINDS for name in fitting(kind)} - {"top_k(k)"}
    assert set(METRICS) == there | {"loss"}


@pytest.mark.parametrize("kind", KINDS)
def test_reports_hold_known_names(kind):
    assert all(known(kind, name) for name in [*BRIEF[kind], *full(kind, 12), "loss"])
    assert not known(kind, "beauty")


@pytest.mark.parametrize(
    ("name", "smaller"),
    [("loss", True), ("ece", True), ("pinball(0.9)", True), ("top_k(2)", False), ("roc_auc", False), ("r2", False)],
)
def test_which_way_is_better(name, smaller):
    assert smaller_is_better(name) is smaller


def test_decisions():
    P = np.array([[0.5, 0.5], [0.6, 0.4]])
    assert decide(P, True).tolist() == [1, 0]
    assert decide(P, True, 0.3).tolist() == [1, 1]
    assert decide(P, False).tolist() == [[True, True], [True, False]]
    assert decide(np.array([[0.2, 0.5, 0.3]]), True).tolist() == [1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_rows_of_no_weight_are_as_if_they_were_not_there(kind, seed):
    rng = np.random.default_rng(seed)
    n, w = 12, rng.integers(0, 3, 12) * 0.7
    if kind == "regression":
        P, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 2)).round(seed % 2)
    elif kind == "multilabel":
        P, y = rng.random((n, 3)), (rng.random((n, 3)) < 0.4).astype(float)
    else:
        c = 2 if kind == "binary" else 5
        P, y = probabilities(rng, n, c), rng.integers(0, c, n)
    names, some = [name for name in fitting(kind) if "(" not in name], w > 0
    kept = compute(kind, names, Outcome(P[some], y[some], w[some]))
    assert compute(kind, names, Outcome(P, y, w)) == pytest.approx(kept, nan_ok=True)


def test_a_class_whose_rows_all_weigh_0_does_not_count_for_macro():
    P = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    o = Outcome(P, np.array([0, 1, 2]), np.array([1.0, 1.0, 0.0]))
    for name in ("precision_macro", "recall_macro", "f1_macro"):
        assert compute("multiclass", [name], o)[name] == 1.0


@pytest.mark.parametrize("value", [0.1, 1e6 / 3])
def test_a_constant_target_has_no_share_to_explain_whatever_the_weights(value):
    rng = np.random.default_rng(0)
    for _ in range(50):
        w, y = rng.random(9), np.full((9, 1), value)
        found = compute("regression", ["r2", "explained_variance"], Outcome(y + rng.normal(size=(9, 1)), y, w))
        assert found == {"r2": 0.0, "explained_variance": 0.0}
        assert compute("regression", ["r2", "explained_variance"], Outcome(y, y, w)) == {
            "r2": 1.0,
            "explained_variance": 1.0,
        }

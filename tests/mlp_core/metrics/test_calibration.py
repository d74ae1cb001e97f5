"""Calibration against scikit-learn and by its definition; thresholds against trying all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlp_core.config.outputs import RULES as NAMED
from mlp_core.metrics import Outcome, compute
from mlp_core.metrics.calibration import RULES, Calibration, best_threshold, fit


def softmax(Z):
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def two(p):
    return np.stack([1 - p, p], axis=1)


def drawn(rng, P):
    """A class for every row, drawn with its probabilities."""
    return (P.cumsum(axis=1) < rng.random((len(P), 1))).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_a_known_temperature_is_found(kind, temperature):
    rng = np.random.default_rng(3)
    Z = rng.normal(0, 2, (40_000, 2 if kind == "multilabel" else 3))
    if kind == "multilabel":
        y, P = (rng.random(Z.shape) < 1 / (1 + np.exp(-Z))).astype(float), 1 / (1 + np.exp(-temperature * Z))
    elif kind == "binary":
        y, P = drawn(rng, two(1 / (1 + np.exp(-Z[:, 0])))), two(1 / (1 + np.exp(-temperature * Z[:, 0])))
    else:
        y, P = drawn(rng, softmax(Z)), softmax(temperature * Z)
    found = fit(kind, "temperature", P, y)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    before, after = (compute(kind, ["log_loss", "ece"], Outcome(Q, y)) for Q in (P, found.apply(P, kind)))
    assert after["log_loss"] <= before["log_loss"] + 1e-12
    assert after["ece"] < 0.02


@pytest.mark.parametrize("weighted", [False, True])
def test_temperature_is_the_minimum(weighted):
    rng = np.random.default_rng(5)
    P = softmax(rng.normal(0, 3, (200, 4)))
    y, w = drawn(rng, softmax(0.4 * np.log(P))), rng.random(200) if weighted else None
    best = fit("multiclass", "temperature", P, y, w)
    count = np.ones(200) if w is None else w
    T = np.full((200, 4), 1 / (count.sum() + 2) / 3)  # as if there were one more row that is wrong
    T[np.arange(200), y] = (count.sum() + 1) / (count.sum() + 2)

    def loss(slope):
        return -count @ (T * np.log(Calibration("temperature", slope).apply(P, "multiclass"))).sum(axis=1)

    assert loss(best.slope) <= min(loss(best.slope * 1.001), loss(best.slope / 1.001))


def test_platt_scaling_equals_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration", reason="scikit-learn is not installed")
    rng = np.random.default_rng(7)
    z = rng.normal(0, 2, 300)
    y, w = (rng.random(300) < 1 / (1 + np.exp(-(0.4 * z - 1)))).astype(int), rng.random(300)
    found = fit("binary", "platt", two(1 / (1 + np.exp(-z))), y, w)
    a, b = calibration._sigmoid_calibration(z, y, w)
    assert (found.slope, found.offset) == pytest.approx((-a, -b), rel=1e-4)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_rows_that_are_told_apart_without_error_stay_finite(method):
    P = two(np.array([0.0, 1e-9, 1 - 1e-9, 1.0]))
    found = fit("binary", method, P, np.array([0, 0, 1, 1]))
    Q = found.apply(P, "binary")
    assert np.isfinite([found.slope, found.offset]).all()
    assert np.isfinite(Q).all()
    assert (Q[:, 1] > 0.5).tolist() == [False, False, True, True]


@pytest.mark.parametrize(("kind", "classes"), [("binary", 2), ("multiclass", 2), ("multiclass", 5)])
def test_few_rows_without_an_error_say_no_more_than_they_tell(kind, classes):
    """Laplace's rule of succession: of 20 right ones the next is right with 21 / 22."""
    P = np.full((20, classes), 0.2 / (classes - 1))
    y = np.zeros(20, int) if kind == "multiclass" else np.ones(20, int)
    P[np.arange(20), y] = 0.8
    assert fit(kind, "temperature", P, y).apply(P, kind)[0, y[0]] == pytest.approx(21 / 22, rel=1e-9)


def test_a_checkpoint_keeps_it():
    found = Calibration("platt", 1.25, -0.5, 0.3, fitted=True)
    assert Calibration.from_state(found.to_state()) == found


@pytest.mark.parametrize("change", [{"method": "magic"}, {"slope": float("nan")}, {"threshold": "high"}])
def test_a_damaged_one_is_refused(change):
    with pytest.raises(ValueError, match=r"calibration|could not convert"):
        Calibration.from_state({**Calibration().to_state(), **change})


def test_without_a_method_nothing_changes():
    P = softmax(np.random.default_rng(0).normal(size=(5, 3)))
    assert Calibration().apply(P, "multiclass") is P


def test_the_config_names_the_rules_there_are():
    assert RULES == NAMED


@pytest.mark.parametrize("rule", RULES)
@given(
    st.lists(st.integers(0, 10), min_size=2, max_size=25),
    st.lists(st.booleans(), min_size=25, max_size=25),
    st.booleans(),
)
def test_no_threshold_is_better_than_the_chosen_one(rule, scores, answers, weighted):
    p, y = np.array(scores) / 10, np.array(answers[: len(scores)]).astype(int)
    if y.min() == y.max():
        y[0] = 1 - y[0]
    w = np.linspace(0.5, 2, len(p)) if weighted else None

    def value(threshold):
        return compute("binary", [rule], Outcome(two(p), y, w, threshold))[rule]

    chosen = best_threshold(rule, two(p), y, w)
    assert 0 <= chosen <= 1
    assert value(chosen) >= max(value(t) for t in np.linspace(0.0, 1.0, 41)[1:-1]) - 1e-9


def test_a_half_is_kept_where_it_is_as_good():
    assert best_threshold("f1", two(np.array([0.1, 0.9])), np.array([0, 1])) == 0.5


def test_a_threshold_between_neighbouring_floats_is_the_upper_one() -> None:
    low = 0.4013123398875479
    high = float(np.nextafter(low, 1))
    p = np.array([0.1, low, high, 0.9])
    threshold = best_threshold("accuracy", two(p), np.array([0, 0, 1, 1]))
    assert low < threshold <= high

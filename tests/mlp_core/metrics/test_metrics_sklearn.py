"""Every metric equals scikit-learn's number, with and without row weights, equal scores and absent classes included."""

from __future__ import annotations

import numpy as np
import pytest

from mlp_core.metrics import Outcome, compute, fitting

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
KINDS = ("binary", "multiclass", "multilabel", "regression")


def case(kind, name, weighted):
    """An outcome of a kind; many scores are equal."""
    rng = np.random.default_rng(list(f"{kind} {name}".encode()))
    n = 97
    w = rng.integers(0, 4, n) * rng.choice([0.5, 1.25], n) if weighted else None
    if kind == "regression":
        y = rng.normal(3, 2, (n, 2))
        return Outcome(y + rng.normal(0.1, 0.5, y.shape), y, w)
    if kind == "multilabel":
        return Outcome(rng.random((n, 3)).round(1), (rng.random((n, 3)) < [0.2, 0.5, 0.7]).astype(float), w)
    c = 2 if kind == "binary" else 5
    P = rng.integers(1, 6, (n, c)).astype(float)
    P /= P.sum(axis=1, keepdims=True)
    return Outcome(P, rng.integers(0, c, n), w)


def binarized(o):
    return np.eye(o.P.shape[1])[o.y]


def averaged(function, average):
    def reference(o, kind):
        y = o.y if kind != "multilabel" else o.y.astype(int)
        guess = o.guess if kind != "multilabel" else o.guess.astype(int)
        return function(y, guess, average=average, sample_weight=o.w, zero_division=0)

    return reference


def auc(o, kind):
    if kind == "binary":
        return sk.roc_auc_score(o.y, o.P[:, 1], sample_weight=o.w)
    if kind == "multilabel":
        return sk.roc_auc_score(o.y, o.P, average="macro", sample_weight=o.w)
    return sk.roc_auc_score(o.y, o.P, multi_class="ovr", average="macro", sample_weight=o.w)


def average_precision(o, kind):
    y, P = (o.y, o.P[:, 1]) if kind == "binary" else (o.y if kind == "multilabel" else binarized(o), o.P)
    return sk.average_precision_score(y, P, average="macro", sample_weight=o.w)


def brier(o, kind):
    if kind == "multilabel":
        return np.mean([sk.brier_score_loss(o.y[:, j], o.P[:, j], sample_weight=o.w) for j in range(3)])
    return sk.brier_score_loss(o.y, o.P if kind == "multiclass" else o.P[:, 1], sample_weight=o.w)


def log_loss(o, kind):
    if kind == "multilabel":
        return np.mean([sk.log_loss(o.y[:, j], o.P[:, j], sample_weight=o.w) for j in range(3)])
    return sk.log_loss(o.y, o.P, sample_weight=o.w)


def of_pairs(function, **more):
    return lambda o, kind: function(o.y, o.guess if kind != "regression" else o.P, sample_weight=o.w, **more)


PREFIXES = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
REFERENCES = {
    "accuracy": of_pairs(sk.accuracy_score),
    "subset_accuracy": of_pairs(sk.accuracy_score),
    "balanced_accuracy": of_pairs(sk.balanced_accuracy_score),
    "hamming": of_pairs(sk.hamming_loss),
    "mcc": of_pairs(sk.matthews_corrcoef),
    **{name: averaged(function, "binary") for name, function in PREFIXES.items()},
    **{
        f"{name}_{average}": averaged(function, average)
        for name, function in PREFIXES.items()
        for average in ("macro", "micro", "weighted")
    },
    "roc_auc": auc,
    "pr_auc": average_precision,
    "log_loss": log_loss,
    "brier": brier,
    "top_k(1)": lambda o, kind: sk.top_k_accuracy_score(o.y, o.P, k=1, sample_weight=o.w),
    "top_k(3)": lambda o, kind: sk.top_k_accuracy_score(o.y, o.P, k=3, sample_weight=o.w),
    "mse": of_pairs(sk.mean_squared_error),
    "rmse": of_pairs(sk.root_mean_squared_error),
    "mae": of_pairs(sk.mean_absolute_error),
    "medae": of_pairs(sk.median_absolute_error),
    "r2": of_pairs(sk.r2_score),
    "explained_variance": of_pairs(sk.explained_variance_score),
    "mape": of_pairs(sk.mean_absolute_percentage_error),
    "pinball": of_pairs(sk.mean_pinball_loss, alpha=0.5),
    "pinball(0.9)": of_pairs(sk.mean_pinball_loss, alpha=0.9),
}
EXTRA = {"multiclass": ["top_k(1)", "top_k(3)"], "regression": ["pinball(0.9)"]}
WITHOUT_PEER = {"ece"}
CASES = [
    (kind, name)
    for kind in KINDS
    for name in [*fitting(kind), *EXTRA.get(kind, [])]
    if name not in WITHOUT_PEER and name != "top_k(k)"
]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_equals_scikit_learn(kind, name, weighted):
    o = case(kind, name, weighted)
    if (name.startswith("balanced") or name == "roc_auc") and weighted:
        o = Outcome(o.P, o.y, o.w + 0.25)  # every class must weigh something for scikit-learn not to warn
    ours = compute(kind, [name], o)[name]
    assert ours == pytest.approx(REFERENCES[name](o, kind), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_a_class_that_is_nowhere_is_left_out_as_scikit_learn_does(average):
    y, P = np.array([0, 1, 1, 3, 3, 0]), np.eye(5)[[0, 1, 3, 3, 1, 1]]
    o = Outcome(P, y)
    expected = sk.f1_score(y, o.guess, average=average)
    assert compute("multiclass", [f"f1_{average}"], o)[f"f1_{average}"] == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_a_threshold_decides_for_the_positive_class(threshold):
    o = case("binary", "threshold", True)
    moved = Outcome(o.P, o.y, o.w, threshold=threshold)
    guess = (o.P[:, 1] >= threshold).astype(int)
    names = {"f1": sk.f1_score, "accuracy": sk.accuracy_score, "mcc": sk.matthews_corrcoef}
    for name, value in compute("binary", list(names), moved).items():
        assert value == pytest.approx(names[name](o.y, guess, sample_weight=o.w))

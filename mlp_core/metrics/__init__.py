"""Metrics: what a user reads, computed on the host from the predictions for a whole split.

Each equals scikit-learn's number; what cannot be said (the ROC AUC of a single class) is not a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from mlp_core.metrics import classes, probability, ranking, regression
from mlp_core.metrics.outcome import BINS, THRESHOLD, Outcome, decide

__all__ = [
    "BINS",
    "BRIEF",
    "THRESHOLD",
    "Outcome",
    "compute",
    "decide",
    "defined",
    "fitting",
    "full",
    "known",
    "plain",
    "smaller_is_better",
]

Metric = Callable[[Outcome], float]


def _named(*metrics: Metric) -> dict[str, Metric]:
    return {metric.__name__: metric for metric in metrics}


_AVERAGED: dict[str, Metric] = {
    f"{name}_{average}": partial(classes.averaged, name=name, average=average)
    for average in classes.AVERAGES
    for name in classes.PER_CLASS
}
_OF_POSITIVE: dict[str, Metric] = {name: partial(classes.of_positive, name=name) for name in classes.PER_CLASS}
_PROBABILITY = _named(ranking.roc_auc, ranking.pr_auc, probability.log_loss, probability.brier, probability.ece)
_EXCLUSIVE = _named(classes.accuracy, classes.balanced_accuracy, classes.mcc)
_TABLES: dict[str, dict[str, Metric]] = {
    "binary": {**_EXCLUSIVE, **_OF_POSITIVE, **_AVERAGED, **_PROBABILITY},
    "multiclass": {**_EXCLUSIVE, **_AVERAGED, **_PROBABILITY},
    "multilabel": {
        "subset_accuracy": classes.accuracy,
        **_named(classes.accuracy, classes.hamming),
        **_AVERAGED,
        **_PROBABILITY,
    },
    "regression": _named(
        *(regression.rmse, regression.mae, regression.medae, regression.r2, regression.explained_variance),
        *(regression.mape, regression.mse, regression.pinball),
    ),
}
_SMALLER = frozenset(("loss", "log_loss", "brier", "ece", "hamming", "rmse", "mae", "medae", "mape", "mse", "pinball"))

# what `metrics: auto` shows while training
BRIEF = {
    "binary": ["accuracy"],
    "multiclass": ["accuracy"],
    "multilabel": ["subset_accuracy"],
    "regression": ["rmse", "r2"],
}
# and in full, at the end and in `eval`
_FULL = {
    "binary": ["accuracy", "balanced_accuracy", *_OF_POSITIVE, "mcc", *_PROBABILITY],
    "multiclass": ["accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "mcc", *_PROBABILITY],
    "multilabel": ["subset_accuracy", "hamming", "f1_macro", "f1_micro", "f1_weighted", *_PROBABILITY],
    "regression": ["rmse", "mae", "medae", "r2", "explained_variance", "mape"],
}
MANY_CLASSES = 10


def full(kind: str, outputs: int = 1) -> list[str]:
    """What a full report holds; `top_k(5)` too where there are many classes."""
    return _FULL[kind] + (["top_k(5)"] if kind == "multiclass" and outputs >= MANY_CLASSES else [])


def fitting(kind: str) -> list[str]:
    """The names of every metric of a kind of task, for a message."""
    return [*_TABLES[kind], *(["top_k(k)"] if kind == "multiclass" else [])]


def known(kind: str, name: str) -> bool:
    """Whether a metric can be computed for a kind of task."""
    return name == "loss" or _find(kind, name) is not None


def smaller_is_better(name: str) -> bool:
    """Which way is better for a metric."""
    return name.partition("(")[0] in _SMALLER


def compute(kind: str, names: Iterable[str], outcome: Outcome) -> dict[str, float]:
    """The named metrics, `loss` left out (the evaluator knows it); nan where one is not defined on these rows.

    Rows of weight 0 are as if they were not there.
    """
    values, outcome = {}, outcome.of_weight()
    for name in names:
        metric = _find(kind, name)
        if metric is not None:
            values[name] = metric(outcome)
    return values


def defined(values: Mapping[str, float]) -> dict[str, float]:
    """Those metrics that could be said."""
    return {name: value for name, value in values.items() if not math.isnan(value)}


def plain(values: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON has them: null for one that is not defined."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _find(kind: str, name: str) -> Metric | None:
    """The metric of a name, with the number in its brackets: `top_k(3)`, `pinball(0.9)`."""
    match = re.fullmatch(r"(top_k|pinball)\(([0-9.]+)\)", name)
    if match is None:
        return _TABLES[kind].get(name)
    if match[1] == "top_k":
        return partial(classes.top_k, k=int(match[2])) if kind in ("binary", "multiclass") else None
    return partial(regression.pinball, q=float(match[2])) if kind == "regression" else None

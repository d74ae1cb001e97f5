"""Metrics of rankings: how well the predicted probability sorts the rows, wherever the threshold lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.metrics.outcome import NAN, Outcome


def roc_auc(o: Outcome) -> float:
    """Area under the ROC curve: the probability that a positive row scores higher than a negative one, ties by half.

    (sum over pairs i positive, j negative of w_i w_j ([s_i > s_j] + [s_i = s_j] / 2)) / sum over pairs of w_i w_j.
    Multiclass: the mean of every class against the rest; multilabel: of every label. Classes and labels with only one
    answer in the data are left out; undefined where none is left.
    """
    return _mean_over_questions(o, area_under_roc)


def pr_auc(o: Outcome) -> float:
    """Average precision: sum_n (R_n - R_(n-1)) P_n over the thresholds from high to low, P precision and R recall.

    Multiclass and multilabel: the mean over those classes or labels that occur; undefined where none does.
    """
    return _mean_over_questions(o, average_precision)


def area_under_roc(score: Any, positive: Any, w: Any) -> float:
    """ROC AUC of one question: score [n], positive [n], w [n]."""
    yes, no = _by_score(score, positive, w)
    pairs = yes.sum() * no.sum()
    if not pairs > 0:
        return NAN
    beaten = np.cumsum(no[::-1])[::-1] - no  # weight of the negatives that score lower
    return float(yes @ (beaten + no / 2) / pairs)


def average_precision(score: Any, positive: Any, w: Any) -> float:
    """Average precision of one question: score [n], positive [n], w [n]."""
    yes, no = _by_score(score, positive, w)
    if not yes.sum() > 0:
        return NAN
    found, called = np.cumsum(yes), np.cumsum(yes + no)
    return float(yes @ (found / np.where(called > 0, called, 1)) / yes.sum())


def roc_curve(score: Any, positive: Any, w: Any) -> tuple[Any, Any]:
    """Shares (false positives of the negatives, true positives of the positives) at every threshold, from (0, 0) on."""
    yes, no = _by_score(score, positive, w)
    return tuple(np.concatenate([[0.0], np.cumsum(part) / max(part.sum(), 1e-300)]) for part in (no, yes))  # type: ignore[return-value]


def pr_curve(score: Any, positive: Any, w: Any) -> tuple[Any, Any]:
    """(recall, precision) at every threshold, from recall 0 on, with the precision of the highest score there."""
    yes, no = _by_score(score, positive, w)
    found, called = np.cumsum(yes), np.cumsum(yes + no)
    precision = found / np.where(called > 0, called, 1)
    return np.concatenate([[0.0], found / max(yes.sum(), 1e-300)]), np.concatenate([precision[:1], precision])


def _by_score(score: Any, positive: Any, w: Any) -> tuple[Any, Any]:
    """Weight of the positives and of the negatives at every distinct score, from high to low."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    yes = np.where(positive, w, 0.0)[order]
    no = np.where(positive, 0.0, w)[order]
    return np.add.reduceat(yes, starts), np.add.reduceat(no, starts)


def _mean_over_questions(o: Outcome, measure: Callable[[Any, Any, Any], float]) -> float:
    values = [measure(score, positive, o.weight) for score, positive in o.scored]
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else NAN

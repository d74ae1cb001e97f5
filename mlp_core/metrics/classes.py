"""Metrics of decisions: how often the predicted class, or the set of labels, is right.

For class k, tp is the weight of the rows that are k and are called k, fp of those called k that are not, fn of those
that are k and are not called so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlp_core.metrics.outcome import NAN, Outcome

AVERAGES = ("macro", "micro", "weighted")


def accuracy(o: Outcome) -> float:
    """Share of rows that are right: sum_i w_i [guess_i = y_i] / sum_i w_i. Multilabel: with every label right."""
    right = o.guess == o.y if o.y.ndim == 1 else (o.guess == (o.y > 0.5)).all(axis=1)
    return o.mean(right)


def hamming(o: Outcome) -> float:
    """Share of labels that are wrong, over rows and labels (multilabel)."""
    return o.mean((o.guess != (o.y > 0.5)).mean(axis=1))


def balanced_accuracy(o: Outcome) -> float:
    """Mean of tp / (tp + fn) over the classes that occur in y; undefined for a single class."""
    hit, truth, _ = o.counts
    used = truth > 0
    return float(np.mean(hit[used] / truth[used])) if used.sum() > 1 else NAN


def mcc(o: Outcome) -> float:
    """Matthews correlation of guess and truth, between -1 and 1 (Gorodkin, Comput. Biol. Chem. 28, 2004).

    With n rows, c right, t_k true and p_k predicted of class k:
    (c n - sum_k t_k p_k) / sqrt((n^2 - sum_k p_k^2) (n^2 - sum_k t_k^2)).
    0 where every guess is the same class; undefined where y is.
    """
    hit, truth, guess = o.counts
    n, c = truth.sum(), hit.sum()
    of_truth, of_guess = float(n * n - truth @ truth), float(n * n - guess @ guess)  # n^4 may be beyond int64
    if (truth > 0).sum() < 2:
        return NAN
    return float((c * n - truth @ guess) / np.sqrt(of_truth * of_guess)) if (guess > 0).sum() > 1 else 0.0


def top_k(o: Outcome, k: int) -> float:
    """Share of rows whose true class is among the k most probable ones; of equals the later column ranks first."""
    truth = o.P[np.arange(len(o.y)), o.y][:, None]
    above = (truth < o.P).sum(axis=1)
    ties = ((truth == o.P) & (np.arange(o.P.shape[1]) > o.y[:, None])).sum(axis=1)
    return o.mean(above + ties < k)


def precision(hit: Any, truth: Any, guess: Any) -> Any:
    """tp / (tp + fp): how many of those called k are k; 0 where nothing is called so."""
    return ratio(hit, guess)


def recall(hit: Any, truth: Any, guess: Any) -> Any:
    """tp / (tp + fn): how many of those that are k are called k; 0 where there are none."""
    return ratio(hit, truth)


def f1(hit: Any, truth: Any, guess: Any) -> Any:
    """2 tp / (2 tp + fp + fn): the harmonic mean of precision and recall; 0 where the class is nowhere."""
    return ratio(2 * hit, truth + guess)


PER_CLASS: dict[str, Callable[[Any, Any, Any], Any]] = {"precision": precision, "recall": recall, "f1": f1}


def averaged(o: Outcome, name: str, average: str) -> float:
    """Precision, recall or F1 over all classes or labels.

    macro: the mean of the classes that occur in truth or guess (of all labels for multilabel); micro: of tp, fp and fn
    summed over classes; weighted: the mean weighted by tp + fn.
    """
    hit, truth, guess = o.counts
    measure = PER_CLASS[name]
    if average == "micro":
        return float(measure(hit.sum(), truth.sum(), guess.sum()))
    values = measure(hit, truth, guess)
    if average == "weighted":
        return float(values @ truth / truth.sum()) if truth.sum() > 0 else NAN
    used = truth + guess > 0 if o.y.ndim == 1 else np.full(len(truth), True)
    return float(np.mean(values[used]))


def of_positive(o: Outcome, name: str) -> float:
    """Precision, recall or F1 of the positive class of two; undefined where no row is positive."""
    hit, truth, guess = (values[1] for values in o.counts)
    return float(PER_CLASS[name](hit, truth, guess)) if truth > 0 else NAN


def ratio(part: Any, whole: Any) -> Any:
    """A share, 0 where there is no whole."""
    return part / np.where(whole > 0, whole, 1)

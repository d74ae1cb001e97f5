"""Mean, deviation and interval of a metric over folds.

Folds share most of their training rows, so their scores are not independent and the deviation of their mean is not the
deviation over the root of their number. The interval is that of Nadeau and Bengio (Inference for the generalization
error, Machine Learning 52, 2003): mean +- t(0.975, J - 1) sqrt(1 / J + n_held / n_trained) s, for J scores with
deviation s. It is an approximation, and wider.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlp_core.metrics.intervals import t_quantile

SAID = "95 % by the folds' deviation, corrected for training rows that they share (Nadeau and Bengio, 2003)"


@dataclass(frozen=True)
class FoldSpread:
    """A metric over folds; deviation and interval are nan where there is one fold only, or a fold has no value."""

    mean: float
    deviation: float
    low: float
    high: float
    folds: tuple[float, ...]


def spread(values: Sequence[float], share: float) -> FoldSpread:
    """The spread of the scores of folds; share: n_held / n_trained."""
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return FoldSpread(mean, math.nan, math.nan, math.nan, tuple(values))
    deviation = float(np.std(values, ddof=1))
    reach = t_quantile(0.975, count - 1) * math.sqrt(1 / count + share) * deviation
    return FoldSpread(mean, deviation, mean - reach, mean + reach, tuple(values))

"""Intervals: how far a mean may be off, by Student's distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

_MANY = 500  # degrees of freedom from which two terms of the expansion at the normal distribution are exact enough


@dataclass(frozen=True)
class Spread:
    """Some values of one quantity: how many, their mean and their standard deviation (nan for a single one)."""

    count: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(len(values), fmean(values), stdev(values) if len(values) > 1 else math.nan)


def t_quantile(p: float, freedom: float) -> float:
    """The p-quantile of Student's t with at least 1 degree of freedom, for p in (0, 1); fractions are rounded down.

    By bisection of the exact distribution function (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4); from 500 degrees
    on by the expansion z + (z^3 + z) / (4 v) (26.7.5).

    >>> round(t_quantile(0.975, 4), 4)
    2.7764
    """
    z = NormalDist().inv_cdf(p)
    if freedom >= _MANY:
        return z + (z**3 + z) / (4 * freedom)
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    v, low, high = max(1, int(freedom)), 0.0, math.pi / 2
    for _ in range(60):  # over the angle atan(t / sqrt(v))
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, v) < 2 * p - 1 else (low, middle)
    return math.sqrt(v) * math.tan((low + high) / 2)


def _inside(angle: float, v: int) -> float:
    """The probability that |t| is below sqrt(v) tan(angle), for v degrees of freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine, 0.0) if v % 2 else (1.0, 0.0)
    for k in range(v % 2, v - 1, 2):
        total += term
        term *= cosine * cosine * (k + 1) / (k + 2)
    return 2 / math.pi * (angle + sine * total) if v % 2 else sine * total


def difference(one: Spread, other: Spread, level: float = 0.95) -> tuple[float, float]:
    """The difference of two means and the half width of its interval (Welch 1947); nan where one has a single value."""
    gap = one.mean - other.mean
    a, b = one.deviation**2 / one.count, other.deviation**2 / other.count
    if math.isnan(a + b) or a + b == 0:
        return gap, math.nan if math.isnan(a + b) else 0.0
    freedom = (a + b) ** 2 / (a**2 / (one.count - 1) + b**2 / (other.count - 1))
    return gap, t_quantile((1 + level) / 2, freedom) * math.sqrt(a + b)

"""Student's quantiles and Welch's interval against scipy."""

from __future__ import annotations

import math

import pytest

from mlp_core.metrics.intervals import Spread, difference, t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 31, 100, 499, 500, 20_000])
@pytest.mark.parametrize("p", [0.025, 0.5, 0.6, 0.95, 0.975, 0.999, 0.99999])
def test_quantiles_are_those_of_scipy(p: float, freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=2e-4, abs=1e-9)


def test_the_interval_of_a_difference_is_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = [0.81, 0.84, 0.79, 0.86], [0.70, 0.83, 0.77, 0.75, 0.72, 0.71]
    gap, half = difference(Spread.of(a), Spread.of(b))
    found = stats.ttest_ind(a, b, equal_var=False)
    low, high = found.confidence_interval(0.95)
    rounded = 0.06  # whole degrees of freedom, rounded down: a little wide
    assert gap == pytest.approx((low + high) / 2)
    assert (high - low) / 2 <= half <= (1 + rounded) * (high - low) / 2


def test_one_value_has_no_spread() -> None:
    one, two = Spread.of([1.0]), Spread.of([2.0, 2.0])
    assert math.isnan(one.deviation)
    assert two.deviation == 0
    assert math.isnan(difference(one, two)[1])
    assert difference(two, two) == (0.0, 0.0)

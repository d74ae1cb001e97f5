"""What comes again in dates and times as points on circles: time of year, day of week, time of day."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

YEAR = 365.2425  # days, on average
WEEK = 7.0
NAMES = {YEAR: "time of year", WEEK: "day of week", 1.0: "time of day", 24.0: "time of day"}
STILL = 1e-9  # a circle on which all training rows lie this close together tells nothing


def on_circle(values: npt.NDArray[Any], period: float) -> Floats:
    """(sin, cos) of 2 pi values / period, [rows, 2]: near to each other where the values are, whole periods apart.

    0 where a value is missing: the middle of the circle.

    >>> on_circle(np.array([0.0, 6.0]), 24.0).round(6).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    angle = 2 * np.pi * np.remainder(values, period) / period
    circle: Floats = np.nan_to_num(np.stack([np.sin(angle), np.cos(angle)], axis=1))
    return circle


def moving(values: npt.NDArray[Any], periods: tuple[float, ...]) -> tuple[float, ...]:
    """The periods in which the training rows differ, the missing ones left aside."""
    present = np.asarray(values, np.float64)
    present = present[~np.isnan(present)]
    if not len(present):
        return ()
    return tuple(period for period in periods if np.ptp(on_circle(present, period), axis=0).max() > STILL)

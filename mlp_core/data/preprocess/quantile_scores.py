"""Numbers to normal scores by their ranks among the training rows, whatever their distribution was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_QUANTILES = 1000
ROWS_PER_QUANTILE = 30  # with fewer, the transform would follow single rows
LIMIT = 5.199337582605575  # the score of the probability 1 - 1e-7: beyond the training range there is no rank

# Coefficients of Wichura's algorithm AS 241, PPND16 (Applied Statistics 37, 1988), highest power first.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip


def normal_quantile(p: Floats) -> Floats:
    """The x with P(N(0, 1) < x) = p, for probabilities from 1e-7 to 1 - 1e-7, to 16 digits."""
    q = p - 0.5
    r = 0.180625 - q * q
    centre = q * np.polyval(_CENTRE[0], r) / np.polyval(_CENTRE[1], r)
    t = np.sqrt(-np.log(np.minimum(p, 1 - p))) - 1.6
    tail = np.copysign(np.polyval(_TAIL[0], t) / np.polyval(_TAIL[1], t), q)
    return np.where(np.abs(q) <= 0.425, centre, tail)


class Ranks:
    """Maps a column to normal scores: the share of training rows below a value, as a normal quantile.

    Between up to 1000 quantiles of the training rows, at least 30 rows apart, the share is interpolated; a value that
    many rows have gets the middle of its shares, as in scikit-learn's QuantileTransformer (but at the ends, too).
    """

    def __init__(self, quantiles: Floats) -> None:
        self.quantiles = quantiles
        self.shares = np.linspace(0, 1, len(quantiles))

    @classmethod
    def fit(cls, values: Floats) -> Self:
        """From the training rows of one column [rows]."""
        count = max(min(len(values) // ROWS_PER_QUANTILE, MOST_QUANTILES), min(len(values), 10), 1)
        return cls(np.maximum.accumulate(np.quantile(values, np.linspace(0, 1, count))))

    def transform(self, values: Floats) -> Floats:
        """Scores of values [rows], at most 5.2 in size; 0 where the training rows were all equal."""
        if len(self.quantiles) < 2 or self.quantiles[0] == self.quantiles[-1]:
            return np.zeros_like(values)
        up = np.interp(values, self.quantiles, self.shares)
        down = -np.interp(-values, -self.quantiles[::-1], -self.shares[::-1])
        return np.clip(normal_quantile(np.clip((up + down) / 2, 1e-7, 1 - 1e-7)), -LIMIT, LIMIT)

    def to_state(self) -> list[float]:
        """Plain values for a checkpoint."""
        state: list[float] = self.quantiles.tolist()
        return state

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Self:
        """The ranks of a checkpoint. Raises ValueError when the state is not one."""
        quantiles = np.array(state, np.float64)
        finite = quantiles.ndim == 1 and len(quantiles) > 0 and np.isfinite(quantiles).all()
        if not finite or (np.diff(quantiles) < 0).any():
            raise ValueError("expected ascending quantiles")
        return cls(quantiles)

"""What a trained model does to a row, as a plain list of operations that every export format walks.

A member has three lists. `inputs`: from raw cells to the inputs of the network, in float64. `network`: from those to
the logits, in the model's dtype. `answers`: from the logits to what is told, in float64 again. A model has one member,
or several whose answers are averaged. A format has one method for each kind of operation (`walk`); an operation that
it has none for is refused by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


# From raw cells to inputs. The first acts on columns of cells and gives the block X [rows, columns of numbers]; those
# up to Ranks change X; what Flag, Circles and the columns of words give is put behind it in the order of the list.


@dataclass(frozen=True)
class Numbers:
    """X = the named columns of numbers side by side, yes and no as 1 and 0, missing cells NaN."""

    columns: tuple[int, ...]


@dataclass(frozen=True)
class Flag:
    """A further input for each of these places of X: 1 where it misses a value, else 0."""

    places: tuple[int, ...]


@dataclass(frozen=True)
class Circles:
    """Two further inputs for each of these places of X: sin and cos of 2 pi X / period, 0 where it misses a value."""

    places: tuple[int, ...]
    periods: tuple[float, ...]


@dataclass(frozen=True)
class Fill:
    """What is missing in X becomes a value, one per column."""

    values: Floats


@dataclass(frozen=True)
class Clip:
    """X is limited to [low, high], column by column; an infinite limit is none."""

    low: Floats
    high: Floats


@dataclass(frozen=True)
class Log:
    """X = log(1 + max(X, -0.999999)) in these places."""

    places: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """X = (X - shift) * scale."""

    shift: Floats
    scale: Floats


@dataclass(frozen=True)
class Bend:
    """X = X / sqrt(1 + (X / 3)^2) in these places."""

    places: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """X becomes normal scores in one place: its share between the quantiles of the training rows, as a quantile."""

    place: int
    quantiles: Floats


@dataclass(frozen=True)
class Words:
    """The place of a word: that of `words` it is (sorted), `unknown` for any other, `missing` for none; -1: nowhere.

    hashed: with how many places the checksum of the word (CRC-32 of its UTF-8) is taken instead; 0: it is not.
    refuse: a word that is not among `words` is refused. places: how many there are.
    silent: the places that count as nowhere.
    """

    column: int
    words: tuple[str, ...]
    unknown: int
    missing: int
    places: int
    hashed: int = 0
    refuse: bool = False
    silent: tuple[int, ...] = ()


@dataclass(frozen=True)
class OneHot(Words):
    """An input for every place, 1 at that of the word, all 0 where it is nowhere."""


@dataclass(frozen=True)
class Levels(Words):
    """The row of `table` [places + 1, inputs] at the place, the last one where it is nowhere."""

    table: Floats = field(default_factory=lambda: np.zeros((1, 0)))


@dataclass(frozen=True)
class Ordinal(Words):
    """One input: place / (places - 1)."""


@dataclass(frozen=True)
class Code(Words):
    """One input: the place, which the network looks up in a table."""


# From inputs to logits: A [rows, n], in the model's dtype.


@dataclass(frozen=True)
class Embed:
    """The last inputs are codes; each is replaced by its row of a table [words, numbers]."""

    tables: tuple[Array, ...]


@dataclass(frozen=True)
class Dense:
    """A = A W^T + b. W [units, inputs], b [units] or None."""

    W: Array
    b: Array | None


@dataclass(frozen=True)
class Activation:
    """A = f(A), by the name that the config has for f. alpha: its parameter, 0 where it has none."""

    name: str
    alpha: float = 0.0


@dataclass(frozen=True)
class Parametric:
    """A = A + alpha * (f(A) - A), one alpha per unit."""

    f: Activation
    alpha: Array


@dataclass(frozen=True)
class Multiply:
    """A = factors * A, one factor per column."""

    factors: Array


@dataclass(frozen=True)
class Waves:
    """Behind A stand V cos(2 pi u x + c) + d for each of its first k columns x, one after another.

    u (frequency), c (phase): [k, f]. V (weight): [k, m, f]. d (bias): [k, m].
    """

    frequency: Array
    phase: Array
    weight: Array
    bias: Array

    @property
    def turns(self) -> Array:
        """2 pi u, what a column is multiplied by."""
        return np.asarray((2 * np.pi) * self.frequency, self.frequency.dtype)


@dataclass(frozen=True)
class PRelu:
    """A = A where A > 0, else slope * A. slope [1]."""

    slope: Array


@dataclass(frozen=True)
class BatchNorm:
    """A = gain * (A - mean) / sqrt(variance + eps) + shift, each [units]."""

    gain: Array
    shift: Array
    mean: Array
    variance: Array
    eps: float


@dataclass(frozen=True)
class LayerNorm:
    """The same with the mean and variance of each row over its units."""

    gain: Array
    shift: Array
    eps: float


@dataclass(frozen=True)
class RmsNorm:
    """A = gain * A / sqrt(mean of A^2 over the row's units + eps)."""

    gain: Array
    eps: float


@dataclass(frozen=True)
class Dropout:
    """Nothing when predicting; PyTorch's module is kept in its place, so that training can go on there."""

    p: float


@dataclass(frozen=True)
class Residual:
    """A = A + what the inner operations make of A."""

    inner: tuple[Any, ...]


# From logits to answers: V [rows, c], in float64; every answer begins with V = the logits.


@dataclass(frozen=True)
class Take:
    """V = these columns of V."""

    places: tuple[int, ...]


@dataclass(frozen=True)
class Softmax:
    """V = exp(V) / sum of exp(V) over a row."""


@dataclass(frozen=True)
class Sigmoid:
    """V = 1 / (1 + exp(-V))."""


@dataclass(frozen=True)
class LogSigmoid:
    """V = -log(1 + exp(-V)), the logarithm of the sigmoid."""


@dataclass(frozen=True)
class Pair:
    """V = [1 - V, V], of one column."""


@dataclass(frozen=True)
class LogOf:
    """V = log(V), of probabilities; nothing is below log(1e-300)."""


@dataclass(frozen=True)
class Odds:
    """V = log(V) - log(1 - V), of probabilities."""


@dataclass(frozen=True)
class PairOdds:
    """V = log(V[:, 1]) - log(V[:, 0]), one column from two."""


@dataclass(frozen=True)
class Affine:
    """V = slope * V + offset."""

    slope: float
    offset: float


@dataclass(frozen=True)
class Exp:
    """V = exp(rate * V)."""

    rate: float


@dataclass(frozen=True)
class Unscale:
    """V = V / scale + shift, each [columns]."""

    scale: Floats
    shift: Floats


@dataclass(frozen=True)
class Expm1:
    """V = exp(V) - 1."""


@dataclass(frozen=True)
class Limit:
    """V is cut to [low, high], each [columns]."""

    low: Floats
    high: Floats


# From what the members tell to what the model tells: V [members, rows, c] becomes V [rows, c].


@dataclass(frozen=True)
class Mean:
    """V = the mean of what the members tell."""


@dataclass(frozen=True)
class Mixture:
    """V = sqrt(mean of V^2 + variance of the members' values), a deviation by the law of total variance.

    around: the place of the answer that has the values; log: V is that of log(1 + value).
    """

    around: int
    log: bool

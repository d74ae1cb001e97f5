"""Scaling, fitted on training rows only: (X - shift) * scale, column by column, some of it bent; and what is done to
targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlp_core.errors import CheckpointError, DataError, Problem
from mlp_core.nn.backend import BLOCK, blocks

METHODS = ("standard", "minmax", "robust", "maxabs", "none", "robust_smooth")
CELLS = 1 << 20  # cells summed at once; another number would give other last bits
ROBUST = ("robust", "robust_smooth")
SMOOTH_LIMIT = 3.0  # the most that a smooth column comes to, as in the paper
FEW = 1 << 17  # cells converted at once, so that temporaries stay in the cache's reach

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class TooFar(DataError):
    """A column that spans too far to be scaled, number `column` of those given. row: of its cell farthest from 0, among
    the rows fitted to, where these were at hand."""

    def __init__(self, problem: Problem, column: int) -> None:
        super().__init__(problem)
        self.column = column
        self.row: int | None = None

    def placed(self, rows: npt.NDArray[np.int64] | None) -> DataError:
        """The error with the row's number in the data (from 1); `rows`: the numbers (from 0) of those fitted to."""
        if self.row is None:
            return self
        row = self.row if rows is None else int(rows[self.row])
        problem = self.problems[0]
        return DataError(replace(problem, message=f"{problem.message}: look at row {row + 1:,} of the data"))


class Scaler:
    """Scales columns, and undoes it.

    standard: to mean 0 and deviation 1 (population deviation); minmax: training rows to the range 0 to 1; robust: to
    median 0 and quartiles 1 apart; robust_smooth: the same, or half the range where the quartiles are equal, and then
    Z / sqrt(1 + (Z / 3)^2), which takes far values smoothly to at most 3 (Holzmueller, Grinsztajn and Steinwart 2024);
    maxabs: training rows to at most 1 in size; none. A column that is constant over the training rows
    keeps its unit: scale 1.

    After `fit`: `shift` and `scale`, float64 [columns], and `smooth`, bool [columns], with transform(X) = Z = (X -
    shift) * scale, bent where it is smooth; and `constant`, bool [columns].

    >>> Scaler("minmax").fit(np.array([[0.0], [4.0]])).transform(np.array([[1.0]]))
    array([[0.25]])
    """

    def __init__(self, method: str = "standard", names: Sequence[str] = ()) -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}")
        self.method, self.names = method, names
        self.shift: Floats = np.empty(0)
        self.scale: Floats = np.empty(0)
        self.smooth: npt.NDArray[np.bool_] = np.empty(0, bool)
        self.constant: npt.NDArray[np.bool_] = np.empty(0, bool)

    def fit(self, X: Array, filled: npt.NDArray[np.bool_] | None = None) -> Self:
        """Take shift and scale from training rows X [rows, columns], at least one. filled: the cells [rows, columns]
        that were missing; quartiles are those of the others, which many equal values in the middle would bring close.

        Raises DataError naming the first column whose spread is too large for float64.
        """
        low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
        quartiles = _quartiles(X, filled) if self.method in ROBUST else None
        with np.errstate(over="ignore", invalid="ignore"):  # `take` tells of it
            moments = _moments(X, low, high) if self.method == "standard" else None
        try:
            return self.take(low, high, moments, quartiles)
        except TooFar as error:
            error.row = int(np.argmax(np.abs(X[:, error.column])))
            raise

    def take(
        self,
        low: Floats,
        high: Floats,
        moments: tuple[Floats, Floats, npt.NDArray[np.bool_]] | None = None,
        quartiles: Floats | None = None,
    ) -> Self:
        """Take shift and scale from what is known of the training rows, each [columns]: their range, and for `standard`
        (mean, deviation, whether constant), for `robust` and `robust_smooth` the three quartiles [3, columns]. Raises
        DataError as `fit`.
        """
        columns, noise = len(low), np.zeros(len(low), bool)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.method == "none":
                shift, spread = np.zeros(columns), np.ones(columns)
            elif self.method == "minmax":
                shift, spread = low, high - low
            elif self.method == "maxabs":
                shift, spread = np.zeros(columns), np.maximum(np.abs(low), np.abs(high))
            elif quartiles is not None:
                shift, spread = quartiles[1], quartiles[2] - quartiles[0]
                if self.method == "robust_smooth":
                    spread = np.where(spread == 0, (high - low) / 2, spread)
            else:
                assert moments is not None
                shift, spread, noise = moments
        constant = noise | (spread == 0)
        if (bad := np.flatnonzero(~np.isfinite(spread))).size:
            column = int(bad[0])
            name = f'column "{self.names[column]}"' if self.names else f"column {column} (from 0)"
            message = f"{name} spans {low[column]:g} to {high[column]:g}, too far to be scaled"
            hint = "leave it out, or divide it by a constant"
            raise TooFar(Problem("out_of_range", message, hint=hint), column)
        with np.errstate(divide="ignore", over="ignore"):
            scale = 1.0 / spread
        self.shift, self.scale = shift, np.where(constant | ~np.isfinite(scale), 1.0, scale)
        self.smooth = np.full(columns, self.method == "robust_smooth")
        self.constant = constant | (low == high)
        return self

    def fit_counted(self, values: Floats, counts: npt.NDArray[np.int64]) -> Self:
        """The same as `fit` to counts[k] rows of values[k], [rows, columns], without their being written out."""
        there = counts > 0
        values, counts, rows = values[there], counts[there], int(counts.sum())
        mean = counts @ values / rows
        deviation = np.sqrt(counts @ (values - mean) ** 2 / rows)
        low, high = values.min(axis=0), values.max(axis=0)
        quartiles = _counted_quartiles(values, counts) if self.method in ROBUST else None
        return self.take(low, high, (mean, deviation, low == high), quartiles)

    def transform(self, X: Array, out: Array | None = None, dtype: npt.DTypeLike = np.float64) -> Array:
        """The scaled rows, [rows, inputs] in `dtype`, or written to `out`; computed in float64 before rounding.

        Raises DataError when a value does not fit the dtype.
        """
        result = np.empty(X.shape, dtype) if out is None else out
        try:
            with np.errstate(over="raise"):
                for part in parts(X, FEW):
                    block = np.subtract(X[part], self.shift, dtype=np.float64)
                    block *= self.scale
                    result[part] = bent(block, self.smooth)
        except FloatingPointError:
            message = f"a scaled value does not fit {result.dtype.name}"
            hint = "use dtype: float64, or preprocess.numeric.scale: standard"
            raise DataError(Problem("out_of_range", message, hint=hint)) from None
        return result

    def inverse(self, Z: Array, out: Array | None = None) -> Array:
        """The rows before scaling, Z / scale + shift, in the dtype of Z; nothing is smooth."""
        result = np.empty_like(Z) if out is None else out
        for part in parts(Z):
            result[part] = Z[part] / self.scale + self.shift
        return result

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint; Python writes and reads their JSON without loss."""
        smooth = {"smooth": np.flatnonzero(self.smooth).tolist()} if self.smooth.any() else {}
        return {"method": self.method, "shift": self.shift.tolist(), "scale": self.scale.tolist(), **smooth}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The scaler of a checkpoint. Raises CheckpointError when the state is not one."""
        try:
            made = cls(state["method"])
            made.shift, made.scale = (np.array(_numbers(state[key]), np.float64) for key in ("shift", "scale"))
            if len(made.shift) != len(made.scale):
                raise ValueError("shift and scale do not fit together")
            made.smooth = np.zeros(len(made.shift), bool)
            made.smooth[[int(place) for place in state.get("smooth", ())]] = True
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            problem = Problem("bad_preprocessing", f"the stored preprocessing cannot be used ({error})")
            raise CheckpointError(problem) from None
        return made


def bent(block: Floats, smooth: npt.NDArray[np.bool_]) -> Floats:
    """The block [rows, columns] with Z / sqrt(1 + (Z / 3)^2) in the columns that are smooth, in place."""
    if smooth.any():
        Z = block if smooth.all() else block[:, smooth]
        block[:, smooth] = Z / np.hypot(1.0, Z / SMOOTH_LIMIT)
    return block


class Target(Scaler):
    """What is done to regression targets [rows, outputs]: log(1 + y) if `log`, then scaling; `inverse` undoes both, and
    with `clamp` cuts to the range of the training targets: `limits`, [2, outputs] in the units of the data."""

    def __init__(self, method: str = "standard", log: bool = False, clamp: bool = False) -> None:
        super().__init__(method)
        self.log, self.clamp = log, clamp
        self.limits: Floats | None = None

    def fit(self, X: Array, filled: npt.NDArray[np.bool_] | None = None) -> Self:
        if self.log and (X <= -1).any():
            message, hint = f"a target is {X.min():g}, log(1 + y) needs more than -1", "set target.transform: none"
            raise DataError(Problem("out_of_range", message, hint=hint))
        if self.clamp:
            self.limits = np.stack([X.min(axis=0), X.max(axis=0)]).astype(np.float64)
        return super().fit(np.log1p(X) if self.log else X, filled)

    def transform(self, X: Array, out: Array | None = None, dtype: npt.DTypeLike = np.float64) -> Array:
        if self.log and (X <= -1).any():
            raise DataError(Problem("out_of_range", f"a target is {X.min():g}, log(1 + y) needs more than -1"))
        return super().transform(np.log1p(X) if self.log else X, out, dtype)

    def inverse(self, Z: Array, out: Array | None = None) -> Array:
        result = super().inverse(Z, out)
        result = np.expm1(result, out=result) if self.log else result
        if self.limits is None:
            return result
        low, high = self.limits.astype(result.real.dtype)
        return np.where(result.real < low, low, np.where(result.real > high, high, result))

    def to_state(self) -> dict[str, Any]:
        limits = {} if self.limits is None else {"limits": self.limits.tolist()}
        return {**super().to_state(), "log": self.log, **limits}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        made = super().from_state(state)
        if not made.scale.all():
            raise CheckpointError(Problem("bad_preprocessing", "the stored scale of a target is 0"))
        made.log = bool(state.get("log", False))
        if "limits" in state:
            try:
                made.limits = np.array([_numbers(row) for row in state["limits"]], np.float64)
                if made.limits.shape != (2, len(made.shift)) or (made.limits[0] > made.limits[1]).any():
                    raise ValueError("limits do not fit")
            except (TypeError, ValueError, OverflowError) as error:
                problem = Problem("bad_preprocessing", f"the stored limits of a target cannot be used ({error})")
                raise CheckpointError(problem) from None
            made.clamp = True
        return made


def _quartiles(X: Array, filled: npt.NDArray[np.bool_] | None = None) -> Floats:
    """The three quartiles of every column, [3, columns], some columns at a time, because they are copied; of the cells
    that were not filled, where there are any."""
    found, at = np.empty((3, X.shape[1])), (0.25, 0.5, 0.75)
    for part in blocks(X.shape[1], len(X), block=CELLS):
        found[:, part] = np.quantile(X[:, part].astype(np.float64), at, axis=0)
    if filled is not None:
        for j in np.flatnonzero(filled.any(axis=0) & ~filled.all(axis=0)):
            found[:, j] = np.quantile(X[~filled[:, j], j].astype(np.float64), at)
    return found


def _counted_quartiles(values: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """The three quartiles of every column of counts[k] rows of values[k], [3, columns], as `numpy.quantile` has
    them."""
    found = np.empty((3, values.shape[1]))
    at = (counts.sum() - 1) * np.array([0.25, 0.5, 0.75])
    for j in range(values.shape[1]):
        order = np.argsort(values[:, j])
        ends = np.cumsum(counts[order])
        around = (np.floor(at), np.ceil(at))
        below, above = (values[order, j][np.searchsorted(ends, place, side="right")] for place in around)
        found[:, j] = below + (above - below) * (at - np.floor(at))
    return found


def _moments(X: Array, low: Floats, high: Floats) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Mean, deviation, and which columns are constant up to rounding: by two passes, in blocks of rows.

    The second pass also sums the deviations, whose sum is zero but for rounding, and takes it out (the corrected
    two-pass algorithm: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983). A variance below
    n eps var + (n eps mean)^2 is rounding noise (same paper; the rule of scikit-learn's StandardScaler).
    """
    rows = len(X)
    mean = np.where(low == high, low, sum(X[part].sum(axis=0, dtype=np.float64) for part in parts(X)) / rows)
    squares, sums = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    room = np.empty(X[next(parts(X))].shape)
    for part in parts(X):
        block = np.subtract(X[part], mean, out=room[: len(X[part])])
        sums += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
    variance = np.maximum(squares - sums * sums / rows, 0.0) / rows
    return mean, np.sqrt(variance), (low == high) | rounding_noise(rows, mean, variance)


def gather_scaled(xp: Any, X: Any, rows: Any, shift: Any, scale: Any, out: Any, block: int = BLOCK) -> None:
    """out[i] = (X[rows[i]] - shift) * scale, computed in float64 and rounded: the bits that `Scaler.transform` gives.

    X: [n, columns] as stored. rows: int64 [b]. shift, scale: float64 [columns]. out: [b, columns]; a number that it
    cannot hold becomes infinite.
    """
    step = max(1, min(len(rows), block // X.shape[1]))
    made = xp.empty((step, X.shape[1]), xp.float64)
    for part in blocks(len(rows), X.shape[1], block=block):
        some = made[: part.stop - part.start]
        xp.subtract(X[rows[part]], shift, out=some)
        some *= scale
        out[part] = some


def rounding_noise(rows: int, mean: Floats, variance: Floats) -> npt.NDArray[np.bool_]:
    """Whether a variance over so many rows may be nothing but rounding."""
    eps = np.finfo(np.float64).eps
    noise: npt.NDArray[np.bool_] = variance <= rows * eps * variance + (rows * mean * eps) ** 2
    return noise


def parts(X: Array, cells: int = CELLS) -> Iterator[slice]:
    """Slices of rows that cover X [rows, columns], each of about so many cells."""
    return blocks(len(X), X.shape[1], block=cells)


def _numbers(values: Any) -> list[float]:
    """A list of finite numbers, as it is."""
    if not isinstance(values, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    ):
        raise ValueError("expected a list of finite numbers")
    return values

"""From rows as stored to the inputs of the network: fitted on training rows only, stored as plain values.

Columns of numbers are filled where they miss a value, limited, made less skew, scaled, and flagged where they were
missing; dates and times have circles beside their number; columns of words become one input per word, one number, or a
code that the network looks up in a table. The inputs come in this order: numbers, flags, circles, words, codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.categories import NOWHERE, Categories, CategoryPlan, refuse_unknown
from mlp_core.data.preprocess.cycles import NAMES, moving, on_circle
from mlp_core.data.preprocess.far import Stray, far_lines, strays
from mlp_core.data.preprocess.fitted_numbers import Numbers, numbers_of, range_of
from mlp_core.data.preprocess.quantile_scores import Ranks
from mlp_core.data.preprocess.scaling import Scaler, parts
from mlp_core.errors import CheckpointError, DataError, Problem

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Words = Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class NumericPlan:
    """What is asked for: the values of `preprocess.numeric` for one column, and the periods of dates and times."""

    scale: str = "standard"
    impute: float | str = "median"
    indicator: bool | str = "auto"
    clip: float | None = None
    log: bool = False
    cycles: tuple[float, ...] = ()


class Preprocessor:
    """What is done to the inputs. `plan` holds for every column that `plans` does not name by its place (from 0).

    A column with a CategoryPlan holds codes into a vocabulary that comes beside the rows: {column: words}.

    After `fit`: `columns` taken by `transform`, `inputs` given by it, `embeddings` (words, numbers per word) of the
    last inputs, which are codes.

    >>> Preprocessor(NumericPlan("minmax")).fit(np.array([[0.0], [4.0]])).transform(np.array([[1.0]]))
    array([[0.25]])
    """

    def __init__(
        self,
        plan: NumericPlan | None = None,
        plans: Mapping[int, NumericPlan | CategoryPlan] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.plan, self.plans, self.names = plan or NumericPlan(), dict(plans or {}), tuple(names)
        self.columns = 0

    def name(self, column: int) -> str:
        """What a column is called."""
        return self.names[column] if column < len(self.names) else f"column {column} (from 0)"

    @property
    def numeric(self) -> list[int]:
        """The columns of numbers."""
        return [column for column in range(self.columns) if column not in self.categories]

    @property
    def linear(self) -> tuple[Floats, Floats] | None:
        """(shift, scale), each [columns], where all that is done to complete rows is (X - shift) * scale; else None."""
        if self.categories or not self.numbers.plain or self.numbers.scaler.smooth.any():
            return None
        return self.numbers.scaler.shift, self.numbers.scaler.scale

    @property
    def inputs(self) -> int:
        """How many inputs the network gets."""
        wide = sum(one.width for one in self.categories.values())
        circles = 2 * sum(map(len, self.numbers.cycles.values()))
        return len(self.numbers.fill) + int(self.numbers.flag.sum()) + circles + wide

    @property
    def numbers_first(self) -> int:
        """How many of the first inputs are numbers as they were given: no flags, circles or words."""
        return len(self.numbers.fill)

    @property
    def embeddings(self) -> tuple[tuple[int, int], ...]:
        """Words, and numbers per word, of every column whose codes are among the last inputs."""
        return tuple((one.places, one.dim) for one in self.categories.values() if one.plan.encode == "embedding")

    @property
    def dead(self) -> npt.NDArray[np.bool_]:
        """Which inputs before the codes, [inputs - codes], are 0 in every row: places of words that do not act."""
        dead = [np.zeros(len(self.numbers.fill) + int(self.numbers.flag.sum()) + 2 * len(self._circles), bool)]
        for one in self.categories.values():
            if one.plan.encode != "embedding":
                acts = np.arange(one.width) if one.acting is None else np.array(one.acting, np.int64)
                dead.append(~np.isin(np.arange(one.width), acts))
        return np.concatenate(dead)

    def input_names(self) -> list[str]:
        """What every input is called, in order."""
        return [name for _, name in self._each_input()]

    def input_columns(self) -> list[int]:
        """The column that every input is made of, in order."""
        return [column for column, _ in self._each_input()]

    def _each_input(self) -> list[tuple[int, str]]:
        numeric = [(column, self.name(column)) for column in self.numeric]
        flagged = [numeric[j] for j in np.flatnonzero(self.numbers.flag)]
        found = numeric + [(column, f"{name} missing") for column, name in flagged]
        for j, period in self._circles:
            column, name = numeric[j]
            circle = f"{name} {NAMES.get(period, f'period {period:g}')}"
            found += [(column, f"{circle} sin"), (column, f"{circle} cos")]
        last = []
        for column, one in self.categories.items():
            name = self.name(column)
            if one.plan.encode == "embedding":
                last.append((column, name))
            elif one.plan.encode == "ordinal":
                found.append((column, name))
            else:
                found += [(column, f"{name}={word}") for word in one.names()]
        return found + last

    def fit(self, X: Array, words: Words | None = None) -> Self:
        """Fit to training rows X [rows, columns], at least one; raises DataError for a column that cannot be scaled."""
        self.columns = X.shape[1]
        self.categories: dict[int, Categories] = {}
        for column, plan in sorted(self.plans.items()):
            if isinstance(plan, CategoryPlan):
                self.categories[column] = Categories.fit(plan, X[:, column], (words or {}).get(column, ()))
        self.numbers = self._fit_numbers(X)
        return self

    def _fit_numbers(self, X: Array) -> Numbers:
        columns = self.numeric
        plans = [self.plans.get(column, self.plan) for column in columns]
        numeric = [plan for plan in plans if isinstance(plan, NumericPlan)]
        block = X if len(columns) == self.columns else X[:, columns]
        gaps = _gaps(block)
        missing = np.isnan(block) if gaps.any() else None
        empty = gaps if missing is None else missing.all(axis=0)
        numbers = Numbers(
            fill=np.array([_fill(plan.impute, block, j, gaps) for j, plan in enumerate(numeric)], np.float64),
            low=np.full(len(columns), -np.inf),
            high=np.full(len(columns), np.inf),
            log=np.array([plan.log for plan in numeric], bool),
            flag=np.array([flagged(plan, bool(gaps[j])) for j, plan in enumerate(numeric)], bool) & ~empty,
            scaler=Scaler("none"),
            ranks={},
            cycles={
                j: moving_periods
                for j, plan in enumerate(numeric)
                if plan.cycles and (moving_periods := moving(block[:, j], plan.cycles))
            },
            seen=range_of(block),
        )
        if missing is not None or numbers.log.any() or any(plan.clip for plan in numeric):
            block = numbers.filled(np.array(block, np.float64))
            self._fit_limits(numbers, numeric, block)
            block = numbers.bent(block)
        numbers.hold(self._fit_scales(numbers, numeric, block, missing))
        return numbers

    def _fit_limits(self, numbers: Numbers, plans: Sequence[NumericPlan], block: Floats) -> None:
        """Limits of clipping, in the units of the column."""
        for j, plan in enumerate(plans):
            column = block[:, j]
            if plan.log and column.min() <= -1:
                message = f'column "{self.name(self.numeric[j])}" holds {column.min():g}, log(1 + x) needs more than -1'
                raise DataError(Problem("out_of_range", message, hint="leave it out of preprocess.numeric.log"))
            if plan.clip is not None:
                values = np.log1p(column) if plan.log else column
                mean, reach = values.mean(), plan.clip * values.std()
                limits = (mean - reach, mean + reach)
                numbers.low[j], numbers.high[j] = np.expm1(limits) if plan.log else limits

    def _fit_scales(
        self, numbers: Numbers, plans: Sequence[NumericPlan], block: Array, missing: npt.NDArray[np.bool_] | None
    ) -> npt.NDArray[np.bool_]:
        """Fit the scales to a block whose `missing` cells were filled; which columns are constant in it."""
        methods, names = [plan.scale for plan in plans], [self.name(column) for column in self.numeric]
        shift, scale = np.zeros(len(methods)), np.ones(len(methods))
        constant = np.zeros(len(methods), bool)
        for method in dict.fromkeys(methods):
            places = [j for j, one in enumerate(methods) if one == method]
            some = slice(None) if len(places) == len(methods) else places  # of which no copy is made
            if method == "quantile":
                numbers.ranks |= {j: Ranks.fit(np.asarray(block[:, j], np.float64)) for j in places}
                constant[places] = block[:, some].min(axis=0) == block[:, some].max(axis=0)
            else:
                gone = None if missing is None else missing[:, some]
                fitted = Scaler(method, [names[j] for j in places] if self.names else ()).fit(block[:, some], gone)
                shift[places], scale[places], constant[places] = fitted.shift, fitted.scale, fitted.constant
        alike = len(set(methods)) == 1 and methods[0] != "quantile"
        numbers.scaler = Scaler(methods[0] if alike else "none")
        numbers.scaler.shift, numbers.scaler.scale = shift, scale
        numbers.scaler.smooth = np.array([method == "robust_smooth" for method in methods], bool)
        return constant

    def transform(
        self, X: Array, words: Words | None = None, out: Array | None = None, dtype: npt.DTypeLike = np.float64
    ) -> Array:
        """The inputs of rows X [rows, columns] with the vocabularies of its columns of words, [rows, inputs] in
        `dtype`, or written to `out`; computed in float64 before rounding.

        Raises DataError when a value does not fit the dtype, or for a word that is refused.
        """
        result = np.empty((len(X), self.inputs), dtype) if out is None else out
        if not self.categories and self.numbers.plain and not _gaps(X).any():
            return self.numbers.scaler.transform(X, result)
        numeric, flagged = self.numeric, np.flatnonzero(self.numbers.flag)
        end = len(numeric)
        first = end + len(flagged)
        for part in parts(X):
            block = np.array(X[part] if end == self.columns else X[part][:, numeric], np.float64)
            result[part, end:first] = np.isnan(block[:, flagged])
            for at, (j, period) in enumerate(self._circles):
                result[part, first + 2 * at : first + 2 * at + 2] = on_circle(block[:, j], period)
            block = self.numbers.bent(self.numbers.filled(block))
            self.numbers.scaler.transform(block, result[part, :end])
            for j, ranks in self.numbers.ranks.items():
                result[part, j] = ranks.transform(block[:, j])
        self._words(X, words or {}, result, first + 2 * len(self._circles))
        return result

    @property
    def _circles(self) -> list[tuple[int, float]]:
        """Every circle: its column, by the place among the columns of numbers, and its period."""
        return [(j, period) for j, periods in self.numbers.cycles.items() for period in periods]

    def _words(self, X: Array, words: Words, result: Array, start: int) -> None:
        """Fill in the inputs of the columns of words, from column `start` on; codes come last."""
        last = result.shape[1] - len(self.embeddings)
        for column, one in self.categories.items():
            vocabulary = words.get(column, ())
            if one.plan.unknown == "error" and (found := one.unseen(X[:, column], vocabulary))[0]:
                raise refuse_unknown(self.name(column), *found)
            places = one.place(X[:, column], vocabulary)
            if one.plan.encode == "embedding":
                result[:, last] = places
                last += 1
            elif one.plan.encode == "ordinal":
                places[places == NOWHERE] = one.places - 1
                result[:, start] = places / max(1, one.places - 1)
                start += 1
            elif one.levels is not None:
                result[:, start : start + one.width] = np.array(one.levels)[places]
                start += one.width
            else:
                result[:, start : start + one.places] = 0
                rows = np.flatnonzero(places != NOWHERE)
                result[rows, start + places[rows]] = 1
                start += one.places

    def far_lines(self, X: Any) -> list[str]:
        """A line about columns of numbers of further rows that lie far from all training rows."""
        columns = self.numeric
        scales = [getattr(self.plans.get(column, self.plan), "scale", "") for column in columns]
        return far_lines(X, self.numbers, columns, [self.name(column) for column in columns], scales)

    def strays(self, X: Any) -> list[Stray]:
        """The numbers of further rows that lie absurdly far outside of training."""
        return strays(X, self.numbers, self.numeric, [self.name(column) for column in self.numeric])

    def unseen(self, X: Any, words: Words, counts: Mapping[int, Array] | None = None) -> dict[str, tuple[int, str]]:
        """For every column with words that training did not keep: in how many rows, and one of them. counts: how many
        rows have each word, {column: counts [words + 1]}, the last for missing cells, where that was counted before."""
        told: dict[str, tuple[int, str]] = {}
        for column, one in self.categories.items():
            known = words.get(column, ())
            found = one.unseen(X[:, column], known) if counts is None else one.unseen_counted(counts[column], known)
            told |= {self.name(column): found} if found[0] else {}
        return told

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint; Python writes and reads their JSON without loss."""
        numbers = self.numbers
        return {
            "columns": self.columns,
            "names": list(self.names),
            "scale": self.numbers.scaler.to_state(),
            "fill": numbers.fill.tolist(),
            "limits": {
                str(j): [float(numbers.low[j]), float(numbers.high[j])]
                for j in np.flatnonzero(np.isfinite(numbers.low))
            },
            "log": np.flatnonzero(numbers.log).tolist(),
            "flag": np.flatnonzero(numbers.flag).tolist(),
            "ranks": {str(j): ranks.to_state() for j, ranks in numbers.ranks.items()},
            **({} if numbers.seen is None else {"seen": numbers.seen.tolist()}),
            **({"cycles": {str(j): list(periods) for j, periods in numbers.cycles.items()}} if numbers.cycles else {}),
            "categories": {str(column): one.to_state() for column, one in self.categories.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The preprocessing of a checkpoint. Raises CheckpointError when the state is not one."""
        try:
            made = cls(names=[str(name) for name in state["names"]])
            made.columns = int(state["columns"])
            stored = {int(column): Categories.from_state(one) for column, one in state["categories"].items()}
            made.categories = dict(sorted(stored.items()))
            made.numbers = numbers_of(state, len(made.numeric))
            if len(made.numbers.scaler.shift) != len(made.numeric):
                raise ValueError("columns and scales do not fit together")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
            problem = Problem("bad_preprocessing", f"the stored preprocessing cannot be used ({error})")
            raise CheckpointError(problem) from None
        return made


def _gaps(X: Array) -> npt.NDArray[np.bool_]:
    """Which columns miss a value."""
    found = np.zeros(X.shape[1], bool)
    if X.dtype.kind == "f":
        for part in parts(X):
            sums = X[part].sum(axis=0)
            if np.isnan(sums).any():
                found |= np.isnan(X[part]).any(axis=0)
    return found


def _fill(impute: float | str, block: Array, j: int, gaps: npt.NDArray[np.bool_]) -> float:
    """What stands in for a missing value of one column."""
    if isinstance(impute, int | float):
        return float(impute)
    if impute == "zero":
        return 0.0
    if block.dtype == np.uint8:
        return 0.0  # images: nothing is missing, and nothing can be
    column = np.asarray(block[:, j], np.float64)
    present = column[~np.isnan(column)] if gaps[j] else column
    if not len(present):
        return 0.0
    if impute == "mode":
        values, counts = np.unique(present, return_counts=True)
        value = float(values[counts.argmax()])
    else:
        value = float(present.mean() if impute == "mean" else np.median(present))
    return value if math.isfinite(value) else 0.0


def flagged(plan: NumericPlan, missing: bool) -> bool:
    """Whether a column gets an input that says where it misses a value; `missing`: whether it does in training."""
    return missing if plan.indicator == "auto" else bool(plan.indicator)


def plan_with(plan: NumericPlan | CategoryPlan, changes: Mapping[str, Any]) -> NumericPlan | CategoryPlan:
    """The plan with the changes that are meant for it and are not None."""
    fitting = {key: value for key, value in changes.items() if value is not None and hasattr(plan, key)}
    return replace(plan, **fitting)

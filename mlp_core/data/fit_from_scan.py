"""Preprocessing fitted to training rows on the disk: exactly where one pass tells enough, else to some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlp_core.data.preprocess.categories import Categories, CategoryPlan
from mlp_core.data.preprocess.preprocessor import NumericPlan, Preprocessor, flagged
from mlp_core.data.preprocess.scaling import Scaler, rounding_noise
from mlp_core.data.scan import Survey

ONE_PASS = ("standard", "minmax", "maxabs", "none")


def fit_surveyed(inputs: Preprocessor, survey: Survey, words: Mapping[int, Sequence[str]]) -> tuple[str, ...]:
    """Fit to what a survey found; one line about what was fitted to a sample. Raises DataError.

    With all training rows in the sample this is `fit`, bit for bit. Else means, deviations, ranges, missing cells and
    words are those of all training rows, medians, quartiles, ranks and limits those of the sample.
    """
    inputs.fit(survey.sample, words)
    if survey.whole:
        return ()
    counts = survey.words["train"]
    for column, plan in inputs.plans.items():
        if isinstance(plan, CategoryPlan):
            mine = counts[column]
            inputs.categories[column] = Categories.counted(plan, mine[:-1], int(mine[-1]), words.get(column, ()))
    sampled = _numbers(inputs, survey)
    if not sampled:
        return ()
    names = ", ".join(sampled[:8]) + (", ..." if len(sampled) > 8 else "")
    rows = f"{len(survey.sample):,} of {survey.sums.rows:,} training rows drawn at random"
    return (f"preprocessing: {names}: medians, ranks and limits fitted to {rows}",)


def _numbers(inputs: Preprocessor, survey: Survey) -> list[str]:
    """Put in place what is exact for the columns of numbers; the names of those with something of the sample."""
    numbers, columns, sums = inputs.numbers, inputs.numeric, survey.sums
    there, gaps = sums.present[columns] > 0, sums.gaps[columns] > 0
    if numbers.seen is not None:
        numbers.seen = np.where(there, [sums.low[columns], sums.high[columns]], 0.0)
    plans = [plan for c in columns if isinstance(plan := inputs.plans.get(c, inputs.plan), NumericPlan)]
    for j, plan in enumerate(plans):
        if plan.impute == "mean" and there[j]:
            numbers.fill[j] = sums.mean[columns[j]]
        numbers.flag[j] = there[j] and flagged(plan, bool(gaps[j]))
    exact = np.array([plan.scale in ONE_PASS and not plan.log and plan.clip is None for plan in plans], bool)
    fill = np.zeros(len(sums.mean))
    fill[columns] = numbers.fill
    all_rows = sums.filled(fill)
    still = all_rows.low[columns] == all_rows.high[columns]
    for method in dict.fromkeys(plan.scale for plan in plans):
        at = [j for j, plan in enumerate(plans) if plan.scale == method and exact[j]]
        if not at:
            continue
        at_columns = [columns[j] for j in at]
        low, high, mean = (array[at_columns] for array in (all_rows.low, all_rows.high, all_rows.mean))
        variance = all_rows.variance[at_columns]
        constant = (low == high) | rounding_noise(all_rows.rows, mean, variance)
        mean = np.where(low == high, low, mean)
        scaler = Scaler(method, [inputs.name(column) for column in at_columns])
        scaler.take(low, high, (mean, np.sqrt(variance), constant))
        still[at] |= scaler.constant
        numbers.scaler.shift[at], numbers.scaler.scale[at] = scaler.shift, scaler.scale
    for j in np.flatnonzero(numbers.scaler.smooth & ~still & (numbers.scaler.scale == 0.0)).tolist():
        spread = (all_rows.high[columns[j]] - all_rows.low[columns[j]]) / 2  # the sample is constant, the rows are not
        numbers.scaler.scale[j] = 1.0 / spread
    numbers.hold(still)
    medians = np.array([plan.impute == "median" for plan in plans], bool) & gaps
    return [inputs.name(columns[j]) for j in np.flatnonzero(~exact | medians)]

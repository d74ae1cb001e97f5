"""From logits to answers in C: probabilities, their logarithms, numbers in their own units, the label decided on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, number

SOFTMAX = """
/* v = exp(v) / sum of exp(v) */
static void softmax(double *v, int n)
{
    double top = v[0], sum = 0;
    int k;
    for (k = 1; k < n; k++)
        top = fmax(top, v[k]);
    for (k = 0; k < n; k++)
        sum += v[k] = exp(v[k] - top);
    for (k = 0; k < n; k++)
        v[k] /= sum;
}
"""
SIGMOID = """
/* 1 / (1 + exp(-v)), from the side that cannot overflow */
static double probability(double v)
{
    const double small = exp(-fabs(v));
    return (v >= 0 ? 1 : small) / (1 + small);
}
"""
LOG = """
/* The logarithm of a probability, which may be 0. */
static double log_of(double p)
{
    return log(fmax(p, 1e-300));
}
"""


def answers_of(description: op.Description, source: Source, answers: dict[int, str], logits: str) -> list[str]:
    """Lines from the logits in a buffer to the fields of the answer."""
    lines: list[str] = []
    for place, answer in enumerate(description.answers):
        lines += [f"    for (k = 0; k < {description.outputs}; k++)", f"        v[k] = {logits}[k];"]
        count = description.outputs
        for at, step in enumerate(answer.steps):
            made, count = _STEPS[type(step)](step, count, source, f"{answers[place]}_{at}")
            lines += [f"    {line}" for line in made]
        lines += [f"    for (k = 0; k < {count}; k++)", f"        answer->{answers[place]}[k] = v[k];"]
    decision = description.decision
    if decision is None:
        return lines
    count, limit = len(decision.labels), number(decision.threshold)
    if decision.several:
        return [*lines, f"    for (k = 0; k < {count}; k++)", f"        answer->labels[k] = v[k] >= {limit};"]
    if count == 2:
        return [*lines, f"    answer->label = v[1] >= {limit};"]
    best = ["    answer->label = 0;", f"    for (k = 1; k < {count}; k++)", "        if (v[k] > v[answer->label])"]
    return [*lines, *best, "            answer->label = k;"]


Made = tuple[list[str], int]


def _each(body: str, count: int) -> list[str]:
    return [f"for (k = 0; k < {count}; k++)", f"    v[k] = {body};"]


def _take(step: op.Take, count: int, source: Source, name: str) -> Made:
    places = source.table(f"places_{name}", step.places, "int")  # ascending, so that nothing is lost on the way
    return _each(f"v[{places}[k]]", len(step.places)), len(step.places)


def _softmax(step: op.Softmax, count: int, source: Source, name: str) -> Made:
    source.need("softmax", SOFTMAX)
    return [f"softmax(v, {count});"], count


def _sigmoid(step: op.Sigmoid, count: int, source: Source, name: str) -> Made:
    source.need("probability", SIGMOID)
    return _each("probability(v[k])", count), count


def _log(step: op.LogOf, count: int, source: Source, name: str) -> Made:
    source.need("log_of", LOG)
    return _each("log_of(v[k])", count), count


def _odds(step: op.Odds, count: int, source: Source, name: str) -> Made:
    source.need("log_of", LOG)
    return _each("log_of(v[k]) - log_of(1 - v[k])", count), count


def _pair_odds(step: op.PairOdds, count: int, source: Source, name: str) -> Made:
    source.need("log_of", LOG)
    return ["v[0] = log_of(v[1]) - log_of(v[0]);"], 1


def _unscale(step: op.Unscale, count: int, source: Source, name: str) -> Made:
    scale = source.table(f"scale_{name}", step.scale, "double")
    return _each(f"v[k] / {scale}[k] + {source.table(f'shift_{name}', step.shift, 'double')}[k]", count), count


def _limit(step: op.Limit, count: int, source: Source, name: str) -> Made:
    low, high = (source.table(f"{end}_{name}", v, "double") for end, v in (("low", step.low), ("high", step.high)))
    return _each(f"fmin(fmax(v[k], {low}[k]), {high}[k])", count), count


_STEPS: dict[type, Callable[[Any, int, Source, str], Made]] = {
    op.Take: _take,
    op.Softmax: _softmax,
    op.Sigmoid: _sigmoid,
    op.LogSigmoid: lambda step, count, source, name: (
        _each("fmin(v[k], 0) - log1p(exp(-fabs(v[k])))", count),
        count,
    ),
    op.Pair: lambda step, count, source, name: (["v[1] = v[0];", "v[0] = 1 - v[1];"], 2),
    op.LogOf: _log,
    op.Odds: _odds,
    op.PairOdds: _pair_odds,
    op.Affine: lambda step, count, source, name: (
        _each(f"{number(step.slope)} * v[k] + {number(step.offset)}", count),
        count,
    ),
    op.Exp: lambda step, count, source, name: (_each(f"exp({number(step.rate)} * v[k])", count), count),
    op.Unscale: _unscale,
    op.Expm1: lambda step, count, source, name: (_each("expm1(v[k])", count), count),
    op.Limit: _limit,
}

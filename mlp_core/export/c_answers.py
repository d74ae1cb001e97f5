"""From logits to answers in C: what a member tells, in probabilities or numbers in their own units, what several tell
on average, and the label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, filled, number
from mlp_core.export.description import Decision, Description, Member

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


MEAN = """
/* The mean of a number over MEMBERS members, which lie TOLD apart. */
static double mean(const double *told)
{
    double sum = 0;
    int i;
    for (i = 0; i < MEMBERS; i++)
        sum += told[i * TOLD];
    return sum / MEMBERS;
}
"""
MIXTURE = """
/* The deviation of a mixture of distributions with these deviations around these values. */
static double mixture(const double *told, const double *values)
{
    double square = 0, middle = 0, variance = 0;
    int i;
    for (i = 0; i < MEMBERS; i++) {
        square += told[i * TOLD] * told[i * TOLD];
        middle += LOG(values[i * TOLD]) / MEMBERS;
    }
    for (i = 0; i < MEMBERS; i++)
        variance += (LOG(values[i * TOLD]) - middle) * (LOG(values[i * TOLD]) - middle);
    return sqrt((square + variance) / MEMBERS);
}
"""


def starts(description: Description) -> list[int]:
    """Where the numbers of each answer begin among all that a member tells, and at last how many there are."""
    return [0, *accumulate(len(answer.columns) for answer in description.answers)]


def told_of(
    member: Member, description: Description, source: Source, answers: dict[int, str], logits: str
) -> list[str]:
    """Lines from the logits in a buffer to what a member tells."""
    lines: list[str] = []
    for place, (start, steps) in enumerate(zip(starts(description), member.answers, strict=False)):
        lines += [f"    for (k = 0; k < {member.outputs}; k++)", f"        v[k] = {logits}[k];"]
        made, count = _stepwise(steps, member.outputs, source, answers[place])
        lines += [*made, f"    for (k = 0; k < {count}; k++)", f"        told[{_at(start)}] = v[k];"]
    return lines


def answers_of(description: Description, source: Source, answers: dict[int, str]) -> list[str]:
    """Lines from what the members tell to the fields of the answer."""
    lines: list[str] = []
    begin = starts(description)
    for place, answer in enumerate(description.answers):
        count = len(answer.columns)
        lines += [
            f"    for (k = 0; k < {count}; k++)",
            f"        v[k] = {_average(place, description, source, begin)};",
        ]
        made, count = _stepwise(answer.steps, count, source, f"{answers[place]}_all")
        lines += [*made, f"    for (k = 0; k < {count}; k++)", f"        answer->{answers[place]}[k] = v[k];"]
    return lines + _decided(description.decision)


def _average(place: int, description: Description, source: Source, begin: Sequence[int]) -> str:
    """The average of a number of an answer over all members."""
    members, average = len(description.members), description.answers[place].average
    if members == 1:
        return f"told[{_at(begin[place])}]"
    sizes = {"MEMBERS": str(members), "TOLD": str(begin[-1])}
    if isinstance(average, op.Mean):
        source.need("mean", filled(MEAN, sizes))
        return f"mean(told + {_at(begin[place])})"
    source.need("mixture", filled(MIXTURE, {**sizes, "LOG": "log1p" if average.log else ""}))
    return f"mixture(told + {_at(begin[place])}, told + {_at(begin[average.around])})"


def _at(start: int) -> str:
    return f"{start} + k" if start else "k"


def _decided(decision: Decision | None) -> list[str]:
    """Lines from the probabilities in v to the label."""
    if decision is None:
        return []
    count, limit = len(decision.labels), number(decision.threshold)
    if decision.several:
        return [f"    for (k = 0; k < {count}; k++)", f"        answer->labels[k] = v[k] >= {limit};"]
    if count == 2:
        return [f"    answer->label = v[1] >= {limit};"]
    best = ["    answer->label = 0;", f"    for (k = 1; k < {count}; k++)", "        if (v[k] > v[answer->label])"]
    return [*best, "            answer->label = k;"]


def _stepwise(steps: Sequence[Any], count: int, source: Source, name: str) -> Made:
    """Lines of the steps of an answer, and how many numbers there are behind them."""
    lines: list[str] = []
    for at, step in enumerate(steps):
        made, count = _STEPS[type(step)](step, count, source, f"{name}_{at}")
        lines += [f"    {line}" for line in made]
    return lines, count


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

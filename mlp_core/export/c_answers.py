"""From logits to answers in C: what a member tells, in probabilities or numbers in their own units, what several tell
on average, and the label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, filled, number
from mlp_core.export.description import Decision, Description, Member
from mlp_core.export.walk import Lines

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
FUNCTIONS = {"softmax": SOFTMAX, "probability": SIGMOID, "log_of": LOG}
# what every number of v becomes, by the numbers and tables of a step in braces
EACH: dict[type, str] = {
    op.Take: "v[{places}[k]]",  # they are ascending, so that nothing is lost on the way
    op.Sigmoid: "probability(v[k])",
    op.LogSigmoid: "fmin(v[k], 0) - log1p(exp(-fabs(v[k])))",
    op.LogOf: "log_of(v[k])",
    op.Odds: "log_of(v[k]) - log_of(1 - v[k])",
    op.Affine: "{slope} * v[k] + {offset}",
    op.Exp: "exp({rate} * v[k])",
    op.Unscale: "v[k] / {scale}[k] + {shift}[k]",
    op.Expm1: "expm1(v[k])",
    op.Limit: "fmin(fmax(v[k], {low}[k]), {high}[k])",
}
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


def told_of(member: Member, source: Source, logits: str) -> list[str]:
    """Lines from the logits in a buffer to what a member tells."""
    lines: list[str] = []
    for name, start, steps in zip(source.answers, starts(source.description), member.answers, strict=False):
        lines += [f"    for (k = 0; k < {member.outputs}; k++)", f"        v[k] = {logits}[k];"]
        made = _Steps(source, name, member.outputs, steps)
        lines += [*made.lines, f"    for (k = 0; k < {made.count}; k++)", f"        told[{_at(start)}] = v[k];"]
    return lines


def answers_of(source: Source) -> list[str]:
    """Lines from what the members tell to the fields of the answer."""
    lines: list[str] = []
    for place, (name, answer) in enumerate(zip(source.answers, source.description.answers, strict=True)):
        count = len(answer.columns)
        lines += [f"    for (k = 0; k < {count}; k++)", f"        v[k] = {_average(place, source)};"]
        made = _Steps(source, f"{name}_all", count, answer.steps)
        lines += [*made.lines, f"    for (k = 0; k < {made.count}; k++)", f"        answer->{name}[k] = v[k];"]
    return lines + _decided(source.description.decision)


def _average(place: int, source: Source) -> str:
    """The average of a number of an answer over all members."""
    members, begin = len(source.description.members), starts(source.description)
    if members == 1:
        return f"told[{_at(begin[place])}]"
    average, sizes = source.description.answers[place].average, {"MEMBERS": str(members), "TOLD": str(begin[-1])}
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


class _Steps(Lines):
    """Lines of the steps of an answer on v as they grow, and how many numbers v then has."""

    to = "C"

    def __init__(self, source: Source, name: str, count: int, steps: Sequence[Any]) -> None:
        super().__init__()
        self.source, self.count = source, count
        for at, step in enumerate(steps):
            self.name = f"{name}_{at}"
            self.visit(step)

    def visit(self, step: Any) -> None:
        """A step that makes every number of v another one has its text in `EACH`, any other a method."""
        if type(step) not in EACH:
            super().visit(step)
            return
        self.count = len(step.places) if isinstance(step, op.Take) else self.count
        body = EACH[type(step)].format(**{key: self.given(key, value) for key, value in vars(step).items()})
        self.line(f"for (k = 0; k < {self.count}; k++)", f"    v[k] = {body};")

    def given(self, key: str, value: Any) -> str:
        """A number of a step, or the name of a table of its numbers."""
        if isinstance(value, float):
            return number(value)
        return self.source.table(f"{key}_{self.name}", value, "int" if isinstance(value, tuple) else "double")

    def line(self, *text: str) -> None:
        """Lines, and what they call is in the file."""
        super().line(*text)
        for name, function in FUNCTIONS.items():
            if any(f"{name}(" in line for line in text):
                self.source.need(name, function)

    def visit_Softmax(self, step: op.Softmax) -> None:
        self.line(f"softmax(v, {self.count});")

    def visit_Pair(self, step: op.Pair) -> None:
        self.line("v[1] = v[0];", "v[0] = 1 - v[1];")
        self.count = 2

    def visit_PairOdds(self, step: op.PairOdds) -> None:
        self.line("v[0] = log_of(v[1]) - log_of(v[0]);")
        self.count = 1

"""From logits to answers, in exported Python files: what numpy's and PyTorch's have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Description, Member
from mlp_core.export.python_text import Script

# what V becomes, by the numbers and arrays of a step in braces
STEPS: dict[type, str] = {
    op.Take: "V[:, {places}]",
    op.Softmax: "softmax(V)",
    op.Sigmoid: "sigmoid(V)",
    op.LogSigmoid: "-np.logaddexp(0, -V)",
    op.LogOf: "log(V)",
    op.Pair: "np.hstack([1 - V, V])",
    op.Odds: "log(V) - log(1 - V)",
    op.PairOdds: "(log(V[:, 1]) - log(V[:, 0]))[:, None]",
    op.Affine: "{slope} * V + {offset}",
    op.Exp: "np.exp({rate} * V)",
    op.Unscale: "V / {scale} + {shift}",
    op.Expm1: "np.expm1(V)",
    op.Limit: "np.clip(V, {low}, {high})",
}
NEEDED: dict[type, Callable[..., Any]] = {op.Softmax: parts.softmax, op.Sigmoid: parts.sigmoid}
NEEDED |= dict.fromkeys((op.LogOf, op.Odds, op.PairOdds), parts.log)


def told_text(member: Member, script: Script) -> str:
    """The name of a function `told`: from logits to numbers, an array for each answer."""
    lines, variables = ['    """The numbers that are told, from logits."""'], _variables(script.description)
    for name, steps in zip(variables, member.answers, strict=True):
        lines += ["    V = Z.astype(np.float64)", *_stepwise(steps, name, script), f"    {name} = V"]
    return script.function("told", "Z", [*lines, f"    return ({', '.join(variables)},)"])


def answers_text(script: Script) -> None:
    """The function `answers`, from those numbers to columns of labels and numbers, and where there are several members
    the function `averaged` before it."""
    description, variables = script.description, _variables(script.description)
    if len(description.members) > 1:
        lines = ['    """The numbers that are told, from what every member tells."""']
        for place, (answer, name) in enumerate(zip(description.answers, variables, strict=True)):
            lines.append(f"    V = {_average(answer.average, place)}")
            lines += [*_stepwise(answer.steps, f"{name}_all", script), f"    {name} = V"]
        script.function("averaged", "members", [*lines, f"    return ({', '.join(variables)},)"])
    lines = ['    """Columns of labels and numbers."""']
    columns = [
        f"**dict(zip({script.table(name.upper(), answer.columns)}, {name}.T))"
        for answer, name in zip(description.answers, variables, strict=True)
    ]
    if (decision := description.decision) is not None:
        script.table("LABELS", decision.labels)
        (P,) = variables
        if decision.several:
            lines.append(f"    labels = ({P} >= {decision.threshold!r}).astype(np.int64)")
            columns.insert(0, "**dict(zip(LABELS, labels.T))")
        else:
            two = f"({P}[:, 1] >= {decision.threshold!r}).astype(np.int64)"
            lines.append(f"    best = {two if len(decision.labels) == 2 else f'{P}.argmax(axis=1)'}")
            columns.insert(0, '"prediction": [LABELS[k] for k in best]')
    script.function("answers", ", ".join(variables), [*lines, f"    return {{{', '.join(columns)}}}"])


def _variables(description: Description) -> list[str]:
    """What the numbers of each answer are called."""
    names = [answer.name for answer in description.answers]
    return [name if name.isidentifier() else f"numbers_{place}" for place, name in enumerate(names)]


def _stepwise(steps: Sequence[Any], name: str, script: Script) -> list[str]:
    """Lines of the steps of an answer on V; what they need is in the file."""
    lines = []
    for at, step in enumerate(steps):
        given = {key: _given(value, f"{name}_{at}_{key}".upper(), script) for key, value in vars(step).items()}
        lines.append(f"    V = {STEPS[type(step)].format(**given)}")
        if type(step) in NEEDED:
            script.need(NEEDED[type(step)])
    return lines


def _given(value: Any, name: str, script: Script) -> str:
    """A number of a step, a list of places, or the name of an array of its numbers."""
    if isinstance(value, np.ndarray):
        return script.array(name, value)
    return repr(list(value) if isinstance(value, tuple) else value)


def _average(one: op.Mean | op.Mixture, place: int) -> str:
    """What the members tell, on average."""
    if isinstance(one, op.Mean):
        return f"np.mean([told[{place}] for told in members], axis=0)"
    value = f"told[{one.around}]"
    spread = f"np.var([{f'np.log1p({value})' if one.log else value} for told in members], axis=0)"
    return f"np.sqrt(np.mean([np.square(told[{place}]) for told in members], axis=0) + {spread})"

"""From logits to answers, in exported Python files: what numpy's and PyTorch's have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Description, Member
from mlp_core.export.python_text import Script


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
    return [f"    V = {_STEPS[type(step)](step, script, f'{name}_{at}')}" for at, step in enumerate(steps)]


def _average(one: op.Mean | op.Mixture, place: int) -> str:
    """What the members tell, on average."""
    if isinstance(one, op.Mean):
        return f"np.mean([told[{place}] for told in members], axis=0)"
    value = f"told[{one.around}]"
    spread = f"np.var([{f'np.log1p({value})' if one.log else value} for told in members], axis=0)"
    return f"np.sqrt(np.mean([np.square(told[{place}]) for told in members], axis=0) + {spread})"


def _needing(text: str, *functions: Callable[..., Any]) -> Callable[[Any, Script, str], str]:
    """A step that is always the same text and needs these functions."""

    def step_text(step: Any, script: Script, name: str) -> str:
        script.need(*functions)
        return text

    return step_text


def _unscale(step: op.Unscale, script: Script, name: str) -> str:
    scale = script.array(f"{name.upper()}_SCALE", step.scale)
    return f"V / {scale} + {script.array(f'{name.upper()}_SHIFT', step.shift)}"


_STEPS: dict[type, Callable[[Any, Script, str], str]] = {
    op.Take: lambda step, script, name: f"V[:, {list(step.places)}]",
    op.Softmax: _needing("softmax(V)", parts.softmax),
    op.Sigmoid: _needing("sigmoid(V)", parts.sigmoid),
    op.LogSigmoid: _needing("-np.logaddexp(0, -V)"),
    op.LogOf: _needing("log(V)", parts.log),
    op.Pair: _needing("np.hstack([1 - V, V])"),
    op.Odds: _needing("log(V) - log(1 - V)", parts.log),
    op.PairOdds: _needing("(log(V[:, 1]) - log(V[:, 0]))[:, None]", parts.log),
    op.Affine: lambda step, script, name: f"{step.slope!r} * V + {step.offset!r}",
    op.Exp: lambda step, script, name: f"np.exp({step.rate!r} * V)",
    op.Unscale: _unscale,
    op.Expm1: _needing("np.expm1(V)"),
    op.Limit: lambda step, script, name: (
        f"np.clip(V, {script.array(f'{name.upper()}_LOW', step.low)}, "
        f"{script.array(f'{name.upper()}_HIGH', step.high)})"
    ),
}

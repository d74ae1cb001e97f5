"""Text of exported Python files: what numpy's and PyTorch's have in common, from cells to inputs and from logits on."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from mlp_core.data.preprocess import quantile_scores as ranks
from mlp_core.errors import clean
from mlp_core.export import operations as op
from mlp_core.export import python_parts as parts
from mlp_core.export.probes import Probes
from mlp_core.nn import complex_math as special

WIDTH = 118
SHOWN = 12  # columns that are named where people read
MAIN = """
if __name__ == "__main__":
    try:
        print(check())
    except ValueError as error:
        sys.exit(str(error))
"""
PREDICT = '''
def predict(table):
    """Columns of answers, by name, for {names}."""{matrix}
{chains}
'''
MATRIX = """
    if not hasattr(table, "keys"):
        table = dict(zip(NUMBERS, np.asarray(table).T, strict=True))"""
CHECK = '''
def check():
    """Run the test rows: a line that says how far they are from the trained model's answers."""
    intact(Path(__file__))
    worst = largest_difference(predict(ROWS), EXPECTED, UNITS, EXPECTED_LABELS)
    if not worst <= {limit!r}:
        raise ValueError(f"the test rows differ by {{worst:.1e}}")
    return f"{count} test rows: labels agree, largest difference {{worst:.1e}} (limit {limit:.0e})"
'''

# what a function needs beside numpy: other functions, constants
_NEEDS: dict[str, tuple[tuple[Callable[..., Any], ...], tuple[tuple[str, Any], ...]]] = {
    "numbers": ((parts.is_gap,), ()),
    "truths": ((parts.is_gap,), ()),
    "present": ((parts.is_gap,), ()),
    "written": ((parts.is_gap,), ()),
    "places": ((parts.is_gap,), ()),
    "hashed": ((parts.is_gap,), ()),
    "known": ((parts.is_gap,), ()),
    "normal_scores": ((ranks.normal_quantile,), ()),
    "normal_quantile": ((), (("_CENTRE", ranks._CENTRE), ("_TAIL", ranks._TAIL))),
    "erf": (
        (special._polynomial,),
        tuple(
            (name, getattr(special, name)) for name in ("_P1", "_Q1", "_NEAR", "_P2", "_Q2", "_P3", "_Q3", "_SQRT_PI")
        ),
    ),
}


class Script:
    """A Python file as it grows: its functions, those that they need, and tables below them.

    What has a name already has it once: an equal one is taken in its place, another one is numbered.
    """

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        self.tables: dict[str, str] = {}

    def function(self, name: str, argument: str, lines: Sequence[str]) -> str:
        """Have a function in the file; its name."""
        return kept_once(self.functions, name, "\n".join([f"({argument}):", *lines]))

    def need(self, *functions: Callable[..., Any]) -> None:
        """Have these functions in the file, and what they need."""
        for function in functions:
            name = function.__name__
            if name not in self.helpers:
                others, constants = _NEEDS.get(name, ((), ()))
                self.need(*others)
                self.helpers[name] = untyped(function)
                for constant, value in constants:
                    self.table(constant, value)

    def table(self, name: str, value: Any, wrap: str = "{}") -> str:
        """Have a constant in the file; its name."""
        return kept_once(self.tables, name, wrap.format(pformat(value, width=WIDTH - len(name) - 12, compact=True)))

    def array(self, name: str, values: Any) -> str:
        """Have an array of numbers in the file; its name."""
        return self.table(name, values.tolist(), "np.array({})")

    def text(self, head: str, before: Sequence[str], behind: Sequence[str]) -> str:
        """The whole file, other parts of it before and behind its functions, its digest in the last line."""
        functions = [f"def {name}{text}" for name, text in self.functions.items()]
        tables = "\n".join(f"{name} = {value}" for name, value in self.tables.items())
        sections = [head, *before, *functions, *behind, *self.helpers.values(), tables, MAIN]
        return sealed("\n\n\n".join(section.strip("\n") for section in sections), "# sha256 ")


def kept_once(texts: dict[str, str], name: str, text: str) -> str:
    """Keep a text under a name, or under the next that is free where another one has it; the name."""
    made, count = name, 1
    while texts.setdefault(made, text) != text:
        count += 1
        made = f"{name}_{count}"
    return made


def sealed(body: str, mark: str, end: str = "") -> str:
    """A text with the digest of all its lines as the last one."""
    text = body.rstrip("\n")
    return f"{text}\n{mark}{hashlib.sha256(text.encode()).hexdigest()}{end}\n"


def untyped(function: Callable[..., Any]) -> str:
    """The source of a function without its annotations."""
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    for argument in [*node.args.args, *node.args.kwonlyargs]:
        argument.annotation = None
    body = source.splitlines()[node.body[0].lineno - 1 :]
    return "\n".join([f"def {node.name}({ast.unparse(node.args)}):", *body])


def head_text(description: op.Description, path: Path, how: str, imports: str, members: Sequence[str]) -> str:
    """What the file is and how it is used, its imports, and the function `predict`. members: what each tells."""
    decision = description.decision
    outputs = [] if decision is None else list(decision.labels) if decision.several else ["prediction"]
    outputs += [name for answer in description.answers for name in answer.columns]
    kinds = [f"{column.name} ({column.meaning or column.kind})" for column in description.columns]
    gaps = ", ".join(map(repr, description.gaps))
    words = [
        f"Predictions of {named(description.targets)}, by {trained_by(description)}.",
        "",
        f"    from {path.stem} import predict",
        "    answers = predict({name: cells, ...})",
        "",
        *wrapped(
            f"Takes columns of raw cells: {named(kinds)}. A cell is missing where it is None, NaN or one of {gaps}."
        ),
        *wrapped(f"Gives columns: {named(outputs)}. {how}"),
        "",
        *wrapped(f"`python {path.name}` runs test rows, and says how far they are from the trained model's answers."),
    ]
    docstring = "\n".join(words).replace("\\", "\\\\").replace('"""', "'''")
    what = "columns of raw cells" + (", or a matrix with a row for each" if description.matrix else "")
    chains = [f"    return answers(*{members[0]})"]
    if len(members) > 1:
        chains = [
            "    members = [",
            *(f"        {one}," for one in members),
            "    ]",
            "    return answers(*averaged(members))",
        ]
    body = PREDICT.format(names=what, matrix=MATRIX if description.matrix else "", chains="\n".join(chains))
    return f'"""{docstring}\n"""\n\n{imports}\n\n{body}'


def trained_by(description: op.Description) -> str:
    """What predicts, and who trained it."""
    count = len(description.members)
    return (
        f"{'a network' if count == 1 else f'the average of {count} networks'} that mlpbp {description.version} trained"
    )


def named(names: Sequence[str]) -> str:
    """Some of the names, and how many more."""
    shown = ", ".join(clean(name) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN:,} more"


def wrapped(text: str) -> list[str]:
    """A text in lines of a file."""
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def check_text(description: op.Description, probes: Probes, script: Script) -> str:
    """The function `check`, and the test rows with their answers."""
    script.need(parts.intact, parts.largest_difference)
    tables = {"ROWS": probes.rows, "EXPECTED": probes.numbers, "UNITS": probes.units, "EXPECTED_LABELS": probes.labels}
    for name, value in tables.items():
        script.table(name, value)
    return CHECK.format(limit=description.limit, count=probes.count)


def inputs_text(member: op.Member, description: op.Description, script: Script) -> str:
    """The name of a function `inputs`: from columns of raw cells to what the network sees."""
    script.table("GAPS", description.gaps)
    lines = [f'    """What the network sees, [rows, {member.width}], from columns of raw cells."""']
    joined = ["X"] if any(isinstance(one, op.Numbers) for one in member.inputs) else []
    for one in member.inputs:
        made, part = _INPUTS[type(one)](one, description, script)
        lines += made
        joined += [part] if part else []
    script.need(parts.finite)
    whole = joined[0] if len(joined) == 1 else f"np.concatenate([{', '.join(joined)}], axis=1)"
    return script.function("inputs", "table", [*lines, f"    return finite({whole})"])


Made = tuple[list[str], str | None]


def _numbers(one: op.Numbers, description: op.Description, script: Script) -> Made:
    chosen = [description.columns[place] for place in one.columns]
    names = script.table("NUMBERS", tuple(column.name for column in chosen))
    script.need(parts.numbers)
    cells = "table[name]"
    if needed := tuple(column.name for column in chosen if column.required):
        script.need(parts.present)
        required = script.table("REQUIRED", needed)
        cells = f"(present(table[name], name, GAPS) if name in {required} else table[name])"
    if meanings := {column.name: column.meaning for column in chosen if column.meaning}:
        script.need(parts.written)
        table = script.table("WRITTEN", meanings)
        cells = f"(written({cells}, name, {table}[name], GAPS) if name in {table} else {cells})"
    made = f"numbers({cells}, name, GAPS)"
    if yes := tuple(column.name for column in chosen if column.kind == "boolean"):
        script.need(parts.truths)
        made = f"truths({cells}, name, GAPS) if name in {script.table('YES_OR_NO', yes)} else {made}"
    return [f"    X = np.stack([{made} for name in {names}], axis=1)"], None


def _flag(one: op.Flag, description: op.Description, script: Script) -> Made:
    return [f"    flags = np.isnan(X[:, {list(one.places)}])"], "flags"


def _circles(one: op.Circles, description: op.Description, script: Script) -> Made:
    script.need(parts.on_circles)
    return [f"    circles = on_circles(X[:, {list(one.places)}], {list(one.periods)})"], "circles"


def _fill(one: op.Fill, description: op.Description, script: Script) -> Made:
    return [f"    X = np.where(np.isnan(X), {script.array('FILL', one.values)}, X)"], None


def _clip(one: op.Clip, description: op.Description, script: Script) -> Made:
    script.table("inf", 0, "np.inf")
    return [f"    X = np.clip(X, {script.array('LOW', one.low)}, {script.array('HIGH', one.high)})"], None


def _log(one: op.Log, description: op.Description, script: Script) -> Made:
    places = script.table("LOGARITHMS", list(one.places))
    return [f"    X[:, {places}] = np.log1p(np.maximum(X[:, {places}], -0.999999))"], None


def _scale(one: op.Scale, description: op.Description, script: Script) -> Made:
    return [f"    X = (X - {script.array('SHIFT', one.shift)}) * {script.array('SCALE', one.scale)}"], None


def _bend(one: op.Bend, description: op.Description, script: Script) -> Made:
    places = script.table("SMOOTH", list(one.places))
    return [f"    X[:, {places}] /= np.hypot(1, X[:, {places}] / 3)"], None


def _ranks(one: op.Ranks, description: op.Description, script: Script) -> Made:
    script.need(parts.normal_scores)
    name = script.array(f"QUANTILES_{one.place}", one.quantiles)
    return [f"    X[:, {one.place}] = normal_scores(X[:, {one.place}], {name})"], None


def _words(one: op.Words, description: op.Description, script: Script) -> tuple[list[str], str]:
    """The lines that find the places of a column of words, and the variable they are in."""
    column = description.columns[one.column]
    place, cells = f"place_{one.column}", f"table[{column.name!r}]"
    words = "" if one.hashed else script.table(f"WORDS_{one.column}", one.words)
    if column.required:
        script.need(parts.present)
        cells = f"present({cells}, {column.name!r}, GAPS)"
    if one.refuse:
        script.need(parts.known)
        cells = f"known({cells}, {column.name!r}, {words}, GAPS)"
    if one.hashed:
        script.need(parts.hashed)
        return [f"    {place} = hashed({cells}, GAPS, {one.hashed}, {one.missing})"], place
    script.need(parts.places)
    return [f"    {place} = places({cells}, {words}, GAPS, {one.unknown}, {one.missing})"], place


def _one_hot(one: op.OneHot, description: op.Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    script.need(parts.one_hot)
    if one.silent:
        lines.append(f"    {place}[np.isin({place}, {list(one.silent)})] = -1")
    return lines, f"one_hot({place}, {one.places})"


def _levels(one: op.Levels, description: op.Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{script.array(f'LEVELS_{one.column}', one.table)}[{place}]"


def _ordinal(one: op.Ordinal, description: op.Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{place}[:, None] / {max(1, one.places - 1)}"


def _code(one: op.Code, description: op.Description, script: Script) -> Made:
    lines, place = _words(one, description, script)
    return lines, f"{place}[:, None]"


_INPUTS: dict[type, Callable[[Any, op.Description, Script], Made]] = {
    op.Numbers: _numbers,
    op.Flag: _flag,
    op.Circles: _circles,
    op.Fill: _fill,
    op.Clip: _clip,
    op.Log: _log,
    op.Scale: _scale,
    op.Bend: _bend,
    op.Ranks: _ranks,
    op.OneHot: _one_hot,
    op.Levels: _levels,
    op.Ordinal: _ordinal,
    op.Code: _code,
}


def told_text(member: op.Member, description: op.Description, script: Script) -> str:
    """The name of a function `told`: from logits to numbers, an array for each answer."""
    lines = ['    """The numbers that are told, from logits."""']
    for name, steps in zip(_variables(description), member.answers, strict=True):
        lines += ["    V = Z.astype(np.float64)", *_stepwise(steps, name, script), f"    {name} = V"]
    return script.function("told", "Z", [*lines, f"    return ({', '.join(_variables(description))},)"])


def answers_text(description: op.Description, script: Script) -> None:
    """The function `answers`, from those numbers to columns of labels and numbers, and where there are several members
    the function `averaged` before it."""
    variables = _variables(description)
    if len(description.members) > 1:
        lines = ['    """The numbers that are told, from what every member tells."""']
        for place, (answer, name) in enumerate(zip(description.answers, variables, strict=True)):
            lines += [_AVERAGES[type(answer.average)](answer.average, place)]
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


def _variables(description: op.Description) -> list[str]:
    """What the numbers of each answer are called."""
    names = [answer.name for answer in description.answers]
    return [name if name.isidentifier() else f"numbers_{place}" for place, name in enumerate(names)]


def _stepwise(steps: Sequence[Any], name: str, script: Script) -> list[str]:
    return [f"    V = {_STEPS[type(step)](step, script, f'{name}_{at}')}" for at, step in enumerate(steps)]


def _mixture(one: op.Mixture, place: int) -> str:
    value = f"told[{one.around}]"
    spread = f"np.var([{f'np.log1p({value})' if one.log else value} for told in members], axis=0)"
    return f"    V = np.sqrt(np.mean([np.square(told[{place}]) for told in members], axis=0) + {spread})"


_AVERAGES: dict[type, Callable[[Any, int], str]] = {
    op.Mean: lambda one, place: f"    V = np.mean([told[{place}] for told in members], axis=0)",
    op.Mixture: _mixture,
}


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

"""Text of exported Python files: what they are put together from, and what numpy's and PyTorch's have in common."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from mlp_core.errors import clean
from mlp_core.export import python_parts as parts
from mlp_core.export.description import Description
from mlp_core.export.probes import Probes

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


class Script:
    """A Python file as it grows: its functions, those that they need, and tables below them.

    What has a name already has it once: an equal one is taken in its place, another one is numbered.
    """

    def __init__(self, description: Description) -> None:
        self.description = description
        self.functions: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        self.tables: dict[str, str] = {}

    def function(self, name: str, argument: str, lines: Sequence[str]) -> str:
        """Have a function in the file; its name."""
        return kept_once(self.functions, name, "\n".join([f"({argument}):", *lines]))

    def need(self, *functions: Callable[..., Any]) -> None:
        """Have these functions in the file, and what they need."""
        for function in functions:
            if function.__name__ not in self.helpers:
                others = globals_of(function)
                self.need(*filter(callable, others.values()))
                self.helpers[function.__name__] = untyped(function)
                for name, value in others.items():
                    if not callable(value):
                        self.table(name, value)

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


def globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The functions and constants of its module that a function reads, in the order of the module."""
    own = {function.__name__, *function.__code__.co_varnames}
    read = {node.id for part in parsed(function)[1].body for node in ast.walk(part) if isinstance(node, ast.Name)}
    home = vars(inspect.getmodule(function))
    return {name: value for name, value in home.items() if name in read - own and not inspect.ismodule(value)}


def parsed(function: Callable[..., Any]) -> tuple[str, ast.FunctionDef]:
    """The source of a function, and its tree."""
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef)
    return source, node


def untyped(function: Callable[..., Any]) -> str:
    """The source of a function without its annotations."""
    source, node = parsed(function)
    for argument in [*node.args.args, *node.args.kwonlyargs]:
        argument.annotation = None
    body = source.splitlines()[node.body[0].lineno - 1 :]
    return "\n".join([f"def {node.name}({ast.unparse(node.args)}):", *body])


def head_text(script: Script, path: Path, how: str, imports: str, members: Sequence[str]) -> str:
    """What the file is and how it is used, its imports, and the function `predict`. members: what each tells."""
    description, decision = script.description, script.description.decision
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


def trained_by(description: Description) -> str:
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


def check_text(probes: Probes, script: Script) -> str:
    """The function `check`, and the test rows with their answers."""
    script.need(parts.intact, parts.largest_difference)
    tables = {"ROWS": probes.rows, "EXPECTED": probes.numbers, "UNITS": probes.units, "EXPECTED_LABELS": probes.labels}
    for name, value in tables.items():
        script.table(name, value)
    return CHECK.format(limit=script.description.limit, count=probes.count)

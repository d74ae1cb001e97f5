"""Explanations as text for a terminal, 80 columns wide."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator

from mlp_core.explain.formula import Equation, Explanation, Line, Loop, Note

WIDTH = 80
_LEGEND = """\
One training step, in the order in which it is computed. [b, n] on the right is
the shape of a result; b rows are b samples. @ is the matrix product, .T the
transpose; * / ^ work entry by entry. d... is the derivative of the loss by ...,
and Delta[l] that by Z[l].
"""
_WORDS = {
    "sum_rows": "sum_rows(x) adds up the rows of x: one number per column.",
    "sum_cols": "sum_cols(x) adds up the columns of x: one number per row.",
    "flat": "flat(x) is x as one row.",
    "blocks": "blocks(V) is one matrix with those of V on its diagonal, 0 elsewhere.",
    "diagonal": "diagonal(M, k) are the k blocks on the diagonal of M.",
    "sum_groups": "sum_groups(x, f) adds up every f columns of x.",
    "repeat_cols": "repeat_cols(x, f) has every column of x f times.",
    "max_cols": "max_cols(x) is the largest of the columns of x: one number per row.",
    "mean_rows": "mean_rows(x) is the mean of the rows of x: one number per column.",
    "mean_cols": "mean_cols(x) is the mean of the columns of x: one number per row.",
}
_NAMES = {"maximum": "max", "minimum": "min"}


def text(explanation: Explanation) -> str:
    """The whole explanation, lines of at most 80 columns."""
    used = " ".join(equation.value for equation in explanation.equations())
    lines = [*textwrap.wrap(explanation.title, WIDTH), "", *_LEGEND.splitlines()]
    lines += [words for name, words in _WORDS.items() if f"{name}(" in used]
    for section in explanation.sections:
        lines += ["", *textwrap.wrap(section.title, WIDTH)]
        lines += [line for item in section.lines for line in _line(item, 2)]
    return "\n".join(lines) + "\n"


def _line(item: Line, indent: int) -> Iterator[str]:
    match item:
        case Note():
            yield from textwrap.wrap(item.words, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)
        case Equation():
            yield from _equation(item, indent)
        case Loop():
            yield " " * indent + f"for {item.index} = {item.over}:"
            for equation in item.equations:
                yield from _equation(equation, indent + 2)


def _equation(equation: Equation, indent: int) -> Iterator[str]:
    """The equation from the left, its shape or note at the right end of its last line."""
    shape = "" if not equation.shape else f"[{', '.join(map(str, equation.shape))}]"
    right = "  ".join(part for part in (f"({equation.note})" if equation.note else "", shape) if part)
    body = f"{plain(equation.target)} = {plain(equation.value)}"
    first, hang = " " * indent, " " * (indent + 4)
    lines = textwrap.wrap(
        body, WIDTH, initial_indent=first, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )
    *before, last = lines
    yield from before
    if right and len(last) + 2 + len(right) > WIDTH:
        yield last
        last = ""
    yield last + right.rjust(WIDTH - len(last)) if right else last


def plain(expression: str) -> str:
    """An expression as it reads best in plain text: `z^2` for a power, `x if c else y` for where."""
    tree = _Plain().visit(ast.parse(expression, mode="eval"))
    return ast.unparse(tree).replace(" ** ", "^")


class _Plain(ast.NodeTransformer):
    """Names as people write them, and conditions in words."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name("f'" if node.id == "df" else _NAMES.get(node.id, node.id))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """(A @ B) * C with its parentheses, which Python does not need."""
        self.generic_visit(node)
        left = node.left
        if isinstance(node.op, ast.Mult | ast.Div) and isinstance(left, ast.BinOp) and isinstance(left.op, ast.MatMult):
            node.left = ast.Name(f"({ast.unparse(left)})")
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "where":
            condition, here, there = node.args
            return ast.IfExp(condition, here, there)
        return node

"""Formulas as data: equations in Python's syntax, so that what is shown can be run.

An equation such as `Z[1] = X @ W[1].T + b[1]` has one source, from which text and LaTeX are printed and which a test
evaluates against the engine. The alphabet: `[l]` numbers layers, `@` is the matrix product, `*`, `/` and `**` work
entry by entry, `where(c, x, y)` is x where c holds and y elsewhere, `sum_rows` adds up the rows (one number per
column), `sum_cols` the columns (one number per row); `f[1](z)` and `df[1](z)` are an activation and its derivative.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

Value: TypeAlias = str | float | int


@dataclass(frozen=True)
class Equation:
    """`target` = `value`, both Python expressions; a call as target, `f[1](z)`, defines a function.

    `shape` is that of the result, () for a number and None where it has none; `note` says what it is.
    """

    target: str
    value: str
    shape: tuple[int, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Loop:
    """Equations repeated for every value of `index`: `over` says which in words, `source` in Python."""

    index: str
    over: str
    source: str
    equations: tuple[Equation, ...]

    @property
    def target(self) -> str:
        """What is computed first in each round."""
        return self.equations[0].target


@dataclass(frozen=True)
class Note:
    """A sentence beside the equations."""

    words: str
    target: ClassVar[str] = ""


Line: TypeAlias = Equation | Loop | Note


@dataclass(frozen=True)
class Section:
    """A heading, and the lines under it in the order in which they are computed."""

    title: str
    lines: tuple[Line, ...]

    def equations(self) -> Iterator[Equation]:
        """All equations of the section, those inside loops too."""
        for line in self.lines:
            if isinstance(line, Loop):
                yield from line.equations
            elif isinstance(line, Equation):
                yield line


@dataclass(frozen=True)
class Explanation:
    """One training step of one model: a headline, and sections from the data to the new parameters."""

    title: str
    sections: tuple[Section, ...]

    def equations(self) -> Iterator[Equation]:
        for section in self.sections:
            yield from section.equations()

    def lines(self, *titles: str) -> Iterator[Line]:
        """The lines of the sections whose titles begin with one of these."""
        return (line for section in self.sections if section.title.startswith(titles) for line in section.lines)


def matrices(count: int, tables: int, *equations: Equation) -> list[Line]:
    """Equations for every weight matrix W[l], and the same for every table of words E[k], whose B and O are S and U."""
    own = tuple(replace(one, target=_of_tables(one.target), value=_of_tables(one.value)) for one in equations)
    loops = (("l", count, equations), ("k", tables, own))
    return [Loop(index, f"1 .. {many}", f"range(1, {many + 1})", lines) for index, many, lines in loops if many]


def _of_tables(text: str) -> str:
    for letter, own in (("W", "E"), ("B", "S"), ("O", "U")):
        text = text.replace(f"{letter}[l]", f"{own}[k]")
    return text


def fill(template: str, **values: Value) -> str:
    """The template with names replaced by expressions or numbers, and terms that vanish left out.

    >>> fill("f(z) / c + l2 * w", z="Z[1]", c=1, l2=0)
    'f(Z[1])'
    """
    nodes = {name: ast.parse(_source(value), mode="eval").body for name, value in values.items()}
    return ast.unparse(_Fill(nodes).visit(ast.parse(template, mode="eval")))


def names(expression: str) -> set[str]:
    """The names that occur in an expression."""
    return {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}


def _source(value: Value) -> str:
    """The Python text of a number or an expression; whole numbers without their fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        value = int(value)
    return value if isinstance(value, str) else repr(value)


class _Fill(ast.NodeTransformer):
    """Replaces names, then drops `1 * x`, `x / 1`, `x + 0`, `0 * x`, from the leaves up."""

    def __init__(self, nodes: dict[str, ast.expr]) -> None:
        self.nodes = nodes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.nodes.get(node.id, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = node.left, node.right
        match node.op:
            case ast.Mult() if _is(left, 0) or _is(right, 0):
                return ast.Constant(0)
            case ast.Mult() if _is(left, 1):
                return right
            case ast.Mult() | ast.Div() | ast.Pow() if _is(right, 1):
                return left
            case ast.Add() if _is(left, 0):
                return right
            case ast.Add() | ast.Sub() if _is(right, 0):
                return left
            case ast.Sub() if _is(left, 0):
                return ast.UnaryOp(ast.USub(), right)
            case ast.Pow() if _is(right, 0):
                return ast.Constant(1)
        return node


def _is(node: ast.expr, value: int) -> bool:
    return isinstance(node, ast.Constant) and node.value == value

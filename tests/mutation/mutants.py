"""Mutants of a function: its source with one operator, sign, constant, axis, transpose, name or statement changed."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

BINARY = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
COMPARE = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
FUNCTIONS = {
    "sum": ("mean",),
    "mean": ("sum",),
    "exp": ("expm1",),
    "expm1": ("exp",),
    "sqrt": ("square",),
    "square": ("sqrt",),
    "sign": ("abs",),
    "abs": ("sign",),
    "cos": ("sin",),
    "tanh": ("sin",),
    "maximum": ("minimum",),
    "minimum": ("maximum",),
    "max": ("min",),
    "min": ("max",),
    "multiply": ("add",),
    "zeros_like": ("ones_like",),
}
NAMES = (
    *(("z", "a"), ("Z", "A"), ("Z", "H"), ("Z", "X"), ("W", "dW"), ("X", "A"), ("Delta", "T"), ("Delta", "skip")),
    *(("m", "v"), ("m", "grad"), ("m", "g"), ("v", "g"), ("u", "v"), ("theta", "grad"), ("top", "v"), ("M", "dW")),
    *(("beta1", "beta2"), ("mu", "mu_next"), ("ahead", "here"), ("rate", "root"), ("l2", "l1"), ("gain", "inverse")),
    *(("P", "d"), ("d", "precision"), ("e", "q"), ("s", "y"), ("S", "Y"), ("g", "d"), ("rate", "own"), ("y", "g")),
    *(("miss", "slope"), ("miss", "sure"), ("t", "row"), ("theta", "m"), ("losses", "value"), ("alpha", "rho")),
)
SWAPPED_ARGUMENTS = {"matmul": (0, 1), "where": (1, 2), "clip": (1, 2), "copyto": (0, 1), "subtract": (0, 1)}
LAYOUTS = {"ij,ij->j": "ij,ij->i", "ij,ij->i": "ij,ij->j"}
PRODUCTS = {"matmul"}


@dataclass(frozen=True)
class Mutant:
    """One changed function; `before` and `after` are the lines in which it differs, as Python writes them itself."""

    function: str
    before: str
    after: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.function}: {self.before}  ->  {self.after}"


def mutants(function: FunctionType) -> Iterator[Mutant]:
    """Every mutant of a function, each difference once."""
    tree, wrapped = _parse(function)
    original, seen = _lines(wrapped), set()
    for change in _changes(wrapped):
        with change():
            lines = _lines(wrapped)
            before, after = _difference(original, lines)
            if lines == original or (before, after, tuple(lines)) in seen:
                continue
            seen.add((before, after, tuple(lines)))
            code = _compile(tree, wrapped, function)
        yield Mutant(function.__qualname__, before, after, code)


@contextmanager
def planted(function: FunctionType, code: CodeType) -> Iterator[None]:
    """The function with other code, wherever it is referred to; as it was afterwards."""
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


def _parse(function: FunctionType) -> tuple[ast.Module, ast.FunctionDef]:
    """The function inside another one that has its free variables, and the function itself."""
    source = textwrap.dedent(inspect.getsource(function))
    inner = ast.parse(source).body[0]
    assert isinstance(inner, ast.FunctionDef)
    inner.decorator_list = []
    inner.args.defaults = [ast.Constant(None) for _ in inner.args.defaults]
    inner.args.kw_defaults = [None if d is None else ast.Constant(None) for d in inner.args.kw_defaults]
    for node in ast.walk(inner):
        if isinstance(node, ast.arg):
            node.annotation = None
    inner.returns = None
    free = ", ".join(function.__code__.co_freevars)
    outer = ast.parse(f"def _outer({free}):\n    pass").body[0]
    assert isinstance(outer, ast.FunctionDef)
    outer.body = [inner]
    return ast.fix_missing_locations(ast.Module([outer], [])), inner


def _compile(tree: ast.Module, inner_tree: ast.FunctionDef, function: FunctionType) -> CodeType:
    kept = [ast.Expr(ast.Name(name, ast.Load())) for name in function.__code__.co_freevars]
    inner_tree.body += kept  # only code with the same free variables can take the place of the function's
    module = compile(ast.fix_missing_locations(tree), f"<mutant of {function.__qualname__}>", "exec")
    del inner_tree.body[len(inner_tree.body) - len(kept) :]
    outer = next(code for code in module.co_consts if isinstance(code, CodeType))
    inner = next(code for code in outer.co_consts if isinstance(code, CodeType))
    return inner


def _lines(function: ast.FunctionDef) -> list[str]:
    return ast.unparse(function).splitlines()


def _difference(old: list[str], new: list[str]) -> tuple[str, str]:
    """The lines that differ, without those that both begin and end with."""
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    left, right = old[start:], new[start:]
    while left and right and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return tuple("; ".join(line.strip() for line in lines) for lines in (left, right))  # type: ignore[return-value]


Change = Callable[[], Any]


def _changes(function: ast.FunctionDef) -> Iterator[Change]:
    """Contexts in each of which the tree is changed in one place."""
    skipped = _skipped(function)
    for parent in ast.walk(function):
        if id(parent) in skipped:
            continue
        for name, value in ast.iter_fields(parent):
            if parent is function and name != "body":
                continue
            places = [(value, None)] if isinstance(value, ast.AST) else []
            places += [(child, i) for i, child in enumerate(value)] if isinstance(value, list) else []
            for child, index in places:
                if isinstance(child, ast.AST) and id(child) not in skipped:
                    for other in _replacements(child, parent, name):
                        yield lambda p=parent, n=name, i=index, o=other: _put(p, n, i, o)


@contextmanager
def _put(parent: ast.AST, name: str, index: int | None, other: ast.AST) -> Iterator[None]:
    holder: Any = getattr(parent, name)
    before = holder if index is None else holder[index]
    if index is None:
        setattr(parent, name, other)
    else:
        holder[index] = other
    try:
        yield
    finally:
        if index is None:
            setattr(parent, name, before)
        else:
            holder[index] = before


def _skipped(function: ast.FunctionDef) -> set[int]:
    """What says nothing that is computed: docstrings, assertions, annotations, the assertion `strict`."""
    dead: list[ast.AST] = [node for node in ast.walk(function) if isinstance(node, ast.Assert)]
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        dead.append(first)
    dead += [node.annotation for node in ast.walk(function) if isinstance(node, ast.AnnAssign)]
    dead += [k for node in ast.walk(function) if isinstance(node, ast.Call) for k in node.keywords if k.arg == "strict"]
    return {id(inner) for node in dead for inner in ast.walk(node)}


def _replacements(node: ast.AST, parent: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in place of a node."""
    if isinstance(node, ast.stmt):
        yield from _statements(node)
    elif isinstance(node, ast.BinOp):
        yield from _binary(node)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in COMPARE.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Slice):
        if (node.lower is None) != (node.upper is None):
            yield ast.Slice(node.upper, node.lower, node.step)
    elif isinstance(node, ast.Attribute):
        if node.attr == "T":
            yield node.value
        yield from (ast.Attribute(node.value, other, node.ctx) for other in _kin(node.attr) if not _form(parent))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and not _form(parent):
        yield from (ast.Name(other, node.ctx) for other in _kin(node.id))
    negated = isinstance(node, ast.expr) and field == "value"
    if negated and isinstance(parent, ast.Assign | ast.AugAssign | ast.Return) and not isinstance(node, ast.Tuple):
        yield ast.UnaryOp(ast.USub(), node)


def _form(parent: ast.AST) -> bool:
    """Whether only the length, shape or dtype of a name is asked for, which those of its kind share."""
    if isinstance(parent, ast.Call):
        return isinstance(parent.func, ast.Name) and parent.func.id == "len"
    return isinstance(parent, ast.Attribute) and parent.attr in ("shape", "dtype")


def _kin(name: str) -> Iterator[str]:
    for one, other in NAMES:
        if name in (one, other):
            yield other if name == one else one


def _binary(node: ast.BinOp) -> Iterator[ast.AST]:
    for other in BINARY.get(type(node.op), ()):
        yield ast.BinOp(node.left, other(), node.right)
    yield node.left
    yield node.right
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.op, ast.MatMult):
        yield ast.BinOp(_transposed(node.left), node.op, node.right)
        yield ast.BinOp(node.left, node.op, _transposed(node.right))


def _transposed(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Attribute) and node.attr == "T" else ast.Attribute(node, "T", ast.Load())


def _constants(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if value:
            yield ast.Constant(value - 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 1.5 if value else 1.0)
    elif isinstance(value, str) and value in LAYOUTS:
        yield ast.Constant(LAYOUTS[value])


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for other in FUNCTIONS.get(name, ()):
        plain = isinstance(node.func, ast.Name)
        func = ast.Name(other, ast.Load()) if plain else ast.Attribute(node.func.value, other, ast.Load())
        yield ast.Call(func, node.args, node.keywords)
    if name in SWAPPED_ARGUMENTS and len(node.args) > max(SWAPPED_ARGUMENTS[name]):
        i, j = SWAPPED_ARGUMENTS[name]
        arguments = list(node.args)
        arguments[i], arguments[j] = arguments[j], arguments[i]
        yield ast.Call(node.func, arguments, node.keywords)
    if name in PRODUCTS:
        for i, argument in enumerate(node.args):
            arguments = [*node.args[:i], _transposed(argument), *node.args[i + 1 :]]
            yield ast.Call(node.func, arguments, node.keywords)
    for i in range(len(node.keywords)):
        if node.keywords[i].arg not in (None, "strict"):
            yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    """A statement left out; a condition that always holds or is turned round; another way to assign."""
    yield ast.Pass()
    if isinstance(node, ast.If):
        yield ast.If(ast.Constant(True), node.body, node.orelse)
        yield ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    if isinstance(node, ast.AugAssign):
        others = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
        if type(node.op) in others:
            yield ast.AugAssign(node.target, others[type(node.op)](), node.value)
        yield ast.Assign([node.target], node.value, lineno=0)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript) and len(node.targets) == 1:
        yield ast.AugAssign(node.targets[0], ast.Add(), node.value)

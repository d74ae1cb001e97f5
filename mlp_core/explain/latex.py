"""Explanations as LaTeX: a complete document, or the same formulas in Markdown."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator

from mlp_core.explain.formula import Equation, Explanation, Line, Loop, Note

_HEAD = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[a4paper,margin=22mm]{geometry}
\usepackage{amsmath,amssymb}
\setlength{\parindent}{0pt}
\allowdisplaybreaks
"""
_LEGEND = (
    "One training step, in the order in which it is computed. Rows are samples, the shape of a result stands on the "
    "right, $\\odot$ and fractions work entry by entry. $\\mathrm{d}A$ is the derivative of the loss by $A$, and "
    "$\\Delta^{[l]}$ that by $Z^{[l]}$. In sentences W[1] stands for $W^{[1]}$, gamma for $\\gamma$."
)
_GREEK = (
    *("Delta", "theta", "alpha", "beta", "gamma", "rho", "sigma", "Phi", "phi", "pi", "mu", "eta"),
    *("kappa", "tau", "omega"),
)
_SYMBOLS = {name: rf"\{name}" for name in _GREEK} | {
    "lr": r"\eta",
    "lr_scale": r"s_{\eta}",
    "eta": r"\eta'",
    "eps": r"\varepsilon",
    "beta1": r"\beta_1",
    "beta2": r"\beta_2",
    "rows": r"\ell",
    "loss": r"\mathcal{L}",
    "m_hat": r"\hat{m}",
    "v_hat": r"\hat{v}",
    "rho_inf": r"\rho_\infty",
    "mean": r"\mu",
    "var": r"\nu",
    "running_mean": r"\bar{\mu}",
    "running_var": r"\bar{\nu}",
    "df": "f'",
    "dT": "T'",
    "pt": "p_t",
}
_SCALARS = frozenset(
    (
        *("lr", "eta", "mu", "beta1", "beta2", "eps", "rho", "rho_inf", "t", "z", "gamma", "x", "step", "share"),
        *("keep", "loss", "total", "product", "c", "known", "limit", "r", "rate", "curvature", "base", "pi", "i"),
        *("decay", "kappa", "tau", "n", "final", "fade_p", "fade_w"),
    )
)
_FUNCTIONS = {"exp": r"\exp", "log": r"\log", "tanh": r"\tanh", "cosh": r"\cosh", "sin": r"\sin", "cos": r"\cos"}
_FUNCTIONS |= {"log2": r"\log_2", "maximum": r"\max", "minimum": r"\min", "sum": r"\sum"}
_FUNCTIONS |= {f"sum_{side}": rf"\sum\nolimits_{{\mathrm{{{side}}}}}" for side in ("rows", "cols")}
_FUNCTIONS |= {f"mean_{side}": rf"\operatorname{{mean}}_{{\mathrm{{{side}}}}}" for side in ("rows", "cols")}
_FUNCTIONS["max_cols"] = r"\max\nolimits_{\mathrm{cols}}"
_AROUND = {"sqrt": (r"\sqrt{", "}"), "abs": (r"\left|", r"\right|")}
_AROUND |= {"norm": (r"\lVert ", r" \rVert"), "floor": (r"\lfloor ", r" \rfloor")}
_COMPARE = {ast.Gt: ">", ast.Lt: "<", ast.GtE: r"\ge", ast.LtE: r"\le", ast.Eq: "="}
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


def document(explanation: Explanation) -> str:
    """A complete LaTeX document."""
    head = [_HEAD + r"\begin{document}", rf"\section*{{{_escape(explanation.title)}}}", _LEGEND]

    def heading(title: str) -> str:
        return rf"\subsection*{{{_escape(title)}}}"

    parts = _parts(explanation, heading, _escape, "\\begin{align*}\n", "\n\\end{align*}")
    return "\n\n".join([*head, *parts, r"\end{document}"]) + "\n"


def markdown(explanation: Explanation) -> str:
    """Markdown with formulas between dollar signs, as many viewers show them."""

    def sentence(words: str) -> str:
        return re.sub(r"([*_\[\]])", r"\\\1", words)

    parts = _parts(explanation, "## {}".format, sentence, "$$\n\\begin{aligned}\n", "\n\\end{aligned}\n$$")
    return "\n\n".join([f"# {explanation.title}", _LEGEND, *parts]) + "\n"


def _parts(
    explanation: Explanation, heading: Callable[[str], str], sentence: Callable[[str], str], begin: str, end: str
) -> Iterator[str]:
    """Headings, sentences, and between these what stands on one display: runs of equations."""
    for section in explanation.sections:
        yield heading(section.title)
        for spoken, lines in itertools.groupby(section.lines, lambda line: isinstance(line, Note)):
            if spoken:
                yield from (sentence(line.words) for line in lines if isinstance(line, Note))
            else:
                yield begin + " \\\\\n".join(row for line in lines for row in _rows(line)) + end


def _rows(line: Line) -> Iterator[str]:
    if isinstance(line, Loop):
        over = line.over.replace("..", r"\dots") if line.over[0].isdigit() else rf"\text{{{line.over}}}"
        over = over.replace(" .. ", r" $\dots$ ")
        for equation in line.equations:
            yield f"{_row(equation)} && {latex(line.index)} = {over}"
    elif isinstance(line, Equation):
        shape = " \\times ".join(map(str, line.shape or ()))
        yield f"{_row(line)} && [{shape}]" if shape else _row(line)


def _row(equation: Equation) -> str:
    return f"{latex(equation.target)} &= {latex(equation.value)}"


def _escape(words: str) -> str:
    """A sentence as LaTeX text."""
    words = re.sub(r"([#$%&_{}])", r"\\\1", words.replace("\\", r"\textbackslash "))
    return words.replace("->", r"$\to$").replace("^", r"\textasciicircum{}").replace("~", r"\textasciitilde{}")


def latex(expression: str) -> str:
    """An expression of the formulas as LaTeX."""
    return _tex(ast.parse(expression, mode="eval").body)[0]


def _tex(node: ast.expr) -> tuple[str, int]:
    """The LaTeX of an expression, and how strongly it binds."""
    match node:
        case ast.Constant():
            return _number(node.value), _ATOM
        case ast.Name():
            return _name(node.id), _ATOM
        case ast.Attribute(value=value):
            return rf"{{{_wrap(value, _POWER)}}}^{{\top}}", _POWER
        case ast.Subscript(value=value, slice=index):
            return _subscript(value, index), _POWER
        case ast.UnaryOp(operand=operand):
            return f"-{_wrap(operand, _PRODUCT)}", _SUM
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"{_tex(left)[0]} {_COMPARE[type(op)]} {_tex(right)[0]}", _SUM
        case ast.Tuple(elts=elements):
            return rf"\left({', '.join(_tex(e)[0] for e in elements)}\right)", _ATOM
        case ast.BinOp():
            return _binary(node)
        case ast.Call(func=func, args=arguments):
            return _call(func, arguments)
    raise TypeError(f"no LaTeX for {ast.dump(node)}")


def _wrap(node: ast.expr, least: int) -> str:
    """The LaTeX of an operand, in parentheses where it binds less than `least`."""
    tex, binds = _tex(node)
    return tex if binds >= least else rf"\left({tex}\right)"


def _binary(node: ast.BinOp) -> tuple[str, int]:
    left, right = node.left, node.right
    match node.op:
        case ast.Add():
            return f"{_wrap(left, _SUM)} + {_wrap(right, _SUM)}", _SUM
        case ast.Sub():
            return f"{_wrap(left, _SUM)} - {_wrap(right, _PRODUCT)}", _SUM
        case ast.Div():
            return rf"\frac{{{_tex(left)[0]}}}{{{_tex(right)[0]}}}", _PRODUCT
        case ast.Pow():
            return rf"{_wrap(left, _ATOM)}^{{{_tex(right)[0]}}}", _POWER
        case ast.MatMult():
            return rf"{_wrap(left, _PRODUCT)} \, {_wrap(right, _PRODUCT)}", _PRODUCT
        case ast.Mod():
            return rf"{_wrap(left, _PRODUCT)} \bmod {_wrap(right, _POWER)}", _PRODUCT
    both = isinstance(right, ast.Constant)
    sign = r"\cdot" if both else r"\," if _scalar(left) or _scalar(right) else r"\odot"
    return f"{_wrap(left, _PRODUCT)} {sign} {_wrap(right, _PRODUCT)}", _PRODUCT


def _scalar(node: ast.expr) -> bool:
    """Whether an expression is a plain number, so that a product with it needs no sign."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    calls = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
    called = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and id(n) in calls}
    arrays = any(isinstance(n, ast.Subscript) for n in ast.walk(node))
    return not arrays and all(name in _SCALARS or name in called for name in names)


def _subscript(value: ast.expr, index: ast.expr) -> str:
    if isinstance(index, ast.Tuple):  # columns of an array
        return f"{{{_wrap(value, _ATOM)}}}_{{{ast.unparse(index).strip('()')}}}"
    if isinstance(index, ast.Name) and index.id == "other":
        return f"{_tex(value)[0]}_{{\\mathrm{{other}}}}"
    base = _tex(value)[0]
    return f"{{{base}}}^{{[{_tex(index)[0]}]}}" if "^" in base else f"{base}^{{[{_tex(index)[0]}]}}"


def _call(func: ast.expr, arguments: list[ast.expr]) -> tuple[str, int]:
    inside = [_tex(argument)[0] for argument in arguments]
    name = func.id if isinstance(func, ast.Name) else ""
    if name == "where":
        cases = rf"{inside[1]} & \text{{if }} {inside[0]} \\ {inside[2]} & \text{{else}}"
        return rf"\begin{{cases}} {cases} \end{{cases}}", _PRODUCT
    if name in _AROUND:
        return inside[0].join(_AROUND[name]), _ATOM
    known = name in _FUNCTIONS or name in _SYMBOLS or len(name) == 1 or not name
    head = _FUNCTIONS.get(name) or (_tex(func)[0] if known else rf"\operatorname{{{name.replace('_', ' ')}}}")
    return rf"{head}\left({', '.join(inside)}\right)", _POWER


def _name(name: str) -> str:
    if name in _SYMBOLS:
        return _SYMBOLS[name]
    if len(name) > 1 and name[0] == "d" and (name[1:] in _SYMBOLS or len(name) == 2):
        return rf"\mathrm{{d}}{_name(name[1:])}"
    return name if len(name) == 1 else rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def _number(value: object) -> str:
    mantissa, _, exponent = str(value).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa

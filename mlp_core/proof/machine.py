"""A machine that carries out the equations of an explanation on plain numpy arrays, knowing nothing of the engine."""

from __future__ import annotations

import ast
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from types import CodeType
from typing import Any

import numpy as np

from mlp_core.explain.formula import Equation, Line, Loop

Part = tuple[str, int, slice, tuple[int, ...]]
"""A tensor of the network in the parameter vector: its letter, the number of its layer, where it is, its shape."""

_erf = np.frompyfunc(math.erf, 1, 1)


def _repeat(f: Callable[[Any], Any], times: int, x: Any) -> Any:
    """f applied again and again; on the transpose where that has fewer rows."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(times):
        x = f(x)
    return x.T if tall else x


def _part(M: Any, count: int, i: int) -> Any:
    """Block i of the `count` on the diagonal of M."""
    high, wide = M.shape[0] // count, M.shape[1] // count
    return M[i * high : (i + 1) * high, i * wide : (i + 1) * wide]


def _blocks(V: Any) -> Any:
    """The matrix with V[0], V[1], ... on its diagonal."""
    M = np.zeros((V.shape[0] * V.shape[1], V.shape[0] * V.shape[2]))
    for i, block in enumerate(V):
        _part(M, len(V), i)[...] = block
    return M


FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in ("exp", "log", "tanh", "cosh", "sin", "cos", "sqrt", "abs", "sign")},
    **{name: getattr(np, name) for name in ("maximum", "minimum", "where", "clip", "floor", "pi", "dot")},
    "erf": lambda z: np.asarray(_erf(z), np.float64),
    "sum": np.sum,
    "sum_rows": lambda x: np.sum(x, axis=0, keepdims=True),
    "sum_cols": lambda x: np.sum(x, axis=1, keepdims=True),
    "mean_rows": lambda x: np.mean(x, axis=0, keepdims=True),
    "mean_cols": lambda x: np.mean(x, axis=1, keepdims=True),
    "max_cols": lambda x: np.max(x, axis=1, keepdims=True),
    "norm": lambda x: np.sqrt(np.sum(np.square(x))),
    "row": lambda *values: np.array([values]),
    "columns": lambda *parts: np.concatenate(parts, axis=1),
    "repeat_cols": lambda Y, times: np.repeat(Y, times, axis=1),
    "vector": lambda *parts: np.concatenate([np.ravel(part) for part in parts]),
    "one_hot": lambda codes, words: np.eye(words)[np.clip(np.rint(codes), 0, words - 1).astype(int)],
    "log2": np.log2,
    "flat": lambda x: np.reshape(x, (1, -1)),
    "blocks": _blocks,
    "diagonal": lambda M, count: np.stack([_part(M, count, i) for i in range(count)]),
    "sum_groups": lambda x, size: np.reshape(x, (len(x), -1, size)).sum(axis=2),
    "longer": lambda W: max(W.shape),
    "repeat": _repeat,
    "passed": lambda milestones, epoch: sum(epoch >= milestone for milestone in milestones),
    "range": range,
    "len": len,
    "reversed": reversed,
}
"""What the equations call, by the names that they have there."""


@functools.cache
def _code(expression: str) -> CodeType:
    """An equation's side as code. Raises ValueError for what is no arithmetic: it reaches no part of a value but its T.

    Without attributes and texts nothing that the machine does not know can be named, whoever wrote the equation.
    """
    tree = ast.parse(expression, "<formula>", "eval")
    for node in ast.walk(tree):
        named = isinstance(node, ast.Attribute) and node.attr != "T"
        if named or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            raise ValueError(f"no equation: {expression[:200]}")
    return compile(tree, "<formula>", "eval")


class Machine(dict[str, Any]):
    """Names and their values; `run` carries out equations one after the other, as they stand.

    The tensors of the network are parts of theta, which is written in place, and their gradients become parts of g;
    `parts` says which. `free` are the entries of theta that muon leaves to adam: `rest`, with gradient `drest`.
    """

    def __init__(self, theta: Any, parts: Sequence[Part], **values: Any) -> None:
        super().__init__({**FUNCTIONS, **values, "theta": theta})
        self.parts = parts
        products = [number for letter, number, *_ in parts if letter == "W"]
        taken = np.zeros(theta.size, bool)
        for letter, number, place, _ in parts:
            taken[place] |= letter == "E" or (letter == "W" and number < max(products))
        self.free = np.flatnonzero(~taken)
        self["rest_of"] = lambda vector: vector[self.free]
        self["first"] = self._first
        self._letters = {letter for letter, *_ in parts}
        self._bind("", theta)

    def _bind(self, prefix: str, vector: Any) -> None:
        """Let the letters of the tensors stand for their parts of a vector."""
        for letter, number, place, shape in self.parts:
            self.setdefault(prefix + letter, {})[number] = vector[place].reshape(shape)

    def _first(self, vector: Any, tensor: Any) -> Any:
        """The entry of a vector as long as theta at the place where a tensor of theta begins."""
        offset = tensor.__array_interface__["data"][0] - self["theta"].__array_interface__["data"][0]
        return vector[offset // self["theta"].itemsize]

    def __getitem__(self, name: str) -> Any:
        if name in ("rest", "drest"):
            return super().__getitem__("theta" if name == "rest" else "g")[self.free]
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "theta":
            self["theta"][...] = value
        elif name == "rest":
            self["theta"][self.free] = value
        else:
            super().__setitem__(name, value)
        if name == "g":
            self._bind("d", value)

    def value(self, expression: str) -> Any:
        """What an expression is worth now."""
        return eval(_code(expression), {"__builtins__": {}}, self)

    def run(self, lines: Iterable[Line]) -> None:
        """Carry out equations in their order; sentences between them say nothing to a machine."""
        with np.errstate(all="ignore"):
            for line in lines:
                if isinstance(line, Loop):
                    for value in list(self.value(line.source)):
                        self[line.index] = value
                        for equation in line.equations:
                            self.assign(equation)
                elif isinstance(line, Equation):
                    self.assign(line)

    def assign(self, equation: Equation) -> None:
        """target = value; a call as target defines a function of its argument."""
        target, value = equation.target, equation.value
        if target.endswith(")"):
            head, argument = target[:-1].rsplit("(", 1)
            self.store(head, lambda z: _Inside(self, argument, z).value(value))
        else:
            self.store(target, self.value(value))

    def store(self, target: str, value: Any) -> None:
        """Give a name, or a letter with its number, a value."""
        if not target.endswith("]"):
            self[target] = value
            return
        name, index = target[:-1].split("[")
        number = self[index] if index in self else int(index)
        if name in self._letters:  # a part of theta
            self[name][number][...] = value
        else:
            self.setdefault(name, {})[number] = value


class _Inside(Machine):
    """The names of a machine with one more, the argument of a function."""

    def __init__(self, outer: Machine, argument: str, value: Any) -> None:
        dict.__init__(self, {**outer, argument: value})

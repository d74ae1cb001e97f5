"""A machine that runs the equations an explanation shows, on plain numpy, knowing nothing of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mlp_core.explain import Equation, Loop


def _erf(z: Any) -> Any:
    return np.vectorize(math.erf)(z)


def _sum(x: Any) -> Any:
    return np.sum(x)


def _row_norm(x: Any) -> Any:
    return np.sqrt(np.sum(np.square(x)))


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
    "erf": _erf,
    "sum": _sum,
    "sum_rows": lambda x: np.sum(x, axis=0, keepdims=True),
    "sum_cols": lambda x: np.sum(x, axis=1, keepdims=True),
    "mean_rows": lambda x: np.mean(x, axis=0, keepdims=True),
    "mean_cols": lambda x: np.mean(x, axis=1, keepdims=True),
    "norm": _row_norm,
    "row": lambda *values: np.array([values]),
    "columns": lambda *parts: np.concatenate(parts, axis=1),
    "repeat_cols": lambda Y, times: np.repeat(Y, times, axis=1),
    "vector": lambda *parts: np.concatenate([np.ravel(part) for part in parts]),
    "one_hot": lambda codes, words: np.eye(words)[codes.astype(int)],
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
LAYERED = (
    *(
        "W",
        "E",
        "C",
        "S",
        "U",
        "b",
        "Z",
        "N",
        "A",
        "D",
        "R",
        "M",
        "H",
        "B",
        "O",
        "f",
        "df",
        "mean",
        "var",
        "running_mean",
        "running_var",
    ),
    *("F", "Q", "V", "K", "I", "L", "dF", "dQ", "dV", "dK", "dI", "dL", "dC", "dS"),
    *("gamma", "beta", "alpha", "Delta", "dW", "dE", "db", "dN", "dA", "dD", "dR", "dH", "dgamma", "dbeta", "dalpha"),
)


class Machine(dict[str, Any]):
    """Names and their values; `run` carries out equations one after the other, as they stand.

    The tensors of the network are parts of theta, which is written in place, and their gradients become parts of g;
    `parts` gives their letter, layer, place in the vector and shape. `rest` is what muon leaves to adam.
    """

    def __init__(self, theta: Any, parts: Sequence[tuple[str, int, slice, tuple[int, ...]]], **values: Any) -> None:
        super().__init__({**FUNCTIONS, **{name: {} for name in LAYERED}, **values, "theta": theta})
        self.parts = parts
        matrices = [
            place
            for letter, index, place, _ in parts
            if letter == "E" or (letter == "W" and index < max(p[1] for p in parts if p[0] == "W"))
        ]
        taken = np.zeros(theta.size, bool)
        for place in matrices:
            taken[place] = True
        self.free = np.flatnonzero(~taken)
        self._bind("", theta)

    def _bind(self, prefix: str, vector: Any) -> None:
        for letter, index, place, shape in self.parts:
            dict.__getitem__(self, prefix + letter)[index] = vector[place].reshape(shape)

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
        with np.errstate(all="ignore"):
            return eval(expression, {"__builtins__": {}}, self)

    def run(self, lines: Iterable[Any]) -> None:
        for line in lines:
            if isinstance(line, Loop):
                for value in list(self.value(line.source)):
                    self[line.index] = value
                    self.run(line.equations)
            elif isinstance(line, Equation):
                self.assign(line)

    def assign(self, equation: Equation) -> None:
        """target = value; a call as target defines a function of its argument."""
        target, value = equation.target, equation.value
        if target.endswith(")"):
            head, argument = target[:-1].rsplit("(", 1)
            self.store(head, lambda z: Local(self, argument, z).value(value))
            return
        result = self.value(value)
        self.store(target, result)
        if equation.shape is not None:
            shape = np.shape(self.value(target))
            assert math.prod(shape) == math.prod(equation.shape), f"{target} has shape {shape}, not {equation.shape}"

    def store(self, target: str, value: Any) -> None:
        if not target.endswith("]"):
            self[target] = value
            return
        name, index = target[:-1].split("[")
        if name in ("W", "E"):  # a part of theta
            self[name][self[index] if index in self else int(index)][...] = value
        else:
            self.setdefault(name, {})[self[index] if index in self else int(index)] = value


class Local(Machine):
    """The names of a machine with one more, the argument of a function."""

    def __init__(self, outer: Machine, argument: str, value: Any) -> None:
        dict.__init__(self, {**outer, argument: value})

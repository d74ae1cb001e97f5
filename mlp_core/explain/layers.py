"""The forward and backward equations of each layer, one under the other, as the engine's layers have them.

Letters for layer l: Z the matrix product with its bias, N after a norm, A after the activation, D after dropout, R
after the skip connection. The derivative of the loss by such an array is called Delta[l] for Z, else dN[l], dA[l], ...
`error` is the expression of dLoss/d(output), from which a layer's backward goes on to dLoss/d(input).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlp_core.explain.activations_norms import FUNCTIONS, NORMS
from mlp_core.explain.formula import Equation, Line, Note, fill
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, PRelu
from mlp_core.nn.norm import Norm
from mlp_core.nn.parametric import Parametric

Lines = list[Line]


def derivative(symbol: str) -> str:
    """The name of dLoss/d(symbol)."""
    return symbol.replace("Z", "Delta", 1) if symbol.startswith("Z") else f"d{symbol}"


def chance(p: float, fading: bool) -> str:
    """The probability of dropout in a step, as an expression."""
    return f"{p!r} * fade_p" if fading else f"{p!r}"


def _divided(layer: Dense) -> str:
    """What a product of a layer is divided by."""
    return f" / sqrt({layer.inputs})" if layer.ntk else ""


@dataclass
class Chain:
    """The layers that belong to one matrix product, number l, for `rows` rows.

    `source` is the symbol of their input, `output` that of the last one, `inner` that before the skip connection;
    `known` holds the helpers already defined. `fading`: a schedule leaves but the share `fade_p` of dropout.
    """

    l: int  # noqa: E741 - the letter of the derivation
    rows: int
    source: str
    layers: list[Layer]
    residual: bool
    known: set[str]
    fading: bool = False
    inputs: dict[int, str] = field(default_factory=dict)
    output: str = ""
    inner: str = ""
    slope: str = ""

    def forward(self) -> Lines:
        """Equations from `source` to `output`."""
        lines: Lines = []
        self.output = self.source
        for layer in self.layers:
            self.inputs[layer.index] = self.output
            lines += _WAYS[type(layer)][0](self, layer, self.output)
        self.inner = self.output
        if self.residual:
            lines.append(Equation(self._at("R"), f"{self.source} + {self.inner}", self._shape(), "skip connection"))
            self.output = self._at("R")
        return lines

    def backward(self, error: str) -> tuple[Lines, str]:
        """Equations from `error` at the output to the gradients; and the error at `source`."""
        lines, skip = Lines(), self._at("dR")
        if self.residual:
            lines, error = self._named(skip, error), skip
        for layer in reversed(self.layers):
            more, error = _WAYS[type(layer)][1](self, layer, self.inputs[layer.index], error)
            lines += more
        return lines, f"{error} + {skip}" if self.residual else error

    def _at(self, letter: str) -> str:
        return f"{letter}[{self.l}]"

    def _shape(self) -> tuple[int, int]:
        dense = next(layer for layer in self.layers if isinstance(layer, Dense))
        return (self.rows, dense.units)

    def _dense(self, layer: Dense, x: str) -> Lines:
        W, b, Z = self._at("W"), self._at("b"), self._at("Z")
        bias, self.output = f" + {b}" if layer.has_bias else "", Z
        product = Equation(Z, f"{x} @ {W}.T{_divided(layer)}{bias}", (self.rows, layer.units))
        return [product] if layer.f is None else [product, *self._activate(layer, Z)]

    def _dense_back(self, layer: Dense, x: str, error: str) -> tuple[Lines, str]:
        lines: Lines = []
        if layer.f is not None:
            lines, error = self._activate_back(layer, self._at("Z"), error)
        Delta = self._at("Delta")
        lines += self._named(Delta, error)
        lines.append(Equation(self._at("dW"), f"{Delta}.T @ {x}{_divided(layer)}", (layer.units, layer.inputs)))
        if layer.has_bias:
            lines.append(Equation(self._at("db"), f"sum_rows({Delta})", (layer.units,)))
        return lines, f"{Delta} @ {self._at('W')}{_divided(layer)}"

    def _activate(self, layer: Any, x: str) -> Lines:
        f = layer.f
        return [] if f.name == "identity" else self._function(f.name, getattr(f, "alpha", 0), x)

    def _define(self, name: str, alpha: str | float) -> Lines:
        """f[l] and what it needs; its slope is kept for the way back."""
        formula, f = FUNCTIONS[name], self._at("f")
        lines: Lines = [Equation(*pair) for pair in formula.helpers if pair[0] not in self.known]
        self.known.update(target for target, _ in formula.helpers)
        self.slope = fill(formula.slope, f=f, alpha=alpha)
        return [*lines, Equation(f"{f}(z)", fill(formula.f, alpha=alpha), None, name)]

    def _function(self, name: str, alpha: str | float, x: str) -> Lines:
        self.output = self._at("A")
        return [*self._define(name, alpha), Equation(self.output, f"{self._at('f')}({x})", self._shape())]

    def _parametric(self, layer: Parametric, x: str) -> Lines:
        self.output = self._at("A")
        value = f"{x} + {self._at('alpha')} * ({self._at('f')}({x}) - {x})"
        defined = self._define(layer.f.name, getattr(layer.f, "alpha", 0))
        return [*defined, Equation(self.output, value, self._shape(), "alpha is learned")]

    def _parametric_back(self, layer: Parametric, x: str, error: str) -> tuple[Lines, str]:
        dA, dx, f, df = self._at("dA"), derivative(x), self._at("f"), self._at("df")
        lines = self._named(dA, error)
        lines.append(Equation(self._at("dalpha"), f"sum_rows({dA} * ({f}({x}) - {x}))", (layer.units,)))
        lines.append(Equation(f"{df}(z)", self.slope))
        value = f"{dA} * (1 + {self._at('alpha')} * ({df}({x}) - 1))"
        return [*lines, Equation(dx, value, self._shape())], dx

    def _activate_back(self, layer: Any, x: str, error: str) -> tuple[Lines, str]:
        return ([], error) if layer.f.name == "identity" else self._slope_times(x, error)

    def _slope_times(self, x: str, error: str) -> tuple[Lines, str]:
        df, dx = self._at("df"), derivative(x)
        value = fill("error * df(x)", error=error, df=df, x=x)
        return [Equation(f"{df}(z)", self.slope), Equation(dx, value, self._shape())], dx

    def _prelu(self, layer: PRelu, x: str) -> Lines:
        return [Note(f"{self._at('alpha')} is trained."), *self._function("prelu", self._at("alpha"), x)]

    def _prelu_back(self, layer: PRelu, x: str, error: str) -> tuple[Lines, str]:
        dA = self._at("dA")
        slope = Equation(self._at("dalpha"), f"sum(where({x} > 0, 0, {dA} * {x}))", ())
        lines, dx = self._slope_times(x, dA)
        return [*self._named(dA, error), slope, *lines], dx

    def _named(self, symbol: str, error: str) -> Lines:
        """An equation that gives the error a name, unless it is one."""
        return [] if symbol == error else [Equation(symbol, error, self._shape())]

    def _letters(self, x: str) -> dict[str, str]:
        names = ("H", "mean", "var", "gamma", "beta", "dH", "running_mean", "running_var")
        return {name: self._at(name) for name in names} | {"x": x}

    def _norm(self, layer: Norm, x: str) -> Lines:
        formula, names = NORMS[layer.kind], self._letters(x)
        numbers: dict[str, str | float] = {"eps": layer.eps, "momentum": layer.momentum}
        statistic = (1, layer.units) if layer.kind == "batch" else (self.rows, 1)
        lines: Lines = [Equation(names[key], fill(value, **names), statistic) for key, value in formula.statistics]
        lines.append(Equation(names["H"], fill(formula.H, **names, **numbers), self._shape(), f"{layer.kind} norm"))
        numbers["unbiased"] = f"{self.rows} / {self.rows - 1}"
        for key, value in formula.running if self.rows > 1 else ():  # one row has no variance
            lines.append(Equation(names[key], fill(value, **names, **numbers), (layer.units,), "for evaluation"))
        self.output = self._at("N")
        return [*lines, Equation(self.output, fill(formula.N, **names), self._shape())]

    def _norm_back(self, layer: Norm, x: str, error: str) -> tuple[Lines, str]:
        formula, names, dN = NORMS[layer.kind], self._letters(x), self._at("dN")
        lines = self._named(dN, error)
        lines.append(Equation(self._at("dgamma"), f"sum_rows({dN} * {names['H']})", (layer.units,)))
        if layer.centred:
            lines.append(Equation(self._at("dbeta"), f"sum_rows({dN})", (layer.units,)))
        lines.append(Equation(names["dH"], f"{dN} * {names['gamma']}", self._shape()))
        dx = derivative(x)
        lines.append(Equation(dx, fill(formula.dx, **names, eps=layer.eps), self._shape()))
        return lines, dx

    def _dropout(self, layer: Dropout, x: str) -> Lines:
        self.output = self._at("D")
        p = chance(layer.p, self.fading)
        note = Note(f"{self._at('M')} is 0 with probability {p}, else 1: dropout, in training only.")
        return [note, Equation(self.output, f"{x} * {self._at('M')} / (1 - {p})", (self.rows, layer.units))]

    def _dropout_back(self, layer: Dropout, x: str, error: str) -> tuple[Lines, str]:
        dx = derivative(x)
        value = fill("error * M / (1 - p)", error=error, M=self._at("M"), p=chance(layer.p, self.fading))
        return [Equation(dx, value, (self.rows, layer.units))], dx


_WAYS: dict[type[Layer], tuple[Callable[..., Lines], Callable[..., tuple[Lines, str]]]] = {
    Dense: (Chain._dense, Chain._dense_back),
    Activate: (Chain._activate, Chain._activate_back),
    Parametric: (Chain._parametric, Chain._parametric_back),
    PRelu: (Chain._prelu, Chain._prelu_back),
    Norm: (Chain._norm, Chain._norm_back),
    Dropout: (Chain._dropout, Chain._dropout_back),
}
"""What each kind of layer does, forward and backward."""

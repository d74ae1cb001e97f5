"""The forward and backward equations of each layer, one under the other, as the engine's layers have them.

Letters for layer l: Z the matrix product with its bias, N after a norm, A after the activation, D after dropout, R
after the skip connection. The derivative of the loss by such an array is called Delta[l] for Z, else dN[l], dA[l], ...
`error` is the expression of dLoss/d(output), from which a layer's backward goes on to dLoss/d(input).

What stands before the first matrix product has number 0: A[0] (words looked up), N[0] (waves of numbers behind the
inputs), S[0] (scaled), D[0] (dropout). The tensors of waves are F (frequencies), Q (phases), V and K; factors are I.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlp_core.explain.activations_norms import FUNCTIONS, NORMS
from mlp_core.explain.formula import Equation, Line, Note, fill
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, PRelu
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric

Lines = list[Line]
ONLY = "for gradcheck only"


def derivative(symbol: str) -> str:
    """The name of dLoss/d(symbol)."""
    return symbol.replace("Z", "Delta", 1) if symbol.startswith("Z") else f"d{symbol}"


def chance(p: float, fading: bool) -> str:
    """The probability of dropout in a step, as an expression."""
    return f"{p!r} * fade_p" if fading else f"{p!r}"


def _use(x: str) -> str:
    """What dLoss/dx is for, where that is not the training of what stands before."""
    return ONLY if x == "X" else ""


def _divided(layer: Dense) -> str:
    """What a product of a layer is divided by."""
    return f" / sqrt({layer.inputs})" if layer.ntk else ""


@dataclass
class Chain:
    """The layers that belong to one matrix product, number l, or with l = 0 those before the first, for `rows` rows.

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

    def _shape(self, layer: Layer | None = None) -> tuple[int, int]:
        """That of what a layer gives; behind one matrix product all of them are alike."""
        return (self.rows, (layer or self.layers[0]).units)

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

    def _named(self, symbol: str, error: str, layer: Layer | None = None) -> Lines:
        """An equation that gives the error (at a layer) a name, unless it is one."""
        return [] if symbol == error else [Equation(symbol, error, self._shape(layer))]

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
        self.output, what = self._at("D"), "dropout" if self.l else "dropout of inputs"
        p = chance(layer.p, self.fading)
        note = Note(f"{self._at('M')} is 0 with probability {p}, else 1: {what}, in training only.")
        return [note, Equation(self.output, f"{x} * {self._at('M')} / (1 - {p})", self._shape(layer))]

    def _dropout_back(self, layer: Dropout, x: str, error: str) -> tuple[Lines, str]:
        dx = derivative(x)
        value = fill("error * M / (1 - p)", error=error, M=self._at("M"), p=chance(layer.p, self.fading))
        return [Equation(dx, value, self._shape(layer), _use(x))], dx

    def _factors(self, layer: InputScale, x: str) -> Lines:
        self.output = "S[0]"
        return [Equation("S[0]", f"{x} * I[0]", self._shape(layer), "learned factors")]

    def _factors_back(self, layer: InputScale, x: str, error: str) -> tuple[Lines, str]:
        dx, lines = derivative(x), self._named("dS[0]", error, layer)
        lines.append(Equation("dI[0]", f"sum_rows(dS[0] * {x})", (layer.units,)))
        return [*lines, Equation(dx, "dS[0] * I[0]", self._shape(layer), _use(x))], dx

    def _words(self, layer: Embedding, x: str) -> Lines:
        self.output, n, tables = "A[0]", layer.numbers, len(layer.tables)
        lines: Lines = [
            Note(f"The last {tables} columns of X are codes of words; row i of C[k] has a 1 at"),
            Note("the code of word k in row i, so that C[k] @ E[k] are the rows of the table E[k]."),
        ]
        for k, (words, _) in enumerate(layer.tables, 1):
            lines.append(Equation(f"C[{k}]", f"one_hot(X[:, {n + k - 1}], {words})", (self.rows, words)))
        words_of = [f"C[{k}] @ E[{k}]" for k in range(1, tables + 1)]
        parts = ", ".join([f"X[:, :{n}]", *words_of] if n else words_of)
        return [*lines, Equation("A[0]", f"columns({parts})", self._shape(layer))]

    def _words_back(self, layer: Embedding, x: str, error: str) -> tuple[Lines, str]:
        lines, start = self._named("dA[0]", error, layer), layer.numbers
        for k, (words, dim) in enumerate(layer.tables, 1):
            lines.append(Equation(f"dE[{k}]", f"C[{k}].T @ dA[0][:, {start}:{start + dim}]", (words, dim)))
            start += dim
        if layer.numbers:
            shape = (self.rows, layer.numbers)
            lines.append(Equation("dX", f"dA[0][:, :{layer.numbers}]", shape, f"numbers, {ONLY}"))
        return lines, "dX"

    def _waves(self, layer: NumericEmbedding, x: str) -> Lines:
        self.output, b = "N[0]", self.rows
        k, f, m = layer.numbers, layer.frequencies, layer.learned
        return [
            Note(f"Each of the first {k} columns gets {f} waves, and {m} numbers made of these."),
            Equation("Z[0]", f"2 * pi * repeat_cols({x}[:, :{k}], {f}) * flat(F[0]) + flat(Q[0])", (b, k * f)),
            Equation("C[0]", "cos(Z[0])", (b, k * f)),
            Equation("L[0]", "C[0] @ blocks(V[0]).T + flat(K[0])", (b, k * m)),
            Equation("N[0]", f"columns({x}, L[0])", (b, layer.units), "numeric embedding"),
        ]

    def _waves_back(self, layer: NumericEmbedding, x: str, error: str) -> tuple[Lines, str]:
        dx, b, n = derivative(x), self.rows, layer.inputs
        k, f, m = layer.numbers, layer.frequencies, layer.learned
        waves = f"dN[0][:, :{k}] + 2 * pi * sum_groups(Delta[0] * flat(F[0]), {f})"
        lines = [
            *self._named("dN[0]", error, layer),
            Equation("dL[0]", f"dN[0][:, {n}:]", (b, k * m)),
            Equation("dV[0]", f"diagonal(dL[0].T @ C[0], {k})", (k, m, f)),
            Equation("dK[0]", "sum_rows(dL[0])", (k, m)),
            Equation("dC[0]", "dL[0] @ blocks(V[0])", (b, k * f)),
            Equation("Delta[0]", "-sin(Z[0]) * dC[0]", (b, k * f)),
            Equation("dQ[0]", "sum_rows(Delta[0])", (k, f)),
            Equation("dF[0]", f"2 * pi * sum_rows(Delta[0] * repeat_cols({x}[:, :{k}], {f}))", (k, f)),
            Equation(dx, waves if k == n else f"columns({waves}, dN[0][:, {k}:{n}])", (b, n), _use(x)),
        ]
        return lines, dx


_WAYS: dict[type[Layer], tuple[Callable[..., Lines], Callable[..., tuple[Lines, str]]]] = {
    Dense: (Chain._dense, Chain._dense_back),
    Activate: (Chain._activate, Chain._activate_back),
    Parametric: (Chain._parametric, Chain._parametric_back),
    PRelu: (Chain._prelu, Chain._prelu_back),
    Norm: (Chain._norm, Chain._norm_back),
    Dropout: (Chain._dropout, Chain._dropout_back),
    InputScale: (Chain._factors, Chain._factors_back),
    Embedding: (Chain._words, Chain._words_back),
    NumericEmbedding: (Chain._waves, Chain._waves_back),
}
"""What each kind of layer does, forward and backward."""

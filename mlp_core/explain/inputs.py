"""The equations of what stands before the first matrix product: tables of words, waves of numbers, factors, dropout.

Their outputs are A[0] (words looked up), N[0] (waves of numbers behind the inputs), S[0] (scaled), D[0] (dropout). The
tensors of waves are F (frequencies), Q (phases), V and K; the factors are I.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlp_core.explain.formula import Equation, Line, Note, fill
from mlp_core.explain.layers import chance, derivative
from mlp_core.nn.data_start import MIXED, ROWS
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Dense, Dropout, Layer, Residual
from mlp_core.nn.network import Architecture, Network
from mlp_core.nn.numeric_embedding import NumericEmbedding

ONLY = "for gradcheck only"
OUTPUTS: dict[type[Layer], str] = {Embedding: "A[0]", NumericEmbedding: "N[0]", InputScale: "S[0]", Dropout: "D[0]"}
"""The symbol of what each kind of layer gives."""


def front(network: Network) -> list[Layer]:
    """The layers before the first matrix product."""
    first = next(i for i, layer in enumerate(network.layers) if isinstance(layer, Dense | Residual))
    return network.layers[:first]


def start(network: Architecture) -> Iterator[Line]:
    """How the first weights and biases were made from training rows; these are sentences, they happen but once."""
    if network.rescale:
        yield Note(
            f"Before the first step every row of W[l] was divided by the deviation of its column of Z[l] over (up to "
            f"{ROWS:,}) training rows, l = 1 .. L one after the other, biases of the layers before in place."
        )
    if network.bias_init == "data":
        yield Note(
            f"b[l] began at -(s_1 z_1 + .. + s_{MIXED} z_{MIXED}): for each hidden unit its own z of {MIXED} of these "
            "rows drawn at random, s_k exponential variables divided by their sum."
        )
    if network.bias_init == "normal":
        yield Note("b[l] of hidden layers was drawn from N(0, 1).")


class Front:
    """The equations of these layers for `rows` rows of `inputs`; `fading`: dropout has a schedule."""

    def __init__(self, layers: Sequence[Layer], rows: int, inputs: int, fading: bool) -> None:
        self.layers, self.rows, self.width, self.fading = layers, rows, inputs, fading
        self.sources: list[str] = []

    def forward(self) -> tuple[list[Line], str]:
        """What happens to X, and the symbol of the result."""
        lines: list[Line] = []
        symbol, self.sources = "X", []
        for layer in self.layers:
            self.sources.append(symbol)
            lines += self._forward(layer, symbol)
            symbol = OUTPUTS[type(layer)]
        return lines, symbol

    def backward(self, error: str) -> Iterator[Line]:
        """From dLoss/d(input of layer 1) to the gradients of the tensors, and to X."""
        for layer, x in zip(reversed(self.layers), reversed(self.sources), strict=True):
            output = derivative(OUTPUTS[type(layer)])
            if not isinstance(layer, Dropout) and error != output:
                yield Equation(output, error, (self.rows, getattr(layer, "units", 0)))
                error = output
            yield from self._backward(layer, x, error)
            error = derivative(x)

    def _forward(self, layer: Layer, x: str) -> Iterator[Line]:
        match layer:
            case Embedding():
                yield from self._words(layer)
            case NumericEmbedding():
                yield from self._waves(layer, x)
            case InputScale(units=units):
                yield Equation("S[0]", f"{x} * I[0]", (self.rows, units), "learned factors")
            case Dropout(p=p, units=units):
                yield Note(
                    f"M[0] is 0 with probability {chance(p, self.fading)}, else 1: dropout of inputs, in training only."
                )
                yield Equation("D[0]", f"{x} * M[0] / (1 - {chance(p, self.fading)})", (self.rows, units))
            case _:
                raise TypeError(f"no formula for {type(layer).__name__}")

    def _backward(self, layer: Layer, x: str, error: str) -> Iterator[Line]:
        dx, note = derivative(x), ONLY if x == "X" else ""
        match layer:
            case Embedding():
                yield from self._words_back(layer)
            case NumericEmbedding():
                yield from self._waves_back(layer, x, note)
            case InputScale(units=units):
                yield Equation("dI[0]", f"sum_rows(dS[0] * {x})", (units,))
                yield Equation(dx, "dS[0] * I[0]", (self.rows, units), note)
            case Dropout(p=p, units=units):
                value = fill("error * M[0] / (1 - p)", error=error, p=chance(p, self.fading))
                yield Equation(dx, value, (self.rows, units), note)

    def _words(self, layer: Embedding) -> Iterator[Line]:
        n, b, tables = layer.numbers, self.rows, len(layer.tables)
        yield Note(f"The last {tables} columns of X are codes of words; row i of C[k] has a 1 at")
        yield Note("the code of word k in row i, so that C[k] @ E[k] are the rows of the table E[k].")
        for k, (words, _) in enumerate(layer.tables, 1):
            yield Equation(f"C[{k}]", f"one_hot(X[:, {n + k - 1}], {words})", (b, words))
        words_of = [f"C[{k}] @ E[{k}]" for k in range(1, tables + 1)]
        parts = ", ".join([f"X[:, :{n}]", *words_of] if n else words_of)
        yield Equation("A[0]", f"columns({parts})", (b, layer.units))

    def _words_back(self, layer: Embedding) -> Iterator[Line]:
        start = layer.numbers
        for k, (words, dim) in enumerate(layer.tables, 1):
            yield Equation(f"dE[{k}]", f"C[{k}].T @ dA[0][:, {start}:{start + dim}]", (words, dim))
            start += dim
        if layer.numbers:
            shape = (self.rows, layer.numbers)
            yield Equation("dX", f"dA[0][:, :{layer.numbers}]", shape, f"numbers, {ONLY}")

    def _waves(self, layer: NumericEmbedding, x: str) -> Iterator[Line]:
        b, k, f, m = self.rows, layer.numbers, layer.frequencies, layer.learned
        yield Note(f"Each of the first {k} columns gets {f} waves, and {m} numbers made of these.")
        angle = f"2 * pi * repeat_cols({x}[:, :{k}], {f}) * flat(F[0]) + flat(Q[0])"
        yield Equation("Z[0]", angle, (b, k * f))
        yield Equation("C[0]", "cos(Z[0])", (b, k * f))
        yield Equation("L[0]", "C[0] @ blocks(V[0]).T + flat(K[0])", (b, k * m))
        yield Equation("N[0]", f"columns({x}, L[0])", (b, layer.units), "numeric embedding")

    def _waves_back(self, layer: NumericEmbedding, x: str, note: str) -> Iterator[Line]:
        b, n, k, f, m = self.rows, layer.inputs, layer.numbers, layer.frequencies, layer.learned
        yield Equation("dL[0]", f"dN[0][:, {n}:]", (b, k * m))
        yield Equation("dV[0]", f"diagonal(dL[0].T @ C[0], {k})", (k, m, f))
        yield Equation("dK[0]", "sum_rows(dL[0])", (k, m))
        yield Equation("dC[0]", "dL[0] @ blocks(V[0])", (b, k * f))
        yield Equation("Delta[0]", "-sin(Z[0]) * dC[0]", (b, k * f))
        yield Equation("dQ[0]", "sum_rows(Delta[0])", (k, f))
        yield Equation("dF[0]", f"2 * pi * sum_rows(Delta[0] * repeat_cols({x}[:, :{k}], {f}))", (k, f))
        waves = f"dN[0][:, :{k}] + 2 * pi * sum_groups(Delta[0] * flat(F[0]), {f})"
        value = waves if k == n else f"columns({waves}, dN[0][:, {k}:{n}])"
        yield Equation(derivative(x), value, (b, n), note)

"""The network of a model as C: one call for each operation, between two buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, number

# f(z) for a real z; F is the suffix of the functions of libm, R(x) a constant of the model's type
ACTIVATIONS = {
    "relu": "z > 0 ? z : 0",
    "leaky_relu": "z > 0 ? z : ALPHA * z",
    "elu": "z > 0 ? z : ALPHA * expm1F(z)",
    "selu": "R(1.0507009873554805) * (z > 0 ? z : R(1.6732632423543772) * expm1F(z))",
    "gelu": "z / 2 * (1 + erfF(z * R(0.7071067811865476)))",
    "gelu_tanh": "z / 2 * (1 + tanhF(R(0.7978845608028654) * (z + R(0.044715) * z * z * z)))",
    "silu": "z / (1 + expF(-z))",
    "mish": "z * tanhF((z > 0 ? z : 0) + log1pF(expF(-fabsF(z))))",
    "tanh": "tanhF(z)",
    "sigmoid": "1 / (1 + expF(-z))",
    "softplus": "(z > 0 ? z : 0) + log1pF(expF(-fabsF(z)))",
    "softsign": "z / (1 + fabsF(z))",
    "hard_tanh": "z < -1 ? -1 : z > 1 ? 1 : z",
    "hard_sigmoid": "z <= -3 ? 0 : z >= 3 ? 1 : z / 6 + R(0.5)",
    "hard_swish": "z <= -3 ? 0 : z >= 3 ? z : z * (z + 3) / 6",
    "sin": "sinF(z)",
}
DENSE = """
/* out = W a + b, for a of n numbers and out of m; W lies input by input, b may be NULL */
static void dense(const real *restrict a, size_t n, const real *restrict W, const real *b, size_t m, real *restrict out)
{
    size_t i, j;
    for (j = 0; j < m; j++)
        out[j] = b != NULL ? b[j] : 0;
    for (i = 0; i < n; i++) {
        const real x = a[i];
        if (x != 0)
            for (j = 0; j < m; j++)
                out[j] += x * W[i * m + j];
    }
}
"""
AFFINE = """
/* a = (a - mean) * scale + shift, number by number */
static void batch_norm(real *a, size_t n, const real *mean, const real *scale, const real *shift)
{
    size_t i;
    for (i = 0; i < n; i++)
        a[i] = (a[i] - mean[i]) * scale[i] + shift[i];
}
"""
LAYER_NORM = """
/* a = gain * (a - mean of a) / sqrt(variance of a + eps) + shift */
static void layer_norm(real *a, size_t n, const real *gain, const real *shift, double eps)
{
    double mean = 0, square = 0;
    size_t i;
    for (i = 0; i < n; i++)
        mean += (double)a[i] / (double)n;
    for (i = 0; i < n; i++)
        square += ((double)a[i] - mean) * ((double)a[i] - mean) / (double)n;
    for (i = 0; i < n; i++)
        a[i] = (real)(((double)a[i] - mean) / sqrt(square + eps)) * gain[i] + shift[i];
}
"""
RMS_NORM = """
/* a = gain * a / sqrt(mean of a^2 + eps) */
static void rms_norm(real *a, size_t n, const real *gain, double eps)
{
    double square = 0;
    size_t i;
    for (i = 0; i < n; i++)
        square += (double)a[i] * (double)a[i] / (double)n;
    for (i = 0; i < n; i++)
        a[i] = (real)((double)a[i] / sqrt(square + eps)) * gain[i];
}
"""
ACTIVATION = """
/* {what}, number by number */
static void {name}(real *a, size_t n)
{{
    size_t i;
    for (i = 0; i < n; i++) {{
        const real z = a[i];
        a[i] = {formula};
    }}
}}
"""
BLEND = """
/* a = a + alpha * (b - a), number by number */
static void blend(real *a, size_t n, const real *alpha, const real *b)
{
    size_t i;
    for (i = 0; i < n; i++)
        a[i] += alpha[i] * (b[i] - a[i]);
}
"""
MULTIPLY = """
/* a = factors * a, number by number */
static void multiply(real *a, size_t n, const real *factors)
{
    size_t i;
    for (i = 0; i < n; i++)
        a[i] *= factors[i];
}
"""
WAVES = """
/* out = d + V cos(u a + c) for each of k numbers of a: f waves of it, m sums of these */
static void waves(const real *a, size_t k, size_t f, size_t m, const real *u, const real *c, const real *V,
                  const real *d, real *out)
{
    size_t i, j, q;
    for (i = 0; i < k; i++) {
        for (j = 0; j < m; j++)
            out[i * m + j] = d[i * m + j];
        for (q = 0; q < f; q++) {
            const real wave = cosF(a[i] * u[i * f + q] + c[i * f + q]);
            for (j = 0; j < m; j++)
                out[i * m + j] += wave * V[(i * m + j) * f + q];
        }
    }
}
"""
PRELU = """
/* negative numbers times a slope */
static void prelu(real *a, size_t n, real slope)
{
    size_t i;
    for (i = 0; i < n; i++)
        a[i] = a[i] > 0 ? a[i] : slope * a[i];
}
"""
ADD = """
/* a = a + b */
static void add(real *a, size_t n, const real *b)
{
    size_t i;
    for (i = 0; i < n; i++)
        a[i] += b[i];
}
"""


class Calls:
    """The calls as they grow: which buffer holds how many numbers, and the largest number it ever holds."""

    def __init__(self, source: Source, width: int) -> None:
        self.source, self.width, self.largest = source, width, width
        self.here, self.there = "a", "b"
        self.lines: list[str] = []
        self.skips: list[tuple[str, int]] = []
        self.count = 0

    def add(self, operations: Sequence[Any]) -> None:
        for one in operations:
            if isinstance(one, op.Residual):
                name = f"skip{len(self.skips) + 1}"
                self.skips.append((name, self.width))
                self.line(f"memcpy({name}, {self.here}, sizeof {name});")
                self.add(one.inner)
                self.source.need("add", ADD)
                self.line(f"add({self.here}, {self.width}, {name});")
            else:
                _CALLS[type(one)](one, self)

    def line(self, text: str) -> None:
        self.lines.append(f"    {text}")

    def named(self, name: str) -> str:
        """A new name for a table."""
        self.count += 1
        return f"{name}{self.count}"

    def turn(self, width: int) -> None:
        """From now on the other buffer holds the numbers, `width` of them."""
        self.here, self.there, self.width = self.there, self.here, width
        self.largest = max(self.largest, width)


def _embed(one: op.Embed, calls: Calls) -> None:
    start = calls.width - len(one.tables)
    a, b = calls.here, calls.there
    if start:
        calls.line(f"memcpy({b}, {a}, {start} * sizeof(real));")
    end = start
    for k, table in enumerate(one.tables):
        dim = table.shape[1]
        name = calls.source.table(calls.named("E"), table)
        calls.line(f"memcpy({b} + {end}, {name} + (size_t){a}[{start + k}] * {dim}, {dim} * sizeof(real));")
        end += dim
    calls.turn(end)


def _dense(one: op.Dense, calls: Calls) -> None:
    calls.source.need("dense", DENSE)
    units, inputs = one.W.shape
    W = calls.source.table(calls.named("W"), one.W.T)
    b = "NULL" if one.b is None else calls.source.table(W.replace("W", "b"), one.b)
    calls.line(f"dense({calls.here}, {inputs}, {W}, {b}, {units}, {calls.there});")
    calls.turn(units)


def _activation(one: op.Activation, calls: Calls) -> None:
    if one.name == "identity":
        return
    source, formula = calls.source, ACTIVATIONS[one.name]
    name = one.name if one.name not in ("tanh", "sin") else f"{one.name}_of"
    if "ALPHA" in formula:
        name = f"{name}_{abs(hash_of(one.alpha))}"
    constants = formula.replace("ALPHA", f"R({number(one.alpha)})").replace("F(", f"{source.f}(")
    source.need(name, ACTIVATION.format(what=one.name, name=name, formula=constants))
    calls.line(f"{name}({calls.here}, {calls.width});")


def _parametric(one: op.Parametric, calls: Calls) -> None:
    """The other buffer holds f(a) for a moment."""
    calls.source.need("blend", BLEND)
    alpha, width = calls.source.table(calls.named("alpha"), one.alpha), calls.width
    calls.line(f"memcpy({calls.there}, {calls.here}, {width} * sizeof(real));")
    calls.turn(width)
    _activation(one.f, calls)
    calls.turn(width)
    calls.line(f"blend({calls.here}, {width}, {alpha}, {calls.there});")


def _multiply(one: op.Multiply, calls: Calls) -> None:
    calls.source.need("multiply", MULTIPLY)
    calls.line(f"multiply({calls.here}, {calls.width}, {calls.source.table(calls.named('scale'), one.factors)});")


def _waves(one: op.Waves, calls: Calls) -> None:
    """They stand behind the numbers, in the same buffer."""
    calls.source.need("waves", WAVES.replace("cosF", f"cos{calls.source.f}"))
    columns, learned, count = one.weight.shape
    given = {"turns": one.turns, "phase": one.phase, "V": one.weight, "d": one.bias}
    tables = ", ".join(calls.source.table(calls.named(name), values) for name, values in given.items())
    a = calls.here
    calls.line(f"waves({a}, {columns}, {count}, {learned}, {tables}, {a} + {calls.width});")
    calls.width += columns * learned
    calls.largest = max(calls.largest, calls.width)


def hash_of(alpha: float) -> int:
    """A whole number that tells one parameter of an activation from another."""
    return int(np.float64(alpha).view(np.int64)) >> 20


def _prelu(one: op.PRelu, calls: Calls) -> None:
    calls.source.need("prelu", PRELU)
    calls.line(f"prelu({calls.here}, {calls.width}, {calls.source.table(calls.named('slope'), one.slope)}[0]);")


def _batch_norm(one: op.BatchNorm, calls: Calls) -> None:
    calls.source.need("batch_norm", AFFINE)
    scale = one.gain.astype(np.float64) / np.sqrt(one.variance.astype(np.float64) + one.eps)
    named = {"mean": one.mean, "scale": scale, "shift": one.shift}
    tables = ", ".join(calls.source.table(calls.named(name), values) for name, values in named.items())
    calls.line(f"batch_norm({calls.here}, {calls.width}, {tables});")


def _layer_norm(one: op.LayerNorm, calls: Calls) -> None:
    calls.source.need("layer_norm", LAYER_NORM)
    gain, shift = (calls.source.table(calls.named(n), v) for n, v in (("gain", one.gain), ("shift", one.shift)))
    calls.line(f"layer_norm({calls.here}, {calls.width}, {gain}, {shift}, {number(one.eps)});")


def _rms_norm(one: op.RmsNorm, calls: Calls) -> None:
    calls.source.need("rms_norm", RMS_NORM)
    gain = calls.source.table(calls.named("gain"), one.gain)
    calls.line(f"rms_norm({calls.here}, {calls.width}, {gain}, {number(one.eps)});")


_CALLS: dict[type, Callable[[Any, Calls], None]] = {
    op.Embed: _embed,
    op.Dense: _dense,
    op.Activation: _activation,
    op.Parametric: _parametric,
    op.Multiply: _multiply,
    op.Waves: _waves,
    op.PRelu: _prelu,
    op.BatchNorm: _batch_norm,
    op.LayerNorm: _layer_norm,
    op.RmsNorm: _rms_norm,
    op.Dropout: lambda one, calls: None,
}

"""The network of a model as C: one call for each operation, between two buffers."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.export import operations as op
from mlp_core.export.c_text import Source, number
from mlp_core.export.walk import Lines

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
EACH = """
/* {what} */
static void {name}(real *a, size_t n, {given})
{{
    size_t i;
    for (i = 0; i < n; i++)
        {body};
}}
"""
# functions of numbers one by one: what they do, what they are given beside the numbers, and what becomes of each
ONE_BY_ONE = {
    "add": ("a = a + b", "const real *b", "a[i] += b[i]"),
    "multiply": ("a = factors * a, number by number", "const real *factors", "a[i] *= factors[i]"),
    "prelu": ("negative numbers times a slope", "real slope", "a[i] = a[i] > 0 ? a[i] : slope * a[i]"),
    "blend": (
        "a = a + alpha * (b - a), number by number",
        "const real *alpha, const real *b",
        "a[i] += alpha[i] * (b[i] - a[i])",
    ),
    "batch_norm": (
        "a = (a - mean) * scale + shift, number by number",
        "const real *mean, const real *scale, const real *shift",
        "a[i] = (a[i] - mean[i]) * scale[i] + shift[i]",
    ),
}

FUNCTIONS = {"dense": DENSE, "layer_norm": LAYER_NORM, "rms_norm": RMS_NORM}
FUNCTIONS |= {
    name: EACH.format(name=name, what=what, given=g, body=body) for name, (what, g, body) in ONE_BY_ONE.items()
}


class Calls(Lines):
    """The calls as they grow: which buffer holds how many numbers, and the largest number it ever holds."""

    to, activations = "C", ACTIVATIONS

    def __init__(self, source: Source, width: int) -> None:
        super().__init__()
        self.source, self.width, self.largest = source, width, width
        self.here, self.there = "a", "b"
        self.skips: list[tuple[str, int]] = []
        self.count = 0

    def tables(self, **named: Any) -> list[str]:
        """New tables, numbered; their names."""
        names = []
        for name, values in named.items():
            self.count += 1
            names.append(self.source.table(f"{name}{self.count}", values))
        return names

    def turn(self, width: int) -> None:
        """From now on the other buffer holds the numbers, `width` of them."""
        self.here, self.there, self.width = self.there, self.here, width
        self.largest = max(self.largest, width)

    def call(self, name: str, *given: str) -> None:
        """Call a function, which is then in the file, with the numbers, how many they are, and what it is given."""
        if name in FUNCTIONS:
            self.source.need(name, FUNCTIONS[name])
        self.line(f"{name}({', '.join([self.here, str(self.width), *given])});")

    def visit_Residual(self, one: op.Residual) -> None:
        name = f"skip{len(self.skips) + 1}"
        self.skips.append((name, self.width))
        self.line(f"memcpy({name}, {self.here}, sizeof {name});")
        self.walk(one.inner)
        self.call("add", name)

    def visit_Embed(self, one: op.Embed) -> None:
        start = end = self.width - len(one.tables)
        a, b = self.here, self.there
        if start:
            self.line(f"memcpy({b}, {a}, {start} * sizeof(real));")
        for k, table in enumerate(one.tables):
            dim = table.shape[1]
            (name,) = self.tables(E=table)
            self.line(f"memcpy({b} + {end}, {name} + (size_t){a}[{start + k}] * {dim}, {dim} * sizeof(real));")
            end += dim
        self.turn(end)

    def visit_Dense(self, one: op.Dense) -> None:
        (W,) = self.tables(W=one.W.T)
        b = "NULL" if one.b is None else self.source.table(W.replace("W", "b"), one.b)
        self.call("dense", W, b, str(len(one.W)), self.there)
        self.turn(len(one.W))

    def visit_Activation(self, one: op.Activation) -> None:
        if one.name == "identity":
            return
        formula = self.formula(one)
        name = one.name if one.name not in ("tanh", "sin") else f"{one.name}_of"
        if "ALPHA" in formula:
            name = f"{name}_{abs(int(np.float64(one.alpha).view(np.int64)) >> 20)}"  # one for each parameter
        constants = formula.replace("ALPHA", f"R({number(one.alpha)})").replace("F(", f"{self.source.f}(")
        self.source.need(name, ACTIVATION.format(what=one.name, name=name, formula=constants))
        self.call(name)

    def visit_Parametric(self, one: op.Parametric) -> None:
        """The other buffer holds f(a) for a moment."""
        self.source.need("blend", FUNCTIONS["blend"])  # before what f needs
        (alpha,) = self.tables(alpha=one.alpha)
        self.line(f"memcpy({self.there}, {self.here}, {self.width} * sizeof(real));")
        self.turn(self.width)
        self.visit(one.f)
        self.turn(self.width)
        self.call("blend", alpha, self.there)

    def visit_Multiply(self, one: op.Multiply) -> None:
        self.call("multiply", *self.tables(scale=one.factors))

    def visit_Waves(self, one: op.Waves) -> None:
        """They stand behind the numbers, in the same buffer."""
        self.source.need("waves", WAVES.replace("cosF", f"cos{self.source.f}"))
        columns, learned, count = one.weight.shape
        tables = ", ".join(self.tables(turns=one.turns, phase=one.phase, V=one.weight, d=one.bias))
        a = self.here
        self.line(f"waves({a}, {columns}, {count}, {learned}, {tables}, {a} + {self.width});")
        self.width += columns * learned
        self.largest = max(self.largest, self.width)

    def visit_PRelu(self, one: op.PRelu) -> None:
        (slope,) = self.tables(slope=one.slope)
        self.call("prelu", f"{slope}[0]")

    def visit_BatchNorm(self, one: op.BatchNorm) -> None:
        scale = one.gain.astype(np.float64) / np.sqrt(one.variance.astype(np.float64) + one.eps)
        self.call("batch_norm", *self.tables(mean=one.mean, scale=scale, shift=one.shift))

    def visit_LayerNorm(self, one: op.LayerNorm) -> None:
        self.call("layer_norm", *self.tables(gain=one.gain, shift=one.shift), number(one.eps))

    def visit_RmsNorm(self, one: op.RmsNorm) -> None:
        self.call("rms_norm", *self.tables(gain=one.gain), number(one.eps))

    def visit_Dropout(self, one: op.Dropout) -> None:
        """Nothing when predicting."""

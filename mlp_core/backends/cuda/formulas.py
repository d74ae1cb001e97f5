"""The formulas of the fused kernels in C++, each the one of the engine's generic primitive of the same name."""

from __future__ import annotations

# a = f(z) and f'(z) from z and a; p is the parameter of f
ACTIVATION = {
    "identity": ("z", "1"),
    "relu": ("z <= 0 ? 0 : z", "a > 0 ? 1 : 0"),
    "leaky_relu": ("z > 0 ? z : p * z", "a > 0 ? 1 : p"),
    "elu": ("z > 0 ? z : p * expm1(z)", "a > 0 ? 1 : a + p"),
    "selu": ("SELU_S * (z > 0 ? z : SELU_A * expm1(z))", "a > 0 ? SELU_S : a + SELU_S * SELU_A"),
    "gelu": (
        "HALF * z * (1 + erf(z * SQRT_HALF))",
        "HALF * (1 + erf(z * SQRT_HALF)) + z * exp(-HALF * z * z) * DENSITY",
    ),
    "gelu_tanh": ("HALF * z * (1 + gelu_t(z))", "gelu_tanh_slope(z)"),
    "silu": ("z * logistic(z)", "logistic(z) * (1 + z * (1 - logistic(z)))"),
    "mish": ("z * tanh(softplus(z))", "mish_slope(z)"),
    "tanh": ("tanh(z)", "1 - a * a"),
    "sigmoid": ("logistic(z)", "a * (1 - a)"),
    "softplus": ("softplus(z)", "-expm1(-a)"),
    "softsign": ("z / (1 + fabs(z))", "(1 - fabs(a)) * (1 - fabs(a))"),
    "hard_tanh": ("z >= 1 ? 1 : z <= -1 ? -1 : z", "a > -1 && a < 1 ? 1 : 0"),
    "hard_sigmoid": ("z >= 3 ? 1 : z <= -3 ? 0 : z / 6 + HALF", "z > -3 && z < 3 ? (REAL)1 / 6 : 0"),
    "hard_swish": ("z >= 3 ? z : z <= -3 ? 0 : z * (z + 3) / 6", "z >= 3 ? 1 : z <= -3 ? 0 : (2 * z + 3) / 6"),
    "sin": ("sin(z)", "cos(z)"),
}

# vectors of the state, numbers, and what is done to one entry x of theta with gradient g; keep = 1 - lr decay
RULE = {
    "sgd": ("", "lr", "x = keep * x - lr * g;"),
    "momentum": ("m", "lr mu", "m = mu * m + g; x = keep * x - lr * m;"),
    "nesterov": ("m", "lr mu", "m = mu * m + g; x = keep * x - lr * (g + mu * m);"),
    "adagrad": ("v", "lr eps", "v += g * g; x = keep * x - lr * g / (sqrt(v) + eps);"),
    "rmsprop": ("v", "lr rho new2 eps", "v = rho * v + new2 * g * g; x = keep * x - lr * g / (sqrt(v) + eps);"),
    "adadelta": (
        "v u",
        "lr rho new2 eps",
        "v = rho * v + new2 * g * g; REAL d = sqrt(u + eps) / sqrt(v + eps) * g; u = rho * u + new2 * d * d;"
        " x = keep * x - lr * d;",
    ),
    "adam": (
        "m v",
        "ahead here beta1 new1 beta2 new2 eps root",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g;"
        " x = keep * x - (ahead * m + here * g) / (sqrt(v) / root + eps);",
    ),
    "amsgrad": (
        "m v top",
        "ahead beta1 new1 beta2 new2 eps root",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g; top = top >= v ? top : v;"
        " x = keep * x - ahead * m / (sqrt(top) / root + eps);",
    ),
    "radam": (
        "m v",
        "ahead beta1 new1 beta2 new2 eps known",
        "m = beta1 * m + new1 * g; v = beta2 * v + new2 * g * g;"
        " x = keep * x - (known > 0 ? ahead * m / (sqrt(v) + eps) : ahead * m);",
    ),
    "lion": (
        "m",
        "lr beta1 new1 beta2 new2",
        "REAL d = beta1 * m + new1 * g; x = keep * x - lr * (d > 0 ? 1 : d < 0 ? -1 : d); m = beta2 * m + new2 * g;",
    ),
}

# the loss of one output and its derivative, from z, y and d = z - y; p is the parameter of the loss
OUTPUT = {
    "mse": ("d * d", "2 * d"),
    "mae": ("fabs(d)", "d > 0 ? 1 : d < 0 ? -1 : d"),
    "huber": ("fabs(d) <= p ? HALF * d * d : p * (fabs(d) - HALF * p)", "d > p ? p : d < -p ? -p : d"),
    "log_cosh": ("fabs(d) + log1p(exp(-2 * fabs(d))) - LOG_2", "tanh(d)"),
    "poisson": ("exp(z) - y * z", "exp(z) - y"),
    "bce": (
        "p * y * softplus(-z) + (1 - y) * softplus(z)",
        "(1 - y) * share(z) - p * y * share(-z)",
    ),
}

"""The formulas of activations and norms, by the names of the config."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """f(z) and its derivative `slope`; `helpers` are definitions that both use. `alpha` is the activation's own."""

    f: str
    slope: str
    helpers: tuple[tuple[str, str], ...] = ()


_SIGMOID = ("sigma(z)", "1 / (1 + exp(-z))")
_SELU = (("kappa", "1.0507009873554805"), ("tau", "1.6732632423543772"))
_GELU = (("Phi(z)", "(1 + erf(z / sqrt(2))) / 2"), ("phi(z)", "exp(-z**2 / 2) / sqrt(2 * pi)"))
_GELU_TANH = ("T(z)", "tanh(sqrt(2 / pi) * (z + 0.044715 * z**3))")
_SOFTPLUS = "maximum(z, 0) + log(1 + exp(-abs(z)))"
_MISH = ("omega(z)", f"tanh({_SOFTPLUS})")

FUNCTIONS: dict[str, Function] = {
    "identity": Function("z", "1"),
    "relu": Function("maximum(z, 0)", "where(z > 0, 1, 0)"),
    "leaky_relu": Function("where(z > 0, z, alpha * z)", "where(z > 0, 1, alpha)"),
    "prelu": Function("where(z > 0, z, alpha * z)", "where(z > 0, 1, alpha)"),
    "elu": Function("where(z > 0, z, alpha * (exp(z) - 1))", "where(z > 0, 1, alpha * exp(z))"),
    "selu": Function(
        "kappa * where(z > 0, z, tau * (exp(z) - 1))", "kappa * where(z > 0, 1, tau * exp(z))", helpers=_SELU
    ),
    "gelu": Function("z * Phi(z)", "Phi(z) + z * phi(z)", helpers=_GELU),
    "gelu_tanh": Function(
        "z * (1 + T(z)) / 2",
        "(1 + T(z)) / 2 + z * (1 - T(z)**2) / 2 * dT(z)",
        helpers=(_GELU_TANH, ("dT(z)", "sqrt(2 / pi) * (1 + 3 * 0.044715 * z**2)")),
    ),
    "silu": Function("z * sigma(z)", "sigma(z) * (1 + z * (1 - sigma(z)))", helpers=(_SIGMOID,)),
    "mish": Function("z * omega(z)", "omega(z) + z * (1 - omega(z)**2) * sigma(z)", helpers=(_MISH, _SIGMOID)),
    "tanh": Function("tanh(z)", "1 - f(z)**2"),
    "sigmoid": Function("1 / (1 + exp(-z))", "f(z) * (1 - f(z))"),
    "softplus": Function(_SOFTPLUS, "1 / (1 + exp(-z))"),
    "softsign": Function("z / (1 + abs(z))", "1 / (1 + abs(z))**2"),
    "hard_tanh": Function("clip(z, -1, 1)", "where(abs(z) < 1, 1, 0)"),
    "hard_sigmoid": Function("clip(z / 6 + 1 / 2, 0, 1)", "where(abs(z) < 3, 1 / 6, 0)"),
    "hard_swish": Function("z * clip(z / 6 + 1 / 2, 0, 1)", "where(abs(z) < 3, (2 * z + 3) / 6, where(z > 0, 1, 0))"),
    "sin": Function("sin(z)", "cos(z)"),
}


@dataclass(frozen=True)
class Normalisation:
    """A norm of x: statistics, the normalised H, the output N; and dLoss/dx of dH = dLoss/dH.

    `running` are the averages that evaluation uses.
    """

    statistics: tuple[tuple[str, str], ...]
    H: str
    N: str
    dx: str
    running: tuple[tuple[str, str], ...] = ()


NORMS: dict[str, Normalisation] = {
    "batch": Normalisation(
        statistics=(("mean", "mean_rows(x)"), ("var", "mean_rows((x - mean)**2)")),
        H="(x - mean) / sqrt(var + eps)",
        N="gamma * H + beta",
        dx="(dH - mean_rows(dH) - H * mean_rows(dH * H)) / sqrt(var + eps)",
        running=(
            ("running_mean", "running_mean + momentum * (mean - running_mean)"),
            ("running_var", "running_var + momentum * (var * unbiased - running_var)"),
        ),
    ),
    "layer": Normalisation(
        statistics=(("mean", "mean_cols(x)"), ("var", "mean_cols((x - mean)**2)")),
        H="(x - mean) / sqrt(var + eps)",
        N="gamma * H + beta",
        dx="(dH - mean_cols(dH) - H * mean_cols(dH * H)) / sqrt(var + eps)",
    ),
    "rms": Normalisation(
        statistics=(("var", "mean_cols(x**2)"),),
        H="x / sqrt(var + eps)",
        N="gamma * H",
        dx="(dH - H * mean_cols(dH * H)) / sqrt(var + eps)",
    ),
}

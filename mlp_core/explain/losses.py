"""The formulas of losses on logits Z, by the names of the config: one number per row, and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlp_core.explain.formula import fill
from mlp_core.nn.loss import Loss

Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LossFormula:
    """`lines` compute `rows`, the loss of each row [b, 1]; `slope` is d rows / dZ. `note` says what to know."""

    lines: Lines
    slope: str
    note: str = ""


_SOFTMAX: Lines = (
    ("highest", "max_cols(Z)"),
    ("logP", "Z - highest - log(sum_cols(exp(Z - highest)))"),
    ("P", "exp(logP)"),
)
_SIGMOID = ("P", "1 / (1 + exp(-Z))")
_SOFTPLUS = ("softplus(z)", "maximum(z, 0) + log(1 + exp(-abs(z)))")
_STABLE = "P is exp(Z) / sum_cols(exp(Z)), by way of its logarithm, which cannot overflow"
_ERROR = ("d", "Z - Y")


def _cross_entropy(loss: Any, c: int) -> LossFormula:
    s = loss.label_smoothing
    smooth: Lines = (("soft", fill("(1 - s) * Y + s / c", s=s, c=c)),) if s else ()
    q = "soft" if s else "Y"
    return LossFormula((*_SOFTMAX, *smooth, ("rows", f"-sum_cols({q} * logP)")), f"P - {q}", _STABLE)


def _bce(loss: Any, c: int) -> LossFormula:
    rows = fill("mean_cols(v * Y * softplus(-Z) + (1 - Y) * softplus(Z))", v=loss.pos_weight)
    slope = "(P - Y) / c" if loss.pos_weight == 1 else "((1 - Y) * P - v * Y * (1 - P)) / c"
    note = "-log(P) is softplus(-Z) and -log(1 - P) is softplus(Z), which cannot overflow"
    return LossFormula((_SIGMOID, _SOFTPLUS, ("rows", rows)), fill(slope, v=loss.pos_weight, c=c), note)


def _quadratic(loss: Any, c: int) -> LossFormula:
    note = "P (1 - P) in the gradient is near 0 where a unit is saturated, even where it is wrong"
    return LossFormula((_SIGMOID, ("rows", "sum_cols((P - Y)**2) / 2")), "(P - Y) * P * (1 - P)", note)


def _focal(loss: Any, c: int) -> LossFormula:
    true: Lines = (("pt", "sum_cols(Y * P)"), ("miss", "sum_cols((1 - Y) * P)"), ("logp", "sum_cols(Y * logP)"))
    if c == 1:
        true = (
            ("below", "1 / (1 + exp(Z))"),
            ("pt", "Y * P + (1 - Y) * below"),
            ("miss", "Y * below + (1 - Y) * P"),
            ("logp", "-Y * softplus(-Z) - (1 - Y) * softplus(Z)"),
        )
    rows = fill("-miss**gamma * logp", gamma=loss.gamma)
    factor = fill("gamma * maximum(miss, 1e-30)**(gamma - 1) * pt * logp - miss**gamma", gamma=loss.gamma)
    first = _SOFTMAX if c > 1 else (_SIGMOID, _SOFTPLUS)
    note = "pt is the probability given to the true class, miss is 1 - pt, logp is log(pt)"
    return LossFormula((*first, *true, ("rows", rows), ("factor", factor)), "factor * (Y - P)", note)


def _of_error(rows: str, slope: str) -> Callable[[Any, int], LossFormula]:
    """A loss of the error d, mean over the outputs, with the number `delta` if it has one."""

    def formula(loss: Any, c: int) -> LossFormula:
        delta = getattr(loss, "delta", 1)
        return LossFormula(
            (_ERROR, ("rows", fill(f"mean_cols({rows})", delta=delta))), fill(f"{slope} / c", delta=delta, c=c)
        )

    return formula


def _quantile(loss: Any, c: int) -> LossFormula:
    many = len(loss.quantiles)
    levels = ", ".join(repr(q) for q in loss.quantiles * (c // many))
    lines: Lines = (
        ("q", f"row({levels})"),
        ("e", f"repeat_cols(Y, {many}) - Z" if many > 1 else "Y - Z"),
        ("rows", "mean_cols(maximum(q * e, (q - 1) * e))"),
    )
    return LossFormula(lines, fill("where(e > 0, -q, where(e < 0, 1 - q, 0)) / c", c=c), "one output per quantile")


def _poisson(loss: Any, c: int) -> LossFormula:
    lines = (("P", "exp(Z)"), ("rows", "mean_cols(P - Y * Z)"))
    return LossFormula(lines, fill("(P - Y) / c", c=c), "P is the expected count")


def _gaussian_nll(loss: Any, c: int) -> LossFormula:
    k = c // 2
    lines = (
        ("means", f"Z[:, :{k}]"),
        ("spread", f"Z[:, {k}:]"),
        ("rows", "mean_cols(spread + (Y - means)**2 * exp(-spread)) / 2"),
    )
    slope = "columns((means - Y) * exp(-spread), (1 - (Y - means)**2 * exp(-spread)) / 2) / k"
    return LossFormula(lines, fill(slope, k=k), "spread are the logarithms of the variances")


LOSS_FORMULAS: dict[str, Callable[[Any, int], LossFormula]] = {
    "cross_entropy": _cross_entropy,
    "bce": _bce,
    "quadratic": _quadratic,
    "focal": _focal,
    "mse": _of_error("d**2", "2 * d"),
    "mae": _of_error("abs(d)", "sign(d)"),
    "huber": _of_error("where(abs(d) <= delta, d**2 / 2, delta * (abs(d) - delta / 2))", "clip(d, -delta, delta)"),
    "log_cosh": _of_error("abs(d) + log(1 + exp(-2 * abs(d))) - log(2)", "tanh(d)"),
    "quantile": _quantile,
    "poisson": _poisson,
    "gaussian_nll": _gaussian_nll,
}


def loss_formula(loss: Loss, outputs: int) -> LossFormula:
    """The formulas of a loss with its settings, for `outputs` logits."""
    return LOSS_FORMULAS[loss.name](loss, outputs)

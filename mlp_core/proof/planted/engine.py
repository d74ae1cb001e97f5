"""Slips in the generic engine: update rules, schedules, losses that are reported, layers, penalties, primitives."""

from __future__ import annotations

from mlp_core.nn import losses, primitives
from mlp_core.nn import matrix_optimizers as matrix
from mlp_core.nn import optimizers as rule
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.layers import Dropout, Residual
from mlp_core.nn.norm import Norm
from mlp_core.nn.objective import Objective, Penalty
from mlp_core.nn.optimizer import Optimizer, in_blocks
from mlp_core.nn.schedules import Schedule
from mlp_core.nn.step_options import average_share
from mlp_core.proof.planted.slip import slips

RULES = slips(
    (rule.sgd, "sgd, numpy", ("lr * g", "1.01 * lr * g")),
    (in_blocks, "sgd, numpy", ("1 - lr * decay", "1 - decay"), ("1 - lr * decay", "1 + lr * decay")),
    (in_blocks, "momentum, numpy", ("if decay", "if not decay")),
    (
        rule.momentum,
        "momentum, numpy",
        ("+= g", "+= (1 - mu) * g"),
        ("lr * m", "lr * (mu * m + g)"),
    ),
    (
        rule.nesterov,
        "nesterov, numpy",
        ("g + mu * m", "m + mu * g"),
        ("(g + mu * m)", "m"),
    ),
    (rule.adagrad, "adagrad, numpy", ("v += g", "v[...] = g"), ("* g\n", "* abs(g)\n")),
    (
        rule.adadelta,
        "adadelta, numpy",
        ("xp.sqrt(v + eps)", "(xp.sqrt(v) + eps)"),
        ("(1 - rho) * d * d", "(1 - rho) * g * g"),
        ("v *= rho", "v *= 1 - rho"),
    ),
    (rule.rmsprop, "rmsprop, numpy", ("(1 - rho) * g", "g"), ("(xp.sqrt(v) + eps)", "xp.sqrt(v + 1e-4)")),
    (
        rule.adam,
        "adam, numpy",
        ("1 - beta1**t", "1 - beta1"),
        ("1 - beta2**t", "1 - beta2"),
        ("xp.sqrt(v) / root + eps", "xp.sqrt(v) / root + 1e-5"),
        ("beta1**t", "beta1**(t + 1)"),
        ("theta -= rate", "theta -= lr"),
    ),
    (rule._moments, "adam, numpy", ("(1 - beta1) * g", "g"), ("(1 - beta2) * g * g", "(1 - beta2) * g")),
    (
        rule.amsgrad,
        "amsgrad, numpy",
        ("xp.maximum(top, v, out=top)", "top[...] = v"),
        ("xp.sqrt(top) / root", "xp.sqrt(top)"),
    ),
    (
        rule.nadam_rates,
        "nadam, numpy",
        ("1 - product * mu_next", "1 - product"),
        ("lr * (1 - mu)", "lr * (1 - mu_next)"),
    ),
    (rule.nadam_momentum, "nadam, numpy", ("0.004", "0.04"), ("0.96", "0.9")),
    (rule.nadam_product, "nadam, numpy", ("range(1, t + 1)", "range(1, t + 2)")),
    (
        rule.radam_rate,
        "radam, numpy",
        ("rho <= 5", "rho <= 4"),
        ("(rho - 4) * (rho - 2)", "(rho - 4) ** 2"),
        ("2 / (1 - beta2) - 1", "2 / (1 - beta2)"),
        (" * math.sqrt(1 - beta2**t)", ""),
    ),
    (
        rule.lion,
        "lion, numpy",
        ("beta1 * m + (1 - beta1)", "beta2 * m + (1 - beta2)"),
        ("m *= beta2", "m *= beta1"),
    ),
    (
        matrix.newton_schulz,
        "muon",
        ("1e-7", "1e-1"),
        ("range(NEWTON_SCHULZ_STEPS)", "range(4)"),
        ("b * A + c", "b * A - c"),
    ),
    (
        matrix.muon,
        "muon",
        ("newton_schulz(xp, mu * m + (1 - mu) * grad)", "newton_schulz(xp, m)"),
        ("max(theta.shape)", "min(theta.shape)"),
        ("* RMS_MATCH", ""),
    ),
    (
        matrix.two_loop,
        "lbfgs",
        ("alpha[i] - rho[i]", "alpha[i] + rho[i]"),
        ("rho[-1]", "rho[0]"),
        ("range(len(S) - 1, -1, -1)", "range(len(S))"),
    ),
    (Optimizer.step, "adam, numpy", ("self.t += 1", "self.t += 2"), ("(self.t)", "(1)")),
    (
        matrix.Lbfgs.step,
        "lbfgs",
        ("min(1.0, 1 / max(", "min(1.0, 2 / max("),
        ("if self.t > 1 else", "if self.t > 2 else"),
    ),
    (matrix.Lbfgs._remember, "lbfgs", ("> LEAST_CURVATURE", "> 1e9"), ('("y", y)', '("y", state["step"])')),
)

SCHEDULES = slips(
    (
        Schedule.rate,
        "warm-up",
        ("(step + 1) / self.warmup", "step / self.warmup"),
        ("step - self.warmup)", "step)"),
        ("self.steps - self.warmup", "self.steps"),
    ),
    (Schedule.rate, "per epoch", ("if self.per_epoch", "if not self.per_epoch")),
    (Schedule._factor, "warm-up", ("math.cos(math.pi * x)", "math.cos(x)")),
    (Schedule._factor, "linear", ("self._above_final(1 - x)", "self._above_final((1 - x) ** 2)")),
    (Schedule._factor, "polynomial", ("math.pow(1 - x, self.power)", "1 - x")),
    (Schedule._factor, "restarts", ("(x * self.cycles) % 1.0", "x")),
    (Schedule._factor, "step", ("epoch // self.step_size", "epoch")),
    (Schedule._factor, "multistep", ("epoch >= milestone", "epoch > milestone")),
    (Schedule._factor, "exponential", ("self.steps_per_epoch * self.step_size", "self.steps_per_epoch")),
    (Schedule._factor, "inverse_sqrt", ("step + 1))", "step + 2))")),
    (Schedule._factor, "wsd", ("(1 - x) / 0.2", "(1 - x) / 0.5")),
    (Schedule._above_final, "warm-up", ("(1 - self.final) * factor", "factor")),
    (
        Schedule._one_cycle,
        "one cycle",
        ("1 / 25", "1 / 10"),
        ("0.3 * self.steps", "0.5 * self.steps"),
        ("self.steps - 1 - peak", "self.steps - peak"),
        ("1 / 250_000", "1 / 100"),
    ),
    (average_share, "average, numpy", ("(10 + t)", "(20 + t)"), ("t = step + 1", "t = step")),
)

LOSSES = slips(
    (losses.CrossEntropy.forward, "smoothing", ("(1 - s) * chosen", "chosen"), ("s * Z.mean", "2 * s * Z.mean")),
    (losses.Bce.forward, "binary, numpy", ("self.pos_weight * Y", "Y")),
    (losses.Quadratic.forward, "quadratic", ("0.5 * (d * d)", "(d * d)")),
    (losses.Focal.forward, "focal", ("miss**self.gamma", "miss**2"), ("others[row, t] = 0", "pass")),
    (losses.Mse.forward, "numbers", (".mean(axis=1)", ".sum(axis=1) / 2")),
    (losses.Mae.forward, "mae", ("_absolute(xp, d)", "d")),
    (losses.Huber.forward, "huber", ("0.5 * self.delta", "self.delta"), ("0.5 * d * d", "d * d")),
    (losses.LogCosh.forward, "log_cosh", ("math.log(2)", "math.log(3)")),
    (losses.Quantile.forward, "quantile", ("q - 1", "1 - q")),
    (losses.Poisson.forward, "poisson", ("rate - Y * Z", "rate - Z")),
    (losses.GaussianNll.forward, "gaussian_nll", ("0.5 * (Z", "1.0 * (Z")),
    (
        losses.loss_and_gradient,
        "weights, numpy",
        ("(w[rows] * losses).sum()", "losses.sum()"),
        ("return value / total", "return value"),
        ("(w[rows] / total)", "(w[rows] ** 2 / total)"),
    ),
    (Penalty.value, "penalties, numpy", ("0.5 * self.l2", "self.l2"), ("self.l1 * xp.dot", "xp.dot")),
    (Penalty._penalised, "penalties on all", ("vector if self.bias", "vector if not self.bias")),
    (Objective.value_and_gradient, "penalties, numpy", ("value + self.penalty.value(network)", "value")),
)

LAYERS = slips(
    (
        Norm._record,
        "batch norm, numpy",
        ("(rows / (rows - 1))", "1"),
        ("self.momentum * (mean", "(1 - self.momentum) * (mean"),
        ("- self.var", ""),
    ),
    (
        Norm.forward,
        "batch norm, numpy",
        ("/ H.shape[self.axis]", "/ (H.shape[self.axis] - 1)"),
        ("(variance + self.eps) ** -0.5", "(variance + 2 * self.eps) ** -0.5"),
        ("and not mode.training", "and False"),
    ),
    (Norm.forward, "layer norm, numpy", ("** -0.5", "** -0.49")),
    (Dropout.forward, "dropout, numpy", ("mode.step", "0"), ("mode.seed", "mode.seed + 1")),
    (Residual.forward, "residual, numpy", ("self._add(X, A,", "self._add(A, A,")),
    (Embedding.forward, "words, numpy", ("self.numbers + k", "self.numbers")),
    (
        primitives.dropout_mask,
        "dropout, numpy",
        ("1 / (1 - p)", "1 / p"),
        ("xp.greater_equal", "xp.less"),
        ("step, index)", "step, 0)"),
        ("step, index)", "0, index)"),
        ("mask *= 1 / (1 - p)", "pass"),
    ),
    (primitives.clip_value, "clip, numpy", ("-largest, largest", "-largest, 2 * largest")),
    (
        primitives.shorten_rows,
        "max norm, numpy",
        ("xp.minimum(1, ", "xp.maximum(1, "),
        ('xp.sqrt(xp.einsum("ij,ij->i", W, W))', 'xp.einsum("ij,ij->i", W, W)'),
    ),
    (primitives.follow, "average, numpy", ("(theta[s] - average[s])", "theta[s]")),
)

ENGINE_SLIPS = (*RULES, *SCHEDULES, *LOSSES, *LAYERS)

"""The formulas of optimizers and schedules, by the names of the config."""

from __future__ import annotations

from mlp_core.explain.formula import Equation, Line, Loop, Note, fill, matrices, names
from mlp_core.nn.optimizer import Optimizer
from mlp_core.nn.optimizers import Muon
from mlp_core.nn.schedules import Fade, Schedule

Pairs = tuple[tuple[str, str], ...]

NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 5  # Jordan 2024
RMS_MATCH = 0.2  # Liu et al. 2025

_MOMENTS: Pairs = (("m", "beta1 * m + (1 - beta1) * g"), ("v", "beta2 * v + (1 - beta2) * g**2"))
_M_HAT, _V_HAT = ("m_hat", "m / (1 - beta1**t)"), ("v_hat", "v / (1 - beta2**t)")
_ADAM: Pairs = (*_MOMENTS, _M_HAT, _V_HAT, ("theta", "theta - lr * m_hat / (sqrt(v_hat) + eps)"))
_MUON: Pairs = (
    ("B[l]", "mu * B[l] + (1 - mu) * dW[l]"),
    ("O[l]", "orthogonal(mu * B[l] + (1 - mu) * dW[l])"),
    ("W[l]", f"W[l] - lr * {RMS_MATCH} * sqrt(longer(W[l])) * O[l]"),
)

RULES: dict[str, Pairs] = {
    "sgd": (("theta", "theta - lr * g"),),
    "momentum": (("m", "mu * m + g"), ("theta", "theta - lr * m")),
    "nesterov": (("m", "mu * m + g"), ("theta", "theta - lr * (g + mu * m)")),
    "adagrad": (("v", "v + g**2"), ("theta", "theta - lr * g / (sqrt(v) + eps)")),
    "adadelta": (
        ("v", "rho * v + (1 - rho) * g**2"),
        ("d", "sqrt(u + eps) / sqrt(v + eps) * g"),
        ("u", "rho * u + (1 - rho) * d**2"),
        ("theta", "theta - lr * d"),
    ),
    "rmsprop": (("v", "rho * v + (1 - rho) * g**2"), ("theta", "theta - lr * g / (sqrt(v) + eps)")),
    "adam": _ADAM,
    "adamw": _ADAM,
    "amsgrad": (
        *_MOMENTS,
        ("top", "maximum(top, v)"),
        _M_HAT,
        ("v_hat", "top / (1 - beta2**t)"),
        ("theta", "theta - lr * m_hat / (sqrt(v_hat) + eps)"),
    ),
    "nadam": (
        *_MOMENTS,
        _V_HAT,
        ("mu(i)", "beta1 * (1 - 0.96**(0.004 * i) / 2)"),
        ("product", "product * mu(t)"),
        ("ahead", "mu(t + 1) * m / (1 - product * mu(t + 1))"),
        ("here", "(1 - mu(t)) * g / (1 - product)"),
        ("theta", "theta - lr * (ahead + here) / (sqrt(v_hat) + eps)"),
    ),
    "radam": (
        *_MOMENTS,
        _M_HAT,
        ("rho_inf", "2 / (1 - beta2) - 1"),
        ("rho", "rho_inf - 2 * t * beta2**t / (1 - beta2**t)"),
        ("known", "(rho - 4) * (rho - 2) / rho"),
        ("limit", "(rho_inf - 4) * (rho_inf - 2) / rho_inf"),
        ("r", "where(rho > 5, sqrt(maximum(known / limit, 0)), 0)"),
        ("adaptive", "r * sqrt(1 - beta2**t) * m_hat / (sqrt(v) + eps)"),
        ("theta", "theta - lr * where(rho > 5, adaptive, m_hat)"),
    ),
    "lion": (
        ("theta", "theta - lr * sign(beta1 * m + (1 - beta1) * g)"),
        ("m", "beta2 * m + (1 - beta2) * g"),
    ),
    "muon": _ADAM,
    "lbfgs": (
        ("rate", "where(t == 1, lr * minimum(1, 1 / sum(abs(g))), lr)"),
        ("move", "rate * (d - decay * theta)"),
        ("theta", "theta + move"),
    ),
}

_NOTES = {
    "adam": "m, v start at zero; m_hat, v_hat correct for that; t counts the steps from 1.",
    "nadam": "m, v start at zero, product at one; t counts the steps from 1.",
    "radam": "m, v start at zero; t counts the steps from 1; plain momentum until rho passes 5.",
    "adagrad": "v starts at zero.",
    "adadelta": "v, u start at zero.",
    "rmsprop": "v starts at zero.",
    "momentum": "m starts at zero.",
    "nesterov": "m starts at zero.",
    "lion": "m starts at zero.",
    "lbfgs": "s[i], y[i] are the last ten steps of theta and the changes of g along them, oldest first.",
}
_NOTES |= {"adamw": _NOTES["adam"], "amsgrad": _NOTES["adam"], "muon": _NOTES["adam"]}


def update(
    name: str,
    optimizer: Optimizer,
    rate: str,
    decay: tuple[Line, ...],
    size: int,
    hidden: int,
    tables: int = 0,
    fading: bool = False,
) -> list[Line]:
    """The update of the parameters by a rule with its settings.

    `rate` is the expression of the learning rate, `decay` what weight decay does just before, `size` the number of
    parameters, `hidden` the number of hidden layers and `tables` that of learned word tables, whose matrices muon
    takes. `fading`: a schedule leaves but the share `fade_w` of weight decay.
    """
    lines: list[Line] = [Equation(key, fill("x", x=value)) for key, value in optimizer.settings.items()]
    lines += [Note(_NOTES[name])] if name in _NOTES else []
    rule = RULES[name]
    lines += [] if name == "lbfgs" else decay
    if isinstance(optimizer, Muon):
        lines += _muon(rate, hidden, tables)
        rule = tuple((fill(a, theta="rest", g="drest"), fill(b, theta="rest", g="drest")) for a, b in rule)
        rate = rate if rate == "lr" else f"rest_of({rate})"
    if name == "lbfgs":
        if sum(s.part.stop - s.part.start for s in optimizer.segments) < size:
            lines += [Note("moving is 0 where a parameter is frozen, else 1."), Equation("g", "g * moving")]
        lines += _two_loop()
        faded = "fade_w * decay" if fading else "decay"
        filled = [(target, fill(value, lr=rate, decay=faded if decay else 0)) for target, value in rule]
        return [*lines, *(Equation(target, value, () if target == "rate" else (size,)) for target, value in filled)]
    full = () if isinstance(optimizer, Muon) else ("theta", "m", "v", "u", "top")
    lines += [Equation(target, fill(value, lr=rate), (size,) if target in full else None) for target, value in rule]
    return lines


def _muon(rate: str, hidden: int, tables: int) -> list[Line]:
    a, b, c = NEWTON_SCHULZ
    own = rate if rate == "lr" else f"first({rate}, W[l])"
    step = f"{a} * G + ({b} * G @ G.T + {c} * G @ G.T @ G @ G.T) @ G"
    return [
        Note("orthogonal(G) brings all singular values of G near 1 (for G with more rows than columns, of G.T):"),
        Equation("start(G)", "G / (norm(G) + 1e-07)"),
        Equation("iterate(G)", step),
        Equation("orthogonal(G)", f"repeat(iterate, {NEWTON_SCHULZ_STEPS}, start(G))"),
        Note("Hidden weight matrices, B starting at zero; longer(W) is the longer side of W:"),
        *matrices(hidden, tables, *(Equation(target, fill(value, lr=own)) for target, value in _MUON)),
        *([] if rate == "lr" else [Note(f"first({rate}, W) is the entry of {rate} that belongs to W.")]),
        Note("All other parameters, as one vector `rest` with gradient `drest`:"),
    ]


def _two_loop() -> list[Line]:
    down = (Equation("along[i]", "dot(s[i], d) / dot(s[i], y[i])"), Equation("d", "d - along[i] * y[i]"))
    up = (Equation("d", "d + (along[i] - dot(y[i], d) / dot(s[i], y[i])) * s[i]"),)
    return [
        Equation("d", "-g"),
        Loop("i", "newest .. oldest", "reversed(range(len(s)))", down),
        Equation("d", "d * curvature"),
        Note("curvature is dot(s, y) / dot(y, y) of the newest pair, 1 while there is none."),
        Loop("i", "oldest .. newest", "range(len(s))", up),
    ]


FACTORS: dict[str, str] = {
    "constant": "1",
    "plateau": "1",
    "linear": "final + (1 - final) * (1 - x)",
    "polynomial": "final + (1 - final) * (1 - x)**power",
    "cosine": "final + (1 - final) * (1 + cos(pi * x)) / 2",
    "cosine_restarts": "final + (1 - final) * (1 + cos(pi * (cycles * x % 1))) / 2",
    "step": "gamma**floor(epoch / step_size)",
    "multistep": "gamma**passed(milestones, epoch)",
    "exponential": "gamma**(done / (steps_per_epoch * step_size))",
    "inverse_sqrt": "sqrt(first / maximum(first, step + 1))",
    "one_cycle": "where(step < peak, up, down)",
    "coslog": "final + (1 - final) * (1 - cos(2 * pi * log2(1 + waves * x))) / 2",
    "wsd": "final + (1 - final) * minimum(1, (1 - x) / 0.2)",
}


def rate(name: str, schedule: Schedule) -> list[Line]:
    """The learning rate `lr` of a step, counted from 0, under a schedule with its numbers."""
    s = schedule
    if name == "one_cycle":
        return _one_cycle(s)
    factor = fill(
        FACTORS[name],
        final=s.final,
        power=s.power,
        cycles=s.cycles,
        waves=2**s.cycles - 1 if name == "coslog" else 0,
        gamma=s.gamma,
        step_size=s.step_size,
        first=max(1, s.warmup),
        steps_per_epoch=s.steps_per_epoch,
        milestones=str(s.milestones),
    )
    lines: list[Line] = [Note(f"Steps are counted from 0; the run has {s.steps:,}.")] if factor != "1" else []
    now = "step"
    if s.per_epoch and factor != "1":
        now = "begun"
        lines.append(_begun(s))
        factor = fill(factor, step=now)
    used = names(factor)
    if "epoch" in used:
        lines.append(Equation("epoch", f"floor(step / {s.steps_per_epoch})"))
    if "done" in used:
        lines.append(Equation("done", fill("maximum(step - w, 0)" if s.warmup else "step", step=now, w=s.warmup)))
    if "x" in used:
        share = "clip((step - w) / n, 0, 1)"
        lines.append(Equation("x", fill(share, step=now, w=s.warmup, n=max(1, s.steps - s.warmup))))
    full = fill("base * factor", base=s.lr, factor=factor)
    if s.warmup:
        full = fill("where(step < w, base * (step + 1) / w, full)", base=s.lr, w=s.warmup, full=full)
    lines.append(Equation("lr", full, ()))
    if name == "plateau":
        lines.append(Note("plateau is 1 at first; at the end of an epoch it may shrink, see below."))
        lines.append(Equation("lr", "lr * plateau", ()))
    return lines


def fade(target: str, of: Fade) -> list[Line]:
    """The share of a setting that a schedule leaves of it at a step."""
    words = "dropout" if target == "fade_p" else "weight decay"
    return [
        Equation("x", f"clip(step / {of.steps}, 0, 1)", None, "of the run is done"),
        Equation(target, "where(x < 1 / 2, 1, (1 + cos(pi * (2 * x - 1))) / 2)", (), f"of {words} is left"),
    ]


def plateau(patience: int, factor: float, smaller: bool) -> list[Line]:
    """What the end of an epoch does to the factor of the plateau schedule; `smaller` metrics are better."""
    return [
        Note("metric is the monitored one; the first sets the mark, and stale is 0 then."),
        Equation("better", "where(metric < mark, 1, 0)" if smaller else "where(metric > mark, 1, 0)"),
        Equation("mark", "where(better > 0, metric, mark)"),
        Equation("stale", "where(better > 0, 0, stale + 1)"),
        Equation("plateau", f"where(stale > {patience}, plateau * {factor!r}, plateau)"),
        Equation("stale", f"where(stale > {patience}, 0, stale)"),
    ]


def _one_cycle(s: Schedule) -> list[Line]:
    peak = s.warmup or max(1, round(0.3 * s.steps))
    end = s.final or 1 / 250_000
    rest = max(1, s.steps - 1 - peak)
    now = "begun" if s.per_epoch else "step"
    return [
        Note(f"Steps are counted from 0; the run has {s.steps:,}, the rate is highest at step {peak:,}."),
        *([_begun(s)] if s.per_epoch else []),
        Equation("up", fill("1 / 25 + (1 - 1 / 25) * (1 - cos(pi * step / peak)) / 2", step=now, peak=peak)),
        Equation("x", fill("clip((step - peak) / rest, 0, 1)", step=now, peak=peak, rest=rest)),
        Equation("down", fill("end + (1 - end) * (1 + cos(pi * x)) / 2", end=end)),
        Equation("lr", fill(f"base * {FACTORS['one_cycle']}", base=s.lr, step=now, peak=peak), ()),
    ]


def _begun(s: Schedule) -> Equation:
    """The first step of the epoch, for rates that change between epochs only."""
    return Equation("begun", f"floor(step / {s.steps_per_epoch}) * {s.steps_per_epoch}", None, "per epoch")

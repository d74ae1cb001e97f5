"""How a trained model is used, as equations: dropout is gone, batch norm has running statistics, outputs become
predictions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlp_core.explain.formula import Equation, Line, Section, fill
from mlp_core.nn.losses import Quantile
from mlp_core.training.model import Model

MASKED = re.compile(r"^(.*?) \* M\[\d+\]")
_STATISTIC = re.compile(r"^(mean|var)\[(\d+)\]$")
_SIGMOID = "1 / (1 + exp(-Z))"


def use(model: Model, training: Sequence[Section]) -> tuple[Section, ...]:
    """Forward and prediction of a model, from the sections of its training step."""
    found = []
    for section in training:
        if section.title.endswith("forward") or ", forward:" in section.title:
            title = f"In use: {section.title[:1].lower()}{section.title[1:]}".replace(", forward", "")
            found.append(Section(title, tuple(_in_use(section))))
    outputs = f"Z[{sum(section.title.startswith('In use: layer') for section in found)}]"
    lines = tuple(replace(line, value=fill(line.value, Z=outputs)) for line in _prediction(model))
    return (*found, Section("In use: prediction", lines))


def _in_use(section: Section) -> Iterator[Line]:
    """The lines of a layer without what is done in training only."""
    batch = {e.target.partition("[")[2] for e in section.equations() if e.note == "batch norm"}
    for line in section.lines:
        if not isinstance(line, Equation):
            continue  # which tensor a letter stands for is said before
        masked, statistic = MASKED.match(line.value), _STATISTIC.match(line.target)
        if line.target.startswith("running_"):
            continue
        if statistic and f"{statistic[2]}]" in batch:
            yield Equation(line.target, f"running_{line.target}", line.shape)
        elif masked:
            yield Equation(line.target, masked[1], line.shape)
        else:
            yield line


def _prediction(model: Model) -> Iterator[Equation]:
    loss, task, c = model.objective.loss, model.task, model.network.architecture.outputs
    name = loss.name
    if task.kind == "regression":
        if isinstance(loss, Quantile):
            levels = loss.quantiles
            middle = min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5))
            yield Equation("P", f"Z[:, {middle}::{len(levels)}]", None, "the quantile nearest to the median")
        else:
            yield Equation("P", {"poisson": "exp(Z)", "gaussian_nll": f"Z[:, :{c // 2}]"}.get(name, "Z"))
        yield from _units(model)
    elif task.kind == "multilabel":
        yield Equation("P", _SIGMOID)
    elif c == 1:
        yield Equation("P", f"columns(1 / (1 + exp(Z)), {_SIGMOID})")
    elif name in ("cross_entropy", "focal"):
        yield Equation("P", "exp(Z - max_cols(Z)) / sum_cols(exp(Z - max_cols(Z)))")
    else:
        yield Equation("share", _SIGMOID)
        yield Equation("P", "share / sum_cols(share)", None, "each output asks for itself")
    yield from _calibrated(model)


def _units(model: Model) -> Iterator[Equation]:
    """From what the network learned back to the units of the data."""
    if model.target is None:
        return
    scale, shift = (", ".join(repr(float(v)) for v in part) for part in (model.target.scale, model.target.shift))
    yield Equation("P", f"P / row({scale}) + row({shift})", None, "in the units of the data")
    if model.target.log:
        yield Equation("P", "exp(P) - 1")
    if model.target.limits is not None:
        low, high = (", ".join(repr(float(v)) for v in part) for part in model.target.limits)
        yield Equation("P", f"clip(P, row({low}), row({high}))", None, "within the training targets")


def _calibrated(model: Model) -> Iterator[Equation]:
    """Logits times a slope, plus an offset, where probabilities are calibrated."""
    found, kind = model.calibration, model.task.kind
    if found.method == "none" or kind == "regression":
        return
    if kind == "multiclass":
        yield Equation("logits", f"{found.slope!r} * log(P)")
        yield Equation(
            "P", "exp(logits - max_cols(logits)) / sum_cols(exp(logits - max_cols(logits)))", None, "calibrated"
        )
    elif kind == "multilabel":
        yield Equation("P", f"1 / (1 + exp(-{found.slope!r} * (log(P) - log(1 - P))))", None, "calibrated")
    else:
        yield Equation("logits", f"{found.slope!r} * (log(P[:, 1:]) - log(P[:, :1])) + {found.offset!r}")
        yield Equation("P", "columns(1 / (1 + exp(logits)), 1 / (1 + exp(-logits)))", None, "calibrated")

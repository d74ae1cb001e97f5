"""From a loaded model to the list of its operations, whatever format they leave in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from mlp_core import __version__
from mlp_core.data.preprocess.categories import NOWHERE, Categories
from mlp_core.data.preprocess.from_config import gapless
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.data.preprocess.scaling import Target
from mlp_core.errors import Problem, UsageError
from mlp_core.export import operations as op
from mlp_core.export.description import Answer, Column, Decision, Description, Member
from mlp_core.metrics.calibration import Calibration
from mlp_core.nn.embedding import Embedding
from mlp_core.nn.input_scale import InputScale
from mlp_core.nn.layers import Activate, Dense, Dropout, Layer, PRelu, Residual
from mlp_core.nn.losses import GaussianNll, Poisson, Quantile
from mlp_core.nn.norm import Norm
from mlp_core.nn.numeric_embedding import NumericEmbedding
from mlp_core.nn.parametric import Parametric
from mlp_core.training.ensemble import Ensemble, Saved
from mlp_core.training.model import Model

DEVIATION, LOG_DEVIATION = "std", "log_std"
MEANINGS = {"number": "the number written", "date": "days since 1970-01-01", "time": "hours"}
Told: TypeAlias = tuple[str, tuple[str, ...], tuple[Any, ...]]
"""What a model tells: the name of an answer, its columns, and the steps to it from the logits."""


def describe(model: Saved) -> Description:
    """All that a model does from raw cells to answers. Raises UsageError naming what no format can express."""
    models = model.members if isinstance(model, Ensemble) else (model,)
    first, task = models[0], model.task
    required = {place for one in models for place in gapless(one.config, task)}
    columns = (
        Column(name, "numeric" if kind in MEANINGS else kind, place in required, _meaning(first, name))
        for place, (name, kind) in enumerate(zip(task.features, task.input_kinds, strict=True))
    )
    told = [_told(one) for one in models]
    averaged = _calibrated(model.calibration, task.kind) if isinstance(model, Ensemble) else []
    return Description(
        version=__version__,
        kind=task.kind,
        dtype=model.config.dtype,
        targets=task.targets,
        columns=tuple(columns),
        gaps=tuple(model.config.data.csv.na),
        members=tuple(_member(one, own) for one, own in zip(models, told, strict=True)),
        answers=tuple(Answer(name, names, _average(name), tuple(averaged)) for name, names, _ in told[0]),
        decision=_decision(model),
    )


def _member(model: Model, told: Sequence[Told]) -> Member:
    return Member(
        inputs=tuple(_inputs(model.inputs)),
        width=model.inputs.inputs,
        network=tuple(_network(model)),
        outputs=model.network.architecture.outputs,
        answers=tuple(steps for _, _, steps in told),
    )


def _meaning(model: Model, name: str) -> str:
    """What a number of a column is that is written in a notation of its own."""
    notation = model.task.kept.columns.get(name)
    return "" if notation is None or notation.plain else MEANINGS[notation.way]


def _network(model: Model) -> list[Any]:
    """The operations of the network, after one that makes inputs 0 which are 0 in training (places of words that no
    training row has): they do not act here, either."""
    found = [one for layer in model.network.layers for one in _layer(layer)]
    if model.inputs.dead.any():
        width = model.inputs.inputs - len(model.inputs.embeddings) + sum(dim for _, dim in model.inputs.embeddings)
        keep = np.ones(width, model.config.dtype)
        keep[: len(model.inputs.dead)][model.inputs.dead] = 0
        first = sum(isinstance(one, op.Embed) for one in found[:1])
        found.insert(first, op.Multiply(keep))
    return found


def _inputs(inputs: Preprocessor) -> Iterable[Any]:
    """What is done to cells, in the order in which the inputs lie: numbers, flags, words, codes."""
    numbers = inputs.numbers
    if inputs.numeric:
        yield op.Numbers(tuple(inputs.numeric))
        if numbers.flag.any():
            yield op.Flag(tuple(np.flatnonzero(numbers.flag).tolist()))
        if circles := [(j, period) for j, periods in numbers.cycles.items() for period in periods]:
            yield op.Circles(*zip(*circles, strict=True))
        yield op.Fill(numbers.fill)
        if np.isfinite(numbers.low).any() or np.isfinite(numbers.high).any():
            yield op.Clip(numbers.low, numbers.high)
        if numbers.log.any():
            yield op.Log(tuple(np.flatnonzero(numbers.log).tolist()))
        constant = [j for j, ranks in numbers.ranks.items() if ranks.quantiles[0] == ranks.quantiles[-1]]
        scale = np.array(numbers.scaler.scale)
        scale[constant] = 0.0  # no rank is above another
        yield op.Scale(numbers.scaler.shift, scale)
        if numbers.scaler.smooth.any():
            yield op.Bend(tuple(np.flatnonzero(numbers.scaler.smooth).tolist()))
        yield from (op.Ranks(j, ranks.quantiles) for j, ranks in numbers.ranks.items() if j not in constant)
    made = [_words(column, one) for column, one in inputs.categories.items()]
    yield from sorted(made, key=lambda words: isinstance(words, op.Code))


def _words(column: int, one: Categories) -> op.Words:
    """What is done to a column of words. A place that is nowhere is the last one for ordinal, the first for a code."""
    plan = one.plan
    kind: type[op.Words] = {"ordinal": op.Ordinal, "embedding": op.Code}.get(plan.encode, op.OneHot)
    nowhere = {op.Ordinal: one.places - 1, op.Code: 0}.get(kind, NOWHERE)
    words, unknown, missing = one.words, one.unknown_place, one.missing_place
    table: dict[str, Any] = {}
    if one.levels is not None:
        kind, table = op.Levels, {"table": np.array(one.levels, np.float64)}
    if one.acting == ():  # all training rows have one place, which never acts
        words, unknown, missing = (), NOWHERE, NOWHERE
    return kind(
        column=column,
        words=words,
        unknown=nowhere if unknown == NOWHERE else unknown,
        missing=nowhere if missing == NOWHERE else missing,
        places=one.places,
        hashed=plan.max_categories if plan.encode == "hash" else 0,
        refuse=plan.unknown == "error" and plan.encode != "hash",
        silent=() if one.acting is None else tuple(sorted({*range(one.places)} - {*one.acting})),
        **table,
    )


def _layer(layer: Layer) -> list[Any]:
    """The operations of one layer of the network."""
    if type(layer) not in _LAYERS:
        name = type(layer).__name__
        raise UsageError(Problem("not_exportable", f"a layer of this kind cannot be exported yet ({name})"))
    return _LAYERS[type(layer)](layer)


def _dense(layer: Dense) -> list[Any]:
    W = layer.W if layer.scale == 1 else np.asarray(layer.W * layer.scale, layer.W.dtype)
    return [op.Dense(W, layer.b), *([] if layer.f is None else [_activation(layer.f)])]


def _activation(f: Any) -> op.Activation:
    return op.Activation(f.name, float(getattr(f, "alpha", 0.0)))


def _norm(layer: Norm) -> list[Any]:
    if layer.kind == "batch":
        return [op.BatchNorm(layer.gain, layer.shift, layer.mean, layer.var, layer.eps)]
    return [op.LayerNorm(layer.gain, layer.shift, layer.eps) if layer.centred else op.RmsNorm(layer.gain, layer.eps)]


_LAYERS: dict[type[Layer], Callable[[Any], list[Any]]] = {
    Embedding: lambda layer: [op.Embed(tuple(layer.E))],
    Dense: _dense,
    Activate: lambda layer: [_activation(layer.f)],
    Parametric: lambda layer: [op.Parametric(_activation(layer.f), layer.alpha)],
    InputScale: lambda layer: [op.Multiply(layer.s)],
    NumericEmbedding: lambda layer: [op.Waves(layer.u, layer.c, layer.V, layer.d)],
    PRelu: lambda layer: [op.PRelu(layer.a)],
    Norm: _norm,
    Dropout: lambda layer: [op.Dropout(layer.p)],
    Residual: lambda layer: [op.Residual(tuple(one for inner in layer.inner for one in _layer(inner)))],
}


def _probabilities(model: Model) -> list[Any]:
    """From logits to calibrated probabilities, one column per class or label."""
    outputs, kind = model.network.architecture.outputs, model.task.kind
    sigmoid = model.objective.loss.per_output or outputs == 1
    steps: list[Any] = [op.Sigmoid() if sigmoid else op.Softmax()]
    if kind == "multiclass" and sigmoid:
        steps = [op.LogSigmoid(), op.Softmax()]  # shares of what every class says for itself
    if kind == "binary" and outputs == 1:
        steps.append(op.Pair())
    return steps + _calibrated(model.calibration, kind)


def _calibrated(calibration: Calibration, kind: str) -> list[Any]:
    if calibration.method == "none":
        return []
    affine = op.Affine(calibration.slope, 0.0 if kind != "binary" else calibration.offset)
    if kind == "multiclass":
        return [op.LogOf(), affine, op.Softmax()]
    if kind == "multilabel":
        return [op.Odds(), affine, op.Sigmoid()]
    return [op.PairOdds(), affine, op.Sigmoid(), op.Pair()]


def _told(model: Model) -> list[Told]:
    """What a model tells."""
    task = model.task
    if task.kind == "regression":
        return _quantities(model)
    names = task.classes if task.classifies else task.targets
    return [("probabilities", tuple(f"p_{name}" for name in names), tuple(_probabilities(model)))]


def _average(name: str) -> op.Mean | op.Mixture:
    """How an answer is made of those of several members."""
    return op.Mixture(around=0, log=name == LOG_DEVIATION) if name in (DEVIATION, LOG_DEVIATION) else op.Mean()


def _decision(model: Saved) -> Decision | None:
    task = model.task
    if task.kind == "regression":
        return None
    labels = task.classes if task.classifies else _names(task.targets)
    return Decision(labels, float(model.calibration.threshold), several=task.kind == "multilabel")


def _names(targets: tuple[str, ...], name: str = "prediction") -> tuple[str, ...]:
    """What `mlpbp predict` calls a column for each target."""
    return (name,) if len(targets) == 1 else tuple(f"{name}_{target}" for target in targets)


def _quantities(model: Model) -> list[Told]:
    """The value of every target, and what else the loss tells of it: quantiles, deviation."""
    loss, target, targets = model.objective.loss, model.target, model.task.targets
    outputs = model.network.architecture.outputs
    everything = tuple(range(outputs))
    if isinstance(loss, Quantile):
        places = np.array([everything])  # told by their numbers, which of them are which
        made = {"prediction": loss.point(np, places), **loss.further(places)}
        return [
            (name, _names(targets, name), (op.Take(tuple(of[0].tolist())), *_unscaled(target)))
            for name, of in made.items()
        ]
    if isinstance(loss, GaussianNll):
        means, logs = op.Take(everything[: outputs // 2]), op.Take(everything[outputs // 2 :])
        name = LOG_DEVIATION if target is not None and target.log else DEVIATION
        width = [] if target is None else [op.Unscale(target.scale, np.zeros(len(targets)))]
        return [
            ("prediction", _names(targets), (means, *_unscaled(target))),
            (name, _names(targets, name), (logs, op.Exp(0.5), *width)),
        ]
    steps = [op.Exp(1.0)] if isinstance(loss, Poisson) else []
    return [("prediction", _names(targets), (*steps, *_unscaled(target)))]


def _unscaled(target: Target | None) -> list[Any]:
    """Back to the units of the data."""
    if target is None:
        return []
    steps: list[Any] = [op.Unscale(target.scale, target.shift), *([op.Expm1()] if target.log else [])]
    return steps if target.limits is None else [*steps, op.Limit(*target.limits)]

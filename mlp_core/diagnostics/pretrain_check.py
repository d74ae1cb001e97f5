"""The checkup of a careful engineer, before hours are spent on training: what is wrong, and what to change.

After the habit described in A. Karpathy, "A recipe for training neural networks" (2019): look at the data, verify the
loss at the start, overfit a handful of rows, then train.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlp_core.errors import Diverged
from mlp_core.gradcheck import fast_check
from mlp_core.gradcheck.complex_step import twin
from mlp_core.nn.layers import Activate, Dense, Pass, PRelu
from mlp_core.nn.loss import Loss
from mlp_core.nn.losses import Bce, CrossEntropy, GaussianNll, Mse
from mlp_core.nn.objective import Objective
from mlp_core.nn.optimizers import OPTIMIZERS
from mlp_core.nn.parametric import Parametric
from mlp_core.rng import generator
from mlp_core.runs.prove import in_turn
from mlp_core.training.events import StepDone
from mlp_core.training.experiment import Experiment

ROWS = 2000  # rows looked at, at most
EIGHT, LEFT = 8, 0.05
OVERFIT_STEPS, OVERFIT_LR = 800, (1e-2, 5e-2, 2e-3, 2e-1)  # the rates are tried until one is enough
STEPS, SECONDS = 100, 10.0  # of the user's own training
LARGE, SPREAD = 10.0, 10.0  # an input this far from 0, a column with this deviation
START = 10.0  # a loss at the start so many times that of a constant guess is no accident of the initial weights
RISE, FALL = 0.02, 0.005  # what the first steps may add to the loss, and should take from it
DEAD_NOTE, DEAD_WRONG = 0.1, 0.5
RARE = 0.1  # a class with less than this share of an even one is rare
SKEWED = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. verdict: ok, note (worth knowing) or wrong; advice: what to change."""

    name: str
    verdict: str
    detail: str
    advice: str = ""


def examine(experiment: Experiment) -> Iterator[Finding]:
    """Look at an experiment before its first step; the last look trains it for some steps.

    Where all rows are alike there is one finding, since all others would only repeat it.
    """
    X, _, _ = _sample(experiment)
    if not np.ptp(X, axis=0).any():
        advice = "nothing can be learned from that: look at the columns with mlpbp data"
        yield Finding("inputs", "wrong", "every input is constant in the training rows", advice)
        return
    for look in (_inputs, _targets, _start, _gradients, _units, _proof, _eight_rows, _first_steps):
        yield look(experiment)


def _sample(experiment: Experiment, rows: int = ROWS) -> tuple[Any, Any, Any]:
    """Training rows drawn at random, on the host: X, Y, row weights."""
    train = experiment.splits["train"]
    chosen = np.sort(generator(experiment.config.seed, "checkup").permutation(len(train.X))[:rows])
    return train.on_host(experiment.model.network.backend, chosen)


def _objective(experiment: Experiment, rows: int) -> Objective:
    """The experiment's network in float64 with parameters of its own, and its loss without penalties, and without
    smoothing, so that it can reach 0 where every row is learned."""
    own = twin(experiment.model.objective, rows, np.float64)
    loss = replace(own.loss, label_smoothing=0.0) if isinstance(own.loss, CrossEntropy) else own.loss
    return Objective(own.network, loss)


def _inputs(experiment: Experiment) -> Finding:
    """Numbers far from 0 make some weights learn much faster than others."""
    X, _, _ = _sample(experiment)
    X = X[:, : X.shape[1] - len(experiment.model.network.architecture.embeddings)]
    if not X.size:
        return Finding("inputs", "ok", "categories only")
    largest, spread = np.abs(X).max(axis=0), X.std(axis=0)
    worst = int(largest.argmax())
    flat = int((spread == 0).sum())
    detail = f"{X.shape[1]:,} inputs, largest size {largest[worst]:.3g}, deviations {spread.min():.2g} to "
    detail += f"{spread.max():.2g}" + (f", {flat:,} constant" if flat else "")
    if spread.max() > SPREAD:
        advice = "scale them: preprocess.numeric.scale=standard"
        return Finding("inputs", "wrong", detail, advice)
    if largest[worst] > LARGE:
        return Finding("inputs", "note", detail, "far values: preprocess.numeric.clip=5 or scale=quantile")
    return Finding("inputs", "ok", detail)


def _targets(experiment: Experiment) -> Finding:
    """Rare classes are easily forgotten; a long tail of a regression target rules its loss."""
    task, train = experiment.model.task, experiment.data.splits["train"]
    if not task.classifies:
        return _numbers(train.y, task.targets, task.kind)
    counts = np.bincount(train.y, minlength=len(task.classes))
    share, rare = counts / counts.sum(), int(counts.argmin())
    detail = f'{len(counts)} classes, {100 * share.min():.2g} % ("{task.classes[rare]}") to {100 * share.max():.2g} %'
    if share.min() * len(counts) < RARE and experiment.config.loss.class_weight == "none":
        advice = "look at balanced_accuracy and f1; loss.class_weight=balanced if rare classes matter"
        return Finding("classes", "note", detail, advice)
    return Finding("classes", "ok", detail)


def _numbers(y: Any, names: tuple[str, ...], kind: str) -> Finding:
    if kind == "multilabel":
        share = y.mean(axis=0)
        detail = f"{len(share)} labels, true in {100 * share.min():.2g} % to {100 * share.max():.2g} % of the rows"
        return Finding("labels", "ok", detail)
    spread = y.std(axis=0)
    skew = ((y - y.mean(axis=0)) ** 3).mean(axis=0) / np.where(spread > 0, spread, 1) ** 3
    worst = int(np.abs(skew).argmax())
    which = f" ({names[worst]})" if len(names) > 1 else ""
    detail = f"deviation {spread[worst]:.3g}, skewness {skew[worst]:.2g}{which}"
    if abs(skew[worst]) > SKEWED and y[:, worst].min() >= 0:
        return Finding("target", "note", detail, "a long tail: try preprocess.target.transform=log1p")
    return Finding("target", "ok", detail)


def _start(experiment: Experiment) -> Finding:
    """With output weights of 0 the loss must be what can be computed by hand from the targets alone."""
    X, Y, w = _sample(experiment)
    objective = _objective(experiment, len(X))
    start = float(objective.value(X.astype(np.float64), Y, w))
    output = next(spec for spec in reversed(objective.network.parameters.specs) if spec.is_weight)
    objective.network.parameters.values[output.name][...] = 0
    constant = float(objective.value(X.astype(np.float64), Y, w))
    bias = objective.network.parameters.values.get(output.name.replace("weight", "bias"))
    expected = None if bias is None else _by_hand(objective.loss, np.asarray(bias), Y, w)
    detail = f"{start:.4f} before training, {constant:.4f} without inputs"
    if expected is None:
        return Finding("loss at the start", "ok", detail + f"; {objective.loss.name} has no simple value by hand")
    detail += f", {expected:.4f} by hand"
    if not abs(constant - expected) <= 1e-6 * max(1.0, abs(expected)):
        return Finding("loss at the start", "wrong", detail, "loss and data do not fit together; please report it")
    if start > START * max(1.0, expected):
        return Finding("loss at the start", "wrong", detail, "initial weights are too large: model.init=auto")
    return Finding("loss at the start", "ok", detail)


def _by_hand(loss: Loss, bias: Any, Y: Any, w: Any) -> float | None:
    """The loss of constant logits: entropy of the class shares against the predicted ones, or a variance.

    w are the weights of rows and classes; those of positive rows, in bce, count for their part of the entropy alone.
    """
    weight = np.ones(len(Y)) if w is None else np.asarray(w, np.float64)
    if isinstance(loss, CrossEntropy) and Y.ndim == 1:
        share = np.bincount(Y, weights=weight, minlength=len(bias)) / weight.sum()
        return float(-share @ (bias - bias.max() - np.log(np.exp(bias - bias.max()).sum())))
    if isinstance(loss, Bce) and (Y.ndim == 2 or len(bias) == 1):
        share = weight @ Y.reshape(len(Y), -1) / weight.sum()
        p = 1 / (1 + np.exp(-bias))
        return float(np.mean(-loss.pos_weight * share * np.log(p) - (1 - share) * np.log(1 - p)))
    if isinstance(loss, Mse):
        values = np.asarray(Y, np.float64).reshape(len(Y), -1)
        mean = weight @ values / weight.sum()
        variance = weight @ np.square(values - mean) / weight.sum()
        return float(np.mean(variance + np.square(mean - bias)))
    return None


def _gradients(experiment: Experiment) -> Finding:
    """Every tensor must be reached by a gradient that is neither 0 nor infinite."""
    X, Y, w = _sample(experiment, 256)
    objective = _objective(experiment, len(X))
    objective.value_and_gradient(X.astype(np.float64), Y, w)
    norms = {name: float(np.linalg.norm(grad)) for name, grad in objective.network.parameters.gradients.items()}
    bad = [name for name, norm in norms.items() if norm == 0 or not np.isfinite(norm)]
    if bad:
        kind = "0" if norms[bad[0]] == 0 else "not finite"
        advice = "initial weights of 0, or a layer whose units are all dead: model.init=auto, model.activation=relu"
        return Finding("gradients", "wrong", f"the gradient of {', '.join(bad[:4])} is {kind}", advice)
    weights = [norms[spec.name] for spec in objective.network.parameters.specs if spec.is_weight]
    low, high = min(norms, key=lambda n: norms[n]), max(norms, key=lambda n: norms[n])
    detail = f"{len(norms)} tensors, {norms[low]:.1e} ({low}) to {norms[high]:.1e} ({high})"
    if max(weights) > 1e4 * min(weights):
        advice = "gradients fade on their way: model.activation=relu, model.norm=batch, or fewer layers"
        return Finding("gradients", "note", detail, advice)
    return Finding("gradients", "ok", detail)


def _units(experiment: Experiment) -> Finding:
    """A hidden unit that answers the same to every row has nothing to say, and with relu learns nothing."""
    X, _, _ = _sample(experiment)
    A, total, dead = X.astype(np.float64), 0, 0
    for layer in _objective(experiment, len(X)).network.layers[:-1]:
        A = layer.forward(A, Pass())
        if isinstance(layer, Activate | PRelu | Parametric) or (isinstance(layer, Dense) and layer.f is not None):
            size = np.abs(A).max(axis=0)
            total += A.shape[1]
            dead += int((np.ptp(A, axis=0) <= 1e-9 * np.maximum(size, 1e-300)).sum())
    if not total:
        return Finding("hidden units", "ok", "none to look at")
    detail, share = f"{dead:,} of {total:,} answer the same to every row", dead / total
    if share > DEAD_WRONG:
        advice = "scale the inputs, model.init=auto, or model.activation=leaky_relu"
        return Finding("hidden units", "wrong", detail, advice)
    advice = "model.activation=leaky_relu keeps them alive" if share > DEAD_NOTE else ""
    return Finding("hidden units", "note" if share > DEAD_NOTE else "ok", detail, advice)


def _proof(experiment: Experiment) -> Finding:
    """The backward pass differentiates the forward pass, by the complex step."""
    X, Y, w = _sample(experiment, 16)
    mode = Pass(True, experiment.config.seed, 0, False)
    report = fast_check(experiment.model.objective, X, Y, w, mode, experiment.config.seed)
    detail = f"worst relative error {report.worst:.0e} in {report.checked:,} directions"
    if not report.passed:
        advice = "run mlpbp gradcheck on the config for the whole report"
        return Finding("gradients proved", "wrong", f"{detail}, in {', '.join(report.failures())}", advice)
    return Finding("gradients proved", "ok", detail)


def _eight_rows(experiment: Experiment) -> Finding:
    """Without dropout and penalties, eight rows must be learned by heart, at one of several learning rates; a network
    without hidden layers, or with fewer units in one than there are rows, may be unable to."""
    X, Y = _different_rows(experiment)
    kind = experiment.model.task.kind
    for lr in OVERFIT_LR:
        objective = _objective(experiment, len(X))
        start = float(objective.value(X, Y))
        with np.errstate(all="ignore"):
            _learn(objective, X, Y, lr)
            end = float(objective.value(X, Y))
            left = _left(objective, X, Y, kind, end, start)
        if left < LEFT:
            return Finding(f"{len(X)} rows learned", "ok", f"loss {start:.3g} to {end:.2g} in {OVERFIT_STEPS} steps")
    detail = f"loss {start:.3g} to {end:.2g} in {OVERFIT_STEPS} steps, at none of {len(OVERFIT_LR)} rates"
    hidden = experiment.model.network.architecture.hidden
    if not hidden or min(block.units for block in hidden) < EIGHT:
        advice = "so few units need not be enough for that; more model.hidden would be"
        return Finding(f"{len(X)} rows learned", "note", detail, advice)
    advice = "the network is too small or its units are dead: more model.hidden, model.activation=relu, scaled inputs"
    return Finding(f"{len(X)} rows learned", "wrong", detail, advice)


def _learn(objective: Objective, X: Any, Y: Any, lr: float) -> None:
    """Adam on all rows at once, at a rate that falls to 0."""
    network = objective.network
    adam = OPTIMIZERS["adam"](network.parameters, network.backend, beta1=0.9, beta2=0.999, eps=1e-8)
    for step in range(OVERFIT_STEPS):
        objective.value_and_gradient(X, Y)
        adam.step(network.parameters.theta, network.parameters.grad, lr * (1 - step / OVERFIT_STEPS))


def _left(objective: Objective, X: Any, Y: Any, kind: str, end: float, start: float) -> float:
    """The share of what there was to learn that is left: of the loss, or of the variance of numbers.

    A normal distribution's loss is half the logarithm of a variance: its mean may leave a row to a wide distribution.
    """
    if not np.isfinite(end):
        return np.inf
    if isinstance(objective.loss, GaussianNll):
        return float(np.exp(2 * min(end - start, 0.0)))
    if kind != "regression":
        return end / max(start, 1e-12) if end > 0.02 else 0.0
    spread = float(np.square(Y - Y.mean(axis=0)).mean())
    error = float(np.square(objective.loss.point(np, objective.network.forward(X)) - Y).mean())
    return error / spread if spread > 0 else 0.0


def _different_rows(experiment: Experiment) -> tuple[Any, Any]:
    """Eight training rows with different inputs, of as many classes as there are."""
    X, Y, _ = _sample(experiment)
    _, first = np.unique(X, axis=0, return_index=True)
    first = np.sort(first)
    if Y.ndim == 1:
        first = first[in_turn(Y[first])]
    chosen = first[:EIGHT]
    return X[chosen].astype(np.float64), Y[chosen]


def _first_steps(experiment: Experiment) -> Finding:
    """With the config's own optimizer the loss must fall within the first steps."""
    config, rows = experiment.config, _sample(experiment)
    before, steps, begun = _trained_on(experiment, *rows), 0, time.monotonic()
    lr = f"lr {float(config.optimizer.lr):g}"
    try:
        for event in experiment.trainer.run():
            steps += isinstance(event, StepDone)
            if steps >= STEPS or time.monotonic() - begun > SECONDS:
                break
        with np.errstate(all="ignore"):
            after = _trained_on(experiment, *rows)
    except Diverged as error:
        return Finding("first steps", "wrong", error.problems[0].message, "a smaller optimizer.lr, by a factor of 10")
    detail = f"loss {before:.4f} to {after:.4f} in {steps} steps ({config.optimizer.name}, {lr})"
    size = max(abs(before), 0.1)
    if not after <= before + RISE * size:
        sure = steps >= STEPS or not after <= before + size  # a few steps may well begin upwards
        advice = "it does not fall: a smaller optimizer.lr, by a factor of 10"
        return Finding("first steps", "wrong" if sure else "note", detail, advice)
    if before - after < FALL * abs(before):
        advice = "it hardly falls: a larger optimizer.lr, or the inputs tell nothing about the target"
        return Finding("first steps", "note", detail, advice)
    return Finding("first steps", "ok", detail)


def _trained_on(experiment: Experiment, X: Any, Y: Any, w: Any) -> float:
    """The loss as training has it: with penalties, batch statistics and dropout, the same units left out every time.

    As used, a network with batch normalization is not what it is in training until its running statistics are known.
    """
    objective = twin(experiment.model.objective, len(X), np.float64)
    return float(objective.value(X.astype(np.float64), Y, w, Pass(True, experiment.config.seed, 0, False)))

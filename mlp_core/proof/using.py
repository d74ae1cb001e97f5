"""The proof of using a model: evaluation and prediction on some rows, against the formulas, at weights and running
statistics that are moved for it and put back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held
from mlp_core.explain.use import use
from mlp_core.metrics import decide
from mlp_core.metrics.calibration import Calibration
from mlp_core.proof import draws
from mlp_core.proof.compare import Difference, Tally
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.proof.rows import Table
from mlp_core.proof.state import State
from mlp_core.training.evaluator import Evaluator, Split
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model

ROWS = 40
MEASURED = 5_000  # rows of a validation split whose loss is computed on paper
WITHIN = {"float64": 1e-8, "float32": 2e-3}
FITTED = {
    "multiclass": ("temperature", 1.6, 0.0),
    "multilabel": ("temperature", 0.7, 0.0),
    "binary": ("platt", 1.4, -0.3),
}


def prove_using(experiment: Experiment, paper: Paper) -> Tally:
    """Predictions, labels and the loss of rows by the evaluator that a run and its saved model use, as they are and
    calibrated; and the loss of the validation rows as it is monitored, with averaged weights where there are any."""
    tally, job = Tally(), experiment.trainer.job
    before = State.of(job)
    try:
        with np.errstate(all="ignore"):  # rows of no weight have no mean
            _move(before, experiment)
            _predictions(tally, experiment, paper, experiment.model)
            if (kind := experiment.model.task.kind) in FITTED:
                method, slope, offset = FITTED[kind]
                model = replace(experiment.model, calibration=Calibration(method, slope, offset, fitted=True))
                fitted = replace(model.calibration, threshold=_between(experiment, paper, model))
                _predictions(tally, experiment, paper, replace(model, calibration=fitted))
            _monitored(tally, experiment, paper)
    finally:
        before.put_back(job)
    return tally


def _between(experiment: Experiment, paper: Paper, model: Model) -> float:
    """A threshold that divides the rows that are looked at otherwise than 0.5 does: a quartile of probabilities."""
    split = experiment.splits["val" if "val" in experiment.splits else "train"]
    backend, network = paper.network.backend, paper.network
    rows = backend.asarray(np.arange(min(ROWS, len(split.X), network.rows)))
    machine = _forward(paper, model, State.of(experiment.trainer.job), backend.to_host(split.X[rows]))
    P = np.asarray(machine["P"])
    if P.shape[1] != 2 or not np.isfinite(P).all():
        return 0.4
    return float(np.clip(np.quantile(P[:, 1], 0.25 if np.median(P[:, 1]) < 0.5 else 0.75), 0.01, 0.99))


def _move(before: State, experiment: Experiment) -> None:
    """Other statistics than the first ones, and averaged weights that are not the weights."""
    rng = draws.philox(experiment.config.seed, "proof", 0)
    variances = np.abs(before.statistics + 0.3 * rng.standard_normal(before.statistics.shape)) + 0.2
    average = None if before.average is None else before.average * (1 + 0.1 * rng.random(before.average.shape))
    dtype = before.theta.dtype
    moved = replace(
        before,
        statistics=variances.astype(dtype),
        average=None if average is None else average.astype(dtype),
    )
    moved.put_back(experiment.trainer.job)


def _forward(paper: Paper, model: Model, state: State, X: Any) -> Machine:
    """The equations of use on rows X."""
    walk = paper.begin(state)
    walk.machine["X"] = np.array(X, np.float64)
    for section in use(model, paper.text(len(X)).sections):
        walk.machine.run(section.lines)
    return walk.machine


def _predictions(tally: Tally, experiment: Experiment, paper: Paper, model: Model) -> None:
    split = experiment.splits["val" if "val" in experiment.splits else "train"]
    network, backend = model.network, model.network.backend
    rows = backend.asarray(np.arange(min(ROWS, len(split.X), network.rows)))
    X = split.X[rows]
    count = len(rows)
    w = None if split.w is None else split.w[rows]
    weight = None if split.weight is None else split.weight[:count]
    few = Split(Held(backend, X), split.Y[rows], w, split.y[:count], weight)
    evaluator: Evaluator = model.evaluator(max(1, count // 2))
    found = evaluator.evaluate(few, [])
    machine = _forward(paper, model, State.of(experiment.trainer.job), backend.to_host(X))
    name = "calibrated predictions" if model.calibration.fitted else "predictions"
    here, there = np.asarray(found.outcome.P), np.asarray(machine["P"], np.float64)
    _close(tally, name, here, there, str(network.dtype))
    threshold = model.calibration.threshold
    if model.task.classifies:
        own = there.argmax(axis=1) if there.shape[1] > 2 else (there[:, 1] >= threshold).astype(int)
        sure = np.abs(there[:, 1] - threshold) > 1e-4 if there.shape[1] == 2 else _gap(there) > 1e-4
        labels = np.asarray(decide(here, True, evaluator.threshold))
        wrong = (labels != own) & sure
        where = int(np.argmax(wrong))
        difference = Difference("the class that is predicted", np.inf, float(labels[where]), float(own[where]))
        tally.add(len(labels), 0.0, difference if wrong.any() else None)
    _loss(tally, paper, machine, few, found.metrics["loss"], str(network.dtype), "the loss of evaluation")


def _gap(P: Any) -> Any:
    """How far the largest of each row is above the next."""
    ordered = np.sort(P, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def _monitored(tally: Tally, experiment: Experiment, paper: Paper) -> None:
    """What `evaluate` of the trainer says of the validation rows: its loss, with the weights that are for use."""
    val = experiment.splits.get("val")
    if val is None or len(val.X) > MEASURED:
        return
    job, backend = experiment.trainer.job, experiment.trainer.job.backend
    state = State.of(job)
    found = experiment.trainer.evaluate()
    after = State.of(job)
    same = all(np.array_equal(vector, after.vectors()[name]) for name, vector in state.vectors().items())
    tally.add(1, 0.0, None if same else Difference("weights after an evaluation", np.inf, np.nan, np.nan))
    used = state if state.average is None else replace(state, theta=state.average)
    machine = _forward(paper, experiment.model, used, backend.to_host(val.X[backend.asarray(np.arange(len(val.X)))]))
    _loss(tally, paper, machine, val, found["val_loss"], str(job.network.dtype), "val_loss")


def _loss(tally: Tally, paper: Paper, machine: Machine, split: Split, here: float, dtype: str, name: str) -> None:
    """The mean loss of a split with its penalties, from the logits that the machine has found."""
    count = len(split.X)
    table = Table(paper.network.backend, split, count, 1, 0, False, False, paper.network.architecture.outputs)
    _, Y, w = table.batch(np.arange(count))
    text = paper.text(count)
    machine |= {"Y": Y, "w": np.ones((count, 1)) if w is None else w, "total": 1.0}
    sections = [s for s in text.sections if s.title.startswith("Loss")]
    if paper.table.many > 1:
        sections += [s for s in text.sections if s.title == "Gradient"]
    for section in sections:
        lines = []
        for line in section.lines:
            target = getattr(line, "target", None) or next((e.target for e in getattr(line, "equations", ())), "")
            if target.startswith("Delta[") or target in ("g",) or target.startswith("dW") or target.startswith("dE"):
                break
            lines.append(line)
        if section.title == "Gradient":
            machine.run(lines)
            continue
        means = [i for i, line in enumerate(lines) if getattr(line, "target", "") == "loss"][:1]
        machine.run(lines[: means[0]])
        total = float(machine["w"].sum())
        machine["loss"] = float((machine["w"] * machine["rows"]).sum()) / (total or 1.0)
        machine.run(lines[means[0] + 1 :])
    there = float(machine["loss"])
    if not np.isfinite(there) or not machine["w"].any():
        return
    error = abs(here - there) / max(abs(there), 1e-3)
    tally.add(1, error, None if error <= WITHIN[dtype] else Difference(name, error, here, there))


def _close(tally: Tally, name: str, here: Any, there: Any, dtype: str) -> None:
    if here.shape != there.shape:
        tally.add(1, np.inf, Difference(f"the shape of {name}", np.inf, here.size, there.size))
        return
    if not np.isfinite(there).all():
        return
    scale = max(float(np.abs(there).max(initial=0)), 1e-300)
    error = np.abs(here - there) / scale
    worst = int(error.argmax())
    off = float(error.flat[worst])
    wrong = None if off <= WITHIN[dtype] else Difference(name, off, float(here.flat[worst]), float(there.flat[worst]))
    tally.add(here.size, off, wrong)

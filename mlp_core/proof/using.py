"""The proof of using a model: evaluation and prediction on some rows, against the formulas, at weights and running
statistics that are moved for it and put back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held
from mlp_core.metrics import Outcome, decide
from mlp_core.metrics.calibration import Calibration
from mlp_core.proof.compare import USED_WITHIN, Tally, close
from mlp_core.proof.in_use import decided, forward, logits, moved, spread, told, total_loss
from mlp_core.proof.judging import prove_fit, prove_judging, prove_metrics, prove_threshold
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.proof.state import State
from mlp_core.training.evaluator import Evaluator, Split
from mlp_core.training.model import Model

ROWS = 40
FAR = 50.0  # times as large logits reach where predictions are cut
MEASURED = 5_000  # rows of splits whose loss and predictions are computed on paper
METRICS = 1_200  # rows of a split whose metrics are computed by their definitions
FITTED = {
    "multiclass": Calibration("temperature", 1.6, 0.0, fitted=True),
    "multilabel": Calibration("temperature", 0.7, 0.0, fitted=True),
    "binary": Calibration("platt", 1.4, -0.3, fitted=True),
}


def prove_using(paper: Paper) -> Tally:
    """Predictions, labels and the loss of rows by the evaluator that a run and its saved model use, as they are and
    calibrated; and the loss of the validation rows as it is monitored, with averaged weights where there are any."""
    tally, model = Tally("evaluation and prediction"), paper.experiment.model
    with np.errstate(all="ignore"), moved(paper.experiment):  # rows of no weight have no mean
        few = _few(paper)
        _predictions(tally, paper, model, few)
        if (kind := model.task.kind) in FITTED:
            fitted = replace(FITTED[kind], threshold=_between(paper, replace(model, calibration=FITTED[kind]), few))
            _predictions(tally, paper, replace(model, calibration=fitted), few)
        _monitored(tally, paper)
        _chosen(tally, paper)
    return tally


def _few(paper: Paper) -> Split:
    """The rows that are looked at one by one."""
    splits, backend = paper.experiment.splits, paper.network.backend
    split = splits["val" if "val" in splits else "train"]
    count = min(ROWS, len(split.X), paper.network.rows)
    rows = backend.asarray(np.arange(count))
    w = None if split.w is None else split.w[rows]
    weight = None if split.weight is None else split.weight[:count]
    return Split(Held(backend, split.X[rows]), split.Y[rows], w, split.y[:count], weight)


def _between(paper: Paper, model: Model, few: Split) -> float:
    """A threshold that divides the rows that are looked at otherwise than 0.5 does: a quartile of probabilities."""
    machine = forward(paper, model, State.of(paper.experiment.trainer.job), _rows_of(paper, few))
    P = np.asarray(machine["P"])
    if P.shape[1] != 2 or not np.isfinite(P).all():
        return 0.4
    return float(np.clip(np.quantile(P[:, 1], 0.25 if np.median(P[:, 1]) < 0.5 else 0.75), 0.01, 0.99))


def _predictions(tally: Tally, paper: Paper, model: Model, few: Split) -> None:
    X, dtype = _rows_of(paper, few), str(model.network.dtype)
    evaluator: Evaluator = model.evaluator(max(1, len(X) // 2))
    found = evaluator.evaluate(few, [])
    machine = forward(paper, model, State.of(paper.experiment.trainer.job), X)
    name = "calibrated predictions" if model.calibration.fitted else "predictions"
    here, there = np.asarray(found.outcome.P), np.asarray(machine["P"], np.float64)
    close(tally, name, here, there, dtype)
    if model.task.classifies:
        own, sure = decided(there, model.calibration.threshold)
        labels = np.asarray(decide(here, True, evaluator.threshold))
        wrong = (labels != own) & sure
        where = int(np.argmax(wrong))
        tally.right("the class that is predicted", not wrong.any(), labels[where], own[where], numbers=len(labels))
    _loss(tally, paper, machine, few, found.metrics["loss"], "the loss of evaluation")
    prove_judging(tally, model.task.kind, found.outcome)
    losses, P = evaluator.rows(few)
    close(tally, f"{name} row by row", P, there, dtype)
    close(tally, "the loss of each row", losses, np.ravel(machine["rows"]), dtype)
    Z = evaluator.logits(X)
    close(tally, "logits", Z, logits(model, machine), dtype)
    close(tally, f"{name} from logits", evaluator.predict(Z), there, dtype)
    if model.task.kind == "regression":
        _spread(tally, model, evaluator, machine)
    far = FAR * np.array(logits(model, machine), np.float64)
    close(tally, f"{name} from far logits", evaluator.told(far), told(model, paper, machine, far), "float64")


def _chosen(tally: Tally, paper: Paper) -> None:
    """What a run does at its end: it fits what its config asks for to the validation rows, as the weights for use see
    them, and measures every split by that."""
    experiment, config, model = paper.experiment, paper.config, paper.experiment.model
    if sum(len(split.X) for split in experiment.splits.values()) > MEASURED:
        return
    kind, used = model.task.kind, State.of(experiment.trainer.job).for_use()
    try:
        found = experiment.calibrate()
        asked = "val" in experiment.splits and (
            config.eval.calibrate != "none" or isinstance(config.eval.threshold, str)
        )
        right = (found is not None) == asked and experiment.model.calibration == (found or model.calibration)
        tally.right("whether calibration is fitted", right)
        if found is not None and right:
            val = experiment.splits["val"]
            P = np.asarray(forward(paper, model, used, _rows_of(paper, val))["P"], np.float64)
            outcome = Outcome(P, val.y, val.weight, 0.5, config.eval.bins)
            if np.isfinite(P).all():
                prove_fit(tally, kind, config.eval.calibrate, outcome, found)
        for name, one in experiment.evaluate().items():
            if not experiment.world.writes:  # worker 0 has what was predicted, of several
                continue
            split = experiment.splits[name]
            machine = forward(paper, experiment.model, used, _rows_of(paper, split))
            close(tally, f"predictions of {name}", one.outcome.P, machine["P"], str(paper.network.dtype))
            weight = np.ones(len(split.y)) if split.weight is None else split.weight
            right = np.array_equal(one.outcome.y, split.y) and np.array_equal(one.outcome.weight, weight)
            tally.right(f"the truth of {name}", right)
            if name == "val" and kind == "binary":
                prove_threshold(tally, config.eval.threshold, one.outcome)
            if len(split.y) <= METRICS:
                prove_metrics(tally, one.metrics, one.outcome)
    finally:
        experiment.model = model


def _rows_of(paper: Paper, split: Split) -> Any:
    backend = paper.network.backend
    return backend.to_host(split.X[backend.asarray(np.arange(len(split.X)))])


def _spread(tally: Tally, model: Model, evaluator: Evaluator, machine: Machine) -> None:
    """Quantiles and deviations in the units of the data."""
    Z = np.asarray(logits(model, machine), np.float64)
    (here, deviation), (there, right) = evaluator.spread(Z), spread(model, Z)
    same = list(here) == list(there) and (deviation is None) == (right is None)
    tally.right("which quantiles and deviations are told", same)
    for name in here if same else ():
        close(tally, f"quantile {name}", here[name], there[name], "float64")
    if same and right is not None:
        close(tally, "the standard deviation", deviation, right, "float64")


def _monitored(tally: Tally, paper: Paper) -> None:
    """What `evaluate` of the trainer says of the validation rows: its loss, with the weights that are for use."""
    experiment = paper.experiment
    val = experiment.splits.get("val")
    if val is None or len(val.X) > MEASURED:
        return
    job, state = experiment.trainer.job, State.of(experiment.trainer.job)
    found = experiment.trainer.evaluate()
    after = State.of(job)
    same = all(np.array_equal(vector, after.vectors()[name]) for name, vector in state.vectors().items())
    tally.right("weights after an evaluation", same)
    used = state.for_use()
    machine = forward(paper, experiment.model, used, _rows_of(paper, val))
    _loss(tally, paper, machine, val, found["val_loss"], "val_loss")
    names = [name for name in found if name != "val_loss"]
    if len(val.X) <= METRICS and names:
        theta = job.network.parameters.theta
        theta[...] = job.backend.asarray(used.theta)
        outcome = experiment.evaluator.evaluate(val, []).outcome
        theta[...] = job.backend.asarray(state.theta)
        prove_metrics(tally, {name.removeprefix("val_"): found[name] for name in names}, outcome)


def _loss(tally: Tally, paper: Paper, machine: Machine, split: Split, here: float, name: str) -> None:
    there = total_loss(paper, machine, split)
    if not np.isfinite(there) or not machine["w"].any():
        return
    tally.entries(name, here, there, USED_WITHIN[str(paper.network.dtype)], max(abs(there), 1e-3))

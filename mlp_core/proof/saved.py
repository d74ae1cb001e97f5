"""The proof of what is saved: rows of the data as they were read become inputs as the config asks, and a model that was
written and read back, alone or with another one in an ensemble, says of them what the formulas say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.load import Data, Dataset, load
from mlp_core.proof.compare import Difference, Tally, close
from mlp_core.proof.dealt import prove_dealt
from mlp_core.proof.in_use import forward, moved, total_loss
from mlp_core.proof.inputs import inputs
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.proof.state import State
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.ensemble import Ensemble
from mlp_core.training.evaluator import Split
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model, model_of

CELLS = 1 << 21
"""Numbers in the training rows up to which they are read once more to be made inputs by hand."""
ROWS, FEW = 1500, 24  # of each split that are made inputs; that a saved model is asked about
SHARE = 2e-6, 1e-9  # by which inputs may be off, in float32 and in float64
UNLIKELY = 1e-6  # a class that no row has more of than this may be 1 - p, which knows no digits of the smallest p


Answer = Callable[[Model, Dataset], Mapping[str, Any]]
"""The columns that `predict` gives for rows as they were read, probabilities among them."""


def prove_saved(
    experiment: Experiment, paper: Paper, given: Config, answer: Answer | None = None, fitted: bool = True
) -> Tally:
    """Inputs by hand from the data, read again, if they were `fitted` to it, and a saved model on them. The experiment
    is left as it was."""
    tally, train = Tally(), experiment.splits["train"]
    if len(train.X) * len(experiment.model.task.features) > CELLS:
        return tally
    data = load(given, task=experiment.model.task)
    with np.errstate(all="ignore"):
        if fitted and experiment.config.model.weights is None:
            _inputs(tally, experiment, data)
            prove_dealt(tally, experiment, given, data)
        with moved(experiment):
            _read_back(tally, experiment, paper, data, answer)
    return tally


def _inputs(tally: Tally, experiment: Experiment, data: Data) -> None:
    backend, dtype = experiment.model.network.backend, experiment.model.network.dtype
    for name, split in experiment.splits.items():
        rows = np.unique(np.linspace(0, len(split.X) - 1, ROWS).astype(int))
        some = _some(data.splits[name], rows)
        there = inputs(experiment.config, experiment.model.task, data.splits["train"], some)
        here = np.asarray(backend.to_host(split.X[backend.asarray(rows)]), np.float64)
        if here.shape != there.shape:
            found = Difference(f"the number of inputs of {name}", np.inf, here.shape[1], there.shape[1])
            tally.add(1, np.inf, found)
            continue
        error = np.abs(here - there) / np.maximum(1.0, np.abs(there))
        worst = int(error.argmax())
        column = worst % here.shape[1]
        off = float(error.flat[worst])
        what = f"input {experiment.model.inputs.input_names()[column]!r} of {name}"
        wrong = Difference(what, off, float(here.flat[worst]), float(there.flat[worst]))
        tally.add(here.size, off, None if off <= SHARE[dtype == np.float64] else wrong)


def _some(dataset: Dataset, rows: Any) -> Dataset:
    """Some rows of a data set."""
    weight = None if dataset.weight is None else dataset.weight[rows]
    return Dataset(np.array(dataset.X[rows]), dataset.y[rows], weight, dataset.words)


def _read_back(tally: Tally, experiment: Experiment, paper: Paper, data: Data, answer: Answer | None) -> None:
    """The checkpoint of a run, restored, read as a model, and as two members of an ensemble."""
    before, name = State.of(experiment.trainer.job), "val" if "val" in data.splits else "train"
    checkpoint = _copied(experiment.checkpoint({}, {"jsonl": 0}))
    progress, stamp = experiment.trainer.progress, experiment.stamp
    experiment.restore(checkpoint, "checkpoint")
    same = (
        State.of(experiment.trainer.job).t == before.t
        and experiment.trainer.progress == progress
        and all(
            np.array_equal(vector, State.of(experiment.trainer.job).vectors()[what])
            for what, vector in before.vectors().items()
        )
    )
    tally.add(1, 0.0, None if same else Difference("a run that is restored", np.inf, np.nan, np.nan))
    experiment.trainer.progress, experiment.stamp = progress, stamp
    used = before if before.average is None else replace(before, theta=before.average)
    rows = np.arange(min(FEW, data.splits[name].rows))
    some = _some(data.splits[name], rows)
    model = model_of(checkpoint, "checkpoint", rows=FEW // 2)
    X = np.asarray(experiment.model.inputs.transform(some.X, some.words, dtype=experiment.config.dtype), np.float64)
    machine = forward(paper, model, used, X)
    P = np.asarray(machine["P"], np.float64)
    if answer is not None:
        _answers(tally, model, answer(model, some), P)
    other = model_of(_moved(checkpoint), "checkpoint", rows=FEW // 2)
    _ensemble(tally, paper, (model, other), used, some, X, machine)


def _copied(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint({name: np.array(tensor) for name, tensor in checkpoint.tensors.items()}, checkpoint.document)


def _moved(checkpoint: Checkpoint) -> Checkpoint:
    """Another model: weights that are a little smaller."""
    tensors = {name: tensor * np.asarray(0.9, tensor.dtype) for name, tensor in checkpoint.tensors.items()}
    return Checkpoint(tensors, checkpoint.document)


def _answers(tally: Tally, model: Model, found: Mapping[str, Any], P: Any) -> None:
    """The columns that `predict` gives."""
    task, threshold = model.task, model.calibration.threshold
    dtype = str(model.network.dtype)
    if task.kind == "regression":
        names = ["prediction"] if len(task.targets) == 1 else [f"prediction_{name}" for name in task.targets]
        for k, name in enumerate(names):
            close(tally, f"{name} of a saved model", np.asarray(found[name]), P[:, k], dtype)
        return
    labels = task.targets if task.kind == "multilabel" else task.classes
    for k, label in enumerate(labels):
        close(tally, f"p_{label} of a saved model", np.asarray(found[f"p_{label}"]), P[:, k], dtype, UNLIKELY)
    if task.kind == "multilabel":
        pairs = list(_labels(found, task.targets, P, threshold))
    else:
        two = P.shape[1] == 2
        own = (P[:, 1] >= threshold).astype(int) if two else P.argmax(axis=1)
        ordered = np.sort(P, axis=1)
        sure = np.abs(P[:, 1] - threshold) > 1e-4 if two else ordered[:, -1] - ordered[:, -2] > 1e-4
        pairs = [(found["prediction"][i] == task.classes[own[i]]) or not sure[i] for i in range(len(P))]
    wrong = None if all(pairs) else Difference("the prediction of a saved model", np.inf, np.nan, np.nan)
    tally.add(len(pairs), 0.0, wrong)


def _labels(found: Any, targets: Any, P: Any, threshold: float) -> Iterator[bool]:
    names = ["prediction"] if len(targets) == 1 else [f"prediction_{name}" for name in targets]
    for k, name in enumerate(names):
        sure = np.abs(P[:, k] - threshold) > 1e-4
        yield bool(np.array_equal(np.asarray(found[name])[sure], (P[:, k] >= threshold).astype(int)[sure]))


def _ensemble(
    tally: Tally, paper: Paper, models: tuple[Model, Model], used: State, some: Dataset, X: Any, machine: Machine
) -> None:
    """The mean of two models' predictions and losses."""
    together, dtype = Ensemble.of(models, ("one", "other")), str(models[0].network.dtype)
    smaller = replace(used, theta=used.theta * used.theta.dtype.type(0.9), statistics=used.statistics * 0.9)
    second = forward(paper, models[1], smaller, X)
    P = (np.asarray(machine["P"], np.float64) + np.asarray(second["P"], np.float64)) / 2
    evaluator = together.evaluator(FEW // 2)
    split: Split = together.split(some)
    found = evaluator.evaluate(split, [])
    close(tally, "predictions of an ensemble", np.asarray(found.outcome.P), P, dtype)
    Z = evaluator.logits(together.inputs.transform(some.X, some.words, dtype=models[0].config.dtype))
    close(tally, "predictions of an ensemble from logits", np.asarray(evaluator.predict(Z)), P, dtype)
    parts = [member.split(some) for member in models]
    losses = [total_loss(paper, one, part) for one, part in zip((machine, second), parts, strict=True)]
    there = float(np.mean(losses))
    if np.isfinite(there):
        close(tally, "the loss of an ensemble", np.array([found.metrics["loss"]]), np.array([there]), dtype)

"""The proof of what is saved: rows of the data as they were read become inputs as the config asks, and a model that was
written and read back says of them what the formulas say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.load import Data, Dataset, load
from mlp_core.data.preprocess.preprocessor import Preprocessor
from mlp_core.proof import draws
from mlp_core.proof.compare import Tally, close
from mlp_core.proof.dealt import prove_dealt
from mlp_core.proof.further import further
from mlp_core.proof.in_use import decided, forward, logits, moved, spread
from mlp_core.proof.inputs import inputs
from mlp_core.proof.machine import Machine
from mlp_core.proof.paper import Paper
from mlp_core.proof.state import State, kept
from mlp_core.proof.together import prove_together
from mlp_core.proof.using import FITTED
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.experiment import Experiment
from mlp_core.training.model import Model, model_of
from mlp_core.training.trainer import Progress

CELLS, BYTES = 1 << 21, 1 << 26
"""Numbers in the training rows, and bytes of images, up to which they are read once more to be made inputs by hand."""
ROWS, FEW = 1500, 23  # of each split that are made inputs; that a saved model is asked about, in parts with a rest
SHARE = 2e-6, 1e-9  # by which inputs may be off, in float32 and in float64
UNLIKELY = 1e-6  # a class that no row has more of than this may be 1 - p, which knows no digits of the smallest p


Answer = Callable[[Model, Dataset], Mapping[str, Any]]
"""The columns that `predict` gives for rows as they were read, probabilities among them."""


def prove_saved(paper: Paper, given: Config, answer: Answer | None = None, fitted: bool = True) -> Tally:
    """Inputs by hand from the data, read again, if they were `fitted` to it, and a saved model on them. The experiment
    is left as it was."""
    tally, experiment = Tally("inputs from the data, and a saved model"), paper.experiment
    train = experiment.splits["train"]
    stored = getattr(train.X.resident, "dtype", None)
    if len(train.X) * len(experiment.model.task.features) > (BYTES if stored == np.uint8 else CELLS):
        return tally
    data = load(given, task=experiment.model.task)
    with np.errstate(all="ignore"):
        if fitted and experiment.config.model.weights is None:
            _inputs(tally, experiment, data)
            prove_dealt(tally, experiment, given, data)
        with moved(experiment):
            _read_back(tally, paper, data, answer)
    return tally


def _inputs(tally: Tally, experiment: Experiment, data: Data) -> None:
    """The inputs of all splits; and those of strange rows, as the preprocessing makes them, and as a saved one does."""
    backend, train = experiment.model.network.backend, data.splits["train"]
    for name, split in experiment.splits.items():
        rows = np.unique(np.linspace(0, len(split.X) - 1, ROWS).astype(int))
        there = inputs(experiment.config, experiment.model.task, train, _some(data.splits[name], rows))
        _same_inputs(tally, experiment, backend.to_host(split.X[backend.asarray(rows)]), there, f"of {name}")
    strange = further(experiment.config, experiment.model.task, train)
    if strange is None:
        return
    there = inputs(experiment.config, experiment.model.task, train, strange)
    saved = Preprocessor.from_state(experiment.model.inputs.to_state())
    for made, name in ((experiment.model.inputs, "of a further row"), (saved, "of a further row, saved")):
        here = made.transform(strange.X.copy(), strange.words, dtype=experiment.config.dtype)
        _same_inputs(tally, experiment, here, there, name)


def _same_inputs(tally: Tally, experiment: Experiment, here: Any, there: Any, name: str) -> None:
    here, dtype = np.asarray(here, np.float64), experiment.model.network.dtype
    if here.shape != there.shape:
        tally.right(f"the number of inputs {name}", False, here.shape[1], there.shape[1])
        return
    scale = np.maximum(1.0, np.abs(there))
    worst = int((np.abs(here - there) / scale).argmax())
    what = f"input {experiment.model.inputs.input_names()[worst % here.shape[1]]!r} {name}"
    tally.entries(what, here, there, SHARE[dtype == np.float64], scale)


def _some(dataset: Dataset, rows: Any) -> Dataset:
    """Some rows of a data set."""
    weight = None if dataset.weight is None else dataset.weight[rows]
    return Dataset(np.array(dataset.X[rows]), dataset.y[rows], weight, words=dataset.words)


@contextmanager
def _lived(experiment: Experiment) -> Iterator[State]:
    """An optimizer that has made steps, and a run that is somewhere; for a while."""
    trainer = experiment.trainer
    progress, stamp, rng = trainer.progress, experiment.stamp, draws.philox(experiment.config.seed, "proof", 1)
    with kept(trainer.job) as before:
        slots = {name: np.abs(rng.standard_normal(v.shape)).astype(v.dtype) for name, v in before.slots.items()}
        lived = replace(before, slots=slots, t=before.t + 7)
        lived.put_back(trainer.job)
        steps = 3 * trainer.steps_per_epoch
        trainer.progress = Progress(3, 0, steps, 0.5, 2.0, 0.25, 2, 0.75, 1, 0.125, 1, 0.5, None)
        try:
            yield lived
        finally:
            trainer.progress, experiment.stamp = progress, stamp


def _read_back(tally: Tally, paper: Paper, data: Data, answer: Answer | None) -> None:
    """The checkpoint of a run, restored, read as a model, and as two members of an ensemble."""
    experiment = paper.experiment
    with _lived(experiment) as before:
        there = experiment.trainer.progress
        live = experiment.checkpoint({}, {"jsonl": 0})
        checkpoint = Checkpoint({name: np.array(tensor) for name, tensor in live.tensors.items()}, live.document)
        gone = {name: 0.5 * vector for name, vector in before.slots.items()}
        replace(before, theta=0.5 * before.theta, slots=gone, t=before.t + 1).put_back(experiment.trainer.job)
        experiment.trainer.progress = Progress()
        experiment.restore(checkpoint, "checkpoint")
        found = State.of(experiment.trainer.job)
        same = found.t == before.t and experiment.trainer.progress == there
        same &= all(np.array_equal(vector, found.vectors()[what]) for what, vector in before.vectors().items())
        tally.right("a run that is restored", same)
    used = before.for_use()
    name = "val" if "val" in data.splits else "train"
    some = _some(data.splits[name], np.arange(min(FEW, data.splits[name].rows)))
    right = experiment.model
    if right.task.kind in FITTED:
        right = replace(right, calibration=replace(FITTED[right.task.kind], threshold=0.45))
    checkpoint = replace(checkpoint, document={**checkpoint.document, "calibration": right.calibration.to_state()})
    model = model_of(checkpoint, "checkpoint", rows=FEW // 2)
    X = np.asarray(right.inputs.transform(some.X.copy(), some.words, dtype=experiment.config.dtype), np.float64)
    machine = forward(paper, right, used, X)
    if answer is not None:
        _answers(tally, right, answer(model, some), machine)
    other = model_of(_other(checkpoint), "checkpoint", rows=FEW // 2)
    prove_together(tally, paper, right, (model, other), used, some, machine)


def _other(checkpoint: Checkpoint) -> Checkpoint:
    """Another model: weights that are a little smaller, numbers with another mean."""
    tensors = {name: tensor * np.asarray(0.9, tensor.dtype) for name, tensor in checkpoint.tensors.items()}
    state = checkpoint.document["inputs"]
    scale = {**state["scale"], "shift": [value + 0.1 for value in state["scale"]["shift"]]}
    return Checkpoint(tensors, {**checkpoint.document, "inputs": {**state, "scale": scale}})


def _answers(tally: Tally, right: Model, found: Mapping[str, Any], machine: Machine) -> None:
    """The columns that `predict` gives."""
    task, threshold, dtype = right.task, right.calibration.threshold, str(right.network.dtype)
    P = np.asarray(machine["P"], np.float64)
    suffixes = [""] if len(task.targets) == 1 else [f"_{name}" for name in task.targets]
    if task.kind == "regression":
        columns = {f"prediction{suffix}": P[:, k] for k, suffix in enumerate(suffixes)}
        further, deviation = spread(right, np.asarray(logits(right, machine), np.float64))
        if deviation is not None:
            further["log_std" if right.target is not None and right.target.log else "std"] = deviation
        for name, values in further.items():
            columns |= {f"{name}{suffix}": values[:, k] for k, suffix in enumerate(suffixes)}
        for name, there in columns.items():
            close(tally, f"{name} of a saved model", found[name], there, dtype)
        return
    labels = task.targets if task.kind == "multilabel" else task.classes
    for k, label in enumerate(labels):
        close(tally, f"p_{label} of a saved model", found[f"p_{label}"], P[:, k], dtype, UNLIKELY)
    if task.kind == "multilabel":
        pairs = list(_labels(found, task.targets, P, threshold))
    else:
        own, sure = decided(P, threshold)
        pairs = [(found["prediction"][i] == task.classes[own[i]]) or not sure[i] for i in range(len(P))]
    tally.right("the prediction of a saved model", all(pairs), numbers=len(pairs))


def _labels(found: Any, targets: Any, P: Any, threshold: float) -> Iterator[bool]:
    names = ["prediction"] if len(targets) == 1 else [f"prediction_{name}" for name in targets]
    for k, name in enumerate(names):
        sure = np.abs(P[:, k] - threshold) > 1e-4
        yield bool(np.array_equal(np.asarray(found[name])[sure], (P[:, k] >= threshold).astype(int)[sure]))

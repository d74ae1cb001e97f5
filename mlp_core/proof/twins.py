"""The same training in float64, by the same kernels or by the generic engine: where rounding hides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlp_core.data.batches.inputs import Held, Rows, Scaled
from mlp_core.gradcheck.complex_step import copy_state
from mlp_core.training.evaluator import Split
from mlp_core.training.experiment import Experiment, make_trainer
from mlp_core.training.model import Model

CELLS = 1 << 22
"""Numbers of inputs of the training rows that a twin trains on; of more rows it takes the first."""


def twin(experiment: Experiment, generic: bool = False, **more: Any) -> Experiment:
    """An experiment like this in float64, with weights and rows of its own; `generic`: on numpy, stage by stage;
    `more` is changed in its config."""
    model, train = experiment.model, experiment.splits["train"]
    changes: dict[str, Any] = {"dtype": "float64", **more}
    if model.config.matmul_precision != "highest":
        changes["matmul_precision"] = "highest"
    if generic:
        changes |= {"kernels": "numpy", "device": "cpu"}
    config = model.config.replace(**changes)
    rows = _rows(experiment)
    made = Model.build(config, model.task, model.inputs, model.target, min(model.network.rows, rows), training=True)
    copy_state(model.network, made.network)
    splits = {"train": _split(experiment, made, train, rows)}
    trainer = make_trainer(made, splits, made.evaluator(min(rows, 4096)))
    return replace(experiment, model=made, splits=splits, trainer=trainer)


def _rows(experiment: Experiment) -> int:
    """How many of the training rows: all of them, or of many so many that the last batch is as short as it is; but up
    to three fewer, so that sums over rows by fours have a rest."""
    X, network = experiment.splits["train"].X, experiment.model.network
    step, rows = network.rows * experiment.config.optimizer.accumulate, len(X)
    if rows * X.shape[1] > CELLS and rows > 3 * step:
        rows = int(max(2, CELLS // (X.shape[1] * step)) * step + rows % step)
    return rows - (rows + 1) % 4 if rows > 8 else rows


def _split(experiment: Experiment, made: Model, train: Split, rows: int) -> Split:
    old, new = experiment.model.network.backend, made.network.backend

    def moved(array: Any) -> Any:
        host = np.array(old.to_host(array))
        return new.asarray(host.astype(np.float64) if host.dtype.kind == "f" else host)

    part = slice(0, rows)
    if train.X.scales is not None and new.name == old.name:
        stored = np.asarray(old.to_host(train.X.resident))[part]
        X: Rows = Scaled(new, stored, experiment.model.inputs, np.float64)
    else:
        X = Held(new, moved(train.X[part]))
    w = None if train.w is None else moved(train.w[part])
    return Split(X, moved(train.Y[part]), w, train.y[part], None if train.weight is None else train.weight[part])

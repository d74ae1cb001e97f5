"""Rows as a further file may have them: a cell missing, a word that was never met, a number far away."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.load import Dataset
from mlp_core.data.task import Task

NEVER = "a word that nobody has met"
COLUMNS = 100  # so many are changed, the others stay as they are
AWAY = 2.0  # ranges of the training rows above and below them


def further(config: Config, task: Task, train: Dataset) -> Dataset | None:
    """The first training row over and over, each time with another cell changed; None where rows are images."""
    if train.on_disk or train.X.dtype.kind != "f":
        return None
    kinds, words = task.input_kinds, dict(train.words)
    rows = [np.array(train.X[0], np.float64)]
    for j, (name, kind) in enumerate(list(zip(task.features, kinds, strict=True))[:COLUMNS]):
        values = [np.nan]
        if kind == "categorical":
            own = config.preprocess.columns.get(name)
            unknown = (own and own.unknown) or config.preprocess.categorical.unknown
            if unknown != "error":
                values.append(float(len(words.get(j, ()))))
                words[j] = (*words.get(j, ()), NEVER)
        else:
            present = train.X[:, j][~np.isnan(train.X[:, j])]
            reach = AWAY * (float(np.ptp(present)) + 1.0) if len(present) else 1.0
            middle = float(np.median(present)) if len(present) else 0.0
            values += [middle + reach, middle - reach]
        for value in values:
            rows.append(rows[0].copy())
            rows[-1][j] = value
    X: Any = np.stack(rows).astype(train.X.dtype)
    return Dataset(X, train.y[np.zeros(len(X), int)], words=words)

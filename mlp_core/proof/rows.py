"""The training rows on the host, as they are before anybody deals them, and which of them a step takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.data.batches.from_disk import StreamedBatches
from mlp_core.proof import draws
from mlp_core.training.evaluator import Split
from mlp_core.training.experiment import Experiment


class Table:
    """The rows of a split, and how a run deals them: `size` rows in a batch, `many` batches in a step.

    `row_bytes`: those of a stored row, of rows on the disk, which are shuffled in chunks.
    """

    def __init__(self, experiment: Experiment, split: Split) -> None:
        config, network, batches = experiment.config, experiment.model.network, experiment.trainer.job.batches
        self.split, self.rows, self.backend = split, len(split.X), network.backend
        self.seed, self.shuffle, self.outputs = config.seed, config.train.shuffle, network.architecture.outputs
        self.row_bytes = batches.disk.stored_bytes if isinstance(batches, StreamedBatches) else None
        self.Y = np.asarray(self.backend.to_host(split.Y))
        self.w = None if split.w is None else np.asarray(self.backend.to_host(split.w), np.float64)
        choice = config.train.batch_size
        self.size = min(choice, self.rows) if isinstance(choice, int) else self.rows
        self.count = self.rows // self.size if config.train.drop_last else -(-self.rows // self.size)
        self.many = max(1, min(config.optimizer.accumulate, self.count))  # there are no more in an epoch
        self.steps = -(-self.count // self.many)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def order(self, epoch: int) -> Any:
        """The numbers of all rows in the order of an epoch."""
        if epoch != self._epoch:
            dealt = draws.order(self.seed, epoch, self.rows) if self.shuffle else np.arange(self.rows)
            self._epoch, self._order = epoch, dealt
        return self._order

    def step(self, epoch: int, position: int) -> list[Any]:
        """The numbers of the rows of each batch of a step."""
        batches = range(position * self.many, min((position + 1) * self.many, self.count))
        if self.row_bytes is not None and self.shuffle:
            ends = [(batch * self.size, min((batch + 1) * self.size, self.rows)) for batch in batches]
            return [draws.order_on_disk(self.seed, epoch, self.rows, self.row_bytes, *end) for end in ends]
        order = self.order(epoch)
        return [order[batch * self.size : (batch + 1) * self.size] for batch in batches]

    def weight(self, rows: Any) -> float:
        """The weight of some rows together."""
        return float(len(rows)) if self.w is None else float(self.w[rows].sum())

    def batch(self, rows: Any) -> tuple[Any, Any, Any]:
        """X [b, n], Y [b, c] and w [b, 1] or None of some rows, in float64."""
        X = np.array(self.backend.to_host(self.split.X[self.backend.asarray(rows)]), np.float64)
        return X, *self.targets(rows)

    def targets(self, rows: Any) -> tuple[Any, Any]:
        """Y [b, c] and w [b, 1] or None of some rows, in float64."""
        Y, w = self.Y[rows], None if self.w is None else self.w[rows, None]
        if Y.ndim == 1:
            Y = np.eye(self.outputs)[Y] if self.outputs > 1 else Y[:, None]
        return Y.astype(np.float64), w

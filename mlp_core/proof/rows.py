"""The training rows on the host, as they are before anybody deals them, and which of them a step takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.config import Config
from mlp_core.data.batches.batches import Batches
from mlp_core.data.batches.from_disk import StreamedBatches
from mlp_core.nn.backend import Backend
from mlp_core.proof import draws
from mlp_core.training.evaluator import Split


@dataclass
class Table:
    """The rows of a split, and how a run deals them: `size` rows in a batch, `many` batches in a step.

    `row_bytes`: those of a stored row, of rows on the disk, which are shuffled in chunks.
    """

    backend: Backend
    split: Split
    size: int
    many: int
    seed: int
    shuffle: bool
    drop_last: bool
    outputs: int
    row_bytes: int | None = None

    def __post_init__(self) -> None:
        to_host = self.backend.to_host
        self.rows = len(self.split.X)
        self.Y = np.asarray(to_host(self.split.Y))
        self.w = None if self.split.w is None else np.asarray(to_host(self.split.w), np.float64)
        self.count = self.rows // self.size if self.drop_last else -(-self.rows // self.size)
        self.many = max(1, min(self.many, self.count))  # there are no more in an epoch
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


def table_of(config: Config, batches: Batches, split: Split, outputs: int) -> Table:
    """The rows of a split as the config has them dealt; `batches` say whether they are read from the disk."""
    choice, rows = config.train.batch_size, len(split.X)
    return Table(
        batches.backend,
        split,
        size=min(choice, rows) if isinstance(choice, int) else rows,
        many=config.optimizer.accumulate,
        seed=config.seed,
        shuffle=config.train.shuffle,
        drop_last=config.train.drop_last,
        outputs=outputs,
        row_bytes=batches.disk.stored_bytes if isinstance(batches, StreamedBatches) else None,
    )

"""Rows on the host: those of one split, and the splits of a run with what was inferred about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.data.readers.source import Source
from mlp_core.data.scan import Survey
from mlp_core.data.split import put_in_order
from mlp_core.data.task import Task
from mlp_core.data.warnings import Part


@dataclass(frozen=True)
class Dataset(Part):
    """The rows of one split on the host, not yet scaled.

    X: [rows, columns] as stored: uint8 for images, float64 for tables; None when it has been let go of.
    y: class indices int64 [rows] (binary, multiclass), or float64 [rows, outputs] (multilabel, regression).
    A missing number is NaN; a column of words holds codes.
    weight: float64 [rows], or None when every row counts the same.
    words: the vocabulary behind the codes of every column of words: {column: words}.
    places: the row numbers in the file [rows], where rows without a target were left out; None: all rows.
    notes: what is to be said of a further file, one line each. source: the file without its cells, which knows where
    rows stand.
    survey: what one pass found, where X stays on the disk (`OnDisk`, which is read like an array).
    """

    weight: npt.NDArray[np.float64] | None = None
    survey: Survey | None = None
    places: npt.NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()
    source: Source | None = None

    @property
    def rows(self) -> int:
        return len(self.y)

    @property
    def on_disk(self) -> bool:
        """Whether the inputs are read when they are asked for."""
        return isinstance(self.X, OnDisk)

    def present(self, rows: npt.NDArray[np.int64]) -> Dataset:
        """Some rows (ascending), which remember where they lie."""
        if len(rows) == self.rows:
            return self
        weight = None if self.weight is None else self.weight[rows]
        return replace(self, X=self.X.take(rows, axis=0), y=self.y[rows], weight=weight, places=rows)

    def dealt(self, parts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, Dataset]:
        """The given rows as data sets of their own. Where they are in memory and are all there are, their inputs stay
        there in another order, and this data set is of no use any more."""
        whole = not self.on_disk and sum(map(len, parts.values())) == self.rows and self.X.flags.writeable
        inputs = put_in_order(self.X, parts) if whole else {n: self.X.take(rows, axis=0) for n, rows in parts.items()}
        weights = {name: None if self.weight is None else self.weight[rows] for name, rows in parts.items()}
        return {n: Dataset(inputs[n], self.y[rows], weights[n], words=self.words) for n, rows in parts.items()}


@dataclass(frozen=True)
class Data:
    """Everything a run is trained and judged on.

    splits: `train` always, `val` and `test` when there are such rows.
    indices: row numbers (from 0) in the training file of every split that was dealt from it.
    sha256: digest of the arrays of all splits. notes: what was inferred, one line each.
    """

    task: Task
    splits: dict[str, Dataset]
    indices: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def memory(self) -> str:
        """Where the training inputs are: `ram` or `memmap`."""
        return "memmap" if self.splits["train"].on_disk else "ram"

    def without_inputs(self) -> Data:
        """The same without the inputs that are in memory, once the network has its own."""
        rest = {n: part if part.on_disk else replace(part, X=None) for n, part in self.splits.items()}
        return replace(self, splits=rest)

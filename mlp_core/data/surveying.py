"""Inputs that stay on the disk, looked at once: the pass over them as their source places it, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.preprocess.from_config import gapless
from mlp_core.data.readers.arrays import Arrays
from mlp_core.data.readers.converted_table import check_digest
from mlp_core.data.readers.csv import Reading
from mlp_core.data.readers.formats import Source
from mlp_core.data.readers.npy_on_disk import OnDisk
from mlp_core.data.readers.table import Table
from mlp_core.data.scan import Part, Survey, Words, survey
from mlp_core.data.task import Task
from mlp_core.data.warnings import WIDE, column_notes, sampled, shared
from mlp_core.errors import Problem

if TYPE_CHECKING:
    from mlp_core.config import Config


def surveyed(
    config: Config,
    source: Source,
    X: OnDisk,
    words: Words,
    rows: Mapping[str, npt.NDArray[np.int64]],
    task: Task,
    progress: Reading | None = None,
) -> Survey:
    """What one pass finds in the inputs X [all rows, features] of a source; rows: the row numbers of every split.

    Raises DataError for the first cells that cannot be used, DamagedTable for a converted table that is not as it was
    written.
    """
    kinds = task.kinds or ("numeric",) * len(task.features)
    place = {name: source.names.index(name) for name in task.features if name in source.names}

    def refuse(code: str, message: str, row: int, column: int, hint: str) -> Problem:
        return source.problem(code, message, row, place.get(task.features[column], column), hint)

    def told(rows: int) -> None:
        if progress is not None:
            progress(source.path, rows)

    strict = isinstance(source, Arrays) and set(kinds) == {"numeric"}
    gaps = gapless(config, task.features, task.kinds)
    found = survey(X, words, rows, config.seed, refuse, gaps, not strict, told)
    if isinstance(source, Table):
        check_digest(X.file.path.parent, found.sha256, source)
    return found


def survey_notes(
    found: Survey, rows: Mapping[str, int], y: npt.NDArray[Any], words: Words, task: Task
) -> tuple[str, ...]:
    """What should be known about the data, as far as one pass tells; rows: how many every split has, y, words: those of
    the training split."""
    sums = found.sums
    mine = {name: rows[name] for name in found.keys if name in rows}
    notes = shared(found.keys, mine, found.one_in) if len(mine) > 1 else []
    if len(task.features) <= WIDE and rows["train"] > 1:
        constant = ((sums.low == sums.high) & (sums.gaps == 0)) | (sums.gaps == sums.rows)
        first = Part(found.first, y[: len(found.first)], words)
        spread = Part(found.sample, y[found.places], words)
        notes += column_notes(task, np.flatnonzero(constant).tolist(), *sampled(first, spread, task))
    return tuple(notes)

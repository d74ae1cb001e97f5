"""Which rows a model was trained on: their fingerprints, kept in the run's directory beside the split."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.data.fingerprints import Fingerprints, fingerprints
from mlp_core.descriptors import read_own
from mlp_core.runs.run_directory import TRAINED

LARGEST = 1 << 31


def encode(rows: Fingerprints) -> bytes:
    """The bytes of the file: every fingerprint once, in ascending order."""
    file = io.BytesIO()
    np.save(file, np.unique(rows).astype("<u8"))
    return file.getvalue()


def trained_rows(checkpoint: Path) -> Fingerprints | None:
    """The fingerprints beside a checkpoint of a run; None where there are none that can be read."""
    path = checkpoint.absolute().parent.parent / TRAINED
    try:
        content = read_own(path, LARGEST) if path.is_file() else None
        rows = None if content is None else np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if rows is None or rows.dtype != np.dtype("<u8") or rows.ndim != 1 or not (rows[1:] > rows[:-1]).all():
        return None
    return np.asarray(rows, np.uint64)


def count_trained(rows: Fingerprints | None, X: Any, words: Any) -> int | None:
    """How many rows of X have the inputs of a row that was trained on; None where that is not known."""
    if rows is None or not isinstance(X, np.ndarray):
        return None
    if not len(rows):
        return 0
    mine = fingerprints(X, words)
    place = np.minimum(np.searchsorted(rows, mine), len(rows) - 1)
    return int((rows[place] == mine).sum())

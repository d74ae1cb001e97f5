"""The digest of the data of a run: by it another run, or another worker, knows whether it has the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mlp_core.data.dataset import Dataset
from mlp_core.nn.backend import blocks


def digest(splits: Mapping[str, Dataset], indices: Mapping[str, npt.NDArray[np.int64]] | None = None) -> str:
    """SHA-256 over names, shapes, types and values of all arrays; of one on the disk, over the digest of its file and
    the numbers of the rows."""
    sha = hashlib.sha256()
    for name, part in splits.items():
        if part.survey is not None:
            sha.update(f"{name} {part.survey.sha256} {part.X.columns};".encode())
            sha.update(np.ascontiguousarray((indices or {}).get(name, np.empty(0, np.int64))).data)
        for array in (None if part.survey is not None else part.X, part.y, part.weight):
            if array is not None:
                sha.update(f"{name} {array.dtype.str} {array.shape};".encode())
                for rows in blocks(len(array), math.prod(array.shape[1:]), block=1 << 20):
                    sha.update(np.ascontiguousarray(array[rows]).reshape(-1).view(np.uint8).data)
        for column, words in part.words.items():
            sha.update(f"{column} {list(words)!r};".encode(errors="surrogatepass"))
    return sha.hexdigest()

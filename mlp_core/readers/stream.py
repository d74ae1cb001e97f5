"""A source in parts, so that what is larger than memory can be predicted: text tables, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from mlp_core.readers.arrays import Arrays, pair
from mlp_core.readers.csv import WANTED, stream_csv
from mlp_core.readers.files import STDIN, refusal
from mlp_core.readers.idx import read_idx
from mlp_core.readers.jsonl import stream_jsonl
from mlp_core.readers.numpy_files import array_names, read_npy, read_npz
from mlp_core.readers.parquet import stream_parquet
from mlp_core.readers.source import ReadOptions, Source, detect, read


def stream(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Source]:
    """The source at `path`, or on standard input for `-`, in parts of bounded size; arrays in one part.

    names: columns that a header line should contain. numbers: the columns of numbers; all others are words. Arrays
    may come without targets. Raises DataError.
    """
    kind = detect(path) if options.format == "auto" else options.format
    if kind in ("csv", "tsv"):
        yield from stream_csv(path, options.csv, "\t" if kind == "tsv" else None, names, numbers)
    elif kind == "jsonl":
        yield from stream_jsonl(path, options.csv, numbers)
    elif path == STDIN:
        raise refusal(
            path, "not_a_table", f"standard input holds {kind}, not {WANTED}", hint="write it to a file first"
        )
    elif kind == "parquet":
        yield from stream_parquet(path, options.csv, numbers)
    elif kind in ("npy", "idx"):
        yield _alone(read_npy(path) if kind == "npy" else read_idx(path), path)
    elif kind == "npz" and options.y not in array_names(path):
        yield _alone(read_npz(path, (options.x,))[0], path)
    else:
        yield read(path, options, names)


def _alone(x: np.ndarray, path: Path) -> Arrays:
    """Inputs without targets."""
    whole = pair(x, np.zeros(len(x)), path, path)
    return Arrays(whole.X, np.empty((len(x), 0)), path, path)

"""Fingerprints of rows: 64 bits for the inputs of each row, by which it is known again in any file and any order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.nn.backend import blocks

Fingerprints = npt.NDArray[np.uint64]
MOST_CELLS = 200_000_000  # some seconds of work


def fingerprints(X: Any, words: Mapping[int, Sequence[str]]) -> Fingerprints:
    """One number for every row of X [rows, columns], which are as they were read: codes of `words` count as the words.

    Each cell is made 64 mixed bits (the finalizer of Vigna's splitmix64), with the number of its column, and a row is
    their sum: two rows that differ agree once in 2^64 times. A missing cell is one value, and -0 is 0.
    """
    found = np.empty(len(X), np.uint64)
    columns = _mixed(np.arange(1, X.shape[1] + 1, dtype=np.uint64))
    tables = {place: np.append(word_hashes(known), ~np.uint64(0)) for place, known in words.items()}
    for rows in blocks(len(X), X.shape[1], block=1 << 16):
        cells = np.array(X[rows], np.float64)
        cells += 0.0  # -0 becomes 0
        missing = np.isnan(cells)
        cells[missing] = np.nan  # of the many, one
        bits = cells.view(np.uint64)
        for place, table in tables.items():
            codes = np.where(missing[:, place], len(table) - 1, cells[:, place])
            bits[:, place] = table[codes.astype(np.int64)]
        found[rows] = _mixed(bits ^ columns).sum(axis=1, dtype=np.uint64)
    return found


def word_hashes(words: Sequence[str]) -> Fingerprints:
    """A number for every word."""
    digests = [hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest() for word in words]
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)


def _mixed(bits: Fingerprints) -> Fingerprints:
    """Every bit of 64 made to depend on all others."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

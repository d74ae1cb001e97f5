"""Randomness without state: every draw is a function of (seed, purpose, position).

A run needs no generator state in its checkpoint: the shuffle of epoch 7 or the dropout mask of step 1,234 can be
drawn again at any time, in any order, by any number of workers.

The generator is Philox4x64-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011):
a keyed permutation of a 256-bit counter. The key holds (seed, purpose); the three upper words of the counter hold the
position (for example epoch, step, layer), the lowest word counts the draws within one position.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

_WORD = (1 << 64) - 1


class _Key(ISeedSequence):
    """The two words of a key, handed to a generator as they are.

    Its argument `key` does the same, and then asks the system for randomness that nobody uses: two thirds of its time.
    """

    def __init__(self, words: list[int]) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> np.ndarray:
        return np.array(self.words[:n_words], dtype)


def stream(seed: int, purpose: str, *position: int) -> tuple[list[int], list[int]]:
    """Key (two words) and first counter (four words) of the draws for one purpose at one position."""
    if len(position) > 3:
        raise ValueError("a position has at most three coordinates")
    return [seed & _WORD, zlib.crc32(purpose.encode())], [0, *position, *[0] * (3 - len(position))]


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A generator for one purpose at one position: `generator(seed, "shuffle", epoch)`.

    At most three non-negative integers give the position. Equal arguments give equal draws; different ones give
    independent streams of 2^64 blocks each.
    """
    key, counter = stream(seed, purpose, *position)
    philox = np.random.Philox(_Key(key), counter=counter)  # type: ignore[arg-type]  # numpy knows ISeedSequence
    return np.random.Generator(philox)


def skipped(fresh: np.random.Generator, count: int) -> np.random.Generator:
    """A generator that has drawn nothing yet, as if it had drawn `count` float32 between 0 and 1: eight to a block."""
    if count:
        fresh.bit_generator.advance(count // 8)  # type: ignore[attr-defined]
        fresh.random(count % 8, dtype="float32")
    return fresh

"""Everything that is random in a training step, drawn again from what the documentation says: a function of the seed,
of what it is for, and of where it is, by numpy's own Philox."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np


def philox(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Key: the seed, and the CRC-32 of the purpose's name. Counter: 0, then the position, filled up with 0."""
    counter = [0, *position, 0, 0, 0][:4]
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, zlib.crc32(purpose.encode())], counter=counter))


def order(seed: int, epoch: int, rows: int) -> Any:
    """The numbers of the training rows in the order of an epoch (counted from 0)."""
    return philox(seed, "shuffle", epoch).permutation(rows)


CHUNK, TOGETHER = 2**20, 64
"""Bytes of a chunk of rows on the disk; how many of them are shuffled together."""


def order_on_disk(seed: int, epoch: int, rows: int, row_bytes: int, start: int, stop: int) -> Any:
    """Places start .. stop of an epoch of rows on the disk: chunks of 1 MiB in a random order, the rows of 64 of them
    in a random order among each other."""
    chunk = max(1, CHUNK // row_bytes)
    found, begin = [], 0
    order = philox(seed, "shuffle chunks", epoch).permutation(-(-rows // chunk))
    for index in range(-(-len(order) // TOGETHER)):
        mine = order[TOGETHER * index : TOGETHER * (index + 1)]
        size = int(np.minimum(chunk, rows - mine * chunk).sum())
        if start < begin + size and begin < stop:
            together = np.concatenate([np.arange(c * chunk, min((c + 1) * chunk, rows)) for c in mine.tolist()])
            dealt = together[philox(seed, "shuffle rows", epoch, index).permutation(size)]
            found.append(dealt[max(0, start - begin) : stop - begin])
        begin += size
    return np.concatenate(found)


def mask(seed: int, draw: int, layer: int, shape: tuple[int, int], p: float) -> Any:
    """Dropout's M: 0 with probability p, else 1. A uniform number below p, in float32, is a 0."""
    uniform = philox(seed, "dropout", draw, layer).random(shape, dtype=np.float32)
    return np.where(uniform < np.float32(p), 0.0, 1.0)


def noise(seed: int, draw: int, shape: tuple[int, int], codes: int) -> Any:
    """N(0, 1) in float32 for every input; 0 for the last columns, which hold codes of words."""
    drawn = philox(seed, "noise", draw).standard_normal(shape, dtype=np.float32).astype(np.float64)
    drawn[:, shape[1] - codes :] = 0
    return drawn


def mixup(seed: int, draw: int, alpha: float, rows: int) -> tuple[float, Any]:
    """Mixup's share from Beta(alpha, alpha), and after it the rows that each row is mixed with."""
    drawn = philox(seed, "mixup", draw)
    share = float(drawn.beta(alpha, alpha))
    return share, drawn.permutation(rows)

"""Small primitives on whole arrays: products and sums, masks, lengths cut, averages that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlp_core.nn.backend import BLOCK, Array, blocks
from mlp_core.rng import generator, skipped


def multiply(xp: Any, X: Array, M: Array, out: Array) -> Array:
    """out = X * M, entry by entry."""
    return xp.multiply(X, M, out=out)


def add(xp: Any, X: Array, Y: Array, out: Array) -> Array:
    """out = X + Y."""
    return xp.add(X, Y, out=out)


def copy(xp: Any, X: Array, out: Array) -> Array:
    """out = X."""
    xp.copyto(out, X)
    return out


def add_rows(xp: Any, table: Array, codes: Array, rows: Array) -> None:
    """table[w] = the sum of the rows of code w; table [words, dim] holds zeros, codes [b] int64, rows [b, dim]."""
    xp.add.at(table, codes, rows)


def clip_value(xp: Any, grad: Array, largest: float) -> None:
    """Entries cut to [-largest, largest]."""
    xp.clip(grad, -largest, largest, out=grad)


def clip_norm(xp: Any, grad: Array, longest: float) -> None:
    """A vector cut to length `longest` (Pascanu et al., ICML 2013), without asking how long it is."""
    length = xp.maximum(xp.sqrt(xp.dot(grad, grad).astype(np.float64)), 1e-300)
    grad *= xp.minimum(longest / length, 1).astype(grad.dtype)


def shorten_rows(xp: Any, W: Array, longest: float) -> None:
    """Rows of W cut to length `longest` where they are longer (Srivastava et al. 2014)."""
    length = xp.sqrt(xp.einsum("ij,ij->i", W, W))[:, None]
    W *= xp.minimum(1, longest / xp.maximum(length, 1e-30)).astype(W.dtype)


def follow(xp: Any, average: Array, theta: Array, share: float, block: int = BLOCK) -> None:
    """average += share (theta - average)."""
    for s in blocks(len(theta), 1, block):
        average[s] += share * (theta[s] - average[s])


def dropout_mask(
    xp: Any, mask: Array, uniform: Any, p: float, seed: int, step: int, index: int, first: int = 0
) -> None:
    """mask[...] = 0 with probability p, else 1 / (1 - p), drawn for (seed, step, layer index), from entry `first` on.

    `uniform` is memory on the host to draw into, float32 of mask's shape.
    """
    skipped(generator(seed, "dropout", step, index), first).random(out=uniform, dtype=uniform.dtype)
    xp.greater_equal(xp.asarray(uniform), p, out=mask)
    mask *= 1 / (1 - p)

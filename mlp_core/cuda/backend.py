"""The engine on a GPU: the generic primitives on cupy's arrays, each on whole arrays at a time."""

from __future__ import annotations

from typing import Any

from mlp_core.backend import Array, Backend

WHOLE = 1 << 62
"""Elements per block: a GPU has no cache that a block should fit into, and every further call costs as much again."""


def _gather(X: Array, rows: Array, out: Array) -> None:
    """out[i] = X[rows[i]]; cupy's take knows no mode, and never raises."""
    X.take(rows, axis=0, out=out)


def device_backend(xp: Any, name: str) -> Backend:
    """The engine on a module with cupy's interface whose arrays are on a device."""
    return Backend(name, xp, {"gather": _gather}, block=WHOLE, remote=True)


def cuda_backend(index: int) -> Backend:
    """The engine on GPU `index`, which must be known to be usable; makes it the current one of this thread."""
    import cupy

    cupy.cuda.Device(index).use()
    return device_backend(cupy, f"cuda:{index}")

"""The engine on a GPU: cupy's arrays, with fused kernels in place of the generic primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlp_core.backend import Array, Backend
from mlp_core.cuda.detection import describe
from mlp_core.cuda.kernels import WHOLE, Kernels


def _gather(X: Array, rows: Array, out: Array) -> None:
    """out[i] = X[rows[i]]; cupy's take knows no mode, and never raises."""
    X.take(rows, axis=0, out=out)


def device_backend(
    xp: Any, name: str, kernels: Mapping[str, Callable[..., Any]] | None = None, device: str | None = None
) -> Backend:
    """The engine on a module with cupy's interface whose arrays are on a device; generic without `kernels`."""
    return Backend(name, xp, {"gather": _gather, **(kernels or {})}, WHOLE, remote=True, device=device or name)


def cuda_backend(index: int, fused: bool = True) -> Backend:
    """The engine on GPU `index`, which must be known to be usable; makes it the current one of this thread.

    Not `fused` it computes with cupy's own operations only.
    """
    import cupy

    cupy.cuda.Device(index).use()
    name, kernels = f"cuda:{index}", Kernels(cupy).primitives() if fused else None
    return device_backend(cupy, name, kernels, describe(name))

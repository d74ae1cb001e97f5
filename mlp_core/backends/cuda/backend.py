"""The engine on a GPU: cupy's arrays, with fused kernels and cuBLAS in place of the generic primitives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlp_core.backends.cuda.blas import Blas, load_cublas
from mlp_core.backends.cuda.detect import describe
from mlp_core.backends.cuda.graph import Graphs
from mlp_core.backends.cuda.kernels import WHOLE, Kernels
from mlp_core.backends.cuda.layer_kernels import Passes
from mlp_core.backends.cuda.steps import whole_steps
from mlp_core.nn.backend import Array, Backend


@dataclass(frozen=True)
class Recorder:
    """What it takes to write a training step down and to capture it."""

    kernels: Kernels
    blas: Blas
    graphs: Graphs


def _gather(X: Array, rows: Array, out: Array) -> None:
    """out[i] = X[rows[i]]; cupy's take knows no mode, and never raises."""
    X.take(rows, axis=0, out=out)


def device_backend(
    xp: Any,
    name: str,
    kernels: Mapping[str, Callable[..., Any]] | None = None,
    device: str | None = None,
    recorder: Recorder | None = None,
    precision: str = "highest",
) -> Backend:
    """The engine on a module with cupy's interface whose arrays are on a device; generic without `kernels`."""
    own = {"gather": _gather, **(kernels or {})}
    return Backend(name, xp, own, WHOLE, True, device or name, recorder, precision, whole_steps)


def fused_backend(
    xp: Any, name: str, library: Any, stream: Any, precision: str = "highest", device: str | None = None
) -> Backend:
    """The engine with fused kernels, and products of this precision by a cuBLAS library, all on one stream."""
    kernels = Kernels(xp)
    blas = Blas(xp, library, stream.ptr, kernels.launches, precision, kernels.narrow)
    primitives = {**kernels.primitives(), **Passes(kernels).by_name(), "product": blas.product}
    return device_backend(xp, name, primitives, device, Recorder(kernels, blas, Graphs(xp, stream)), precision)


def cuda_backend(index: int, fused: bool = True, precision: str = "highest") -> Backend:
    """The engine on GPU `index`, which must be known to be usable; makes it the current one of this thread.

    Not `fused` it computes with cupy's own operations only.
    """
    import cupy

    cupy.cuda.Device(index).use()
    name = f"cuda:{index}"
    stream = _stream(index).use()
    if not fused:
        return device_backend(cupy, name, None, describe(name))
    return fused_backend(cupy, name, load_cublas(), stream, precision, describe(name))


@functools.cache
def _stream(index: int) -> Any:
    """The one stream that everything on a device goes to, in order. A graph cannot be captured on the default one."""
    import cupy

    return cupy.cuda.Stream(non_blocking=True)

"""Where arrays live and which functions compute on them: a value chosen once and passed on.

Every elementwise formula of the engine is written once, generically, beside its noun: a *primitive*, a plain function
whose first argument is the array module `xp`. A backend may hold a faster, fused version of a primitive under the same
name and with the same remaining arguments; `backend.primitive(f)` hands out the best one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import signature
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray; the engine is written for both

BLOCK = 16_384
"""Elements a generic primitive works on at once: its temporaries then stay in a core's second-level cache, and what a
training step allocates does not grow with the batch or the number of parameters."""


@dataclass(frozen=True)
class Backend:
    """An array module, and the fused primitives that replace generic ones on it.

    `block` is the number of elements that a generic primitive handles at once. On a `remote` backend the arrays are on
    a device that works on its own: to read a number is to wait for all that is queued there, so it is done seldom.
    `device` is what is written down about it, because the last bits of a run depend on it. `recorder` is what can write
    a training step down, where there is that. `precision` is that of float32 products. `whole_steps` makes the steps of
    a training job (`backends.job`) in a faster way than stage by stage, or says what of it keeps it from that;
    `shard_steps` the same for steps over shards of a batch.
    """

    name: str
    xp: ModuleType
    kernels: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    block: int = BLOCK
    remote: bool = False
    device: str = "cpu"
    recorder: Any = None
    precision: str = "highest"
    whole_steps: Callable[[Any], Any] | None = None
    shard_steps: Callable[[Any, int], Any] | None = None

    def primitive(self, generic: Callable[..., Any]) -> Callable[..., Any]:
        """The fused version of `generic(xp, ...)` if this backend has one, else `generic` bound to its `xp`."""
        fused = self.kernels.get(generic.__name__)
        if fused is not None:
            return fused
        size = (
            {"block": self.block}
            if self.block != BLOCK and "block" in signature(generic, follow_wrapped=False).parameters
            else {}
        )
        return partial(generic, self.xp, **size)

    def exact(self) -> Backend:
        """The same with products of highest precision."""
        if self.precision == "highest":
            return self
        return replace(self, precision="highest", kernels={**self.kernels, "product": self.recorder.blas.exact})

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype=dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.zeros(shape, dtype=dtype)

    def asarray(self, host: np.ndarray, dtype: Any = None) -> Array:
        """A host array as this backend's array; no copy where none is needed."""
        return self.xp.asarray(host, dtype=dtype)

    def to_host(self, array: Array) -> Array:
        """The array as a numpy array on the host."""
        return array.get() if hasattr(array, "get") else array


def numpy_backend() -> Backend:
    """The generic engine on numpy: complete, readable, in one thread, and the one whose gradients are proved."""
    return Backend("numpy", np)


def blocks(rows: int, columns: int = 1, /, block: int = BLOCK) -> Iterator[slice]:
    """Slices that cover `rows` rows of `columns` elements, each of about `block` elements and at least one row."""
    step = max(1, block // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

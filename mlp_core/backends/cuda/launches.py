"""Launches: the pieces of work a device is given, one after the other, at once or written down to be given again.

Kernels and matrix products hand their work over here and nowhere else. So one training step can be written down as a
list of launches while nothing is computed, and that list can be carried out, captured as a CUDA graph, or read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlp_core.nn.backend import Array


@dataclass(frozen=True)
class Launch:
    """One kernel or product: what is called, with what. `reads` and `writes` are the arrays on the device."""

    name: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    reads: tuple[Array, ...]
    writes: tuple[Array, ...]

    def run(self) -> None:
        self.call(*self.arguments)


class Launches:
    """Where work for one device is handed over. While it is being written down, `listed` holds it, else None."""

    def __init__(self) -> None:
        self.listed: list[Launch] | None = None

    def give(self, launch: Launch) -> None:
        """Carry a launch out, or write it down."""
        if self.listed is None:
            launch.run()
        else:
            self.listed.append(launch)

    @contextmanager
    def writing_down(self) -> Iterator[list[Launch]]:
        """Everything given meanwhile is put into the list, and not carried out."""
        assert self.listed is None
        written: list[Launch] = []
        self.listed = written
        try:
            yield written
        finally:
            self.listed = None


def span(array: Array) -> tuple[int, int]:
    """The first address of an array, and the one behind its last byte."""
    low = high = int(array.data.ptr)
    for length, stride in zip(array.shape, array.strides, strict=True):
        low, high = low + min(0, (length - 1) * stride), high + max(0, (length - 1) * stride)
    return low, high + array.dtype.itemsize


def overlap(one: Array, other: Array) -> bool:
    """Whether two arrays may share memory."""
    (low, high), (begin, end) = span(one), span(other)
    return low < end and begin < high


def without_repeats(launches: Sequence[Launch], name: str) -> list[Launch]:
    """The list without launches of this name that would write once more what is there already.

    Such a launch reads and writes the same arrays as an earlier one, and nothing in between has written to either.
    """
    kept: list[Launch] = []
    valid: dict[tuple[tuple[int, int], ...], Launch] = {}
    for launch in launches:
        key = tuple(span(array) for array in (*launch.reads, *launch.writes))
        if launch.name == name and key in valid:
            continue
        for known, earlier in list(valid.items()):
            touched = (*earlier.reads, *earlier.writes)
            if any(overlap(array, written) for array in touched for written in launch.writes):
                del valid[known]
        if launch.name == name:
            valid[key] = launch
        kept.append(launch)
    return kept

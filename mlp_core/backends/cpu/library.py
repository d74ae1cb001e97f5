"""The compiled kernels of this package: loaded for this processor, after it was made sure that they are what they
should be.

A library is opened only if its bytes are those that the build listed, so what is damaged or cut off never gets to run.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mlp_core.backends.cpu.compile import BUILT, MANIFEST, digest, machine, stamp

REMEDY = "install mlpbp again, or run python -m mlp_core.backends.cpu.compile"


class NoKernels(Exception):
    """There are no kernels that can be used here; the message says why in one line."""


@dataclass(frozen=True)
class Library:
    """Kernels for one set of instructions; `name` is that of the set."""

    name: str
    code: Any
    _addresses: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def address(self, function: str) -> int:
        """Where an instruction is in memory."""
        if function not in self._addresses:
            pointer = ctypes.cast(getattr(self.code, function), ctypes.c_void_p)
            self._addresses[function] = int(pointer.value or 0)
        return self._addresses[function]

    def call(self, words: int) -> None:
        """Carry out an instruction, all of it, whose words are at an address: where its function is, then arguments."""
        self.code.alone(ctypes.c_void_p(words))

    @property
    def made(self) -> str:
        """What decides the bits of its results: its set of instructions, and the sources."""
        return f"{self.name} {digest()[:12]}"

    @property
    def scratch(self) -> int:
        """Bytes of memory that each thread needs for a product."""
        return ctypes.c_int64.in_dll(self.code, "kernels_scratch").value


@cache
def library() -> Library:
    """The best library that this processor can run. Raises NoKernels."""
    return load(BUILT)


def load(folder: Path, name: str | None = None) -> Library:
    """The best library in a folder, or the one for a set of instructions. Raises NoKernels."""
    facts = _listed(folder)
    libraries = sorted(facts["libraries"].items(), key=lambda one: int(one[1]["level"]))
    (least, first), *_ = libraries
    lowest = _opened(folder, least, first)
    level = int(lowest.code.kernels_level())
    fitting = {each: file for each, file in libraries if int(file["level"]) <= level}
    chosen = name or list(fitting)[-1]
    if chosen not in fitting:
        raise NoKernels(f"kernels for {chosen} do not run on this processor")
    return lowest if chosen == least else _opened(folder, chosen, fitting[chosen])


def names(folder: Path = BUILT) -> list[str]:
    """The sets of instructions in a folder that this processor can run, the best one last."""
    facts = _listed(folder)
    level = int(load(folder).code.kernels_level())
    return [name for name, file in facts["libraries"].items() if int(file["level"]) <= level]


def _listed(folder: Path) -> dict[str, Any]:
    """What the build wrote down. Raises NoKernels."""
    try:
        facts: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        made_for, made_from, libraries = facts["machine"], facts["sources"], facts["libraries"]
        files = [(one["file"], one["level"], one["sha256"]) for one in libraries.values()]
    except FileNotFoundError:
        raise NoKernels("they were not compiled when mlpbp was installed") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise NoKernels(f"the list of them, {folder / MANIFEST}, is damaged") from None
    if not files:
        raise NoKernels("they were not compiled when mlpbp was installed")
    if made_for != machine():
        raise NoKernels(f"they were compiled for another processor, {made_for}; this is {machine()}")
    if made_from != digest():
        raise NoKernels("they were compiled from sources of another version")
    return facts


def _opened(folder: Path, name: str, facts: dict[str, Any]) -> Library:
    """One library, if its bytes are those listed and it says of itself what it should. Raises NoKernels."""
    path = folder / str(facts["file"])
    if path.parent != folder:
        raise NoKernels(f"the list of them, {folder / MANIFEST}, is damaged")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NoKernels(f"{path}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise NoKernels(f"{path} is damaged")
    try:
        code = ctypes.CDLL(str(path))
        says = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(code, "kernels_stamp")))
    except (OSError, ValueError) as error:
        raise NoKernels(f"{path} cannot be loaded ({error})") from None
    if says != stamp(name).encode():
        raise NoKernels(f"{path} is of another version")
    code.kernels_level.restype = ctypes.c_int64
    return Library(name, code)

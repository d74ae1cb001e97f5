"""The CUDA kernels on the CPU: compiled by g++, every thread a call; what cupy's RawModule would be on the stand-in."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from strict_xp import StrictArray

from mlp_core.cuda.source import PREAMBLE, source

COMPILER = shutil.which("g++")
PRELUDE = r"""
#include <cmath>
using namespace std;
#define __global__
#define __device__
struct Place { unsigned x, y, z; };
static Place threadIdx, blockIdx, blockDim, gridDim;
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
extern "C" void place(unsigned block, unsigned thread, unsigned blocks, unsigned threads) {
    blockIdx.x = block; threadIdx.x = thread; gridDim.x = blocks; blockDim.x = threads;
}
"""
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror", "-Wno-unused")
SCALARS = {
    "Int": (np.int64, ctypes.c_longlong),
    "Word": (np.uint64, ctypes.c_ulonglong),
    "float": (np.float32, ctypes.c_float),
    "double": (np.float64, ctypes.c_double),
}


@functools.cache
def build(defines: tuple[str, ...]) -> ctypes.CDLL:
    """All kernels as one shared library, because to begin is most of what g++ does."""
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp(prefix="kernels"))
    (folder / "kernels.cpp").write_text(PRELUDE + source())
    command = [COMPILER, *FLAGS, *defines, str(folder / "kernels.cpp"), "-o", str(folder / "kernels.so")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return library


def parameters(code: str, name: str) -> list[tuple[str, bool, bool]]:
    """Type, whether a pointer, and whether what it points to is constant, of every parameter of a kernel."""
    found = re.search(rf"__global__ void {name}\(([^)]*)\)", code)
    assert found, f"there is no kernel {name}"
    result = []
    for parameter in found.group(1).split(","):
        words = parameter.replace("*", " * ").split()
        result.append((next(word for word in words if word != "const"), "*" in words, "const" in words))
    return result


class RawModule:
    """As cupy.RawModule, and stricter: every argument must be of exactly the type that the kernel declares."""

    def __init__(self, code: str, options: Sequence[str] = ()) -> None:
        assert code.startswith(PREAMBLE)
        assert code.removeprefix(PREAMBLE) in source()
        self._code, self._real = code, next(option[7:] for option in options if option.startswith("-DREAL="))
        self._library = build(tuple(option for option in options if option.startswith("-D")))

    def get_function(self, name: str) -> Any:
        declared, function = parameters(self._code, name), getattr(self._library, name)

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            assert len(arguments) == len(declared), f"{name} takes {len(declared)} arguments, got {len(arguments)}"
            passed = [self._pass(*one, argument) for one, argument in zip(declared, arguments, strict=True)]
            for b in range(grid[0]):
                for t in range(block[0]):
                    self._library.place(b, t, grid[0], block[0])
                    function(*passed)

        return launch

    def _pass(self, kind: str, pointer: bool, constant: bool, argument: Any) -> Any:
        kind = self._real if kind == "REAL" else kind
        dtype, c_type = SCALARS[kind]
        if pointer:
            assert isinstance(argument, StrictArray), f"a {type(argument).__name__} where an array is needed"
            assert argument.dtype == dtype
            assert argument.flags.c_contiguous
            assert constant or argument._array.flags.writeable
            return ctypes.c_void_p(argument._array.ctypes.data)
        assert type(argument) is dtype, f"a {type(argument).__name__} where a {kind} is needed"
        return c_type(argument.item())

"""The CUDA kernels on the CPU: compiled by g++, every thread a call; what cupy's RawModule would be on the stand-in."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from strict_xp import StrictArray

from mlp_core.backends.cuda.source import PREAMBLE, kernels, parameters, source

COMPILER = shutil.which("g++")
PRELUDE = r"""
#include <cmath>
#include <thread>
#include <vector>
using namespace std;
#define __global__
#define __device__
struct Place { unsigned x, y, z; };
static thread_local Place threadIdx, blockIdx, blockDim, gridDim;
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static void __threadfence() { __sync_synchronize(); }
static unsigned atomicAdd(unsigned *place, unsigned more) { return __sync_fetch_and_add(place, more); }
template <class T> static T __ldcg(const T *place) { return *place; }

/* Every thread of a launch, one after the other from the first or from the last, or shared out to four at a time. */
template <class F> static void all(unsigned blocks, unsigned threads, int order, F call) {
    long count = (long)blocks * threads;
    auto some = [=](long first, long step) {
        gridDim.x = blocks;
        blockDim.x = threads;
        for (long i = first; i < count; i += step) {
            long at = order == 1 ? count - 1 - i : i;
            blockIdx.x = at / threads;
            threadIdx.x = at % threads;
            call();
        }
    };
    if (order < 2) return some(0, 1);
    vector<thread> pool;
    for (int k = 0; k < 4; k++) pool.emplace_back(some, k, 4);
    for (auto &one : pool) one.join();
}
"""
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-pthread", "-Wall", "-Werror", "-Wno-unused")
SCALARS = {
    "Int": (np.int64, ctypes.c_longlong),
    "Word": (np.uint64, ctypes.c_ulonglong),
    "Count": (np.uint32, ctypes.c_uint),
    "Bits": (np.uint16, ctypes.c_ushort),
    "Byte": (np.uint8, ctypes.c_ubyte),
    "float": (np.float32, ctypes.c_float),
    "double": (np.float64, ctypes.c_double),
}
FIRST_TO_LAST, LAST_TO_FIRST, AT_ONCE = range(3)


def launcher(name: str) -> str:
    """A function that runs a kernel in every thread."""
    listed = kernels()[name].partition(f"__global__ void {name}(")[2].partition(")")[0]
    passed = ", ".join(parameter.replace("*", " ").split()[-1] for parameter in listed.split(","))
    head = f'extern "C" void all_{name}(unsigned blocks, unsigned threads, int order, {listed})'
    return f"{head} {{ all(blocks, threads, order, [=] {{ ::{name}({passed}); }}); }}\n"


@functools.cache
def build(defines: tuple[str, ...]) -> ctypes.CDLL:
    """All kernels as one shared library, because to begin is most of what g++ does."""
    assert COMPILER is not None
    folder = Path(tempfile.mkdtemp(prefix="kernels"))
    (folder / "kernels.cpp").write_text(PRELUDE + source() + "".join(launcher(name) for name in kernels()))
    command = [COMPILER, *FLAGS, *defines, str(folder / "kernels.cpp"), "-o", str(folder / "kernels.so")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:2000]
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return library


class RawModule:
    """As cupy.RawModule, and stricter: every argument must be of exactly the type that the kernel declares."""

    order = FIRST_TO_LAST

    def __init__(self, code: str, options: Sequence[str] = ()) -> None:
        assert code.startswith(PREAMBLE)
        assert code.removeprefix(PREAMBLE) in source()
        self._real = next(option[7:] for option in options if option.startswith("-DREAL="))
        self._library = build(tuple(option for option in options if option.startswith("-D")))

    def get_function(self, name: str) -> Any:
        declared, function = parameters(name), getattr(self._library, f"all_{name}")

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
            assert len(arguments) == len(declared), f"{name} takes {len(declared)} arguments, got {len(arguments)}"
            passed = [self._pass(name, *one, argument) for one, argument in zip(declared, arguments, strict=True)]
            device = next(argument._device for argument in arguments if isinstance(argument, StrictArray))
            assert min(grid) > 0, "a launch of nothing"
            device.give(lambda: function(grid[0], block[0], self.order, *passed))

        return launch

    def _pass(self, name: str, kind: str, pointer: bool, constant: bool, argument: Any) -> Any:
        kind = self._real if kind == "REAL" else kind
        dtype, c_type = SCALARS[kind]
        if pointer and type(argument) is np.int64:
            assert argument == 0, "an address that is no array's"
            return ctypes.c_void_p(None)
        if pointer:
            assert isinstance(argument, StrictArray), f"a {type(argument).__name__} where an array is needed"
            assert argument.dtype == dtype
            assert argument.flags.c_contiguous or name in ("narrow", "add_rows")
            assert constant or argument._array.flags.writeable
            return ctypes.c_void_p(argument.data.ptr)
        assert type(argument) is dtype, f"{name}: a {type(argument).__name__} where a {kind} is needed"
        return c_type(argument.item())

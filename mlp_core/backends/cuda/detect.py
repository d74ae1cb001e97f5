"""Whether a GPU can be used: each thing it needs in turn, and for the first that is missing the reason and the remedy.

`import cupy` succeeds on machines where nothing else of it works, and fails later with three unrelated families of
exceptions: CUDARuntimeError (driver and device), ImportError and DynamicLibNotFoundError (CUDA's libraries). So nothing
is believed before a product and a kernel have come back from the device with the right numbers.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
INSTALL = "pip install 'mlpbp[{extra}]'"


@dataclass(frozen=True)
class Device:
    """A GPU that has computed: index, name, memory in bytes (all of it, free now), versions as 12080 for CUDA 12.8."""

    index: int
    name: str
    memory: int
    free: int
    driver: int
    runtime: int


@dataclass(frozen=True)
class Unusable:
    """Why no GPU can be used, and what to do about it. `meant`: this machine looks as if one should be."""

    reason: str
    fix: str
    meant: bool


def find_device(
    index: int = 0,
    environ: Mapping[str, str] | None = None,
    load: Callable[[str], Any] = ctypes.CDLL,
    installed: Callable[[], bool] | None = None,
) -> Device | Unusable:
    """GPU `index`, or why it cannot be used. `environ`, `load` and `installed` stand for the machine, for tests."""
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    driver = driver_version(load)
    there = cupy_installed() if installed is None else installed()
    meant = there or driver is not None
    if visible is not None and visible.strip() in ("", "-1", "none", "void", "NoDevFiles"):
        return Unusable("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES", meant)
    if not there:
        return Unusable("cupy is not installed", INSTALL.format(extra=extra_for(driver)), meant)
    if driver is None:
        return Unusable(
            f"there is no NVIDIA driver ({DRIVER})", "install the driver; in a container pass the GPU", True
        )
    try:
        return _try(index, driver)
    except Exception as error:  # three families without a common base
        return Unusable(*_explain(error, driver), True)


def _try(index: int, driver: int) -> Device | Unusable:
    """Count the devices, then let the one meant compute."""
    import cupy

    count = int(cupy.cuda.runtime.getDeviceCount())
    if index >= count:
        named = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0"
        there = "1 GPU" if count == 1 else f"{count} GPUs"
        return Unusable(f"there is no cuda:{index}, this machine has {there}", f"use {named}", True)
    with cupy.cuda.Device(index):
        ones = cupy.ones((8, 8), dtype=cupy.float32)
        total = float((cupy.matmul(ones, ones) + 1).sum())  # cuBLAS for the product, NVRTC for the kernel
        if total != 576:
            return Unusable(f"cuda:{index} computes wrong numbers", "update the driver and cupy", True)
        free, memory = cupy.cuda.runtime.memGetInfo()
        runtime = int(cupy.cuda.runtime.runtimeGetVersion())
        return Device(index, device_name(index), int(memory), int(free), driver, runtime)


def count_devices() -> int:
    """How many GPUs this machine has that cupy can see; 0 where it sees none, or cannot look."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # three families without a common base
        return 0


def find_nccl() -> Any | None:
    """cupy's NCCL, None where it has none."""
    try:
        from cupy.cuda import nccl
    except ImportError:
        return None
    return nccl if nccl.available else None


def device_name(index: int) -> str:
    """What the maker calls a GPU."""
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(index)["name"].decode(errors="replace"))


def describe(device: str) -> str:
    """What the last bits of a run on `cuda:1` depend on: the GPU, the CUDA runtime, cupy."""
    import cupy

    runtime = cuda(cupy.cuda.runtime.runtimeGetVersion())
    return f"{device} {device_name(cuda_index(device))}, {runtime}, cupy {cupy.__version__}"


def cuda_index(device: str) -> int:
    """The number of the GPU that `cuda` or `cuda:1` means."""
    return int(device.partition(":")[2] or 0)


def _explain(error: Exception, driver: int) -> tuple[str, str]:
    """What an exception of cupy means, and the remedy."""
    family = {kind.__name__ for kind in type(error).__mro__}
    text = without_paths(str(error))
    install = INSTALL.format(extra=extra_for(driver))
    if "CUDARuntimeError" in family:
        if "InsufficientDriver" in text:
            return f"the driver ({cuda(driver)}) is too old for the installed cupy", f"update the driver, or {install}"
        if "NoDevice" in text:
            return "the driver sees no GPU", "check nvidia-smi; in a container pass the GPU"
        return f"CUDA reports {text}", "check nvidia-smi; another program may hold the GPU"
    if "OutOfMemoryError" in family:
        return "the GPU's memory is taken", "end the other programs that use it, or choose another GPU"
    if "DynamicLibNotFoundError" in family or isinstance(error, ImportError):
        return f"a library of CUDA is missing ({text})", install
    return f"cupy failed with {type(error).__name__}: {text}", f"reinstall it: {install}"


def driver_version(load: Callable[[str], Any] = ctypes.CDLL) -> int | None:
    """The newest CUDA that the driver can run, 12080 for 12.8; None without a driver, 0 if it does not tell."""
    try:
        library = load(DRIVER)
    except OSError:
        return None
    version = ctypes.c_int(0)
    try:
        failed = library.cuDriverGetVersion(ctypes.byref(version))
    except AttributeError:
        return 0
    return 0 if failed else version.value


def driver_release(path: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """The driver's own number, such as 550.54.15; None where the system does not tell."""
    try:
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", path.read_text())
    except OSError:
        return None
    return found.group(1) if found else None


def cupy_installed() -> bool:
    """Whether there is a cupy, without importing it."""
    return "cupy" in sys.modules or find_spec("cupy") is not None


def extra_for(driver: int | None) -> str:
    """The extra to install for a driver: what the driver can run, CUDA 12 where that is not known."""
    return "cuda13" if driver is not None and driver >= 13000 else "cuda12"


def cuda(version: int) -> str:
    """12080 as CUDA 12.8."""
    return f"CUDA {version // 1000}.{version % 1000 // 10}" if version else "of unknown version"


def without_paths(text: str, width: int = 120) -> str:
    """The first line of a message with folders cut off its paths, so that it can be shown to others."""
    line = text.strip().splitlines()[0] if text.strip() else "no message"
    line = re.sub(r"(?:[A-Za-z]:\\|/)(?:[^\s:'\"()]*[\\/])+", "", line)
    return line if len(line) <= width else line[: width - 1] + "…"

"""What this installation is and what it can use: facts for a bug report, with no paths and no names of machines."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from typing import Any

from mlp_core import __version__
from mlp_core.backends.cpu import library as compiled
from mlp_core.backends.cuda import Unusable, find_device
from mlp_core.backends.cuda.detect import cuda, driver_release, driver_version
from mlp_core.machine import available_cpus, free_memory, linear_algebra, system

NOT_CAPABILITIES = ("test", "dev", "peers")
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUPY_TF32",
    "CUPY_ACCELERATORS",
)


def examine() -> dict[str, dict[str, Any]]:
    """Everything, section by section, as plain JSON; None where something is not there or cannot be found out."""
    extras = _requirements()
    packages = extras.pop("")
    library, threads = linear_algebra()
    return {
        "program": {"mlpbp": __version__, "python": f"{platform.python_implementation()} {platform.python_version()}"},
        "packages": dict(sorted(packages.items())),
        "extras": {extra: versions for extra, versions in extras.items() if extra not in NOT_CAPABILITIES},
        "machine": _machine(),
        "linear algebra": {"library": library, "threads": threads},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "gpu": _gpu(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, dict[str, str | None]]:
    """The packages that the installed mlpbp names by the extra they are for ("": needed always), each with its
    version, None where it is not installed."""
    found: dict[str, dict[str, str | None]] = {"": {}}
    try:
        lines = metadata.requires("mlpbp") or []
    except metadata.PackageNotFoundError:
        return found
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name and name.group() != "mlpbp":
            found.setdefault(extra.group(1) if extra else "", {})[name.group()] = _version(name.group())
    return found


def _machine() -> dict[str, Any]:
    name, release, _ = system()
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", name)
    except OSError:
        distribution = name
    free = free_memory()
    return {
        "system": f"{distribution}, {name} {release}",
        "processor": _processor(),
        "processors": f"{available_cpus()} usable of {os.cpu_count()}",
        "kernels": _kernels(),
        "memory": None if free is None else f"{free / 2**30:.1f} GiB free",
    }


def _kernels() -> str:
    """Which compiled kernels are used, or why none are."""
    try:
        return f"native, for {compiled.library().name}"
    except compiled.NoKernels as error:
        return f"none: {error}"


def _processor() -> str:
    """The processor's own name."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else 'unknown'}, {system()[2]}"


def _gpu() -> dict[str, Any]:
    """The GPU, or why there is none to compute on."""
    found, driver = find_device(), driver_version()
    known: dict[str, Any] = {
        "usable": not isinstance(found, Unusable),
        "driver": driver_release(),
        "driver supports": None if driver is None else f"up to {cuda(driver)}" if driver else cuda(driver),
    }
    if isinstance(found, Unusable):
        return {**known, "reason": found.reason, "remedy": found.fix}
    memory = f"{found.memory / 2**30:.0f} GiB, {found.free / 2**30:.1f} free"
    return {**known, "device": f"cuda:{found.index} {found.name}", "memory": memory, "runtime": cuda(found.runtime)}

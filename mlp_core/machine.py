"""The machine a run is made on: processors, memory, versions."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from mlp_core import __version__


def available_cpus(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Processors this process may use; in a container that is given a share of them, as many as that makes."""
    try:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    except OSError:  # it may not ask
        count = os.cpu_count() or 1
    try:
        time, period = quota.read_text().split()
        return max(1, min(count, round(int(time) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return count


def asked_threads() -> int | None:
    """How many threads OMP_NUM_THREADS allows, as most programs that compute have it; None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and 0 < int(first) < 10_000 else None


def single_thread_blas() -> None:
    """Give the linear algebra one thread: its threads wait by spinning, and beside another busy process take the
    processor from the one that they wait for; large products are shared out by threads of our own."""
    from threadpoolctl import threadpool_limits

    with contextlib.suppress(OSError):  # it finds the libraries by asking the system, which may not tell
        threadpool_limits(1, user_api="blas")


def free_memory(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be taken without swapping: the machine's, or what a control group leaves; None if nobody tells."""
    try:
        import psutil

        free = int(psutil.virtual_memory().available)
    except (ImportError, OSError, RuntimeError, AttributeError, KeyError):  # a system that psutil does not know
        return None
    try:
        limit = int((group / "memory.max").read_text())
        return min(free, max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):  # no such file, or "max"
        return free


def system() -> tuple[str, str, str]:
    """The system's name and release and the processor's kind; "unknown" where it does not tell. Starts no process."""
    try:
        told = os.uname() if hasattr(os, "uname") else platform.uname()
        return told[0], told[2], told[4]
    except OSError:
        return "unknown", "unknown", "unknown"


def linear_algebra() -> tuple[str | None, int | None]:
    """The library that numpy multiplies with, and its threads; None where the system does not tell."""
    import numpy  # noqa: F401 - brings its library along
    from threadpoolctl import threadpool_info

    try:
        libraries = [lib for lib in threadpool_info() if lib.get("user_api") == "blas"]
    except OSError:
        libraries = []
    for lib in sorted(libraries, key=lambda lib: "numpy" not in lib["filepath"]):  # scipy brings one of its own
        return f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}".strip(), int(lib["num_threads"])
    return None, None


def environment(device: str = "cpu") -> dict[str, Any]:
    """What a run's bits depend on beside its config: versions, linear algebra, threads, the device of its backend."""
    import numpy as np

    blas, threads = linear_algebra()
    return {
        "mlpbp": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas or "unknown",
        "threads": threads or 1,
        "machine": system()[2],
        "device": device,
    }

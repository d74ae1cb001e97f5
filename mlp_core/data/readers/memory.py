"""How much memory there is, and whether an array may take its share of it."""

from __future__ import annotations

from pathlib import Path

from mlp_core.data.readers.open_file import refusal

REMEDY = "leave it on the disk: a .npy array with data.memory: memmap, a table after mlpbp convert"
SMALL = 16 << 20  # bytes that no machine lacks
UNPACKED = 64 << 20  # an array below this size is never taken for a bomb
GROWTH = 100  # real arrays shrink 3 to 50 times


def free_memory() -> int | None:
    """Bytes that can be taken without swapping, the machine's or what a control group leaves; None if nobody tells."""
    free = None
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text())
            left = max(int(limit) - used, 0)
            free = left if free is None else min(free, left)
    except (OSError, ValueError):
        pass
    return free


def check_growth(path: Path, stored: int, needed: int) -> None:
    """Raise DataError when an array of `needed` bytes is so much larger than the file of `stored` bytes that holds it
    packed, that the file is hardly data: whoever sends a megabyte must not take a gigabyte of memory."""
    if needed > max(UNPACKED, GROWTH * stored):
        message = f"takes {needed / 2**20:,.0f} MiB of memory, more than {GROWTH} times its size"
        raise refusal(path, "too_large", message, hint="unpack it, or save it as a plain .npy array, if that is right")


def check_memory(path: Path, needed: int) -> None:
    """Raise DataError when an array of `needed` bytes would not leave as much memory again for the work on it."""
    if needed > SMALL and (free := free_memory()) is not None and needed > free // 2:
        message = f"needs {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
        raise refusal(path, "too_large", message, hint=REMEDY)

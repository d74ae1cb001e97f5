"""Compiled functions on disk: a folder in the user's cache for each version, compiler and processor."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from mlp_core.backends.cpu.compilation import settings

FORM = 3
"""Of the files. To be raised when it changes."""

OTHERS_CAN_WRITE = stat.S_IWGRP | stat.S_IWOTH


def read(path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """What is told of a function, its object file, and numba's own form of it.

    Raises OSError where there is no such file, or somebody else could have written it; ValueError where it is damaged.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _own(status):
            raise PermissionError(f"{path}: not a file of this user alone")
        head, _, body = stream.read().partition(b"\n")
    facts = json.loads(head)
    if not isinstance(facts, dict) or hashlib.sha256(body).hexdigest() != facts.get("sha256"):
        raise ValueError(f"{path}: damaged")
    return facts, body[: facts["code"]], body[facts["code"] :]


def folder() -> Path | None:
    """Where functions are kept, made if need be; None where that cannot be, or others could put something there."""
    try:
        given = os.environ.get("XDG_CACHE_HOME", "")
        usual = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
        place = (Path(given) if Path(given).is_absolute() else usual).absolute() / "mlpbp" / digest()
        place.mkdir(0o700, parents=True, exist_ok=True)
        return place if _own(place.stat()) else None
    except (OSError, RuntimeError):
        return None


def _own(status: os.stat_result) -> bool:
    """Whether something belongs to this user, and nobody else can write to it: it will be executed."""
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS_CAN_WRITE


def digest() -> str:
    """Of everything that machine code depends on: sources, compiler, processor."""
    versions = f"{FORM} {_version('numba')} {_version('llvmlite')} {platform.python_version()}"
    found = hashlib.sha256(versions.encode())
    for room in sorted(Path(__file__).with_name("compiled").glob("*.py")):
        found.update(room.read_bytes())
    found.update(_processor().encode())
    found.update(repr(sorted(settings().items())).encode())
    return found.hexdigest()[:16]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """What tells processors apart that understand different instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kept = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")
    return "\n".join(line for line in lines if line.startswith(kept))

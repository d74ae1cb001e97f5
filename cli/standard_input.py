"""Standard input where a file is meant: `-`, for work that reads its rows more than once, or keeps where they lie."""

from __future__ import annotations

import atexit
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from mlp_core.errors import Problem, UsageError

KINDS = {b"{": "jsonl", b"[": "json"}


def copied(path: Path) -> Path:
    """The file meant; for `-` a copy of standard input, which is gone when the program ends. Raises OSError."""
    if str(path) != "-":
        return path
    from mlp_core.scratch import scratch_folder

    kept = ExitStack()
    atexit.register(kept.close)
    start = sys.stdin.buffer.read(1 << 12)
    file = kept.enter_context(scratch_folder()) / f"stdin.{KINDS.get(start.lstrip()[:1], 'csv')}"
    with file.open("xb") as copy:
        copy.write(start)
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return file


def refuse(path: Path, why: str) -> None:
    """Raise UsageError for `-`, with what its rows are needed for."""
    if str(path) == "-":
        message = f"a table on standard input is not kept, and {why}"
        raise UsageError(Problem("usage", message, "save it to a file: cat > table.csv"))

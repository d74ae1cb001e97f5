"""The metrics of a run as files: `metrics.jsonl`, one object per epoch, `metrics.csv`, with the clock's columns, and
`steps.jsonl`, one object for each step that is recorded."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.atomic_files import cut, grow, size_of, sync, write_atomically
from mlp_core.descriptors import read_own


class Growing:
    """A file that grows line by line. What the disk does not take is kept, and written with the next line.

    Without a path it is none, and only its length is known.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.look()

    def look(self) -> None:
        """Go on from where the file ends now, with nothing that waits."""
        self._waiting = b""
        self.written = self._synced = 0 if self.path is None else size_of(self.path)

    @property
    def size(self) -> int:
        """Bytes of the file with everything that was added to it."""
        return self.written + len(self._waiting)

    def add(self, text: str) -> None:
        self._waiting += text.encode()

    def flush(self) -> None:
        """Write what was added; raises OSError."""
        if self._waiting:
            if self.path is not None:
                grow(self.path, self.written, self._waiting)
            self.written, self._waiting = self.size, b""

    def sync(self) -> None:
        """Write what was added so that it survives a power cut; raises OSError."""
        self.flush()
        if self._synced != self.written:
            if self.path is not None:
                sync(self.path)
            self._synced = self.written


class MetricsLog:
    """The files of a run, in `folder` (None: nowhere); each can be left out. `steps.jsonl` is there once a step was
    recorded."""

    def __init__(self, folder: Path | None, columns: Sequence[str], jsonl: bool = True, table: bool = True) -> None:
        files = {"metrics.jsonl": jsonl, "metrics.csv": table, "steps.jsonl": True}
        self.files = [Growing(folder / name if folder is not None and kept else None) for name, kept in files.items()]
        self.jsonl, self.csv, self.steps = self.files
        self.columns, self._counted = list(columns), jsonl

    def append(self, facts: Mapping[str, Any], clock: Mapping[str, float]) -> None:
        """Add one epoch: `facts` to both files, the numbers of the `clock` to the table; raises OSError.

        After an error everything is still there, and goes out with the next epoch.
        """
        self.jsonl.add(_line(facts))
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore", restval="", lineterminator="\n")
        if not self.csv.size:
            writer.writeheader()
        writer.writerow({**facts, **clock})
        self.csv.add(text.getvalue())
        for file in self.files:
            file.flush()

    def step(self, facts: Mapping[str, Any]) -> None:
        """Add one step. What the disk does not take now goes out with the next epoch."""
        self.steps.add(_line(facts))
        with contextlib.suppress(OSError):
            self.steps.flush()

    def sync(self) -> None:
        """Bring everything to the disk, before a checkpoint that counts on it; raises OSError."""
        for file in self.files:
            file.sync()

    def offset(self) -> dict[str, int]:
        """How long `metrics.jsonl` and `steps.jsonl` are; a checkpoint remembers it."""
        return {"jsonl": self.jsonl.size if self._counted else 0, "steps": self.steps.size}

    def seconds(self) -> float:
        """The seconds of all epochs that the table has, as far as it can be read."""
        if self.csv.path is None or "seconds" not in self.columns:
            return 0.0
        place, total = self.columns.index("seconds"), 0.0
        with contextlib.suppress(OSError):
            for row in read_own(self.csv.path).decode(errors="replace").splitlines()[1:]:
                with contextlib.suppress(ValueError, IndexError):
                    total += max(0.0, min(float(row.split(",")[place]), 1e9))
        return total

    def cut(self, epoch: int, offset: Mapping[str, int]) -> bool:
        """Forget what was written after a checkpoint at `epoch`, when a run goes on from it.

        False when lines from before it are missing.
        """
        complete = self.jsonl.path is None or cut(self.jsonl.path, offset["jsonl"])
        if self.steps.path is not None:
            cut(self.steps.path, offset.get("steps", 0))
        if self.csv.path is not None and size_of(self.csv.path):
            lines = read_own(self.csv.path).splitlines(keepends=True)
            kept = [line for line in lines[: epoch + 1] if line.endswith(b"\n")]
            if kept != lines:
                write_atomically(self.csv.path, b"".join(kept))
        for file in self.files:
            file.look()
        return complete


def _line(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, separators=(", ", ": ")) + "\n"

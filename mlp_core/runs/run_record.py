"""What is written down about a run: `run.json` (with what, when, how it ended), its config, which rows went where."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mlp_core.config import Config, dump_yaml
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.run_directory import RunDirectory


class Stopwatch:
    """The seconds of a run, those of its earlier sessions included."""

    def __init__(self, earlier: float = 0.0) -> None:
        self._earlier, self._begun = earlier, time.monotonic()

    def start(self) -> None:
        """Begin to count this session."""
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._begun


def earlier_seconds(record: Mapping[str, Any]) -> float:
    """What a record says of the seconds until now, 0 where it says nothing."""
    told = record.get("seconds")
    if not isinstance(told, int | float) or not math.isfinite(told):
        return 0.0
    return max(0.0, float(told))


class RunRecord:
    """The record of one run, written when it begins and when it ends."""

    def __init__(self, directory: RunDirectory | InMemory) -> None:
        self.directory = directory
        self._record: dict[str, Any] = {}

    def begin(self, command: Sequence[str], facts: Mapping[str, Any], resumed: bool, spent: float) -> None:
        """Write down that a run begins; of a resumed one, what there was before is kept, `spent` seconds until now
        among it. Raises OSError."""
        earlier = self.directory.read_json("run.json") if resumed else {}
        self._record = {
            "status": "running",
            "command": list(command),
            "started": _now(),
            **facts,
        }
        if earlier:
            before = {key: earlier.get(key) for key in ("status", "command", "started", "ended", "environment")}
            before["seconds"] = self._record["seconds"] = round(spent, 3)
            history = earlier.get("resumed_from")
            self._record["resumed_from"] = [*(history if isinstance(history, list) else []), before]
        self._write()

    def end(self, status: str, exit_code: int | None, **more: Any) -> None:
        """Write down how the run ended; raises OSError if it is finished, else that is not the worst that happened."""
        self._record |= {"status": status, "ended": _now(), "exit_code": exit_code, **more}
        with contextlib.nullcontext() if status == "finished" else contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        self.directory.write("run.json", (json.dumps(self._record, indent=2) + "\n").encode())


def _now() -> str:
    """The time as RFC 3339 has it, with the offset of the local clock: 2026-01-31T09:30:00+01:00."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def resolved(config: Config, home: Path) -> bytes:
    """Every key and value as a config file in the run's directory, which names data files from there."""
    return dump_yaml(config.with_paths_from(home)).encode()


def row_numbers(indices: Mapping[str, Any]) -> bytes:
    """Lists of row numbers as JSON, made bit by bit: there may be many millions of them."""
    text = bytearray(b"{")
    for name, rows in indices.items():
        text += f'{", " if len(text) > 1 else ""}"{name}": ['.encode()
        for start in range(0, len(rows), 1 << 16):
            text += (", " * bool(start) + ", ".join(map(str, rows[start : start + (1 << 16)].tolist()))).encode()
        text += b"]"
    return bytes(text + b"}\n")

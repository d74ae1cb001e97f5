"""One training among several: begun, gone on with where it was left, or found to be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlp_core.config import Config, from_mapping, sparse
from mlp_core.runs.run import Run
from mlp_core.runs.run_directory import MARK, RunDirectory
from mlp_core.training.events import Event

PATIENCE = 30.0  # seconds that a process which was told to stop may take to save


@dataclass(frozen=True)
class Training:
    """What is trained in which run directory. config: as plain values, data files by their whole paths."""

    folder: Path
    config: Mapping[str, Any]
    text: bytes
    command: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config, folder: Path, text: bytes, command: Sequence[str]) -> Training:
        """A config as it is carried to another process."""
        return cls(folder, sparse(config.with_absolute_paths()), text, tuple(command))

    def record(self) -> dict[str, Any] | None:
        """What `run.json` says of it once it is finished, else None."""
        record = RunDirectory(self.folder).read_json("run.json")
        return record if record.get("status") == "finished" else None

    def carry_out(
        self, stop: Callable[[], int] = lambda: 0, hear: Callable[[Event, Run], bool] | None = None
    ) -> dict[str, Any] | None:
        """Train to the end; its record, or None where it was stopped. Raises whatever training raises.

        hear: gets every event, and ends the training where it answers True: then it will not go on.
        """
        if (record := self.record()) is not None:
            return record
        self._wait()
        run = self._run()
        events = run.execute(stop)
        for event in events:
            if hear is not None and hear(event, run):
                events.close()  # type: ignore[attr-defined]
                return None
        return self.record()

    def _run(self) -> Run:
        if (self.folder / MARK).is_file():
            return Run.resume(self.folder, command=self.command)
        return Run.start(from_mapping(dict(self.config)), self.text, self.folder, self.command)

    def _wait(self) -> None:
        """Wait for a process that saves there because it was told to stop, or because who started it is gone."""
        given = time.monotonic() + PATIENCE
        while self.folder.is_dir() and RunDirectory.in_use(self.folder) and time.monotonic() < given:
            time.sleep(0.05)

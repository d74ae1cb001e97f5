"""A run that leaves nothing on the disk: the face of a run directory, its checkpoints in memory, or nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlp_core.errors import CheckpointError, Problem
from mlp_core.training.checkpoint import Checkpoint

NAMED = Path("memory")


class InMemory:
    """Where a run in memory puts its best and its last checkpoint; what else it would write down is forgotten.

    The last one is the arrays that training works on, which it need not survive; the best one has its own. Without
    `writes` the run is that of a worker whose worker 0 writes it, at `path`: nothing is kept here.
    """

    home: Path | None = None
    checkpoints = NAMED

    def __init__(self, path: Path = NAMED, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self.saved: dict[str, Checkpoint] = {}

    def open(self) -> None:
        """There is nothing to lock."""

    def save(self, checkpoint: Checkpoint, name: str) -> Path:
        if self.writes:
            self.saved[name] = checkpoint
        return self.path

    def has(self, name: str) -> bool:
        return name in self.saved

    def load(self, name: str) -> Checkpoint:
        """The checkpoint of this name; raises CheckpointError."""
        if name not in self.saved:
            raise CheckpointError(Problem("no_checkpoint", "no checkpoint was saved", "let checkpoint.last be true"))
        return self.saved[name]

    def forget_old(self, keep: int) -> None:
        """Forget all numbered checkpoints but the newest `keep`."""
        for name in sorted(name for name in self.saved if name.startswith("epoch-"))[:-keep]:
            del self.saved[name]

    def newest(self) -> tuple[Path, Checkpoint, list[Problem]] | None:
        """Nothing that a run could go on from."""
        return None

    def write(self, name: str, content: bytes) -> None:
        """Nothing is written."""

    def read_json(self, name: str) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """There is nothing to let go of."""

"""How a run ends that could not go on, in words that say what is left of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mlp_core.errors import CheckpointError, MlpbpError, Problem, RunDirectoryError
from mlp_core.runs.in_memory import InMemory
from mlp_core.runs.run_directory import RunDirectory


def with_checkpoint(error: MlpbpError, directory: RunDirectory | InMemory) -> MlpbpError:
    """A divergence with its remedy: where the last good weights are, and what to change."""
    first = error.problems[0]
    if first.code != "diverged":
        return error
    epoch = 0
    with contextlib.suppress(CheckpointError, OSError):
        if (found := directory.newest()) is not None:
            epoch = int(found[1].document["progress"]["epoch"])
    good = f"; last good checkpoint epoch {epoch}" if epoch else "; no epoch was completed"
    return type(error)(Problem("diverged", first.message + good, "try a smaller optimizer.lr or optimizer.clip_norm"))


def no_room(path: Path, error: OSError) -> RunDirectoryError:
    """A run directory that does not take what is to be saved."""
    message = f"cannot be saved: {error.strerror or error}"
    hint = "the last good checkpoint is still there; make room and resume"
    return RunDirectoryError(Problem("not_saved", message, hint, file=str(path)))

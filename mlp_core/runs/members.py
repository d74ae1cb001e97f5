"""A folder of members: runs that are one model together, listed in `members.json` by their paths from there.

`mlpbp cv` and `ensemble: N` write such folders. One may come from somebody else, so its members lie inside it, and no
link is followed on the way to them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mlp_core.atomic_files import refuse_foreign, write_atomically
from mlp_core.data.fingerprints import Fingerprints
from mlp_core.descriptors import read_own
from mlp_core.documents import parsed
from mlp_core.metrics.calibration import Calibration
from mlp_core.runs.run_directory import load_named
from mlp_core.runs.trained_rows import trained_rows as rows_of_run
from mlp_core.training.checkpoint import checkpoint_path, refusal
from mlp_core.training.ensemble import Ensemble
from mlp_core.training.model import model_of

FILE = "members.json"
MEASURED = "ensemble.json"
"""What the members of an ensemble come to together, as it was measured when the last of them was trained."""
FORMAT = 1
CV, ENSEMBLE = KINDS = ("cv", "ensemble")
MOST = 1000
LARGEST = 1 << 20


@dataclass(frozen=True)
class Members:
    """What `members.json` says.

    kind: `cv`, whose members each held out other rows of one table, or `ensemble`. runs: the run directories, as paths
    from the folder. task: its kind. calibration: fitted to the average, where it was kept.
    """

    folder: Path
    kind: str
    runs: tuple[str, ...]
    task: str
    calibration: Calibration | None = None

    @classmethod
    def read(cls, folder: Path) -> Members:
        """The members of a folder. Raises CheckpointError, RunDirectoryError for a link."""
        path = folder / FILE
        refuse_foreign(path)
        try:
            told = parsed(read_own(path, LARGEST))
            state = told.get("calibration")
            calibration = None if state is None else Calibration.from_state(state)
            runs = tuple(told["members"]) if isinstance(told["members"], list) else ()
            if told["format"] != FORMAT:
                raise ValueError(f"its format is {told['format']}, this version knows {FORMAT}")
            if told["kind"] not in KINDS or not 0 < len(runs) <= MOST or len(set(runs)) != len(runs):
                raise ValueError("it names no members")
            if not all(isinstance(name, str) and _inside(name) for name in runs):
                raise ValueError("members lie in the folder itself")
            return cls(folder, told["kind"], runs, str(told["task"]), calibration)
        except OSError as error:
            raise refusal(path, "unreadable", f"cannot be read: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise refusal(path, "damaged", f"this is no list of members ({error})") from None

    def write(self) -> Path:
        """Write the list, all or nothing; the file. The same members give the same bytes. Raises OSError."""
        averaged = "values" if self.task == "regression" else "probabilities"
        fields: dict[str, Any] = {"format": FORMAT, "kind": self.kind, "task": self.task, "averaged": averaged}
        fields["members"] = list(self.runs)
        fields["calibration"] = None if self.calibration is None else self.calibration.to_state()
        write_atomically(self.folder / FILE, (json.dumps(fields, indent=2) + "\n").encode())
        return self.folder / FILE

    def checkpoints(self) -> list[Path]:
        """The checkpoint of every member, the best of its run. Raises CheckpointError, RunDirectoryError."""
        found = []
        for name in self.runs:
            run = self.folder
            for part in PurePosixPath(name).parts:
                run /= part
                refuse_foreign(run, folder=True)
            if not run.is_dir():
                hint = f"train it again, or take it out of {FILE}"
                raise refusal(run, "no_member", "there is no such member", hint)
            found.append(checkpoint_path(run))
        return found

    def open(self) -> Ensemble:
        """The members as one model. Raises CheckpointError where they do not fit together."""
        files = self.checkpoints()
        models = [model_of(load_named(file), str(file), rows=1) for file in files]
        made = Ensemble.of(models, [str(file) for file in files], folds=self.kind == CV)
        if made.task.kind != self.task:
            message = f"it tells of a {self.task} task, its members have a {made.task.kind} task"
            raise refusal(self.folder / FILE, "misfit", message)
        if self.kind == CV:
            whole = {"data.split.folds": None, "data.split.fold": None, "data.split.repeat": 1}
            made = replace(made, config=made.config.replace(**whole))
        return made if self.calibration is None else replace(made, calibration=self.calibration)


def is_members(path: Path) -> bool:
    """Whether a path is a folder of members, or the list in it."""
    return (path / FILE).is_file() or path.name == FILE


def members_at(path: Path) -> Members:
    """The members at such a path."""
    return Members.read(path.parent if path.name == FILE else path)


def trained_rows(file: Path) -> Fingerprints | None:
    """The fingerprints of the rows that a model was trained on, those of any member; None where one is not known."""
    if file.name != FILE:
        return rows_of_run(file)
    found = [rows_of_run(checkpoint) for checkpoint in members_at(file).checkpoints()]
    known = [rows for rows in found if rows is not None]
    return np.unique(np.concatenate(known)) if len(known) == len(found) else None


def _inside(name: str) -> bool:
    """Whether a path can only lead further into the folder, on every system."""
    parts: Sequence[str] = name.split("/")
    return all(
        part not in ("", ".", "..") and part.isprintable() and not set('\\:*?"<>|') & set(part) for part in parts
    )

"""A folder of trainings that belong together, with the plan they follow: the same command finds it and goes on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlp_core.atomic_files import refuse_foreign, remove, write_atomically
from mlp_core.config import Config, sparse
from mlp_core.documents import read_object
from mlp_core.errors import Problem, UsageError
from mlp_core.runs.run_directory import next_folder, numbers, unwritable
from mlp_core.search.locks import FileLock

PLAN = "plan.json"
LARGEST = 16 << 20


class SearchFolder:
    """Where trainings of one plan lie, beside `plan.json` and what comes of them."""

    def __init__(self, path: Path, fresh: bool) -> None:
        self.path, self.fresh = path, fresh
        self._lock = FileLock(path / ".lock")

    @classmethod
    def of(
        cls, path: Path | None, config: Config, name: str, asked: Mapping[str, Any], done: Callable[[Path], bool]
    ) -> SearchFolder:
        """The folder at `path`, or the newest one of this name under `output.dir` unless it is `done`, or else a new
        one. Its plan is what is `asked` of a config. Raises UsageError, RunDirectoryError."""
        home = Path(config.output.dir) if path is None else path.parent
        plan = {**asked, "config": sparse(config.with_paths_from(home))}
        return cls.numbered(home, name, plan, done) if path is None else cls.at(path, plan)

    @classmethod
    def at(cls, path: Path, plan: Mapping[str, Any]) -> SearchFolder:
        """The folder at `path`: new, empty, or one that follows the same plan. Raises UsageError for any other."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            refuse_foreign(path / PLAN)
            entries = [name for name in os.listdir(path) if name != ".lock"]  # noqa: PTH208
        except (NotADirectoryError, FileExistsError):
            raise UsageError(Problem("not_a_directory", "not a directory", file=str(path))) from None
        except OSError as error:
            raise unwritable(path, error) from None
        if not entries:
            return cls._new(path, plan)
        if PLAN not in entries:
            raise UsageError(Problem("not_empty", "the directory is not empty", "choose another", file=str(path)))
        told = read_object(path / PLAN, LARGEST)
        if told != plan:
            changed = ", ".join(sorted(key for key in {**plan, **told} if plan.get(key) != told.get(key)))
            message = f"something else was begun here (other {changed})"
            hint = "give the same command to go on with it, or choose another folder"
            raise UsageError(Problem("other_plan", message, hint, file=str(path)))
        return cls(path, fresh=False)

    @classmethod
    def numbered(cls, parent: Path, name: str, plan: Mapping[str, Any], done: Callable[[Path], bool]) -> SearchFolder:
        """The newest folder `parent/name-NNN` if it follows the same plan and is not `done`, else a new one."""
        try:
            taken = numbers(parent, name)
            newest = None if not taken else parent / f"{name}-{taken[-1]:03d}"
            if newest is not None and not done(newest) and read_object(newest / PLAN, LARGEST) == plan:
                return cls(newest, fresh=False)
            return cls._new(next_folder(parent, name, taken), plan)
        except OSError as error:
            raise unwritable(parent, error) from None

    @classmethod
    def _new(cls, path: Path, plan: Mapping[str, Any]) -> SearchFolder:
        try:
            write_json(path / PLAN, plan)
        except OSError as error:
            raise unwritable(path, error) from None
        return cls(path, fresh=True)

    def take(self) -> None:
        """Keep other processes out until this one ends. Raises RunDirectoryError."""
        try:
            self._lock.claim()
        except OSError as error:
            raise unwritable(self.path, error) from None

    def close(self) -> None:
        """Let go of it."""
        self._lock.release()

    def discard(self, *more: str) -> None:
        """Remove a new folder in which nothing was begun, with `more` files than all have."""
        self.close()
        if self.fresh:
            with contextlib.suppress(OSError):
                for name in (*more, "config.yaml", ".lock", PLAN):  # without a plan nobody would know what it is
                    remove(self.path / name)
                self.path.rmdir()


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a JSON file, all or nothing; the same fields give the same bytes. Raises OSError."""
    write_atomically(path, (json.dumps(fields, indent=2, allow_nan=False) + "\n").encode())

"""The run directory: what a run writes, and who may write there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlp_core.atomic_files import (
    LEFTOVER,
    refuse_foreign,
    remove,
    remove_leftovers,
    sync_folder,
    unshare,
    write_atomically,
)
from mlp_core.config import Config
from mlp_core.descriptors import UPDATE, lock, open_own, read_own, write_at
from mlp_core.documents import read_object
from mlp_core.errors import CheckpointError, MlpbpError, Problem, RunDirectoryError, UsageError, typed
from mlp_core.training.checkpoint import Checkpoint, load, save

MARK = "config.resolved.yaml"
"""The file that makes a directory a run; it is written last, so a directory without it is a beginning at most."""
TRAINED = "trained_rows.npy"
BEGINNING = frozenset({".lock", "checkpoints", "config.yaml", "split.json", TRAINED})
GROWING = ("metrics.jsonl", "metrics.csv", "steps.jsonl")
FILES = (".lock", MARK, "config.yaml", "split.json", TRAINED, "run.json", *GROWING)
LARGEST_JSON = 64 << 20
_TRIES = 10


class RunDirectory:
    """One run's folder, locked for as long as this object is open.

    `metrics.jsonl` holds only what the run computes, so that an interrupted and resumed run leaves the same bytes as an
    uninterrupted one; the clock's numbers are in `metrics.csv`.
    """

    writes = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home: Path | None = path  # from where its config names data files
        self.checkpoints = path / "checkpoints"
        self._lock: int | None = None

    @classmethod
    def create(cls, path: Path | None, config: Config) -> RunDirectory:
        """A new run in `path`, which must not exist or be empty, or in the next free folder under `output.dir`; raises
        UsageError, RunDirectoryError."""
        if path is None:
            return cls._numbered(Path(config.output.dir), config.name, config.output.if_exists == "number")
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.refuse_links()
            if run._occupied():  # looked at before anything is touched, and again when it is ours alone
                run._take(create=False)
                raise run._not_empty()
        except (NotADirectoryError, FileExistsError):
            raise UsageError(Problem("not_a_directory", "not a directory", file=str(path))) from None
        except OSError as error:
            raise unwritable(path, error) from None
        finally:
            run.close()
        run.open()
        if run._occupied():
            run.close()
            raise run._not_empty()
        return run

    def refuse_links(self) -> None:
        """Raise RunDirectoryError where what should be a file of this run, or its folder of checkpoints, is none.

        A run directory may come from somebody else: a link in it would have us write, cut or read elsewhere, and a
        pipe would have us wait.
        """
        names = [(self.path / name, False) for name in FILES] + [(self.checkpoints, True)]
        for path, folder in names:
            refuse_foreign(path, folder)
        for path in self.checkpoints.glob("*.safetensors"):
            refuse_foreign(path)

    def _occupied(self) -> bool:
        """Whether there is more here than a run that was killed before it had begun leaves behind."""
        entries = {name for name in os.listdir(self.path) if not LEFTOVER.fullmatch(name)}  # noqa: PTH208
        if not entries or ".lock" not in entries:
            return bool(entries)
        saved = os.listdir(self.checkpoints) if "checkpoints" in entries else []  # noqa: PTH208
        return not entries <= BEGINNING or not all(LEFTOVER.fullmatch(name) for name in saved)

    def _not_empty(self) -> UsageError:
        hint = "choose another --output"
        if (self.path / MARK).exists():
            hint += f", or continue the run in it with: mlpbp train --resume {typed(self.path)}"
        return UsageError(Problem("not_empty", "the directory is not empty", hint, file=str(self.path)))

    @classmethod
    def _numbered(cls, parent: Path, name: str, number: bool) -> RunDirectory:
        """A new run in `parent/name-001`, or the next free number; mkdir decides between two that start at once."""
        try:
            taken = numbers(parent, name)
            if taken and not number:
                message, hint = f"there is a run named {name} already", "choose another name or -o DIR"
                raise UsageError(Problem("run_exists", message, hint, file=str(parent)))
            path = next_folder(parent, name, taken)
        except OSError as error:
            raise unwritable(parent, error) from None
        run = cls(path)
        run.open()
        return run

    def open(self) -> None:
        """Lock the directory and prove that files can be written here; raises RunDirectoryError."""
        try:
            self.refuse_links()
            self._take(create=True)
            assert self._lock is not None
            if os.fstat(self._lock).st_nlink == 1:  # else it is a file elsewhere too, and only locked
                os.ftruncate(self._lock, 0)
                write_at(self._lock, f"{os.getpid()} {time.strftime('%H:%M')}\n".encode(), 0)
            self.checkpoints.mkdir(exist_ok=True)
            for folder in (self.path, self.checkpoints):
                remove_leftovers(folder)
            for name in GROWING:
                unshare(self.path / name)
            write_atomically(self.checkpoints / ".probe", b"probe", check=True)
            remove(self.checkpoints / ".probe")
            sync_folder(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            self.close()
            raise unwritable(self.path, error) from None

    def _take(self, create: bool) -> None:
        """Take the lock; raises RunDirectoryError where another process has it, OSError where there can be none."""
        path, flags = self.path / ".lock", UPDATE | (os.O_CREAT if create else 0)
        if not create and not path.exists():
            return
        for rest in reversed(range(_TRIES)):
            self._lock = open_own(path, flags)
            try:
                lock(self._lock)
                if path.exists() and os.path.samestat(os.fstat(self._lock), path.stat()):
                    return
            except BlockingIOError:  # perhaps another process only looks who is here, so try more than once
                if not rest:
                    holder = _holder(self.path)
                    self.close()
                    problem = Problem(
                        "in_use", f"in use{holder}", "choose another --output or stop it", file=str(self.path)
                    )
                    raise RunDirectoryError(problem) from None
            self.close()
            time.sleep(0.01)
        raise OSError("the lock file does not stay where it is")

    @classmethod
    def in_use(cls, path: Path) -> bool:
        """Whether a process works in this directory now."""
        run = cls(path)
        try:
            run._take(create=False)
        except RunDirectoryError:
            return True
        except OSError:
            return False
        finally:
            run.close()
        return False

    def close(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with contextlib.suppress(OSError):
                os.close(lock)

    def discard(self) -> None:
        """Remove what was made by `create` for a run that then was refused before any work."""
        with contextlib.suppress(OSError):
            for name in (MARK, "config.yaml", "split.json", TRAINED):
                remove(self.path / name)
            for folder in (self.checkpoints, self.path):
                remove_leftovers(folder)
            self.checkpoints.rmdir()
            remove(self.path / ".lock")
            self.path.rmdir()
        self.close()

    def write(self, name: str, content: bytes) -> None:
        """Write one of the small files of a run, all or nothing."""
        write_atomically(self.path / name, content)

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of this run, empty where there is none that can be read."""
        return read_object(self.path / name, LARGEST_JSON)

    def save(self, checkpoint: Checkpoint, name: str) -> Path:
        """Save a checkpoint as `checkpoints/<name>.safetensors`; raises OSError."""
        path = self.checkpoints / f"{name}.safetensors"
        save(checkpoint, path)
        return path

    def has(self, name: str) -> bool:
        """Whether there is a checkpoint `checkpoints/<name>.safetensors`."""
        return (self.checkpoints / f"{name}.safetensors").exists()

    def load(self, name: str) -> Checkpoint:
        """The checkpoint of this name; raises CheckpointError."""
        return load(self.checkpoints / f"{name}.safetensors")

    def forget_old(self, keep: int) -> None:
        """Delete all but the newest `keep` numbered checkpoints; what cannot be deleted now is next time."""
        numbered = self.checkpoints.glob("epoch-*.safetensors")
        epochs = {int(m[1]): path for path in numbered if (m := re.fullmatch(r"epoch-(\d{4,12})", path.stem))}
        for epoch in sorted(epochs)[:-keep]:
            with contextlib.suppress(OSError):
                remove(epochs[epoch])

    def newest(self) -> tuple[Path, Checkpoint, list[Problem]] | None:
        """The furthest checkpoint that verifies, and what is wrong with those that do not; None where there is no file.

        Raises CheckpointError where there are files and none verifies.
        """
        best: tuple[tuple[int, bool], Path, Checkpoint] | None = None
        problems: list[Problem] = []
        for path in sorted(self.checkpoints.glob("*.safetensors")):
            try:
                refuse_foreign(path)
                checkpoint = load(path)
                place = (int(checkpoint.document["progress"]["step"]), path.stem == "last")
            except (CheckpointError, RunDirectoryError) as error:
                problems += error.problems
            except (KeyError, TypeError, ValueError):
                problems.append(Problem("damaged", "not the checkpoint of a run", file=str(path)))
            else:
                if best is None or place > best[0]:
                    best = (place, path, checkpoint)
        if best is not None:
            return best[1], best[2], problems
        if problems:
            raise CheckpointError(problems)
        return None


def load_named(path: Path) -> Checkpoint:
    """The checkpoint in a file; if it is damaged, the error says which one of the same run is good.

    Raises CheckpointError.
    """
    try:
        return load(path)
    except CheckpointError as error:
        problem, found = error.problems[0], None
        if path.parent.name == "checkpoints" and problem.code in ("digest_mismatch", "damaged"):
            with contextlib.suppress(CheckpointError):
                found = RunDirectory(path.parent.parent).newest()
        if found is None:
            raise
        raise CheckpointError(replace(problem, hint=f"newest good checkpoint: {found[0]}")) from None


def _holder(path: Path) -> str:
    """' by process 4711 since 14:02', as far as the lock file tells."""
    try:
        words: Sequence[str] = read_own(path / ".lock", 40).decode().split()
    except (OSError, UnicodeDecodeError):
        words = []
    if len(words) == 2 and words[0].isdigit():
        return f" by process {words[0]} since {words[1]}"
    return " by another process"


def numbers(parent: Path, name: str) -> list[int]:
    """The numbers of the folders `parent/name-NNN`, ascending; `parent` is made. Raises OSError."""
    parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(name) + r"-(\d{3,9})")
    return sorted(int(match[1]) for entry in os.listdir(parent) if (match := pattern.fullmatch(entry)))  # noqa: PTH208


def next_folder(parent: Path, name: str, taken: Sequence[int]) -> Path:
    """A new folder `parent/name-NNN` with the next free number; mkdir decides between two that start at once. Raises
    OSError."""
    number = max(taken, default=0) + 1
    while True:
        path = parent / f"{name}-{number:03d}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def unwritable(path: Path, error: OSError) -> MlpbpError:
    """What is said where a folder, or a file in it, cannot be written."""
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(Problem("long_name", "this name is too long for a file", file=str(path)))
    message, hint = f"cannot be written: {error.strerror or error}", "choose another place with -o DIR"
    return RunDirectoryError(Problem("not_writable", message, hint, file=str(path)))

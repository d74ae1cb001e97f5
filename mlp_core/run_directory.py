"""The run directory: what a run writes, and who may write there."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlp_core.checkpoint import Checkpoint, load, save, sync_folder, write_atomically
from mlp_core.errors import CheckpointError, Problem, RunDirectoryError, UsageError


class RunDirectory:
    """One run's folder, locked for as long as this object is open.

    `metrics.jsonl` holds only what the run computes, so that an interrupted and resumed run leaves the same bytes as an
    uninterrupted one; the clock's numbers are in `metrics.csv`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._lock: int | None = None

    @classmethod
    def create(cls, path: Path) -> RunDirectory:
        """A new run in `path`, which must not exist or be empty; raises UsageError, RunDirectoryError."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = any(entry.name != ".lock" for entry in path.iterdir())
        except NotADirectoryError:
            raise UsageError(Problem("not_a_directory", "not a directory", file=str(path))) from None
        except FileExistsError:
            raise UsageError(Problem("not_a_directory", "is a file, not a directory", file=str(path))) from None
        except OSError as error:
            raise _unwritable(path, error) from None
        if occupied and not _in_use(path):
            raise UsageError(
                Problem(
                    "not_empty",
                    "the directory is not empty",
                    f"choose another --output, or continue the run in it with: mlpbp train --resume {path}",
                    file=str(path),
                )
            )
        run = cls(path)
        run.open()
        return run

    @classmethod
    def create_numbered(cls, parent: Path, name: str, number: bool = True) -> RunDirectory:
        """A new run in `parent/name-001`, or the next free number; mkdir decides between two that start at once."""
        try:
            parent.mkdir(parents=True, exist_ok=True)
            taken = [
                int(m[1]) for e in parent.iterdir() if (m := re.fullmatch(re.escape(name) + r"-(\d{3,9})", e.name))
            ]
            if taken and not number:
                raise UsageError(
                    Problem(
                        "run_exists",
                        f"there is a run named {name} already",
                        "choose another name or -o DIR",
                        file=str(parent),
                    )
                )
            index = max(taken, default=0) + 1
            while True:
                path = parent / f"{name}-{index:03d}"
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    index += 1
        except OSError as error:
            raise _unwritable(parent, error) from None
        run = cls(path)
        run.open()
        return run

    def open(self) -> None:
        """Lock the directory and prove that files can be written here; raises RunDirectoryError."""
        try:
            self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(self.path)
            self.close()
            raise RunDirectoryError(
                Problem("in_use", f"in use{holder}", "choose another --output or stop it", file=str(self.path))
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()} {time.strftime('%H:%M')}\n".encode(), 0)
        try:
            self.checkpoints.mkdir(exist_ok=True)
            write_atomically(self.checkpoints / ".probe", b"probe", check=True)
            (self.checkpoints / ".probe").unlink()
            sync_folder(self.path)
        except OSError as error:
            self.close()
            raise _unwritable(self.path, error) from None

    def close(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove what was made by `create` for a run that then was refused before any work."""
        for folder in (self.checkpoints, self.path):
            (folder / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        self.close()

    def write(self, name: str, content: bytes) -> None:
        """Write one of the small files of a run, all or nothing."""
        write_atomically(self.path / name, content)

    def write_json(self, name: str, content: Mapping[str, Any], compact: bool = False) -> None:
        self.write(name, (json.dumps(content, indent=None if compact else 2, ensure_ascii=False) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of this run, empty where there is none that can be read."""
        try:
            content = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def save(self, checkpoint: Checkpoint, name: str) -> Path:
        """Save a checkpoint as `checkpoints/<name>.safetensors`; raises OSError."""
        path = self.checkpoints / f"{name}.safetensors"
        save(checkpoint, path)
        return path

    def forget_old(self, keep: int) -> None:
        """Delete all but the newest `keep` numbered checkpoints."""
        for path in sorted(self.checkpoints.glob("epoch-*.safetensors"))[:-keep]:
            path.unlink(missing_ok=True)

    def newest(self) -> tuple[Path, Checkpoint, list[Problem]]:
        """The furthest checkpoint that verifies, and what is wrong with those that do not.

        Raises CheckpointError where none does.
        """
        found: list[tuple[int, bool, Path, Checkpoint]] = []
        problems: list[Problem] = []
        for path in sorted(self.checkpoints.glob("*.safetensors")):
            try:
                checkpoint = load(path)
                step = int(checkpoint.document["progress"]["step"])
            except CheckpointError as error:
                problems += error.problems
            except (KeyError, TypeError, ValueError):
                problems.append(Problem("damaged", "not the checkpoint of a run", file=str(path)))
            else:
                found.append((step, path.stem == "last", path, checkpoint))
        if not found:
            raise CheckpointError(
                problems or [Problem("no_checkpoint", "there is no checkpoint to go on from", file=str(self.path))]
            )
        _, _, path, checkpoint = max(found, key=lambda item: item[:2])
        return path, checkpoint, problems


class MetricsLog:
    """`metrics.jsonl`, one object per epoch, and `metrics.csv`, the same with the clock's columns."""

    def __init__(self, run: RunDirectory, columns: Sequence[str], jsonl: bool = True, table: bool = True) -> None:
        self.jsonl = run.path / "metrics.jsonl" if jsonl else None
        self.csv = run.path / "metrics.csv" if table else None
        self.columns = list(columns)

    def append(self, facts: Mapping[str, Any], clock: Mapping[str, float]) -> None:
        """Add one epoch: `facts` to both files, the numbers of the `clock` to the table."""
        if self.jsonl is not None:
            with self.jsonl.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts, separators=(", ", ": ")) + "\n")
        if self.csv is not None:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, extrasaction="ignore", restval="", lineterminator="\n")
            if not _size(self.csv):
                writer.writeheader()
            writer.writerow({**facts, **clock})
            with self.csv.open("a", encoding="utf-8") as file:
                file.write(text.getvalue())

    def offset(self) -> dict[str, int]:
        """How long `metrics.jsonl` is, once it is safe on the disk; a checkpoint remembers it."""
        if self.jsonl is not None and self.jsonl.exists():
            with self.jsonl.open("rb") as file:
                os.fsync(file.fileno())
        return {"jsonl": _size(self.jsonl)}

    def cut(self, epoch: int, offset: Mapping[str, int]) -> None:
        """Forget what was written after a checkpoint at `epoch`, when a run goes on from it."""
        if self.jsonl is not None and self.jsonl.exists():
            os.truncate(self.jsonl, min(offset.get("jsonl", 0), _size(self.jsonl)))
        if self.csv is not None and self.csv.exists():
            lines = self.csv.read_text(encoding="utf-8").splitlines(keepends=True)[: epoch + 1]
            write_atomically(self.csv, "".join(lines).encode())


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None and path.exists() else 0


def _in_use(path: Path) -> bool:
    """Whether another process holds the lock of a directory."""
    try:
        descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(path: Path) -> str:
    """' by process 4711 since 14:02', as far as the lock file tells."""
    try:
        words: Sequence[str] = (path / ".lock").read_text()[:40].split()
    except (OSError, UnicodeDecodeError):
        words = []
    if len(words) == 2 and words[0].isdigit():
        return f" by process {words[0]} since {words[1]}"
    return " by another process"


def _unwritable(path: Path, error: OSError) -> RunDirectoryError | UsageError:
    reason = error.strerror or str(error)
    problem = Problem(
        "not_writable", f"cannot be written: {reason}", "choose another place with -o DIR", file=str(path)
    )
    return UsageError(problem)

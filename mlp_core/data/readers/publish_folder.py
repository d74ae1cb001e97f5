"""The place where a converted table appears: written under a hidden name, and given its own when it is complete.

While it is written, the folder NAME is `.NAME.PID.tmp`, locked as long as its process lives. A table that is written
over is `.NAME.PID.old.tmp` between two renamings; `restore` names again what a kill in between left there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlp_core.atomic_files import remove_folder, sync_folder
from mlp_core.data.readers.converted_table import TABLE, VALUES
from mlp_core.descriptors import locked_folder
from mlp_core.errors import Problem, UsageError


def check_place(folder: Path, paths: Sequence[Path], force: bool) -> None:
    """Raise UsageError unless a table made of `paths` may appear at `folder`; `force`: over a converted table."""
    if not os.path.lexists(folder):
        return
    if not force:
        hint = "choose another with -o FOLDER, or write over it with --force"
        raise UsageError(Problem("exists", "there is such a file or folder", hint, file=str(folder)))
    hint, known = "choose another with -o FOLDER", {VALUES, TABLE}
    if folder.is_symlink() or not folder.is_dir() or not set(os.listdir(folder)) <= known:  # noqa: PTH208
        message = "this is no converted table, and is not written over"
        raise UsageError(Problem("exists", message, hint, file=str(folder)))
    if folder.resolve() == Path.cwd():
        raise UsageError(Problem("exists", "the current folder is not written over", hint, file=str(folder)))
    if any(path.exists() and path.resolve().parent == folder.resolve() for path in paths):
        raise UsageError(Problem("exists", "the data itself is in it", hint, file=str(folder)))


def restore(folder: Path) -> None:
    """Name the table again that a killed conversion to `folder` left without a name, and delete what else it left.

    The new table, if it was complete, else the old one. What a living process is writing is left alone.
    """
    pattern = re.compile(re.escape(f".{folder.name}.") + r"\d+(?:\.old)?\.tmp")
    if not folder.parent.is_dir():
        return
    found = [folder.parent / name for name in os.listdir(folder.parent) if pattern.fullmatch(name)]  # noqa: PTH208
    stems = sorted({path.name.removesuffix(".tmp").removesuffix(".old") for path in found})
    for stem in stems:
        new, old = folder.with_name(f"{stem}.tmp"), folder.with_name(f"{stem}.old.tmp")
        with locked_folder(new) as free:
            if not free:
                continue
            if old in found and not os.path.lexists(folder):
                whole = [table for table in (new, old) if _complete(table)]
                with contextlib.suppress(FileNotFoundError):  # it has just been named by its own process
                    if whole:
                        os.rename(whole[0], folder)  # noqa: PTH104
                        sync_folder(folder.parent)
            remove_folder(new)
            if os.path.lexists(folder) or not _complete(old):
                remove_folder(old)


def sweep(parent: Path) -> None:
    """`restore` for every table that was ever to lie in the folder `parent`."""
    pattern = re.compile(r"\.(.+)\.\d+(?:\.old)?\.tmp")
    names = os.listdir(parent) if parent.is_dir() else []  # noqa: PTH208
    for name in {match[1] for entry in names if (match := pattern.fullmatch(entry))}:
        restore(parent / name)


@contextlib.contextmanager
def hidden(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, deleted at the end unless it was given its name by `put`. Raises OSError."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        with locked_folder(temporary):
            yield temporary
    finally:
        remove_folder(temporary)


def put(temporary: Path, folder: Path, force: bool) -> None:
    """Give a complete folder its name; what had it (if `force`) is deleted when that is on the disk. Raises OSError."""
    sync_folder(temporary)
    old = temporary.with_suffix(".old.tmp")
    over = force and folder.is_dir()
    if over:
        os.rename(folder, old)  # noqa: PTH104
    try:
        os.rename(temporary, folder)  # noqa: PTH104
    except BaseException:
        if over:
            os.rename(old, folder)  # noqa: PTH104
        raise
    sync_folder(folder.parent)
    if over:
        remove_folder(old)


def _complete(folder: Path) -> bool:
    return (folder / TABLE).is_file() and (folder / VALUES).is_file()

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
    hint, known = "choose another with -o FOLDER", {VALUES, TABLE}
    if not force:
        message, hint = "there is such a file or folder", f"{hint}, or write over it with --force"
    elif folder.is_symlink() or not folder.is_dir() or not set(os.listdir(folder)) <= known:  # noqa: PTH208
        message = "this is no converted table, and is not written over"
    elif folder.resolve() == Path.cwd():
        message = "the current folder is not written over"
    elif any(path.exists() and path.resolve().parent == folder.resolve() for path in paths):
        message = "the data itself is in it"
    else:
        return
    raise UsageError(Problem("exists", message, hint, file=str(folder)))


def restore(parent: Path, only: str | None = None) -> None:
    """Name the tables again that killed conversions left without a name in a folder, and delete what else they left.

    The new table, if it was complete, else the old one. What a living process is writing is left alone. only: the name
    of one table, where others are left alone as well.
    """
    pattern = re.compile(rf"(\.({'.+' if only is None else re.escape(only)})\.\d+)(?:\.old)?\.tmp")
    names = os.listdir(parent) if parent.is_dir() else []  # noqa: PTH208
    for stem, name in sorted({(match[1], match[2]) for one in names if (match := pattern.fullmatch(one))}):
        folder, new, old = parent / name, parent / f"{stem}.tmp", parent / f"{stem}.old.tmp"
        with locked_folder(new) as free:
            if not free:
                continue
            if os.path.lexists(old) and not os.path.lexists(folder):
                whole = [table for table in (new, old) if _complete(table)]
                with contextlib.suppress(FileNotFoundError):  # it has just been named by its own process
                    if whole:
                        os.rename(whole[0], folder)  # noqa: PTH104
                        sync_folder(parent)
            remove_folder(new)
            if os.path.lexists(folder) or not _complete(old):
                remove_folder(old)


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

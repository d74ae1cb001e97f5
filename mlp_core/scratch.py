"""A folder for what is needed in between: gone when it is done; what a killed process left goes when the next comes."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlp_core.descriptors import locked_folder

PREFIX = "mlpbp-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder in the system's temporary one, for this user alone, deleted at the end. Raises OSError.

    It is locked as long as its process lives, which is how the next one knows what is left of a killed one.
    """
    parent = Path(tempfile.gettempdir())
    _sweep(parent)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with locked_folder(folder):
            if not folder.is_dir():  # swept before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def _sweep(parent: Path) -> None:
    """Delete the folders of this user that no process has; links are neither followed nor deleted."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            about = os.lstat(folder)
        except OSError:
            continue
        ours = not hasattr(os, "geteuid") or about.st_uid == os.geteuid()
        if ours and stat.S_ISDIR(about.st_mode):
            with locked_folder(folder) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)

"""Tables kept converted, so that a second run does not parse them again: found by what is in the files, never by names.

An entry is a converted table in a folder named by a digest of the bytes of the files and of all that decides how they
are read. It appears when it is complete; one that is damaged is found by its own digests and made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlp_core.atomic_files import remove_folder
from mlp_core.data.readers.convert_table import Unread, convert
from mlp_core.data.readers.converted_table import FORMAT, is_folder, is_sound
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.open_file import check_file, reading
from mlp_core.data.readers.publish_folder import restore
from mlp_core.errors import Failed, UsageError

if TYPE_CHECKING:
    from mlp_core.config import Config

_PIECE = 1 << 20


def cached(
    paths: Sequence[Path], options: ReadOptions, names: Sequence[str], folder: Path, unread: Unread, make: bool = True
) -> Path | None:
    """The converted table in the cache `folder` for these files; if it is not there it is made, or with `make` false
    None, and nothing is written or deleted. unread: as `convert` takes it.

    Raises DataError for what cannot be read, Failed when the disk does not take it.
    """
    entry = folder / f"{paths[0].name.split('.')[0] or 'table'}-{_key(paths, options, names)[:20]}"
    trusted = is_folder(entry) and (options.memory == "ram" or is_sound(entry))  # cells in memory are looked at anyway
    if not trusted and not make:
        return None
    if not trusted:
        if entry.exists():
            remove_folder(entry)
        try:
            restore(folder)
            convert(paths, options, entry, names, unread=unread)
        except (Failed, UsageError):
            if not is_folder(entry):  # another run may have made it meanwhile
                raise
    return entry


def discard(config: Config, entry: Path) -> bool:
    """Delete a damaged entry of the config's cache, so that it is made again; False if it is not ours to delete."""
    if (
        config.source.sent
        or not config.data.cache
        or entry.parent.resolve() != config.resolve_path(config.data.cache).resolve()
    ):
        return False
    remove_folder(entry)
    return not entry.exists()


def _key(paths: Sequence[Path], options: ReadOptions, names: Sequence[str]) -> str:
    """A digest of the files' bytes and of everything that decides what is read from them."""
    sha = hashlib.sha256(f"{FORMAT} dates {options.format} {options.csv} {sorted(options.text)} {list(names)}".encode())
    for path in paths:
        sha.update(f"{path.suffixes} {check_file(path)};".encode())
        with reading(path), path.open("rb") as file:
            while piece := file.read(_PIECE):
                sha.update(piece)
    return sha.hexdigest()

"""Checkpoints: one safetensors file that is whole or refused, and the same bytes for the same state.

The metadata holds one JSON document under the key `mlpbp` (one key, because the safetensors package writes several in
random order). Its field `sha256` is the SHA-256 of the file itself with 64 zeros in the place of the digest: every bit
of the file, header and padding included, is under it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.errors import CheckpointError, Problem

FORMAT = 1
KEY = "mlpbp"
_BLANK = "0" * 64
_LARGEST_HEADER = 16 * 1024 * 1024


@dataclass(frozen=True)
class Checkpoint:
    """Named arrays and a JSON document that says what they are."""

    tensors: Mapping[str, np.ndarray]
    document: Mapping[str, Any]


def serialize(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint file; equal states give equal bytes."""
    from safetensors.numpy import save

    document = {"format": FORMAT, "sha256": _BLANK, **checkpoint.document}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.tensors.items()}
    blob = save(tensors, metadata={KEY: text})
    place = blob.index(_BLANK.encode())
    digest = hashlib.sha256(blob).hexdigest().encode()
    return blob[:place] + digest + blob[place + 64 :]


def verify(blob: bytes, path: str) -> dict[str, Any]:
    """The document of a checkpoint's bytes; raises CheckpointError unless every bit is as it was written."""
    document = _document(blob, path)
    version = document.get("format")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise _error(
            path,
            "newer_format",
            f"written in checkpoint format {version}, this program reads up to {FORMAT}",
            "upgrade mlpbp",
        )
    digest = document.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64 or not digest.isascii():
        raise damaged(path, "it has no digest")
    place = blob.find(digest.encode())
    actual = hashlib.sha256(blob[:place])
    actual.update(_BLANK.encode())
    actual.update(blob[place + 64 :])
    if place < 0 or actual.hexdigest() != digest:
        raise _error(path, "digest_mismatch", "digest mismatch, the file is damaged", None)
    if version != FORMAT:
        raise damaged(path, f"its format is {version!r}")
    return document


def _document(blob: bytes, path: str) -> dict[str, Any]:
    """The JSON document in the header of a safetensors file."""
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 10 or length > min(len(blob) - 8, _LARGEST_HEADER):
        raise damaged(path, "it is not a complete safetensors file")
    try:
        header = json.loads(blob[8 : 8 + length])
        document = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(path, "it is not a checkpoint of mlpbp") from None
    if not isinstance(document, dict):
        raise damaged(path, "it is not a checkpoint of mlpbp")
    return document


def load(path: Path) -> Checkpoint:
    """Read and verify a checkpoint; raises CheckpointError where the file is missing, damaged or not finite."""
    blob = _read(path)
    document = verify(blob, str(path))
    return Checkpoint(_tensors(blob, str(path)), document)


def _read(path: Path) -> bytes:
    name = str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not make us wait
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise damaged(name, "it is not a regular file")
            return file.read()
    except FileNotFoundError:
        raise _error(name, "no_checkpoint", "no such checkpoint", None) from None
    except IsADirectoryError:
        raise damaged(name, "it is a directory") from None
    except (OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "too large for memory"
        raise _error(name, "unreadable", f"cannot be read: {reason}", None) from None


def _tensors(blob: bytes, path: str) -> dict[str, np.ndarray]:
    import safetensors
    from safetensors.numpy import load as load_tensors

    try:
        tensors = load_tensors(blob)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise damaged(path, f"its tensors cannot be read: {error}") from None
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not bool(np.isfinite(tensor).all()):
            raise damaged(path, f"tensor {name} has an entry that is not a finite number")
    return dict(tensors)


def save(checkpoint: Checkpoint, path: Path) -> int:
    """Write a checkpoint so that `path` holds the old file or the whole new one at every instant; return its size.

    Temporary file beside it, write, fsync, read back and compare, replace, fsync of the folder. Raises OSError when the
    disk does not take it; `path` is then as it was.
    """
    blob = serialize(checkpoint)
    write_atomically(path, blob, check=True)
    return len(blob)


def write_atomically(path: Path, blob: bytes, check: bool = False) -> None:
    """Replace the content of `path` by `blob`, all or nothing, surviving a power cut once it returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(descriptor)
        if check and temporary.read_bytes() != blob:
            raise OSError("what was written reads back differently")
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(path: str, why: str) -> CheckpointError:
    """The error for a file that cannot be a checkpoint as this program wrote it."""
    return _error(path, "damaged", f"not a usable checkpoint: {why}", None)


def _error(path: str, code: str, message: str, hint: str | None) -> CheckpointError:
    return CheckpointError(Problem(code, message, hint, file=path))

"""Checkpoints: one safetensors file that is whole or refused, and the same bytes for the same state.

The metadata holds one JSON document under the key `mlpbp` (one key, because the safetensors package writes several in
random order). It begins with the field `sha256`: the SHA-256 of the file itself with 64 zeros in the place of the
digest, so every bit of the file, header and padding included, is under it. Every format keeps that beginning.

Written and read by hand, not with the safetensors package: that takes the whole state a second time in memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mlp_core.atomic_files import refuse_foreign, write_atomically
from mlp_core.descriptors import READ_AT_ONCE
from mlp_core.documents import parsed
from mlp_core.errors import CheckpointError, Problem, typed
from mlp_core.training.misnamed import MARK, like_run, refuse_misnamed

FORMAT = 1
KEY = "mlpbp"
_BLANK = "0" * 64
_BEGINNING = b'{"__metadata__":{"mlpbp":"{\\"sha256\\":\\"'
_LARGEST_HEADER = 8 * 1024 * 1024
_MOST_BRACKETS = 200_000
_CHUNK = 1 << 20
_DTYPES = {
    name: np.dtype(kind)
    for name, kind in [
        *[("U64", "<u8"), ("I64", "<i8"), ("F64", "<f8"), ("F32", "<f4"), ("U32", "<u4"), ("I32", "<i4")],
        *[("F16", "<f2"), ("U16", "<u2"), ("I16", "<i2"), ("I8", "i1"), ("U8", "u1"), ("BOOL", "?")],
    ]
}
"""safetensors' names of dtypes, in the order in which it puts tensors in a file."""


@dataclass(frozen=True)
class Checkpoint:
    """Named arrays and a JSON document that says what they are."""

    tensors: Mapping[str, np.ndarray]
    document: Mapping[str, Any]

    def copy(self) -> Checkpoint:
        """The same with arrays of its own, that stay what they are when training goes on."""
        return Checkpoint({name: np.array(tensor) for name, tensor in self.tensors.items()}, self.document)


def serialize(checkpoint: Checkpoint) -> list[bytes | memoryview]:
    """The bytes of a checkpoint file in parts: header and small tensors together, large tensors where they are in
    memory. Equal states give equal bytes. Raises CheckpointError for a document that is too large to be read again."""
    document = {"format": FORMAT, **checkpoint.document}
    document.pop("sha256", None)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    names = {dtype: name for name, dtype in _DTYPES.items()}
    ranks = {dtype: rank for rank, dtype in enumerate(names)}
    tensors = {name: np.ascontiguousarray(array) for name, array in checkpoint.tensors.items()}
    ordered = sorted(tensors, key=lambda name: (ranks[tensors[name].dtype], name))
    header: dict[str, Any] = {"__metadata__": {KEY: f'{{"sha256":"{_BLANK}",{text[1:]}'}}
    start = 0
    for name in ordered:
        tensor, end = tensors[name], start + tensors[name].nbytes
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape)}
        header[name]["data_offsets"], start = [start, end], end
    blob = bytearray(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    blob += b" " * (-len(blob) % 8)
    if len(blob) > _LARGEST_HEADER or _brackets(blob) > _MOST_BRACKETS:
        message = f"the description of this run takes {len(blob) / 2**20:.0f} MiB, a checkpoint holds 8"
        raise CheckpointError(Problem("too_large", message, "use fewer columns"))
    blob[:0] = len(blob).to_bytes(8, "little")
    data = [tensors[name].reshape(-1).view(np.uint8).data for name in ordered]
    digest = hashlib.sha256(blob)
    for part in data:
        digest.update(part)
    place = 8 + len(_BEGINNING)
    blob[place : place + 64] = digest.hexdigest().encode()
    return _joined([bytes(blob), *data])


def _joined(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Parts in a row put together where they are small."""
    joined: list[bytes | memoryview] = []
    for part in parts:
        if joined and len(joined[-1]) + len(part) <= _CHUNK:
            joined[-1] = b"".join([joined[-1], part])
        else:
            joined.append(part)
    return joined


def verify(file: BinaryIO, path: str) -> dict[str, Any]:
    """The document of a checkpoint; raises CheckpointError unless every bit is as it was written.

    Reads in small parts, and makes nothing of what it reads before the size and the digest are known to be right.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= _LARGEST_HEADER:
        raise damaged(path, "it is not a safetensors file")
    header = file.read(length)
    if len(header) < length:
        raise damaged(path, "it is not complete")
    if not header.startswith(_BEGINNING):
        raise damaged(path, "it is not a checkpoint of mlpbp")
    expected, size = 8 + length + _data_size(header), file.seek(0, os.SEEK_END)
    if size != expected:
        raise damaged(path, f"it has {size:,} bytes, by its header it should have {expected:,}")
    file.seek(8 + length)
    place = len(_BEGINNING)
    actual = hashlib.sha256(start + header[:place] + _BLANK.encode() + header[place + 64 :])
    while chunk := file.read(_CHUNK):
        actual.update(chunk)
    if header[place : place + 64] != actual.hexdigest().encode():
        raise refusal(path, "digest_mismatch", "digest mismatch, the file is damaged")
    return _document(header, path)


def _data_size(header: bytes) -> int:
    """Bytes of tensors that the last part of a header tells of; their order is that of their places."""
    ends = re.findall(rb'"data_offsets":\[\d+,(\d{1,18})\]', header[header.rfind(b'"}') :])
    return int(ends[-1]) if ends else 0


def _document(header: bytes, path: str) -> dict[str, Any]:
    """The JSON document in the header of a file whose digest is right."""
    if _brackets(header) > _MOST_BRACKETS:
        raise damaged(path, "its header is too complex")
    try:
        document = parsed(json.loads(header)["__metadata__"][KEY])
        version = document["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(path, "its header cannot be read") from None
    if type(version) is not int or version < 1:
        raise damaged(path, f"its format is {version!r}")
    if version > FORMAT:
        message = f"written in checkpoint format {version}, this program reads up to {FORMAT}"
        raise refusal(path, "newer_format", message, "upgrade mlpbp")
    return dict(document)


def _brackets(header: bytes | bytearray) -> int:
    """How many lists and mappings a header can hold at most; they are what takes memory."""
    return header.count(b"[") + header.count(b"{")


def checkpoint_path(path: Path) -> Path:
    """The checkpoint meant by a MODEL argument: the file itself, or the best (else last) one of a run directory.

    Raises UsageError where it is neither, with what was probably meant.
    """
    refuse_misnamed(path)
    if not path.is_dir():
        return path
    refuse_foreign(path / "checkpoints", folder=True)
    for name in ("best", "last"):
        candidate = path / "checkpoints" / f"{name}.safetensors"
        refuse_foreign(candidate)
        if candidate.exists():
            return candidate
    hint = f"go on with it: mlpbp train --resume {typed(path)}" if (path / MARK).is_file() else like_run(path)
    raise refusal(path, "no_checkpoint", "there is no checkpoint in this directory", hint)


def load(path: Path) -> Checkpoint:
    """Read and verify a checkpoint; raises CheckpointError where the file is missing, damaged or not finite."""
    name = str(path)
    try:
        descriptor = os.open(path, READ_AT_ONCE)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise damaged(name, "it is not a regular file")
            document = verify(file, name)
            file.seek(0)
            return Checkpoint(_tensors(file, name), document)
    except FileNotFoundError:
        raise refusal(name, "no_checkpoint", "no such checkpoint") from None
    except IsADirectoryError:
        raise damaged(name, "it is a directory") from None
    except (OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "too large for memory"
        raise refusal(name, "unreadable", f"cannot be read: {reason}") from None


def _tensors(file: BinaryIO, path: str) -> dict[str, np.ndarray]:
    """The tensors of a file that verifies, each read to where it stays."""
    length = int.from_bytes(file.read(8), "little")
    tensors, place = {}, 0
    try:
        table = json.loads(file.read(length))
        del table["__metadata__"]
        for name in sorted(table, key=lambda name: table[name]["data_offsets"]):
            dtype, shape = _DTYPES[table[name]["dtype"]], tuple(table[name]["shape"])
            start, end = table[name]["data_offsets"]
            sound = all(type(number) is int and number >= 0 for number in (*shape, start, end))
            if not sound or start != place or end - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} is not where its shape says")
            tensors[name] = np.empty(shape, dtype)
            if file.readinto(tensors[name].reshape(-1).view(np.uint8).data) != end - start:  # type: ignore[attr-defined]
                raise ValueError(f"{name} is not complete")
            place = end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, f"its tensors cannot be read: {error}") from None
    if file.read(1):
        raise damaged(path, "its tensors cannot be read: there is more than they take")
    bad = not_finite(tensors)
    if bad is not None:
        raise damaged(path, f"tensor {bad} has an entry that is not a finite number")
    return tensors


def not_finite(tensors: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first tensor with an entry that is not a finite number."""
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "biu" and not bool(np.isfinite(tensor).all()):
            return name
    return None


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint so that `path` holds the old file or the whole new one at every instant.

    Raises OSError when the disk does not take it.
    """
    write_atomically(path, *serialize(checkpoint), check=True)


def damaged(path: str, why: str) -> CheckpointError:
    """The error for a file that cannot be a checkpoint as this program wrote it."""
    return refusal(path, "damaged", f"not a usable checkpoint: {why}")


def refusal(path: str | Path, code: str, message: str, hint: str | None = None) -> CheckpointError:
    """The error for a file that cannot be used."""
    return CheckpointError(Problem(code, message, hint, file=str(path)))

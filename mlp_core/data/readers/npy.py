"""NumPy's .npy and .npz files, read without ever unpickling: the header is checked before memory is taken.

Headers by hand, not with `numpy.lib.format`: that evaluates them as Python, warns, and reads version 3 in private only.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.arrays import KINDS, Arrays, alone, filled, pair
from mlp_core.data.readers.format import Format, ReadOptions
from mlp_core.data.readers.open_file import DEFLATE_RATIO, check_file, open_binary, refusal, refuse_html
from mlp_core.data.readers.open_file import head as first_bytes

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
MAX_READ = 2 << 20  # a directory of some ten thousand arrays
_DTYPE = re.compile(r"[<>|=]?(f[248]|[iu][1248]|b1)")
_SIZE = "(?:0|[1-9][0-9]{0,18}) *"  # no file has 10^19 bytes
_TUPLE = rf"\( *(?:(?:{_SIZE}, *)+(?:{_SIZE})?)?\)"  # (), (3,), (3, 4)
_ENTRY = re.compile(rf" *'(descr|fortran_order|shape)' *: *('[^']*'|True|False|{_TUPLE}) *(?:,|(?=\}}))")
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, RuntimeError)


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array in a .npy file, gzip or not. Raises DataError for pickled objects, lies and damage."""
    with open_binary(path, "a .npy file") as (stream, bound):
        return _array(stream, bound, check_file(path), path)


def read_npz(path: Path, names: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    """The named arrays in a .npz file; each is read to its end, so its checksum is verified.

    Raises DataError for a missing name, pickled objects, lies and damage.
    """
    size = check_file(path)
    refuse_html(path, first_bytes(path), "a .npz file")
    try:
        with path.open("rb") as file, zipfile.ZipFile(_Sparing(file)) as archive:
            return [_member(archive, name, size, path) for name in names]
    except _BROKEN_ZIP as error:
        message = f"damaged or not a .npz file ({error})"
        raise refusal(path, "damaged", message, hint="write it again with numpy.savez") from None
    except (OSError, ValueError, OverflowError, KeyError, IndexError) as error:
        raise refusal(path, "damaged", f"damaged .npz file ({error})", hint="write it again") from None


class _Sparing(io.BufferedIOBase):
    """A file from which only so much is read at once: the directory of an archive takes many times its size."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = 0, /) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int | None = -1, /) -> bytes:
        rest = count is None or count < 0
        found = self.file.read(MAX_READ + 1 if rest else min(count or 0, MAX_READ + 1))
        if len(found) > MAX_READ:
            raise zipfile.BadZipFile("its directory is too large")
        return found


def array_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in a .npz file; () when it cannot be read."""
    check_file(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(_Sparing(file)) as archive:
            return tuple(info.filename.removesuffix(".npy") for info in archive.infolist())
    except (*_BROKEN_ZIP, OSError, ValueError):
        return ()


def _member(archive: zipfile.ZipFile, name: str, size: int, path: Path) -> npt.NDArray[Any]:
    """One array of an archive whose file has `size` bytes."""
    stored = sorted({info.filename for info in archive.infolist()})
    try:
        info = archive.getinfo(name if name in stored else f"{name}.npy")
    except KeyError:
        arrays = [entry.removesuffix(".npy") for entry in stored if entry.endswith(".npy")]
        found = "it holds " + ", ".join(arrays[:8]) if arrays else "there is no array in it"
        hint = "name the arrays with data.x and data.y"
        raise refusal(path, "missing_array", f'no array "{name}" in this file; {found}', hint=hint) from None
    if info.compress_size > size or info.file_size > DEFLATE_RATIO * info.compress_size + 64:
        raise refusal(path, "damaged", f'array "{name}" declares more bytes than the file can hold')
    with archive.open(info) as member:
        return _array(cast(BinaryIO, member), info.file_size, info.compress_size, path, f'array "{name}": ')


def _array(stream: BinaryIO, bound: int, stored: int, path: Path, what: str = "") -> npt.NDArray[Any]:
    """The array that starts here and ends with the stream, which holds at most `bound` bytes made of `stored`."""
    shape, dtype, fortran, used = read_header(stream, path, what)
    shape = shape[::-1] if fortran else shape
    array = filled(stream, shape, dtype, bound - used, stored, path, "write it again", what)
    array = array.T if fortran else array
    if dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise refusal(path, "damaged", f"{what}a boolean that is neither 0 nor 1", hint="write it again")
    return np.ascontiguousarray(array.astype(dtype.newbyteorder("="), copy=False))


def read_header(stream: BinaryIO, path: Path, what: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, dtype, whether in Fortran order, and the length of the header."""
    start = stream.read(8)
    if len(start) < 8 or start[:6] != MAGIC or start[6] not in (1, 2, 3) or start[7] != 0:
        raise refusal(path, "not_npy", f"{what}not a .npy file", hint="write it with numpy.save")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    if length > MAX_HEADER:
        raise refusal(path, "damaged", f"{what}a header of {length:,} bytes", hint="write it again")
    text = stream.read(length)
    fields = _fields(text.decode("latin-1")) if len(text) == length else None
    if fields is None:
        raise refusal(path, "damaged", f"{what}the header cannot be read", hint="write it again with numpy.save")
    descr, order, shape = fields["descr"].strip("'"), fields["fortran_order"], fields["shape"]
    if not _DTYPE.fullmatch(descr):
        kind = "pickled objects" if "O" in descr else f'values of type "{descr}"'
        raise refusal(path, "unsafe_type", f"{what}{kind} are not read", hint=f"save {KINDS}")
    sizes = tuple(int(size) for size in re.findall("[0-9]+", shape))
    if len(sizes) > 4:
        raise refusal(path, "wrong_shape", f"{what}{len(sizes)} dimensions, expected at most 4")
    return sizes, np.dtype(descr), order == "True", 8 + width + length


def _fields(header: str) -> dict[str, str] | None:
    """The three entries of a header such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`."""
    header = header.strip(" \n")
    fields: dict[str, str] = {}
    at = 1
    while match := _ENTRY.match(header, at):
        if match[1] in fields:
            return None
        fields[match[1]], at = match[2], match.end()
    kinds = {"descr": "'", "fortran_order": "TF", "shape": "("}
    complete = fields.keys() == kinds.keys() and all(fields[name][0] in kinds[name] for name in kinds)
    return fields if complete and header[0] == "{" and header[at:].strip(" ") == "}" else None


def _read_npz(path: Path, options: ReadOptions, names: Sequence[str]) -> Arrays:
    inputs, targets = read_npz(path, (options.x, options.y))
    return pair(inputs, targets, path, path)


def _npz_at_once(path: Path, options: ReadOptions, names: Sequence[str], numbers: Collection[str]) -> Iterator[Arrays]:
    """With targets, where they are there."""
    if options.y in array_names(path):
        yield _read_npz(path, options, names)
    else:
        yield alone(read_npz(path, (options.x,))[0], path)


NPZ = Format(
    "npz",
    told=lambda start, file: file.endswith(".npz") and start.startswith(b"PK"),  # others by what is inside
    read=_read_npz,
    parts=_npz_at_once,
)

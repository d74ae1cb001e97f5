"""IDX, .npy and .npz files: equal to what was written, and refused before memory is taken when they lie."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlp_core.data.readers.arrays import Arrays
from mlp_core.data.readers.format import ReadOptions
from mlp_core.data.readers.formats import detect, read
from mlp_core.data.readers.idx import read_idx
from mlp_core.data.readers.npy import read_npy, read_npz
from mlp_core.errors import DataError

IDX_CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
MNIST = Path(__file__).parents[4].parent / "shared/data/mnist"


def idx(array: np.ndarray[Any, Any], code: str) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, IDX_CODES[code], array.ndim]) + sizes + array.astype(code).tobytes()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def code_of(path: Path, reader: Any, *arguments: Any) -> str:
    """The code of the refusal; at most 50 MB are taken on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            reader(path, *arguments)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    return caught.value.problems[0].code


@pytest.mark.parametrize("code", IDX_CODES)
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 2), (5, 1, 2, 3)])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_idx_reads_back(code: str, shape: tuple[int, ...], packed: bool, tmp_path: Path) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    data = idx(array, code)
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    read_back = read_idx(path)
    assert read_back.dtype == np.dtype(code).newbyteorder("=")
    np.testing.assert_array_equal(read_back, array)


DTYPES = ["<f2", "<f4", "<f8", ">f4", ">f8", "<i2", ">i8", "u1", "i1", "<u4", "<u8", "?"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_npz_read_back(dtype: str, order: Any, tmp_path: Path) -> None:
    array = np.asarray(np.arange(24).reshape(4, 3, 2) % 2, dtype=dtype, order=order)
    (tmp_path / "a.npy").write_bytes(npy(array))
    np.savez_compressed(tmp_path / "a.npz", x=array, y=array[0])
    for read_back in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz", ("x", "y"))[0]):
        assert read_back.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read_back, array)


IDX_LIES = {
    "huge": (b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"x", "truncated"),
    "a gigabyte": (b"\0\0\x08\x01" + struct.pack(">I", 2**30) + b"x" * 100, "truncated"),
    "one short": (b"\0\0\x08\x01" + struct.pack(">I", 5) + b"abcd", "truncated"),
    "one more": (b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abcd", "damaged"),
    "header cut": (b"\0\0\x08\x03\0\0", "truncated"),
    "no dimensions": (b"\0\0\x08\x00", "not_idx"),
    "five dimensions": (b"\0\0\x08\x05" + bytes(20), "not_idx"),
    "unknown type": (b"\0\0\x0a\x01\0\0\0\1a", "not_idx"),
    "two bytes": (b"\0\0", "not_idx"),
    "web page": (b"<html><body>", "html_page"),
    "empty": (b"", "empty_file"),
}


@pytest.mark.parametrize(("data", "code"), IDX_LIES.values(), ids=IDX_LIES)
def test_a_lying_idx_file_is_refused(data: bytes, code: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    assert code_of(tmp_path / "a", read_idx) == code


@pytest.mark.parametrize("cut", [1, 8, 20, 0.5])
def test_gzip_cut_off_is_refused(cut: float, tmp_path: Path) -> None:
    data = gzip.compress(idx(np.arange(200).reshape(20, 10), "u1"))
    (tmp_path / "a").write_bytes(data[: -int(cut)] if cut >= 1 else data[: len(data) // 2])
    assert code_of(tmp_path / "a", read_idx) == "truncated"


NPY_LIES = {
    "pickled objects": (npy(np.array([{}, None], dtype=object)), "unsafe_type"),
    "structured": (npy(np.zeros(3, dtype=[("a", "f4")])), "damaged"),
    "text": (npy(np.array(["a", "b"])), "unsafe_type"),
    "complex": (npy(np.zeros(3, complex)), "unsafe_type"),
    "dates": (npy(np.zeros(3, "M8[s]")), "unsafe_type"),
    "huge": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (300000000,), }\n"), "truncated"),
    "overflowing": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (999999999, 999999999), }"), "truncated"),
    "five dimensions": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1), }"), "wrong_shape"),
    "code in the header": (header("{'descr': os.abort(), 'fortran_order': False, 'shape': (1,)}"), "damaged"),
    "a key twice": (header("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,)}"), "damaged"),
    "a key missing": (header("{'descr': '<f8', 'shape': (1,)}"), "damaged"),
    "no tuple": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1)}") + bytes(8), "damaged"),
    "deep nesting": (header("(" * 9000), "damaged"),
    "long header": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31), "damaged"),
    "version 9": (b"\x93NUMPY\x09\x00", "not_npy"),
    "one byte more": (npy(np.zeros(3)) + b"x", "damaged"),
    "one byte less": (npy(np.zeros(3))[:-1], "truncated"),
    "a boolean of 7": (npy(np.zeros(3, bool))[:-1] + b"\x07", "damaged"),
    "csv": (b"1,2\n", "not_npy"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), NPY_LIES.values(), ids=NPY_LIES)
def test_a_lying_npy_file_is_refused(data: bytes, code: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    assert code_of(path, read_npy) == code
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    assert code_of(tmp_path / "a.npz", read_npz, ("x",)) == code


def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.array([Trap()], dtype=object)
    (tmp_path / "a.npy").write_bytes(npy(trap))
    np.savez(tmp_path / "a.npz", x=trap, y=trap)
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        where = (path, path) if path.suffix == ".npy" else path
        with pytest.raises(DataError, match="pickled objects are not read"):
            read(where, ReadOptions())
    assert not (tmp_path / "sprung").exists()


def test_npz_arrays_go_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 2)), labels=np.arange(3))
    arrays = read(tmp_path / "a.npz", ReadOptions(x="images", y="labels"))
    assert isinstance(arrays, Arrays)
    assert arrays.cells.shape == (3, 2)
    with pytest.raises(DataError, match=r'no array "x" in this file; it holds images, labels; name the arrays'):
        read(tmp_path / "a.npz", ReadOptions())


def test_an_encrypted_or_foreign_archive_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.npy", npy(np.zeros(3)))
    data = bytearray(stream.getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag for encryption
    (tmp_path / "a.npz").write_bytes(data)
    assert code_of(tmp_path / "a.npz", read_npz, ("x",)) == "damaged"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\x03\x04", "npz"), (b"\x93NUMPY", "npy"), (b"\0\0\x08\x03", "idx"), (b"1,2\n", "csv"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\1a", mtime=0), "idx"), (gzip.compress(b"1,2\n", mtime=0), "csv"),
    ],
)  # fmt: skip
def test_the_format_is_told_from_the_content(start: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(start)
    assert detect(tmp_path / "a") == kind


@pytest.mark.parametrize("start", [b"%PDF-1.4", b"\x89PNG\r\n", b"\x89HDF\r\n", b"\xd0\xcf\x11\xe0"])
def test_foreign_formats_are_named(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(start)
    assert code_of(tmp_path / "a", detect) == "foreign_format"


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (np.zeros((3, 2)), np.zeros(4), "rows_differ"),
        (np.zeros(3), np.zeros(3), "wrong_shape"),
        (np.zeros((3, 2)), np.zeros((3, 1, 1)), "wrong_shape"),
        (np.zeros((0, 2)), np.zeros(0), "no_rows"),
        (np.zeros((3, 0)), np.zeros(3), "no_rows"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], code: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert code_of(tmp_path / "a.npz", read, ReadOptions()) == code


@pytest.mark.skipif(not MNIST.is_dir(), reason="needs the MNIST files beside the repository")
def test_mnist_reads_as_published() -> None:
    where = (MNIST / "t10k-images-idx3-ubyte.gz", MNIST / "t10k-labels-idx1-ubyte.gz")
    arrays = read(where, ReadOptions())
    assert isinstance(arrays, Arrays)
    assert (arrays.cells.shape, arrays.cells.dtype.name, arrays.labels) == ((10000, 784), "uint8", True)
    assert arrays.Y[:5, 0].tolist() == [7, 2, 1, 0, 4]
    assert int(arrays.cells.sum(dtype=np.int64)) == 264_923_200

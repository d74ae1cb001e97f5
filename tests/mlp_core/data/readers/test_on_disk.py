"""An array left on the disk reads like the array in memory, and what is wrong with its file is one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlp_core.data.readers import npy_on_disk as on_disk
from mlp_core.data.readers.npy_on_disk import File, OnDisk
from mlp_core.errors import DataError, Failed

RNG = np.random.default_rng(1)
WHOLE = RNG.standard_normal((200, 7)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", WHOLE)
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">i4", "<i8", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8", "b1"], ids=str
)
def test_every_type_is_given_as_it_is_read_into_memory(dtype: str, tmp_path: Path) -> None:
    from mlp_core.data.readers.arrays import pair
    from mlp_core.data.readers.npy import read_npy

    x = RNG.integers(0, 2, (30, 4)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    disk = OnDisk(File(tmp_path / "x.npy"))
    memory = pair(read_npy(tmp_path / "x.npy"), np.arange(30), tmp_path, tmp_path).cells
    assert disk.dtype == memory.dtype
    np.testing.assert_array_equal(disk[:], memory)


@pytest.mark.parametrize(
    "key",
    [
        slice(None), slice(3, 90), slice(190, 500), slice(5, 5), slice(0, 100, 7), slice(None, None, -1), 4, -1,
        np.array([5]), np.array([9, 9, 0, 199]), np.arange(0, 200, 40), RNG.permutation(200), np.array([], np.int64),
        (3, 4), (slice(None), 2), (slice(None), [4, 0]), (slice(2, 9), 3), (np.array([8, 1]), 6),
    ],
    ids=str,
)  # fmt: skip
def test_it_is_read_like_an_array(key: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "PIECE", 300)
    np.testing.assert_array_equal(OnDisk(File(path))[key], WHOLE[key])


def test_rows_are_counted_from_the_end_and_chosen_by_booleans_as_of_an_array(path: Path) -> None:
    disk, some = OnDisk(File(path)), WHOLE[:, 0] > 0
    np.testing.assert_array_equal(disk[[-1, 3, -200]], WHOLE[[-1, 3, -200]])
    np.testing.assert_array_equal(disk[some], WHOLE[some])
    assert len(list(disk)) == len(WHOLE)


@pytest.mark.parametrize("key", [200, -201, [3, 200], [-201]])
def test_rows_that_are_not_there_are_an_error(key: Any, path: Path) -> None:
    with pytest.raises(IndexError, match="a row of 200 is asked for that is not there"):
        OnDisk(File(path))[key]


@given(st.data())
def test_rows_and_columns_are_chosen_as_of_an_array(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.npy"
    x = data.draw(hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 5)), elements=st.floats(-9, 9)))
    np.save(path, x)
    disk = OnDisk(File(path))
    for _ in range(data.draw(st.integers(0, 3))):
        rows = np.flatnonzero(data.draw(hnp.arrays(bool, len(x))))
        columns = data.draw(st.lists(st.integers(0, x.shape[1] - 1), min_size=1, max_size=4))
        disk, x = disk.take(rows).select(columns), x[rows][:, columns]
        assert disk.shape == x.shape
    np.testing.assert_array_equal(disk[:], x)
    np.testing.assert_array_equal(np.concatenate([disk.made(stored) for _, stored in disk.stored_blocks()] or [x]), x)
    for column in range(x.shape[1]):
        np.testing.assert_array_equal(disk.pull(column), x[:, column])


def test_sparse_rows_are_read_one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, read = OnDisk(File(path)), []
    real = disk.file.read
    monkeypatch.setattr(disk.file, "read", lambda a, b, out=None: read.append(b - a) or real(a, b, out))
    np.testing.assert_array_equal(disk.take(np.array([0, 100, 199]))[:], WHOLE[[0, 100, 199]])
    assert read == [1, 1, 1]


def test_changes_are_made_when_rows_are_read(path: Path) -> None:
    disk = OnDisk(File(path)).select([2, 5], {1: lambda column: column * 2})
    again = disk.take(np.array([3, 4])).select([1], {0: lambda column: column + 1})
    np.testing.assert_array_equal(again[:], WHOLE[3:5, [5]] * 2 + 1)


def test_images_are_laid_flat(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
    np.testing.assert_array_equal(OnDisk(File(tmp_path / "x.npy"))[1:3], np.arange(6, 18).reshape(2, 6))


def spoiled(tmp_path: Path, case: str) -> Path:
    path = tmp_path / "x.npy"
    if case == "fortran":
        np.save(path, np.asfortranarray(WHOLE))
    elif case == "objects":
        np.save(path, np.array([[{}]], object), allow_pickle=True)
    elif case == "text":
        np.save(path, np.array([["a", "b"]]))
    else:
        np.save(path, WHOLE)
        content = path.read_bytes()
        changed = {
            "truncated": content[:-1],
            "longer": content + b"x",
            "header": content[:60],
            "gzip": b"\x1f\x8b" + content,
        }
        path.write_bytes(changed[case])
    return path


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("fortran", "fortran_order", "stored column by column"),
        ("objects", "unsafe_type", "pickled objects"),
        ("text", "unsafe_type", "values of type"),
        ("truncated", "truncated", "the file ends too early"),
        ("longer", "damaged", "goes on after its end"),
        ("header", "damaged", "the header cannot be read"),
        ("gzip", "compressed", "cannot be read in pieces"),
    ],
)
def test_what_cannot_be_read_in_pieces_is_refused(case: str, code: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        OnDisk(File(spoiled(tmp_path, case)))
    assert caught.value.problems[0].code == code


@pytest.mark.parametrize("change", ["shorter", "longer", "other bytes"])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_no_signal(change: str, path: Path) -> None:
    disk = OnDisk(File(path))
    before = path.stat()
    with path.open("r+b") as file:
        if change == "shorter":
            file.truncate(500)
        else:
            file.seek(0 if change == "longer" else 300, 2 if change == "longer" else 0)
            file.write(b"12345678")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    with pytest.raises(Failed, match="was changed while it was being read"):
        disk[150:]


def test_a_file_replaced_by_another_is_read_as_it_was(path: Path) -> None:
    disk = OnDisk(File(path))
    np.save(path.with_name("other.npy"), WHOLE + 1)
    path.with_name("other.npy").replace(path)
    np.testing.assert_array_equal(disk[:], WHOLE)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_no_header_makes_more_than_a_refusal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("x") / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + content)
    with pytest.raises(DataError):
        OnDisk(File(path))

"""Compiled functions: found by name, kept on disk, linked without a compiler in the process."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

from mlp_core import linker, machine_code
from mlp_core.machine_code import CannotCompile, MachineCode

SUM = "sum_rows.d"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with one compiled function."""
    folder = tmp_path_factory.mktemp("kept")
    MachineCode(folder).functions([SUM])
    return folder


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse(folder, names):
        raise CannotCompile(f"asked for {names}")

    monkeypatch.setattr(machine_code, "_compile", refuse)


def summed(code: MachineCode) -> np.ndarray:
    """The columns of a matrix, summed by a compiled function."""
    (function,) = code.functions([SUM])
    Delta, db = np.arange(15.0).reshape(5, 3), np.empty(3)
    record = np.array([0, Delta.ctypes.data, db.ctypes.data, 0, 5, 3])
    function(record.ctypes.data, 0, 1)
    return db


EXPECTED = np.arange(15.0).reshape(5, 3).sum(axis=0)


def test_a_function_is_compiled_once_and_kept(kept, no_compiler):
    np.testing.assert_array_equal(summed(MachineCode(kept)), EXPECTED)
    with pytest.raises(CannotCompile, match=r"bce\.d"):
        MachineCode(kept).functions([SUM, "bce.d"])


def test_what_is_there_is_told_without_compiling(kept, no_compiler):
    code = MachineCode(kept)
    assert code.has([SUM])
    assert not code.has([SUM, "bce.d"])
    assert not MachineCode(None).has([SUM])
    code.functions([SUM])
    code.folder = None
    assert code.has([SUM])


def test_where_nothing_can_be_kept_it_is_compiled_for_this_process():
    code = MachineCode(None)
    np.testing.assert_array_equal(summed(code), EXPECTED)
    assert code.compiling > 0


def test_where_there_is_no_room_at_all_it_is_told(monkeypatch):
    def refuse(*arguments, **settings):
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(machine_code.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(CannotCompile, match="no usable temporary directory"):
        summed(MachineCode(None))


@pytest.mark.skipif(not linker.POSSIBLE, reason="numba links on this system anyway")
def test_numba_links_where_our_linker_cannot(kept, no_compiler, monkeypatch):
    monkeypatch.setattr(linker, "POSSIBLE", False)
    code = MachineCode(kept)
    np.testing.assert_array_equal(summed(code), EXPECTED)
    assert not isinstance(code.functions([SUM])[0]._keep, linker.Code)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "words"])
def test_a_damaged_file_is_compiled_again(kept, tmp_path, damage):
    whole = (kept / SUM).read_bytes()
    middle = len(whole) // 2
    bad = {
        "cut": whole[:middle],
        "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
        "words": b"[1, 2]\n",
    }[damage]
    (tmp_path / SUM).write_bytes(bad)
    np.testing.assert_array_equal(summed(MachineCode(tmp_path)), EXPECTED)
    assert (tmp_path / SUM).read_bytes() != bad


def test_only_a_folder_of_this_user_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = machine_code._folder()
    assert folder is not None
    assert folder.parent == tmp_path / "mlpbp"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert machine_code._folder() is None
    folder.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert machine_code._folder() is None


def test_a_place_that_cannot_be_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert machine_code._folder() is None


def test_other_settings_of_the_compiler_are_kept_elsewhere(monkeypatch):
    before = machine_code._digest()
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    assert machine_code._digest() != before


def test_modules_in_the_working_folder_are_not_imported(tmp_path, monkeypatch):
    for name in ("numba", "numpy", "json", "mlp_core"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(summed(MachineCode(None)), EXPECTED)


WITHOUT = """
import sys
from mlp_core.compiled_step import numba_backend
numba_backend(2)
print(sorted({"numba", "llvmlite"} & set(sys.modules)))
"""


@pytest.mark.skipif(not linker.POSSIBLE, reason="numba links on this system")
def test_a_process_that_uses_compiled_code_has_no_compiler():
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120)
    assert result.stdout == "[]\n", result.stderr


# --- the linker ---


def linked(file: bytes) -> linker.Code:
    return linker.Code(file, "f", lambda name: 0)


def object_file(kept: Path) -> tuple[bytes, str]:
    head, _, body = (kept / SUM).read_bytes().partition(b"\n")
    facts = json.loads(head)
    return body[: facts["code"]], facts["symbol"]


ours_only = pytest.mark.skipif(not linker.POSSIBLE, reason="not a system that our linker knows")


@ours_only
def test_code_can_be_executed_and_not_changed(kept):
    file, symbol = object_file(kept)
    code = linker.Code(file, symbol, machine_code._elsewhere)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights = line.split()[:2]
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= code.address < last:
            assert rights == "r-xp"
            break
    else:
        pytest.fail("not in memory")


@ours_only
def test_files_that_are_no_object_files_are_refused(kept):
    file, _ = object_file(kept)
    other_machine = file[:18] + b"\xb7\x00" + file[20:]
    for wrong, why in ((b"", "x86-64"), (b"\x7fELF", "x86-64"), (other_machine, "x86-64"), (file, "no function f")):
        with pytest.raises(linker.Unlinkable, match=why):
            linked(wrong)


@ours_only
def test_what_the_linker_does_not_know_is_refused(kept):
    file, symbol = object_file(kept)
    whole = linker.Code(file, symbol, machine_code._elsewhere)
    executable = {number for number, one in enumerate(whole._sections) if int(one["flags"]) & 4}
    sections = [one for one in whole._sections if one["type"] == linker._RELOCATIONS and int(one["info"]) in executable]
    for section in sections:
        kind = int(section["offset"]) + 8  # of its first relocation
        changed = file[:kind] + (42).to_bytes(4, "little") + file[kind + 4 :]
        with pytest.raises(linker.Unlinkable, match="relocation 42"):
            linker.Code(changed, symbol, machine_code._elsewhere)
    assert sections

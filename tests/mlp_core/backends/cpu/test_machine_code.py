"""Compiled functions: found by name, kept on disk, linked without a compiler in the process."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

from mlp_core.backends.cpu import code_files, compilation, linker, machine_code
from mlp_core.backends.cpu.compilation import CannotCompile, CannotKeep
from mlp_core.backends.cpu.machine_code import MachineCode

SUM = "sum_rows.d"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with one compiled function."""
    folder = tmp_path_factory.mktemp("kept")
    MachineCode(folder).functions([SUM])
    return folder


@pytest.fixture
def no_compiler(monkeypatch):
    def refuse(folder, names, spare):
        raise CannotCompile(f"asked for {names}")

    monkeypatch.setattr(machine_code, "compile_into", refuse)


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


OBSTACLES = {
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to(path.parent / "elsewhere"),
    "a file others can write to": lambda path: (path.touch(), path.chmod(0o666)),
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_whatever_stands_in_its_place_a_function_is_compiled(obstacle, tmp_path):
    obstacle(tmp_path / SUM)
    np.testing.assert_array_equal(summed(MachineCode(tmp_path)), EXPECTED)
    assert not list(tmp_path.glob("*.draft"))


def test_a_folder_that_takes_no_files_is_no_error(tmp_path, monkeypatch):
    def full(folder, names, spare):
        if not spare:
            raise CannotKeep("no space left on device")
        compile_into(folder, names, spare)

    compile_into = machine_code.compile_into
    monkeypatch.setattr(machine_code, "compile_into", full)
    np.testing.assert_array_equal(summed(MachineCode(tmp_path)), EXPECTED)


def test_a_compiler_that_cannot_write_says_where(tmp_path):
    (tmp_path / SUM).mkdir()
    with pytest.raises(CannotKeep, match=f"cannot keep compiled code in {tmp_path}"):
        compilation.compile_into(tmp_path, [SUM], False)


def test_without_a_process_for_it_nothing_is_compiled(tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(compilation.subprocess, "Popen", refuse)
    with pytest.raises(CannotCompile, match="no process for the compiler: Resource temporarily"):
        MachineCode(tmp_path).functions([SUM])


LEFT = """
import os, sys, threading
from pathlib import Path
from mlp_core.backends.cpu.compilation import compile_into
names = [f"{name}.d" for name in ("adam", "outer", "dot", "cross_entropy", "relu", "tanh", "elu", "silu")]
threading.Timer(1.0, os._exit, [9]).start()
compile_into(Path(sys.argv[1]), names, sys.argv[2] == "spare")
"""


@pytest.mark.parametrize("kind", ["spare", "kept"])
def test_compilers_end_with_the_process_that_began_them(tmp_path, kind):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert subprocess.run([sys.executable, "-c", LEFT, str(folder), kind], timeout=600).returncode == 9
    time.sleep(1.0)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(str(folder).encode() in line for line in lines)
    assert folder.exists() == (kind == "kept")


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
    folder = code_files.folder()
    assert folder is not None
    assert folder.parent == tmp_path / "mlpbp"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert code_files.folder() is None
    folder.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert code_files.folder() is None


def test_a_place_that_cannot_be_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert code_files.folder() is None


def test_other_settings_of_the_compiler_are_kept_elsewhere(monkeypatch):
    before = code_files.digest()
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    assert code_files.digest() != before
    monkeypatch.delenv("NUMBA_CPU_NAME")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # does not reach the compiler
    assert code_files.digest() == before


def test_modules_in_the_working_folder_are_not_imported(tmp_path, monkeypatch):
    for name in ("numba", "numpy", "json", "mlp_core"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(summed(MachineCode(None)), EXPECTED)


# --- the linker ---


def linked(file: bytes) -> linker.Code:
    return linker.link(file, "f", lambda name: 0)


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
    sections = int.from_bytes(file[40:48], "little")
    beyond = file[: sections + 64 + 24] + (2**40).to_bytes(8, "little") + file[sections + 64 + 32 :]
    with pytest.raises(linker.Unlinkable):
        linked(beyond)
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
            linker.link(changed, symbol, machine_code._elsewhere)
    assert sections


@ours_only
def test_no_damage_ends_this_process(kept):
    """A thousand files, each with some bytes changed: linked or refused."""
    file, symbol = object_file(kept)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(1000):
        changed = bytearray(file)
        for place in rng.integers(0, len(file), 4):
            changed[place] = rng.integers(256)
        try:
            linker.link(bytes(changed), symbol, machine_code._elsewhere)
        except linker.Unlinkable:
            refused += 1
    assert refused

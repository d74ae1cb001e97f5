"""The libraries of kernels: opened only when they are whole, of this version and for this processor."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest
from compiled_kernels import LIBRARIES, needs_kernels

from mlp_core.backends.cpu.compile import BUILT, MANIFEST
from mlp_core.backends.cpu.library import NoKernels, load, names

pytestmark = needs_kernels


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A copy of the package's libraries that may be spoilt."""
    return Path(shutil.copytree(BUILT, tmp_path / "built"))


def change(folder: Path, **facts: object) -> None:
    """Write other facts into the list."""
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_the_best_one_is_taken(built):
    assert load(built).name == names(built)[-1] == LIBRARIES[-1].name
    assert load(built).made.startswith(f"{LIBRARIES[-1].name} ")


V3 = {"fma", "xsave", "avx", "f16c", "bmi1", "avx2", "bmi2"}
V4 = V3 | {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there are several sets of instructions only on x86-64")
def test_the_level_of_a_processor_is_what_the_system_says_of_it():
    information = Path("/proc/cpuinfo")
    if not information.exists():
        pytest.skip("the system does not say what its processors know")
    flags = set(next(line for line in information.read_text().splitlines() if line.startswith("flags")).split())
    for level in LIBRARIES:
        assert level.code.kernels_level() == (4 if flags >= V4 else 3 if flags >= V3 else 1)


@pytest.mark.parametrize("damage", ["cut off", "a bit", "empty"])
def test_a_damaged_library_is_never_opened(damage, built):
    for path in built.glob("kernels-*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"cut off": content[: len(content) // 2], "a bit": content, "empty": b""}[damage])
    with pytest.raises(NoKernels, match=r"kernels-.* is damaged"):
        load(built)


def test_a_library_that_is_gone(built):
    for path in built.glob("kernels-*"):
        path.unlink()
    with pytest.raises(NoKernels, match="No such file"):
        load(built)


def test_none_were_compiled(tmp_path):
    with pytest.raises(NoKernels, match="they were not compiled when mlpbp was installed"):
        load(tmp_path)


def test_of_another_version(built):
    change(built, sources="0" * 64)
    with pytest.raises(NoKernels, match="of another version"):
        load(built)


def test_for_another_processor(built):
    change(built, machine="s390x")
    with pytest.raises(NoKernels, match="for another processor, s390x"):
        load(built)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": 1}', "\0", '{"libraries": [1]}'])
def test_a_damaged_list(text, built):
    (built / MANIFEST).write_text(text)
    with pytest.raises(NoKernels, match="damaged"):
        load(built)


def test_a_list_that_leads_out_of_its_folder(built):
    libraries = json.loads((built / MANIFEST).read_text())["libraries"]
    for facts in libraries.values():
        facts["file"] = f"../built/{facts['file']}"
    change(built, libraries=libraries)
    with pytest.raises(NoKernels, match="damaged"):
        load(built)


def test_one_library_in_place_of_another(built):
    """Its bytes are as listed; what it says of itself is not."""
    facts = json.loads((built / MANIFEST).read_text())["libraries"]
    if len(facts) < 2:
        pytest.skip("there is but one set of instructions here")
    first, second, *_ = facts
    facts[first] = {**facts[second], "level": facts[first]["level"]}
    change(built, libraries=facts)
    with pytest.raises(NoKernels, match="is of another version"):
        load(built)


def test_a_set_of_instructions_that_is_not_there(built):
    with pytest.raises(NoKernels, match="do not run on this processor"):
        load(built, "x86-64-v9")

"""What is installed is what is here: every package is listed, every example and data file travels with it."""

from __future__ import annotations

import fnmatch
import importlib
import runpy
import shutil
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from mlp_core.backends.cpu import compile as kernels

ROOT = Path(__file__).parents[1]
FOLDERS = {"mlpbp": "cli", "mlpbp.configs": "configs", "mlp_core.datasets": "data"}


def test_every_folder_of_the_engine_is_a_package() -> None:
    rooms = {path.parent for path in (ROOT / "mlp_core").rglob("*.py")}
    assert all((room / "__init__.py").exists() for room in rooms)


def test_folders_are_installed_under_their_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, folder in FOLDERS.items():
        assert project["tool"]["setuptools"]["package-dir"][name] == folder
        assert f'"{name}"' in (ROOT / "setup.py").read_text()


def test_examples_and_data_are_installed() -> None:
    examples = {path.name for path in files("mlpbp.configs").iterdir() if path.name.endswith(".yaml")}
    assert examples == {path.name for path in (ROOT / "configs").glob("*.yaml")}
    data = {path.name for path in files("mlp_core.datasets").iterdir() if path.name.endswith(".gz")}
    assert data == {path.name for path in (ROOT / "data").glob("*.gz")}


def test_the_sources_of_the_kernels_are_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    found = [*(ROOT / "mlp_core").rglob("*.c"), *(ROOT / "mlp_core").rglob("*.h")]
    assert {source.name for source in found} == {source.name for source in kernels.sources()}
    for source in found:
        package = ".".join(source.parent.relative_to(ROOT).parts)
        assert any(fnmatch.fnmatch(source.name, pattern) for pattern in patterns[package]), source


@pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable"])
def test_a_compiler_is_required_where_none_is_found(hook: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77, which builds the package")
    build_meta = importlib.import_module("setuptools.build_meta")
    if not kernels.offered():
        pytest.skip("no compiler is offered for this machine")
    monkeypatch.setattr(build_meta, hook, lambda settings: ["wheel"])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    backend = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")
    assert backend[hook]() == ["wheel", "ziglang>=0.13"]
    monkeypatch.setenv("CC", "a compiler that is not there")
    assert backend[hook]() == ["wheel"]


def test_a_compiler_that_does_its_work_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))) or not kernels.compilers():
        pytest.skip("no C compiler is installed")
    monkeypatch.delenv("CC", raising=False)
    assert kernels.requirements() == []
    monkeypatch.setattr(kernels, "PROBE", "#include <what_is_not_there.h>")
    assert kernels.requirements() == (["ziglang>=0.13"] if kernels.offered() else [])


def test_where_no_compiler_works_all_reasons_are_told_and_nothing_is_left(tmp_path: Path) -> None:
    failing = [[sys.executable, "-c", f"raise SystemExit('error: {what}')"] for what in ("first", "second")]
    with pytest.raises(kernels.CannotCompile, match=r"error: first; .*error: second"):
        kernels.compile_somehow(tmp_path / "built", failing)
    assert not list(tmp_path.iterdir())


def test_the_build_backend_is_the_one_here() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert (build["build-backend"], build["backend-path"]) == ("setup", ["."])

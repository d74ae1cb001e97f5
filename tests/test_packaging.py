"""What is installed is what is here: every package is listed, every example and data file travels with it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {"mlpbp": "cli", "mlpbp.configs": "configs", "mlp_core.data": "data"}


def test_every_package_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mlp_core").rglob("__init__.py")}
    assert sorted(listed) == sorted(found | set(FOLDERS))
    for name, folder in FOLDERS.items():
        assert project["tool"]["setuptools"]["package-dir"][name] == folder


def test_examples_and_data_are_installed() -> None:
    examples = {path.name for path in files("mlpbp.configs").iterdir() if path.name.endswith(".yaml")}
    assert examples == {path.name for path in (ROOT / "configs").glob("*.yaml")}
    data = {path.name for path in files("mlp_core.data").iterdir() if path.name.endswith(".gz")}
    assert data == {path.name for path in (ROOT / "data").glob("*.gz")}

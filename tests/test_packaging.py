"""What is installed is what is here: every package is listed, every example and data file travels with it."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

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

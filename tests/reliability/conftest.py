"""One fork server for all tests of a process, and the uninterrupted run that others are compared with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fork_server import ForkServer
from small_runs import folder_with_config, state, undisturbed


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def folder(shelf: Path) -> Path:
    """A folder with a table and a config."""
    return folder_with_config(shelf / "small")


@pytest.fixture(scope="session")
def whole(server: ForkServer, folder: Path) -> dict[str, bytes | list[str]]:
    """What the uninterrupted run leaves."""
    run = undisturbed(folder) / "whole"
    assert server.run("train", "c.yaml", "-o", run, cwd=folder).code == 0
    return state(run)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: these tests sync often, and nothing here survives them."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("shelf")
    with tempfile.TemporaryDirectory(prefix="mlpbp-", dir=base) as folder:
        yield Path(folder)


@pytest.fixture
def room(shelf: Path) -> Iterator[Path]:
    """A folder on the shelf for one test."""
    with tempfile.TemporaryDirectory(dir=shelf) as folder:
        yield Path(folder)

"""Folders in between: locked while they are used, gone afterwards; what a killed process left goes with the next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlp_core.scratch import PREFIX, scratch_folder

KILLED = """
import os, signal
from mlp_core.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "inner").mkdir()
    (folder / "inner/file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the system's for this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_gone_afterwards(place: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == place
        (folder / "a").mkdir()
        (folder / "a/b").touch()
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError, match="x"), scratch_folder():
        raise ValueError("x")
    assert list(place.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be locked on this system")
def test_what_a_killed_process_left_goes_with_the_next(place: Path) -> None:
    subprocess.run([sys.executable, "-P", "-c", KILLED], env={**os.environ, "TMPDIR": str(place)}, check=False)
    assert [path.name.startswith(PREFIX) for path in place.iterdir()] == [True]
    with scratch_folder() as folder:
        assert list(place.iterdir()) == [folder]
        with scratch_folder() as other:  # what is in use stays
            assert set(place.iterdir()) == {folder, other}


def test_what_is_no_folder_of_ours_stays(place: Path) -> None:
    (place / "elsewhere").mkdir()
    (place / "elsewhere/precious").touch()
    (place / f"{PREFIX}link").symlink_to(place / "elsewhere")
    (place / f"{PREFIX}file").touch()
    with scratch_folder():
        pass
    assert (place / "elsewhere/precious").exists()
    assert (place / f"{PREFIX}link").is_symlink()
    assert (place / f"{PREFIX}file").exists()

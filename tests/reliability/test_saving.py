"""When checkpoints are saved, which are kept, and what a power cut leaves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from small_runs import CONFIG, folder_with_config

from mlp_core import atomic_files as durable
from mlp_core.config import load
from mlp_core.runs import run, saves
from mlp_core.runs.run import Run
from mlp_core.training.checkpoint import load as load_checkpoint


def start(room: Path, *overrides: str) -> Run:
    folder = folder_with_config(room / "f", CONFIG)
    return Run.start(load(folder / "c.yaml", ["checkpoint.every=null", *overrides]), b"", room / "r")


def test_within_an_epoch(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """checkpoint.every_minutes: the newest state is saved although its epoch is not complete."""
    saved: list[tuple[int, int]] = []
    keep = run.RunDirectory.save

    def watched(self: Any, checkpoint: Any, name: str) -> Path:
        saved.append((checkpoint.document["progress"]["step"], checkpoint.document["progress"]["position"]))
        return keep(self, checkpoint, name)

    monkeypatch.setattr(run.RunDirectory, "save", watched)
    list(start(room, "checkpoint.every_minutes=1e-9", "kernels=numpy").execute())
    assert {position for _, position in saved} == {0, 1, 2, 3}
    assert [step for step, _ in saved] == sorted(step for step, _ in saved)


@pytest.mark.parametrize(("every", "keep", "left"), [(1, 1, [4]), (1, 3, [2, 3, 4]), (2, 3, [2, 4]), (3, 1, [3])])
def test_numbered_checkpoints_and_how_many_are_kept(room: Path, every: int, keep: int, left: list[int]) -> None:
    list(start(room, f"checkpoint.every={every}", f"checkpoint.keep={keep}").execute())
    found = sorted(path.stem for path in (room / "r/checkpoints").glob("epoch-*"))
    assert found == [f"epoch-{epoch:04d}" for epoch in left]
    for epoch in left:
        document = load_checkpoint(room / f"r/checkpoints/epoch-{epoch:04d}.safetensors").document
        assert document["progress"]["epoch"] == epoch


def test_beyond_epoch_9999_the_newest_are_kept(room: Path) -> None:
    directory = start(room).directory
    for epoch in (9998, 9999, 10000, 10001):
        (directory.checkpoints / f"epoch-{epoch:04d}.safetensors").touch()
    directory.forget_old(2)
    assert sorted(path.stem for path in directory.checkpoints.glob("epoch-*")) == ["epoch-10000", "epoch-10001"]
    directory.close()


def test_after_a_failed_fsync_the_file_is_written_anew(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped its pages and report success the next time, so it is never synced again."""
    synced: list[int] = []
    fsync = os.fsync

    def once(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", once)
    (room / "x").write_bytes(b"old")
    opened: list[str] = []
    os_open = os.open

    def counted(path: Any, *rest: Any, **more: Any) -> int:
        opened.append(Path(path).name)
        return os_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", counted)
    durable.write_atomically(room / "x", b"new", check=True)
    assert (room / "x").read_bytes() == b"new"
    assert sum(name.endswith(".tmp") for name in opened) == 2
    assert [path.name for path in room.iterdir()] == ["x"]


class Disk:
    """What a power cut leaves at worst: of each file what was synced, of each folder the names that were synced."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        there = [path for path in folder.rglob("*") if path.is_file()]
        self.content = {path.stat().st_ino: path.read_bytes() for path in there}  # by inode, as of its last fsync
        self.names: dict[Path, int] = {}  # as of the last fsync of their folder
        self.cuts: list[dict[Path, bytes]] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._synced)

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            below = {entry: entry.stat().st_ino for entry in path.iterdir() if entry.is_file()}
            self.names = {name: inode for name, inode in self.names.items() if name.parent != path} | below
        elif path.is_file():
            self.content[os.fstat(descriptor).st_ino] = path.read_bytes()
        self.cuts.append({name: self.content.get(inode, b"") for name, inode in self.names.items()})


def test_a_power_cut_at_any_sync_leaves_a_run_that_ends_the_same(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was not synced is lost, and every checkpoint that is there is whole."""
    monkeypatch.setattr(saves, "SHARE", 1e9)
    whole = start(room)
    disk = Disk(room, monkeypatch)
    list(whole.execute())
    expected = {name: (room / "r" / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/last.safetensors")}
    monkeypatch.undo()
    fixed = {path: path.read_bytes() for path in (room / "r").glob("*.yaml")}
    assert len(disk.cuts) > 30
    for number, left in enumerate(disk.cuts):
        again = room / f"cut-{number}"
        (again / "checkpoints").mkdir(parents=True)
        for path, content in {**fixed, **left}.items():
            if path.is_relative_to(room / "r"):
                (again / path.relative_to(room / "r")).write_bytes(content)
        for path in (again / "checkpoints").glob("*.safetensors"):
            load_checkpoint(path)
        resumed = Run.resume(again)
        assert not [notice for notice in resumed.notices if "shorter" in notice or "damaged" in notice]
        list(resumed.execute())
        assert {name: (again / name).read_bytes() for name in expected} == expected, number

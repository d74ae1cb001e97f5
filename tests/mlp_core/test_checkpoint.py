"""A checkpoint is whole or refused, and equal states give equal bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mlp_core.checkpoint import KEY, Checkpoint, load, save, serialize, verify
from mlp_core.errors import CheckpointError


def small() -> Checkpoint:
    rng = np.random.default_rng(0)
    tensors = {"0.weight": rng.standard_normal((3, 2)).astype(np.float32), "0.bias": np.zeros(3, np.float32)}
    return Checkpoint(tensors, {"progress": {"step": 3}, "config": {"name": "x"}})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(small(), path)
    loaded = load(path)
    assert loaded.document["progress"] == {"step": 3}
    assert loaded.document["format"] == 1
    assert set(loaded.tensors) == {"0.weight", "0.bias"}
    for name, tensor in small().tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)
        assert loaded.tensors[name].dtype == tensor.dtype
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_equal_states_give_equal_bytes() -> None:
    reordered = Checkpoint(dict(reversed(small().tensors.items())), dict(reversed(small().document.items())))
    assert serialize(small()) == serialize(reordered)


def test_any_safetensors_reader_can_read_it(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    save(small(), path)
    with safe_open(path, "np") as file:
        assert set(file.keys()) == {"0.weight", "0.bias"}
        assert set(file.metadata()) == {KEY}
        assert json.loads(file.metadata()[KEY])["progress"]["step"] == 3


def test_every_truncation_is_refused() -> None:
    blob = serialize(small())
    for length in range(len(blob)):
        with pytest.raises(CheckpointError):
            verify(blob[:length], "x")


def test_every_flipped_bit_is_refused() -> None:
    blob = bytearray(serialize(small()))
    verify(bytes(blob), "x")
    for place in range(len(blob)):
        for bit in range(8):
            blob[place] ^= 1 << bit
            with pytest.raises(CheckpointError):
                verify(bytes(blob), "x")
            blob[place] ^= 1 << bit


def test_a_newer_format_is_refused_in_one_line(tmp_path: Path) -> None:
    blob = serialize(Checkpoint({}, {"format": 2}))
    path = tmp_path / "new.safetensors"
    path.write_bytes(blob)
    with pytest.raises(CheckpointError, match="format 2, this program reads up to 1; upgrade mlpbp"):
        load(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    save(Checkpoint({"0.weight": np.array([1.0, np.nan])}, {}), path)
    with pytest.raises(CheckpointError, match=r"0\.weight has an entry that is not a finite number"):
        load(path)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "empty", "text", "foreign"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.safetensors"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "foreign":
        from safetensors.numpy import save_file

        save_file({"a": np.zeros(2)}, path)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"not a checkpoint at all, just text")
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save(small(), path)
    before = path.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        save(Checkpoint({}, {"other": 1}), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1

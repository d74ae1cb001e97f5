"""A checkpoint is whole or refused, and equal states give equal bytes."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mlp_core.errors import CheckpointError
from mlp_core.training.checkpoint import KEY, Checkpoint, load, save, serialize, verify


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
    assert b"".join(serialize(small())) == b"".join(serialize(reordered))


@pytest.mark.parametrize("seed", range(20))
def test_the_bytes_are_those_of_the_safetensors_package(seed: int, tmp_path: Path) -> None:
    from safetensors.numpy import save as reference

    rng, tensors = np.random.default_rng(seed), {}
    for k in range(seed):
        shape = tuple(rng.integers(0, 5, rng.integers(1, 4)))
        kind = rng.choice(["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8"])
        tensors[str(rng.choice(["a", "é", "0.weight", 'x"y'])) + str(k)] = (10 * rng.standard_normal(shape)).astype(
            kind
        )
    tensors["large"] = rng.standard_normal((700, 600))
    blob = b"".join(serialize(Checkpoint(tensors, {"text": 'é"\\\n☃', "numbers": [1, 2.5, None]})))
    length = int.from_bytes(blob[:8], "little")
    metadata = json.loads(blob[8 : 8 + length])["__metadata__"]
    assert reference(tensors, metadata) == blob
    (tmp_path / "a.safetensors").write_bytes(blob)
    loaded = load(tmp_path / "a.safetensors").tensors
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        np.testing.assert_array_equal(loaded[name], tensor)


def test_saving_and_loading_hold_each_tensor_once(tmp_path: Path) -> None:
    path, tensors = tmp_path / "a.safetensors", {name: np.zeros((1000, 1000), np.float32) for name in "abc"}
    size = sum(tensor.nbytes for tensor in tensors.values())
    tracemalloc.start()
    try:
        save(Checkpoint(tensors, {}), path)
        saving = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        loaded = load(path)
        loading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(loaded.tensors) == 3
    assert saving < size / 3
    assert loading < 1.4 * size


def test_any_safetensors_reader_can_read_it(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "a.safetensors"
    save(small(), path)
    with safe_open(path, "np") as file:
        assert set(file.keys()) == {"0.weight", "0.bias"}
        assert set(file.metadata()) == {KEY}
        assert json.loads(file.metadata()[KEY])["progress"]["step"] == 3


def test_every_truncation_is_refused() -> None:
    blob = b"".join(serialize(small()))
    for length in range(len(blob)):
        with pytest.raises(CheckpointError):
            verify(io.BytesIO(blob[:length]), "x")


def test_every_flipped_bit_is_refused() -> None:
    blob = bytearray(b"".join(serialize(small())))
    verify(io.BytesIO(blob), "x")
    for place in range(len(blob)):
        for bit in range(8):
            blob[place] ^= 1 << bit
            with pytest.raises(CheckpointError):
                verify(io.BytesIO(blob), "x")
            blob[place] ^= 1 << bit


def test_a_newer_format_is_refused_in_one_line(tmp_path: Path) -> None:
    blob = b"".join(serialize(Checkpoint({}, {"format": 2})))
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

"""What a checkpoint holds, and how two differ, as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import changed_keys, from_mapping
from mlp_core.runs.members import FILE, members_at
from mlp_core.runs.run_directory import load_named
from mlp_core.training.checkpoint import Checkpoint, checkpoint_path, damaged
from mlp_core.training.model import model_of


def inspect(path: Path) -> tuple[dict[str, Any], Checkpoint]:
    """Everything worth knowing about a checkpoint (or the best one of a run directory), and the checkpoint.

    Raises UsageError where there is none, CheckpointError unless it is one that could be used.
    """
    file = checkpoint_path(path)
    checkpoint = load_named(file)
    model, document = model_of(checkpoint, str(file), rows=1), checkpoint.document
    config, architecture = model.config, model.network.architecture
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "format": document["format"],
        "sha256": document["sha256"],
        "name": config.name,
        "task": model.task.kind,
        "classes": list(model.task.classes),
        "targets": list(model.task.targets),
        "features": len(model.task.features),
        "network": [architecture.inputs, *(block.units for block in architecture.hidden), architecture.outputs],
        "parameters": model.network.parameters.size,
        "dtype": config.dtype,
        "loss": config.loss.name,
        "optimizer": config.optimizer.name,
        "lr": config.optimizer.lr,
        "schedule": config.schedule.name,
        "seed": config.seed,
        "progress": _part(document, "progress", file),
        "metrics": _part(document, "metrics", file),
        "gradient": document.get("gradient"),
        "data_sha256": document.get("data"),
        "environment": _part(document, "environment", file),
        "tensors": [_tensor(name, array) for name, array in sorted(checkpoint.tensors.items(), key=_order)],
    }, checkpoint


def _part(document: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    """A part of the document that nothing but people look at. Raises CheckpointError unless it has names and values."""
    part = document.get(name, {})
    if not isinstance(part, dict):
        raise damaged(str(file), f"its {name} cannot be read")
    return part


def inspect_members(path: Path) -> dict[str, Any]:
    """What a folder of members is, and the facts of each of them. Raises CheckpointError, RunDirectoryError."""
    members = members_at(path)
    model = members.open()
    found = [inspect(file)[0] for file in members.checkpoints()]
    return {
        "file": str(members.folder / FILE),
        "kind": members.kind,
        "task": model.task.kind,
        "classes": list(model.task.classes),
        "targets": list(model.task.targets),
        "parameters": sum(facts["parameters"] for facts in found),
        "calibration": None if members.calibration is None else members.calibration.to_state(),
        "members": [{"run": name, **facts} for name, facts in zip(members.runs, found, strict=True)],
    }


def _order(item: tuple[str, Any]) -> tuple[bool, int, str]:
    """The network's tensors layer by layer, then the optimizer's."""
    first = item[0].split(".")[0]
    return (not first.isdigit(), int(first) if first.isdigit() else 0, item[0])


def _tensor(name: str, array: np.ndarray) -> dict[str, Any]:
    norm = float(np.linalg.norm(array.astype(np.float64).reshape(-1)))
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"name": name, "shape": list(array.shape), "dtype": array.dtype.name, "norm": norm, "sha256": digest}


def differences(one: Checkpoint, other: Checkpoint) -> dict[str, Any]:
    """What differs between two checkpoints, section by section: key -> (here, there); None where there is nothing."""
    configs = changed_keys(*(from_mapping(dict(checkpoint.document["config"])) for checkpoint in (one, other)))
    sections: dict[str, Any] = {"config": {key: list(values) for key, values in configs.items()}}
    for name in ("progress", "metrics", "environment", "data", "gradient"):
        sections[name] = _changed(one.document.get(name), other.document.get(name), name)
    names = sorted({**one.tensors, **other.tensors}.items(), key=_order)
    sections["tensors"] = [
        found for name, _ in names if (found := _tensor_change(name, one.tensors.get(name), other.tensors.get(name)))
    ]
    return sections


def _changed(one: Any, other: Any, name: str) -> dict[str, list[Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return {key: [one.get(key), other.get(key)] for key in {**one, **other} if one.get(key) != other.get(key)}
    return {} if one == other else {name: [one, other]}


def _tensor_change(name: str, one: np.ndarray | None, other: np.ndarray | None) -> dict[str, Any] | None:
    """How a tensor differs: its shapes, and where they agree how many entries, and by how much at most."""
    shapes = [None if array is None else f"{array.dtype.name}{list(array.shape)}" for array in (one, other)]
    if one is None or other is None or shapes[0] != shapes[1]:
        return {"name": name, "shapes": shapes, "changed": None, "largest": None}
    if one.tobytes() == other.tobytes():
        return None
    gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return {"name": name, "shapes": shapes, "changed": int((gap > 0).sum()), "largest": float(gap.max(initial=0.0))}

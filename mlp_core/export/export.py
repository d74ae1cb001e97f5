"""From a model to exported files: described, written, checked, and only then put in their place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mlp_core.atomic_files import write_atomically
from mlp_core.errors import Problem, UsageError
from mlp_core.export import to_c, to_numpy, to_torch
from mlp_core.export.check import Checked, check, need_onnx
from mlp_core.export.describe import describe
from mlp_core.export.description import Description
from mlp_core.export.probes import Probes, draw
from mlp_core.runs.members import FILE as MEMBERS
from mlp_core.runs.members import members_at
from mlp_core.scratch import scratch_folder
from mlp_core.training.ensemble import Saved

FILES = {"onnx": (".onnx",), "c": (".c", ".h"), "numpy": (".py", ".npz"), "torch": (".py", ".safetensors")}
"""The formats, and how their files end; the first is the one that is named."""
INPUTS = ("auto", "columns", "matrix")


@dataclass(frozen=True)
class Exported:
    """What was written, and what its check found."""

    description: Description
    files: dict[Path, int]
    probes: Probes
    checked: Checked
    matrix: bool


def format_of(path: Path, asked: str | None) -> str:
    """The format to write: the one asked for, else by the file's name. Raises UsageError."""
    if asked is not None and asked not in FILES:
        raise UsageError(Problem("usage", "--to: unknown format", "choose from " + ", ".join(FILES), got=asked))
    if str(path) == "-":
        raise UsageError(Problem("usage", "an exported model is not written to the screen", "name a file with -o"))
    found = [name for name, ends in FILES.items() if path.suffix == ends[0]]
    if asked is None:
        if len(found) != 1:
            raise UsageError(Problem("usage", "--to: no format is named", "choose from " + ", ".join(FILES)))
        return found[0]
    if asked not in found:
        hint = f"end it in {FILES[asked][0]}"
        raise UsageError(
            Problem("usage", f"--output: a file of this format ends otherwise ({asked})", hint, got=path.name)
        )
    if path.suffix == ".py" and path.stem in {*sys.stdlib_module_names, "numpy", "torch", "safetensors"}:
        raise UsageError(Problem("usage", "--output: the file would hide a module of that name", got=path.name))
    return asked


def export(model: Saved, origin: Path, path: Path, to: str, inputs: str = "auto", force: bool = False) -> Exported:
    """Write a model that came from `origin` to `path` and its companion; nothing is there before the check has passed.

    inputs: how an ONNX graph takes rows: columns, a matrix, or (auto) a matrix where all columns are numbers. Raises
    UsageError for what cannot be expressed or is there already, Failed where the check does not pass.
    """
    _refuse_existing([path.with_suffix(end) for end in FILES[to]], origin, force)
    if to == "onnx":
        need_onnx()
    description = describe(model)
    matrix = to == "onnx" and _matrix(description, inputs)
    probes = draw(model, description)
    files = written(description, probes, path, to, matrix)
    with scratch_folder() as folder:
        for file, data in files.items():
            (folder / file.name).write_bytes(data)
        checked = check(folder / path.name, path)
    for file, data in files.items():
        write_atomically(file, data)
    return Exported(description, {file: len(data) for file, data in files.items()}, probes, checked, matrix)


def written(description: Description, probes: Probes, path: Path, to: str, matrix: bool) -> dict[Path, bytes]:
    """The bytes of the files that a format consists of."""
    if to == "onnx":
        from mlp_core.export import to_onnx  # needs a package that may be missing

        return to_onnx.write(description, probes, path, matrix)
    write = {"c": to_c.write, "numpy": to_numpy.write, "torch": to_torch.write}[to]
    return write(description, probes, path)


def _matrix(description: Description, inputs: str) -> bool:
    if inputs not in INPUTS:
        raise UsageError(Problem("usage", "--inputs: unknown choice", "choose from " + ", ".join(INPUTS), got=inputs))
    if inputs == "matrix" and not description.matrix:
        column = next(column for column in description.columns if column.kind != "numeric")
        message = f'--inputs matrix: column "{column.name}" does not hold numbers'
        raise UsageError(Problem("not_exportable", message, "use --inputs columns"))
    return description.matrix if inputs == "auto" else inputs == "matrix"


def _refuse_existing(files: list[Path], origin: Path, force: bool) -> None:
    """Raise UsageError for a file that is there, unless forced, and always for the model itself."""
    folder = files[0].parent
    own = [origin, *(members_at(origin).checkpoints() if origin.name == MEMBERS else ())]
    if not folder.is_dir():
        raise UsageError(Problem("no_folder", "there is no such folder", file=str(folder)))
    for file in files:
        if file.is_dir():
            raise UsageError(Problem("no_folder", "this is a folder", file=str(file)))
        if file.exists() and any(file.samefile(one) for one in own if one.exists()):
            raise UsageError(
                Problem("exists", "this is the model itself", "choose another with -o FILE", file=str(file))
            )
        if file.exists() and not force:
            hint = "choose another, or --force"
            raise UsageError(Problem("exists", "there is such a file already", hint, file=str(file)))

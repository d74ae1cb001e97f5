"""What was probably meant by a path that stands where a trained model belongs: a config, data, a folder of runs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from mlp_core.config.nearest import nearest
from mlp_core.errors import Problem, UsageError, typed

MARK, MEMBERS = "config.resolved.yaml", "members.json"
CONFIGS = (".yaml", ".yml")
_DATA = "csv tsv tab dat data txt jsonl ndjson json parquet pq npz npy libsvm svm svmlight idx xlsx xls arff feather"
DATA = frozenset(f".{end}" for end in _DATA.split())
PACKED = frozenset({".gz", ".bz2", ".xz", ".zip", ".zst"})
MOST = 2000  # entries of a folder that are looked at


def is_data(path: Path) -> bool:
    """Whether a file is called like one of data, packed or not."""
    ends = [end.lower() for end in path.suffixes[-2:]]
    return bool(ends) and (ends[-1] in DATA or (ends[-1] in PACKED and (len(ends) == 1 or ends[-2] in DATA)))


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, in the order of their names."""
    try:
        inside = [*islice(folder.iterdir(), MOST)]
        return sorted(path for path in inside if (path / MARK).is_file() or (path / MEMBERS).is_file())
    except OSError:
        return []


def like_run(path: Path) -> str | None:
    """A hint at the run whose name is most like that of a path: beside it, or in the folder `runs`."""
    known = {run.name: run for folder in (Path("runs"), path.parent) for run in runs_in(folder)}
    near = nearest(path.name, known)
    if near is not None:
        return f'did you mean "{known[near]}"?'
    return "mlpbp runs lists those that there are" if known else None


def refuse_misnamed(path: Path) -> None:
    """Raise UsageError where a path is plainly neither a run nor a checkpoint, with what was probably meant."""
    message, hint = None, None
    if not path.exists():
        message, hint = "no such file or directory", _saved_beside(path) or like_run(path)
        raise UsageError(Problem("no_such_file", message, hint, file=str(path)))
    if path.is_dir():
        whole = (path / "checkpoints").exists() or (path / MEMBERS).exists()
        runs = [] if whole else runs_in(path)
        if path.name == "checkpoints" and (path.absolute().parent / MARK).is_file():
            message, hint = "a folder inside a run, not a model", f"name the run: {typed(path.parent)}"
        elif runs:
            newest = max(runs, key=lambda run: run.stat().st_mtime)
            message = "this is a folder of runs, not a run"
            hint = f"name one of them, such as {typed(newest)}; mlpbp runs lists them all"
    elif path.suffix.lower() != ".safetensors" and (path.parent / MARK).is_file():
        message, hint = "a file of a run, not a model", f"name the run: {typed(path.parent)}"
    elif path.suffix.lower() in CONFIGS:
        made = [run for run in runs_in(Path("runs")) if run.name.rpartition("-")[0] == path.stem]
        message, hint = "this is a config, not a trained model", f"train it: mlpbp train {typed(path)}"
        hint += f"; its newest run is {typed(made[-1])}" if made else ""
    elif is_data(path):
        message = "this is data, not a trained model"
        hint = f"name the run first, then the data; a new model begins with: mlpbp init {typed(path)} --target COLUMN"
    if message is not None:
        raise UsageError(Problem("not_a_model", message, hint, file=str(path)))


def saved_in(checkpoints: Path) -> list[Path]:
    """The checkpoints in a folder of them, in the order of their names."""
    try:
        return sorted(islice(checkpoints.glob("*.safetensors"), MOST))
    except OSError:
        return []


def _saved_beside(path: Path) -> str | None:
    """A hint at the checkpoints beside one that there is not."""
    names = [file.stem for file in saved_in(path.parent)] if path.parent.name == "checkpoints" else []
    if not names:
        return None
    kept = [name for name in names if name.startswith("epoch-")]
    more = "" if kept else "; checkpoint.every: 1 saves every epoch"
    shown = names if len(names) <= 8 else [*names[:3], "...", *names[-4:]]
    return f"there are {', '.join(shown)}{more}"


def refuse_no_run(path: Path) -> None:
    """Raise UsageError where a path is no run directory, with what was probably meant."""
    if (path / MARK).is_file():
        return
    if (path / MEMBERS).is_file():
        runs = runs_in(path)
        hint = f"name one of them, such as {typed(runs[0])}" if runs else None
        raise UsageError(Problem("no_run", "this is a folder of members, not a run", hint, file=str(path)))
    if path.exists():
        refuse_misnamed(path)
    hint = like_run(path) or "give the directory of a run"
    raise UsageError(Problem("no_run", "there is no run here", hint, file=str(path)))


def refuse_data(path: Path) -> None:
    """Raise UsageError where a file of data stands in the place of a config."""
    if is_data(path) and path.suffix.lower() != ".json" and path.is_file():
        hint = f"this writes a config for it: mlpbp init {typed(path)} --target COLUMN"
        raise UsageError(Problem("not_a_config", "this is data, not a config", hint, file=str(path)))

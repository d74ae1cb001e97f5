"""Using a saved model: opening a checkpoint, and measuring it on its own splits or on a further file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlp_core.checkpoint import load
from mlp_core.dataset import Dataset, load_split
from mlp_core.dataset import load as load_data
from mlp_core.errors import CheckpointError, DataError, Problem, UsageError
from mlp_core.evaluator import Evaluation
from mlp_core.model import Model, model_of


def checkpoint_path(path: Path) -> Path:
    """The checkpoint meant by a MODEL argument: the file itself, or the best (else last) one of a run directory."""
    if not path.is_dir():
        return path
    for name in ("best", "last"):
        candidate = path / "checkpoints" / f"{name}.safetensors"
        if candidate.exists():
            return candidate
    raise CheckpointError(Problem("no_checkpoint", "there is no checkpoint in this directory", file=str(path)))


def open_model(path: Path) -> tuple[Model, Path]:
    """The model saved at `path` and the file it came from; raises CheckpointError."""
    if not path.exists():
        raise UsageError(Problem("no_such_file", "no such file or directory", file=str(path)))
    file = checkpoint_path(path)
    return model_of(load(file), str(file), rows=1), file


def evaluate_model(
    model: Model, split: str | None = None, data: Path | None = None, labels: Path | None = None
) -> tuple[dict[str, Evaluation], dict[str, Any]]:
    """Every metric of each split asked for, and the truth of each.

    `data` is a further file (with `labels`, where it holds only inputs), measured as one split named `data`; without it
    the splits are made again from the config. Raises DataError, UsageError.
    """
    if data is not None:
        if split is not None:
            raise UsageError(Problem("usage", "--split belongs to the run's own data", "leave out DATA or --split"))
        source: Any = data if labels is None else {"x": data, "y": labels}
        datasets = {"data": load_split(model.config, model.task, source)}
    else:
        datasets = load_data(model.config).splits
        if split is not None:
            if split not in datasets:
                have = ", ".join(datasets)
                raise DataError(Problem("no_split", f"there is no split named {split}", f"there are {have}"))
            datasets = {split: datasets[split]}
    rows = min(model.config.train.eval_batch_size, max(dataset.rows for dataset in datasets.values()))
    evaluator, names = model.evaluator(rows), model.metric_names(report=True)
    results = {name: evaluator.evaluate(model.split(dataset), names) for name, dataset in datasets.items()}
    return results, {name: _truth(dataset) for name, dataset in datasets.items()}


def _truth(dataset: Dataset) -> Any:
    return dataset.y

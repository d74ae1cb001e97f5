"""Every format gives the answers of `mlpbp predict`, for random models over everything that can be exported."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_models import (
    KINDS,
    LOSSES,
    Trained,
    answers_of,
    by_c,
    by_onnx,
    by_python,
    difference,
    train,
    train_several,
    write,
)

from mlp_core.config import from_mapping
from mlp_core.config.model import ACTIVATIONS
from mlp_core.errors import UsageError
from mlp_core.export import operations as op
from mlp_core.export.describe import describe
from mlp_core.export.description import Answer, Column, Decision, Description, Member
from mlp_core.export.export import FILES, written
from mlp_core.export.probes import draw
from mlp_core.runs.evaluate import open_model
from mlp_core.runs.run import Run

JUDGES: dict[str, Callable[..., dict[str, Any]]] = {"numpy": by_python, "torch": by_python, "c": by_c, "onnx": by_onnx}
MISSING = {
    "numpy": None,
    "torch": None if find_spec("torch") else "needs PyTorch",
    "c": None if shutil.which("cc") else "needs a C compiler",
    "onnx": None if find_spec("onnx") else "needs onnx",
}
MODELS, ENSEMBLES = 60, 12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Trained]:
    """The trained model of a seed, kept for all formats; behind `MODELS` of them come averages of several."""
    kept: dict[int, Trained] = {}

    def model(seed: int) -> Trained:
        if seed not in kept:
            folder = tmp_path_factory.mktemp(f"model{seed}")
            kept[seed] = train(seed, folder) if seed < MODELS else train_several(seed - MODELS, folder)
        return kept[seed]

    return model


def exported(to: str, trained: Trained, folder: Path, **choices: Any) -> tuple[Path, Description]:
    """The files of a model in a format, unchecked."""
    if MISSING[to]:
        pytest.skip(str(MISSING[to]))
    description = describe(trained.model)
    path = folder / f"model{FILES[to][0]}"
    files = written(description, draw(trained.model, description), path, to, choices.get("matrix", False))
    for file, data in files.items():
        file.write_bytes(data)
    return path, description


def operations(description: Description) -> Iterator[Any]:
    """Every operation of every member, inner ones too, and those on their average."""
    for member in description.members:
        for one in (*member.inputs, *member.network, *(step for steps in member.answers for step in steps)):
            yield one
            yield from one.inner if isinstance(one, op.Residual) else ()
    for answer in description.answers:
        yield from (*([answer.average] if len(description.members) > 1 else []), *answer.steps)


@pytest.mark.parametrize("seed", range(MODELS + ENSEMBLES))
@pytest.mark.parametrize("to", JUDGES)
def test_a_format_answers_as_predict(to: str, seed: int, models: Callable[[int], Trained], tmp_path: Path) -> None:
    trained = models(seed)
    if to == "onnx" and any(getattr(one, "hashed", 0) for one in operations(describe(trained.model))):
        with pytest.raises(UsageError, match='column "town": encode: hash cannot be exported to ONNX'):
            exported(to, trained, tmp_path)
        return
    path, description = exported(to, trained, tmp_path)
    limit = 1e-5 if trained.config["dtype"] == "float32" else 1e-12
    assert difference(JUDGES[to](path, description, trained.cells), trained.answers) <= limit


@pytest.mark.parametrize("to", JUDGES)
def test_dates_times_and_notations_are_taken_as_the_numbers_that_they_are(to: str, tmp_path: Path) -> None:
    """Against `mlpbp predict`, which reads them as they are written."""
    rng = np.random.default_rng(0)
    days, hours, euros = rng.integers(15000, 20000, 80), rng.integers(0, 24, 80), rng.integers(1000, 99000, 80)
    written = {
        "day": [(date(1970, 1, 1) + timedelta(int(one))).strftime("%d.%m.%Y") for one in days],
        "at": [f"{one}:30" for one in hours],
        "pay": [f"{one:,} €" for one in euros],
    }
    numbers = {"day": days.astype(float), "at": hours + 0.5, "pay": euros.astype(float)}
    for column, row in (("day", 3), ("at", 5), ("pay", 7)):
        written[column][row], numbers[column][row] = "", np.nan
    y = ["up" if d % 7 < 3 or h > 12 else "down" for d, h in zip(days, hours, strict=True)]
    write(tmp_path / "train.csv", {**written, "y": y})
    data = {"train": str(tmp_path / "train.csv"), "target": "y"}
    config = {"data": data, "model": {"hidden": [6]}, "dtype": "float64", "train": {"epochs": 2}, "kernels": "numpy"}
    for _ in Run.start(from_mapping({**config, "threads": 1}), b"", tmp_path / "run").execute():
        pass
    model, _ = open_model(tmp_path / "run")
    trained = Trained(model, config, {}, answers_of(model, tmp_path / "train.csv"))
    path, description = exported(to, trained, tmp_path)
    assert [column.meaning for column in description.columns] == [
        "days since 1970-01-01",
        "hours",
        "the number written",
    ]
    assert any(isinstance(one, op.Circles) for one in operations(description))
    cells: Any = {name: ["" if v != v else repr(float(v)) for v in column] for name, column in numbers.items()}
    if to in ("numpy", "torch"):
        with pytest.raises(ValueError, match="texts are not read here, give numbers"):
            JUDGES[to](path, description, written)
        cells = {name: column.tolist() for name, column in numbers.items()}
    assert difference(JUDGES[to](path, description, cells), trained.answers) <= 1e-12


def test_all_of_it_is_among_the_random_models(models: Callable[[int], Trained]) -> None:
    """Every kind of operation, activation and loss is in one of them at least."""
    met: set[Any] = set()
    for seed in range(MODELS + ENSEMBLES):
        description = describe(models(seed).model)
        for one in operations(description):
            met |= {type(one), getattr(one, "name", None)}
            met |= {"hash"} if getattr(one, "hashed", 0) else set()
        met |= {models(seed).config["loss"]["name"], description.dtype, description.kind}
    kinds = [kind for kind in vars(op).values() if isinstance(kind, type) and kind.__module__ == op.__name__]
    parts = {Column, op.Words, Answer, Decision, Member, Description, op.Circles}
    assert not {kind.__name__ for kind in set(kinds) - parts - met}
    assert not set(ACTIVATIONS) - {"prelu"} - met
    assert not {loss for losses in LOSSES.values() for loss in losses} - met
    assert met >= {"hash", "float32", "float64", *KINDS}

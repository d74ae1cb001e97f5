"""Every format gives the answers of `mlpbp predict`, for random models over everything that can be exported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from export_models import KINDS, LOSSES, Trained, by_c, by_onnx, by_python, difference, train, train_several

from mlp_core.config.model import ACTIVATIONS
from mlp_core.errors import UsageError
from mlp_core.export import operations as op
from mlp_core.export.describe import describe
from mlp_core.export.export import FILES, written
from mlp_core.export.probes import draw

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


def exported(to: str, trained: Trained, folder: Path, **choices: Any) -> tuple[Path, op.Description]:
    """The files of a model in a format, unchecked."""
    if MISSING[to]:
        pytest.skip(str(MISSING[to]))
    description = describe(trained.model)
    path = folder / f"model{FILES[to][0]}"
    files = written(description, draw(trained.model, description), path, to, choices.get("matrix", False))
    for file, data in files.items():
        file.write_bytes(data)
    return path, description


@pytest.mark.parametrize("seed", range(MODELS + ENSEMBLES))
@pytest.mark.parametrize("to", JUDGES)
def test_a_format_answers_as_predict(to: str, seed: int, models: Callable[[int], Trained], tmp_path: Path) -> None:
    trained = models(seed)
    if to == "onnx" and any(getattr(one, "hashed", 0) for one in describe(trained.model).operations()):
        with pytest.raises(UsageError, match='column "town": encode: hash cannot be exported to ONNX'):
            exported(to, trained, tmp_path)
        return
    path, description = exported(to, trained, tmp_path)
    limit = 1e-5 if trained.config["dtype"] == "float32" else 1e-12
    assert difference(JUDGES[to](path, description, trained.cells), trained.answers) <= limit


def test_all_of_it_is_among_the_random_models(models: Callable[[int], Trained]) -> None:
    """Every kind of operation, activation and loss is in one of them at least."""
    met: set[Any] = set()
    for seed in range(MODELS + ENSEMBLES):
        description = describe(models(seed).model)
        for one in description.operations():
            met |= {type(one), getattr(one, "name", None)}
            met |= {"hash"} if getattr(one, "hashed", 0) else set()
        met |= {models(seed).config["loss"]["name"], description.dtype, description.kind}
    kinds = [kind for kind in vars(op).values() if isinstance(kind, type) and kind.__module__ == op.__name__]
    parts = {op.Column, op.Words, op.Answer, op.Decision, op.Member, op.Description}
    assert not {kind.__name__ for kind in set(kinds) - parts - met}
    assert not set(ACTIVATIONS) - {"prelu"} - met
    assert not {loss for losses in LOSSES.values() for loss in losses} - met
    assert met >= {"hash", "float32", "float64", *KINDS}

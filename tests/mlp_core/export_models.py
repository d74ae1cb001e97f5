"""Random configs and tables over everything that an exported model can hold, trained for a moment, and their judges."""

from __future__ import annotations

import csv
import ctypes
import importlib.util
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mlp_core.config import from_mapping
from mlp_core.config.model import ACTIVATIONS, WITH_ALPHA
from mlp_core.export import to_onnx
from mlp_core.export.c_text import fields as c_fields
from mlp_core.export.check import FLAGS
from mlp_core.export.description import Description
from mlp_core.metrics.calibration import Calibration
from mlp_core.runs.evaluate import open_model
from mlp_core.runs.predict import Predictor
from mlp_core.runs.run import Run
from mlp_core.training.ensemble import Ensemble, Saved
from mlp_core.training.model import Model
from mlp_core.training.unused import UNMIXED

ROWS, NEW_ROWS = 60, 40
KINDS = ("binary", "multiclass", "multilabel", "regression")
LOSSES = {
    "binary": ("bce", "cross_entropy", "focal", "quadratic"),
    "multiclass": ("cross_entropy", "focal", "bce", "quadratic"),
    "multilabel": ("bce", "quadratic"),
    "regression": ("mse", "mae", "huber", "log_cosh", "quantile", "poisson", "gaussian_nll"),
}
WORDS = {
    "colour": ("red", "green", 'deep "blue", dark', "ünïcode ✓", "a?b\\c"),
    "town": tuple(f"town {k}" for k in range(12)),
}


@dataclass
class Trained:
    """A model, new rows for it (column by column, as in a CSV file), and what `mlpbp predict` answers."""

    model: Saved
    config: dict[str, Any]
    cells: dict[str, list[str]]
    answers: dict[str, Any]


def table(rng: np.random.Generator, rows: int, unseen: bool) -> dict[str, list[str]]:
    """Columns of cells: numbers, skew ones with gaps, counts, yes and no, words with gaps; with words never seen."""

    def gaps(cells: Sequence[Any]) -> list[str]:
        return ["" if rng.random() < 0.1 else str(cell) for cell in cells]

    def words(name: str) -> list[str]:
        found = [str(word) for word in rng.choice(WORDS[name], rows)]
        return [f"new {k}" if unseen and rng.random() < 0.1 else word for k, word in enumerate(found)]

    return {
        "size": [f"{x:.6g}" for x in rng.normal(3e4, 1e3, rows)],
        "price": gaps([f"{x:.5g}" for x in rng.lognormal(2, 1, rows)]),
        "count": [str(k) for k in rng.integers(0, 6, rows)],
        "int": gaps([f"{x:.4f}" for x in rng.uniform(-1, 1, rows)]),
        "member": gaps(rng.choice(["yes", "no"], rows).tolist()),
        "colour": gaps(words("colour")),
        "town": gaps(words("town")),
    }


def targets(rng: np.random.Generator, kind: str, cells: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Columns to be predicted, which have to do with the inputs."""
    size, count = (np.array(cells[name], float) for name in ("size", "count"))
    score = (size - 3e4) / 1e3 + count - 2.5 + rng.normal(0, 0.5, len(size))
    if kind == "binary":
        return {"y": ["up" if s > 0 else "down" for s in score]}
    if kind == "multiclass":
        return {"y": [("low", "mid, dle", "high")[int(k)] for k in np.digitize(score, [-1, 1])]}
    if kind == "multilabel":
        return {name: [str(int(s > cut)) for s in score] for name, cut in (("y1", -1), ("y2", 0), ("y3", 1))}
    several = {"y1": np.abs(score) * 7 + 1, "y2": np.exp(score / 3)}
    return {name: [f"{y:.5g}" for y in several[name]] for name in list(several)[: int(rng.integers(1, 3))]}


def random_config(rng: np.random.Generator, kind: str, turn: int) -> dict[str, Any]:
    """Anything that the schema admits and that shapes what is exported; losses take turns."""

    def one(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def activation() -> Any:
        name = str(rng.choice(ACTIVATIONS))
        return {"name": name, "alpha": float(rng.uniform(0.05, 1.5))} if name in WITH_ALPHA and one(0, 1) else name

    loss = LOSSES[kind][turn % len(LOSSES[kind])]
    hidden = [
        {
            "units": 8,
            "activation": activation(),
            "norm": one("none", "none", "batch", "layer", "rms"),
            "residual": one(True, False),
            "dropout": one(0, 0, 0.2),
        }
        for _ in range(int(rng.integers(0, 4)))
    ]
    position = one("pre_activation", "post_activation")
    columns: dict[str, Any] = {
        "size": {"scale": one("standard", "quantile", "robust", "robust_smooth")},
        "price": {"log": one(True, False), "clip": one(None, 2.0), "indicator": one(True, False)},
        "count": {"scale": one("quantile", "minmax", "none")},
        "town": {
            "encode": one("onehot", "ordinal", "embedding", "hash", "compact", "ordinal"),
            "max_categories": one(4, 100),
        },
    }
    config: dict[str, Any] = {
        "seed": int(rng.integers(1000)),
        "dtype": one("float32", "float64"),
        "model": {
            "hidden": hidden,
            **({"norm_position": position} if any(layer["norm"] != "none" for layer in hidden) else {}),
            "bias": one(True, True, False),
            "input_dropout": one(0, 0.1),
            "parametric": any(name_of(layer["activation"]) not in UNMIXED for layer in hidden) and one(True, False),
            "parametrization": one("standard", "ntk"),
            "input_scale": one(True, False),
            "numeric_embedding": one("none", {"name": "periodic", "frequencies": 5, "size": 3, "sigma": 0.3}),
        },
        "loss": {"name": loss, **({"quantiles": [0.1, 0.5, 0.9]} if loss == "quantile" else {})},
        "preprocess": {
            "numeric": {
                "scale": one("standard", "minmax", "robust_smooth", "maxabs", "quantile"),
                "impute": one("median", "mean", "mode", "zero", 1.5),
            },
            "categorical": {
                "encode": one("onehot", "compact", "ordinal", "embedding"),
                "embed_above": one(None, None, 2),
                "unknown": one("other", "zero"),
                "missing": one("category", "mode"),
            },
            "columns": columns,
        },
        "train": {"epochs": 1, "batch_size": 8},
        "optimizer": {"name": "adam", "lr": 0.02},
        "threads": 1,
        "kernels": "numpy",
    }
    if kind == "regression" and loss != "poisson":
        config["preprocess"]["target"] = {
            "scale": one("standard", "minmax", "none"),
            "transform": one("none", "log1p"),
            "clamp": one(True, False),
        }
    if kind == "binary":
        config["eval"] = {"calibrate": one("none", "temperature", "platt"), "threshold": one(0.4, "f1")}
    elif kind != "regression":
        config["eval"] = {"calibrate": one("none", "temperature"), "threshold": 0.5 if kind == "multiclass" else 0.4}
    return config


def name_of(activation: Any) -> str:
    return str(activation["name"] if isinstance(activation, dict) else activation)


def train(seed: int, folder: Path, kind: str | None = None, **changes: Any) -> Trained:
    """The model of a random config, by its seed. changes: sections of the config that are merged over it."""
    rng = np.random.default_rng(seed)
    kind = kind or KINDS[seed % len(KINDS)]
    config = random_config(rng, kind, seed // len(KINDS))
    for name, value in changes.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    truth = _write_training(rng, kind, folder / "train.csv")
    model = _fit(config, kind, truth, folder / "train.csv", folder / "run")
    return _asked(rng, model, config, folder)


def train_several(seed: int, folder: Path) -> Trained:
    """The average of two or three models, trained on other rows of one table by other random configs, calibrated."""
    rng = np.random.default_rng(1000 + seed)
    kind = KINDS[seed % len(KINDS)]
    truth = _write_training(rng, kind, folder / "train.csv")
    losses = ("gaussian_nll", "quantile", "mse") if kind == "regression" else LOSSES[kind]
    together: dict[str, Any] = {
        "loss": losses[seed // len(KINDS) % len(losses)],
        "dtype": ("float32", "float64")[seed % 3 % 2],
    }
    transform = ("none", "log1p")[seed // len(KINDS) % 2]
    models, configs = [], []
    for k in range(int(rng.integers(2, 4))):
        config = random_config(rng, kind, LOSSES[kind].index(together["loss"]))
        config["dtype"] = together["dtype"]
        if "target" in config["preprocess"]:
            config["preprocess"]["target"]["transform"] = transform
        config["data"] = {"split": {"val": 0.3, "test": 0, "seed": k}}
        models.append(_fit(config, kind, truth, folder / "train.csv", folder / f"run{k}"))
        configs.append(config)
    ensemble = Ensemble.of(models, [f"run{k}" for k in range(len(models))])
    calibration = {
        "binary": Calibration("platt", 1.3, -0.2, 0.45),
        "multiclass": Calibration("temperature", 0.7),
        "multilabel": Calibration("temperature", 1.5, threshold=0.4),
        "regression": Calibration(),
    }[kind]
    return _asked(rng, replace(ensemble, calibration=calibration), configs[0], folder)


def _write_training(rng: np.random.Generator, kind: str, path: Path) -> list[str]:
    """Write a table to be trained on; the names of its targets."""
    cells = table(rng, ROWS, unseen=False)
    truth = targets(rng, kind, cells)
    write(path, {**cells, **truth})
    return list(truth)


def _fit(config: dict[str, Any], kind: str, truth: list[str], data: Path, folder: Path) -> Model:
    """The model of a config, trained on a table; its section `data` is filled in."""
    config["data"] = {
        "train": str(data),
        "target": truth if len(truth) > 1 else truth[0],
        "task": kind,
        "split": {"val": 0.3, "test": 0},
        **config.get("data", {}),
    }
    run = Run.start(from_mapping(config), b"", folder)
    for _ in run.execute():
        pass
    model, _ = open_model(folder)
    assert isinstance(model, Model)
    return model


def _asked(rng: np.random.Generator, model: Saved, config: dict[str, Any], folder: Path) -> Trained:
    """A model with new rows, and its answers to them."""
    new = table(rng, NEW_ROWS, unseen=True)
    write(folder / "new.csv", new)
    return Trained(model, config, new, answers_of(model, folder / "new.csv"))


def answers_of(model: Saved, path: Path) -> dict[str, Any]:
    """What `mlpbp predict --proba` gives for a file."""
    (part,) = Predictor(model, probabilities=True).predict(path)
    return part


def write(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """A CSV file of columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


# The judges: each runs what was exported on columns of cells, and answers under the names of `mlpbp predict`.


def by_python(path: Path, description: Description, cells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A .py file, imported and asked."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.check()
    answers: dict[str, Any] = module.predict(cells)
    return answers


def by_onnx(path: Path, description: Description, cells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """An ONNX file, run."""
    import onnx

    data = path.read_bytes()
    to_onnx.verify(data)
    facts, _ = to_onnx.facts_of(onnx.load_model_from_string(data))
    numeric = {column.name for column in description.columns if column.kind == "numeric"}
    rows: dict[str, Sequence[Any]] = {
        name: [(None if cell == "" else float(cell)) if name in numeric else cell for cell in column]
        for name, column in cells.items()
    }
    outputs, _ = to_onnx.run(data, to_onnx.feed(facts, rows))
    return to_onnx.columns(facts, dict(zip(facts["outputs"], outputs, strict=True)))


def by_c(path: Path, description: Description, cells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A C file, compiled to a library whose self-check is called first, then `predict` row by row."""
    library = path.with_suffix(".so")
    macro = f"-D{path.stem.upper()}_CHECK"
    command = ["cc", *FLAGS, "-O0", "-shared", "-fPIC", macro, str(path), "-lm", "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(library))
    assert loaded.main() == 0
    return ask(loaded, path.stem, description, cells)


def ask(loaded: Any, name: str, description: Description, cells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What a compiled model answers, row by row."""
    decision = description.decision
    kinds = [ctypes.c_char_p if column.kind == "categorical" else ctypes.c_double for column in description.columns]
    fields = c_fields([column.name for column in description.columns])
    answers = c_fields([answer.name for answer in description.answers], ("label", "labels"))
    labels = len(decision.labels) if decision and decision.several else 0
    head = [("labels", ctypes.c_int * labels)] if labels else [("label", ctypes.c_int)] if decision else []

    class Row(ctypes.Structure):
        _fields_ = [(fields[k], kind) for k, kind in enumerate(kinds)]

    class Answer(ctypes.Structure):
        _fields_ = [
            *head,
            *((answers[k], ctypes.c_double * len(one.columns)) for k, one in enumerate(description.answers)),
        ]

    told: dict[str, list[Any]] = {}
    for i in range(len(next(iter(cells.values())))):
        row, answer = Row(), Answer()
        for k, column in enumerate(description.columns):
            cell = cells[column.name][i]
            value: Any = cell.encode() if column.kind == "categorical" else _number(cell)
            setattr(row, fields[k], value)
        assert getattr(loaded, f"{name}_predict")(ctypes.byref(row), ctypes.byref(answer)) == 0
        for k, one in enumerate(description.answers):
            for column_name, value in zip(one.columns, getattr(answer, answers[k]), strict=True):
                told.setdefault(column_name, []).append(value)
        if decision and decision.several:
            for label, value in zip(decision.labels, answer.labels, strict=True):
                told.setdefault(label, []).append(value)
        elif decision:
            told.setdefault("prediction", []).append(decision.labels[answer.label])
    return told


def _number(cell: str) -> float:
    return {"": float("nan"), "yes": 1.0, "no": 0.0}[cell] if cell in ("", "yes", "no") else float(cell)


def difference(answers: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest difference of a number, in parts of the largest in its column where that is above 1; asserts that
    names and labels are the same."""
    assert set(answers) == set(expected)
    worst = 0.0
    for name, values in expected.items():
        given = answers[name]
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            gap = np.abs(np.asarray(given, np.float64) - values) / max(1.0, float(np.abs(values).max()))
            worst = max(worst, float(gap.max()))
        else:
            assert list(given) == list(values), name
    return worst

"""A trained model: what it says about rows in memory or in a file, how good it is, its proof and its formulas.

What answers need is loaded at once; training, proof and formulas only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlp_core.api.frames_out import like
from mlp_core.data.readers.csv_options import number
from mlp_core.data.readers.frames import InMemory
from mlp_core.errors import Problem, UsageError
from mlp_core.metrics import decide
from mlp_core.runs.evaluate import Wishes, evaluate_model, open_model
from mlp_core.runs.predict import ROWS, Predictor
from mlp_core.training.checkpoint import Checkpoint, save
from mlp_core.training.checkpoint import load as load_checkpoint
from mlp_core.training.ensemble import Ensemble, Saved
from mlp_core.training.model import model_of

if TYPE_CHECKING:
    from mlp_core.explain import Explanation
    from mlp_core.gradcheck import Report

MEMORY = "memory"


@dataclass(frozen=True)
class Formulas:
    """The formulas of a model: printed as text, in a notebook as mathematics."""

    explanation: Explanation

    def __str__(self) -> str:
        return self._as("text")

    def _repr_markdown_(self) -> str:
        return self._as("markdown")

    def latex(self) -> str:
        """A document of LaTeX."""
        return self._as("latex")

    def _as(self, form: str) -> str:
        from mlp_core.explain import FORMATS

        return FORMATS[form](self.explanation)


class TrainedModel:
    """A model that is ready to be used; `load` gives it.

    Rows are a frame of pandas, polars or Arrow, a mapping of columns, a list of objects, an array [rows, columns], or
    the path of a file. Columns are matched by their names, others ignored, the target is not needed.
    """

    def __init__(self, model: Saved, checkpoint: Checkpoint | None, path: Path | None = None) -> None:
        self._model, self._saved, self.path = model, checkpoint, path

    @property
    def kind(self) -> str:
        """The task: binary, multiclass, multilabel or regression."""
        return self._model.task.kind

    @property
    def features(self) -> tuple[str, ...]:
        """The input columns."""
        return self._model.task.features

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns."""
        return self._model.task.targets

    @property
    def classes(self) -> np.ndarray:
        """The labels in the order of `predict_proba`: whole numbers or numbers where all of them are, else words."""
        return labels_of(self._model.task.classes)

    @property
    def classes_as_told(self) -> tuple[str, ...]:
        """The same as words, as files have them."""
        return self._model.task.classes

    @property
    def threshold(self) -> float:
        """The probability from which the second of two classes, or a label, is predicted."""
        return self._model.calibration.threshold

    @property
    def config(self) -> dict[str, Any]:
        """The config, every key written out, as plain values."""
        return dict(self._model.config.model_dump(mode="json"))

    def predict(self, data: Any) -> np.ndarray:
        """Labels [rows]; of a regression values [rows], of several targets [rows, targets]. Raises DataError."""
        P, task = self.outcomes(data), self._model.task
        if task.classifies:
            return np.asarray(self.classes[decide(P, True, self.threshold)])
        if task.kind == "multilabel":
            return np.asarray(decide(P, False, self.threshold), np.int64)
        return P[:, 0] if len(task.targets) == 1 else P

    def predict_proba(self, data: Any) -> np.ndarray:
        """The probability of every class [rows, classes], of every label where a row may have several.

        Raises UsageError for a regression, DataError.
        """
        if self.kind == "regression":
            raise UsageError(Problem("no_classes", "a regression has no probabilities", "use predict"))
        return self.outcomes(data)

    def answer(self, data: Any, proba: bool = False, keep: Sequence[str] = ()) -> Any:
        """What `mlpbp predict` writes, as a frame of the kind that was given (else a mapping of columns): `keep` and
        `data.id` columns, the prediction, probabilities where asked for, quantiles and deviations where the loss has
        them. Raises DataError."""
        predictor = Predictor(self._model, proba, keep)
        parts = list(predictor.predict(self._rows(data)))
        columns = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
        return like(data, columns)

    def evaluate(self, data: Any = None, split: str | None = None) -> dict[str, float]:
        """Every metric, as `mlpbp eval` has them: of a file or rows in memory with their targets (or a pair (X, y)),
        else of a split of the model's own data: the one asked for, or test, else val. Raises DataError."""
        rows = None if data is None else self._with_targets(data)
        report = evaluate_model(self._model, Wishes(split=split, data=rows))
        return dict(report.splits[report.chosen].metrics)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Those of every split of the model's own data, {split: {name: value}}. Raises DataError."""
        return {name: dict(one.metrics) for name, one in evaluate_model(self._model).splits.items()}

    def gradcheck(self, **keys: Any) -> Report:
        """The gradient check at the model's weights, on rows of its own data; `tolerance=`, `batch=`, ... as the
        section `gradcheck` of the config has them. `passed`, `worst` and `tensors` say what it found."""
        from mlp_core.runs.prove import check_checkpoint, check_model

        if self._saved is None:
            if self.path is None:
                raise UsageError(Problem("usage", "members in memory are proved one by one", "train one of them"))
            return check_model(self.path, [f"gradcheck.{name}={value}" for name, value in keys.items()]).report
        config = self._model.config.replace(**{f"gradcheck.{name}": value for name, value in keys.items()})
        return check_checkpoint(self._saved, str(self.path or MEMORY), config).report

    def explain(self) -> Formulas:
        """The formulas of its training step, with its shapes and numbers, as `mlpbp explain` prints them.

        Its data is read again. Raises DataError where that is gone.
        """
        from mlp_core.explain import explain
        from mlp_core.training.experiment import Experiment

        return Formulas(explain(Experiment.build(self._model.config, own=self._checkpoint())))

    def export(self, to: str, output: str | Path, force: bool = False) -> list[Path]:
        """Write it as `onnx`, `c`, `numpy` or `torch`, as `mlpbp export` does, checked before it is there; the files.

        Raises UsageError for what cannot be expressed, Failed where the check does not pass.
        """
        from mlp_core.export.export import export, format_of

        path = Path(output)
        origin = self.path or path.with_name(path.name + ".origin")
        return list(export(self._model, origin, path, format_of(path, to), force=force).files)

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write the checkpoint, which `load` and every command that takes a MODEL reads. Raises UsageError, OSError."""
        file = Path(path)
        if file.exists() and not force:
            hint = "choose another, or force=True"
            raise UsageError(Problem("exists", "there is such a file already", hint, file=str(file)))
        save(self._checkpoint(), file)
        return file

    def __repr__(self) -> str:
        if isinstance(self._model, Ensemble):
            return f"<{self.kind} model of {len(self.features)} columns: {len(self._model.members)} members>"
        shape = self._model.network.architecture
        widths = [shape.inputs, *(block.units for block in shape.hidden), shape.outputs]
        return f"<{self.kind} model of {len(self.features)} columns: {'-'.join(map(str, widths))}>"

    def _checkpoint(self) -> Checkpoint:
        """The one checkpoint of the model. Raises UsageError for several members."""
        if self._saved is None:
            message = "several members have no checkpoint and no formulas in common"
            where = None if self.path is None else str(self.path)
            raise UsageError(Problem("usage", message, "load or train one of them", file=where))
        return self._saved

    def _rows(self, data: Any) -> Path | InMemory:
        if isinstance(data, str | Path):
            return Path(data)
        return data if isinstance(data, InMemory) else InMemory.of(data)

    def _with_targets(self, data: Any) -> Path | InMemory:
        if isinstance(data, tuple) and len(data) == 2:
            return replace(InMemory.of(*data), targets=self.targets)
        return self._rows(data)

    def outcomes(self, data: Any) -> np.ndarray:
        """Probabilities [rows, classes], or values [rows, targets]."""
        rows = self._rows(data)
        count = len(rows.X) if isinstance(rows, InMemory) and not isinstance(rows.X, Mapping) else ROWS
        return np.asarray(Predictor(self._model, rows=count).outcomes(rows))


def labels_of(classes: Sequence[str]) -> np.ndarray:
    """Labels as numbers where all of them are, else as words."""
    numbers = [number(name) for name in classes]
    if any(value is None for value in numbers):
        return np.array(classes)
    values = np.array(numbers, np.float64)
    return values.astype(np.int64) if (values == np.floor(values)).all() and (abs(values) < 2**53).all() else values


def model_from(checkpoints: Sequence[Checkpoint], held: Mapping[str, Any], path: Path | None = None) -> TrainedModel:
    """The trained model of a checkpoint, or of several that are averaged, whose data may be in memory.

    Raises CheckpointError.
    """
    models = [model_of(one, str(path or MEMORY), rows=1) for one in checkpoints]
    model: Saved = models[0]
    if len(models) > 1:
        model = Ensemble.of(models, [f"member {k}" for k in range(1, len(models) + 1)])
    model = replace(model, config=model.config.holding(held))
    return TrainedModel(model, checkpoints[0] if len(models) == 1 else None, path)


def load(model: Any, overrides: Sequence[str] = ()) -> TrainedModel:
    """A trained model: of a run directory (its best), a checkpoint file, a folder of members (of `mlpbp cv`, or of an
    ensemble), what `train` gives, or a fitted estimator.

    overrides: where its data is now, or how to measure, as `mlpbp eval` takes them. Raises UsageError, CheckpointError.

        >>> model = load(train({"data": {"name": "digits"}, "train": {"epochs": 5}}))
        >>> model
        <multiclass model of 64 columns: 64-64-64-10>
        >>> model.predict([{name: 0 for name in model.features}]).shape
        (1,)
        >>> model.gradcheck().passed
        True
    """
    if isinstance(model, TrainedModel):
        return model
    if isinstance(model, str | Path):
        found, file = open_model(Path(model), overrides)
        return TrainedModel(found, None if isinstance(found, Ensemble) else load_checkpoint(file), file)
    from mlp_core.api.training import Training

    if isinstance(model, Training):
        folder, held = model.path, model.config.source.held
        file = None if folder is None else folder / model.summary.checkpoint.relative_to(folder)  # type: ignore[assignment]
        return model_from([model.checkpoint], held, file)
    if hasattr(model, "model_"):
        return load(model.model_)
    raise UsageError(Problem("usage", "not a model", "give a run, a checkpoint file or a fitted estimator"))

"""Estimators for scikit-learn, which need no scikit-learn: the same network, the same bits, as the command line."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from mlp_core.api.arguments import (
    as_value_errors,
    compare_names,
    not_fitted,
    numbers,
    raw_names,
    renamed,
    targets,
    weights,
)
from mlp_core.api.names import check_name, nested
from mlp_core.api.trained import TrainedModel, model_from
from mlp_core.api.training import Training, in_memory, train
from mlp_core.config import Config, from_mapping
from mlp_core.config.schema import IN_MEMORY
from mlp_core.data.readers.frames import InMemory, as_table, column_names, label_name
from mlp_core.errors import DataError, Problem
from mlp_core.metrics import Outcome, compute, decide
from mlp_core.training.checkpoint import Checkpoint
from mlp_core.training.ensemble import member_configs


class _Estimator:
    """What classifier and regressor share: parameters, fitting, the look at X."""

    _estimator_type: ClassVar[str]
    model_: TrainedModel
    _checkpoints: list[Checkpoint]

    def __init__(self, hidden: Any = None, recipe: str | None = None, **keys: Any) -> None:
        self.hidden, self.recipe, self._keys = hidden, recipe, dict[str, Any]()
        self._set(keys)

    def _set(self, keys: Mapping[str, Any]) -> None:
        with as_value_errors():
            for name in keys:
                check_name(name)
        self._keys.update(keys)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every argument that was given, by name."""
        return {"hidden": self.hidden, "recipe": self.recipe, **self._keys}

    def set_params(self, **params: Any) -> Self:
        """Change arguments. Raises ValueError for one that names no config key."""
        for name in ("hidden", "recipe"):
            if name in params:
                setattr(self, name, params.pop(name))
        self._set(params)
        return self

    def __getattr__(self, name: str) -> Any:
        keys = self.__dict__.get("_keys", {})
        if name in keys:
            return keys[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        given = {name: value for name, value in self.get_params().items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the network, which is made again of its checkpoint."""
        return {name: value for name, value in self.__dict__.items() if name != "model_"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        if "_checkpoints" in state:
            self.model_ = model_from(self._checkpoints, {})

    def __sklearn_is_fitted__(self) -> bool:
        return "model_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        several = self._estimator_type == "regressor"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True, multi_output=several),
            classifier_tags=None if several else ClassifierTags(multi_label=True),
            regressor_tags=RegressorTags() if several else None,
            input_tags=InputTags(string=True, allow_nan=True),
        )

    def _train(self, X: Any, y: Any, sample_weight: Any, task: str, name: Any) -> None:
        """Train on rows in memory; keep the best epoch's model. name: of the target, where it has one."""
        rows = InMemory.of(X, y, weights(sample_weight, X), target=name)
        data: dict[str, Any] = {"train": IN_MEMORY, "task": task}
        if not rows.is_array:
            data["target"] = list(rows.targets) if len(rows.targets) > 1 else rows.targets[0]
        if rows.weight is not None:
            data["weight"] = rows.weight_name
        config = self._config(data).holding({"train": rows})
        written = "output__dir" in self._keys
        if config.ensemble > 1 and written:
            hint = "leave out output__dir, or train it with: mlpbp train"
            raise DataError(Problem("usage", "an ensemble is kept in memory here", hint, key="ensemble"))
        trained = []
        for one in member_configs(config, 1) if config.ensemble > 1 else [config]:
            trained.append(train(one) if written else in_memory(one))
            trained[-1].finish(progress=config.logging.progress not in ("auto", "off"))
        self._keep(trained)

    def _config(self, data: Mapping[str, Any]) -> Config:
        tree = nested(self._keys)
        if self.hidden is not None:
            tree["model"] = {**tree.get("model", {}), "hidden": nested({"hidden": self.hidden})["hidden"]}
        if self.recipe is not None:
            tree["recipe"] = self.recipe
        return from_mapping({**tree, "data": {**tree.get("data", {}), **data}})

    def _keep(self, trained: Sequence[Training]) -> None:
        """The model of what was trained, and what is to be known of it; epochs are those of the first member."""
        first = trained[0]
        self._checkpoints = [training.checkpoint.copy() for training in trained]
        self.model_ = model_from(self._checkpoints, {})
        self.history_, self.n_iter_, self.run_ = first.history, first.summary.epochs, first.path
        metrics = first.metrics
        if len(trained) > 1:
            metrics = model_from(self._checkpoints, first.config.source.held).metrics()
        self.metrics_ = {split: dict(values) for split, values in metrics.items()}

    def _look_at(self, X: Any) -> Any:
        """The training rows, whose columns are remembered. Raises DataError."""
        X, names, count, named = _columns(X)
        if names is None and np.ndim(X) > 2:
            message = f"Found array with dim {np.ndim(X)}, expected <= 2"
            raise DataError(Problem("wrong_shape", message, "lay every row flat: X.reshape(len(X), -1)", file="X"))
        if not count:
            shape = tuple(np.shape(X))
            message = f"0 feature(s) (shape={shape}) while a minimum of 1 is required."
            raise DataError(Problem("no_inputs", message, file="X"))
        if len(X) < 2:
            message = f"Found array with {len(X)} sample(s), 1 sample or none is nothing to learn from"
            raise DataError(Problem("too_few_rows", message, "give more rows", file="X"))
        self.n_features_in_ = count
        self.__dict__.pop("feature_names_in_", None)
        if named:
            self.feature_names_in_ = np.array(names, object)
        return X

    def _rows(self, X: Any) -> InMemory:
        """Rows to be predicted, with the columns that were trained on. Raises InvalidArgument."""
        X, names, count, named = _columns(X)
        own, kind = getattr(self, "feature_names_in_", None), type(self).__name__
        if own is not None and names is not None:
            compare_names(own.tolist(), names)
        else:
            if own is not None:
                words = f"X does not have valid feature names, but {kind} was fitted with feature names"
                warnings.warn(words, UserWarning, stacklevel=4)
            elif named:
                words = f"X has feature names, but {kind} was fitted without feature names"
                warnings.warn(words, UserWarning, stacklevel=4)
            if count != self.n_features_in_:
                message = f"X has {count} features, but {kind} is expecting {self.n_features_in_} features as input"
                raise DataError(Problem("columns_differ", message))
            X = renamed(X, list(self.model_.features))
        return InMemory(X, name="X")

    def _fitted(self) -> TrainedModel:
        """The model. Raises NotFittedError where nothing was trained."""
        if not self.__sklearn_is_fitted__():
            raise not_fitted(type(self).__name__)
        return self.model_

    def save(self, path: Any, force: bool = False) -> Any:
        """Write the model as a checkpoint, which `load` and the command line read. Raises UsageError, OSError."""
        return self._fitted().save(path, force)


def _columns(X: Any) -> tuple[Any, list[str] | None, int, bool]:
    """X as a table, the names of its columns if they have any, how many there are, and whether all names are words."""
    X = as_table(X, "X")
    names = column_names(X)
    if names is None:
        return X, None, int(np.prod(np.shape(X)[1:])), False
    return X, names, len(names), all(isinstance(name, str) for name in raw_names(X))


class MLPClassifier(_Estimator):
    """A multilayer perceptron for classes.

    hidden: layer sizes, as `model.hidden` of a config. recipe: as `recipe`. Every other argument is a config key, with
    two underscores for a dot: `optimizer__lr=1e-3`, `train__epochs=50`, `data__split__val=0.1`, `seed=1`. What is not
    given is as on the command line: a fifth of the rows is held out, and the best epoch on them is kept. Nothing is
    written unless `output__dir` names a folder for runs.

    After fit: `classes_`, `n_features_in_`, `feature_names_in_`, `n_iter_` (epochs), `history_` (a mapping per epoch),
    `metrics_` ({split: {name: value}}), `model_` (a `TrainedModel`), `run_` (the run directory or None). y may hold
    numbers, words or yes and no; [rows, labels] of 0 and 1 where a row may have several labels.

        >>> X = [[0.0, 0.1], [0.2, 0.0], [1.0, 0.9], [0.8, 1.0]] * 10
        >>> y = ["low", "low", "high", "high"] * 10
        >>> model = MLPClassifier(hidden=[8], optimizer__lr=0.05, train__epochs=40).fit(X, y)
        >>> print(*model.predict([[0.1, 0.1], [0.9, 0.9]]))
        low high
        >>> model.predict_proba([[0.1, 0.1]]).shape
        (1, 2)
    """

    _estimator_type = "classifier"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with labels y. Raises ValueError with the texts of the command line, Diverged."""
        with as_value_errors():
            X, name, y = self._look_at(X), getattr(y, "name", None), targets(y)
            if y.ndim == 2:
                self.classes_ = np.arange(y.shape[1])
                self._train(X, y, sample_weight, "multilabel", name)
                return self
            if y.dtype.kind == "f" and (y != np.floor(y)).any():
                hint = "for values: MLPRegressor"
                raise DataError(Problem("not_labels", "Unknown label type: y holds values that are not whole", hint))
            classes = np.unique(y)
            if len(classes) < 2:
                message = f'y has only one class ("{label_name(classes[0])}"), nothing can be learned from it'
                raise DataError(Problem("one_class", message))
            self._train(X, y, sample_weight, "binary" if len(classes) == 2 else "multiclass", name)
            names = {label_name(value): value for value in classes.tolist()}
            told = self.model_.classes_as_told
            same = set(told) == set(names)
            self.classes_ = np.array([names[name] for name in told], classes.dtype) if same else np.array(told)
        return self

    def predict(self, X: Any) -> Any:
        """The label of every row [rows]; [rows, labels] of 0 and 1 where a row may have several."""
        with as_value_errors():
            model, rows = self._fitted(), self._rows(X)
            if model.kind == "multilabel":
                return model.predict(rows)
            return self.classes_[decide(model.outcomes(rows), True, model.threshold)]

    def predict_proba(self, X: Any) -> Any:
        """The probability of every class [rows, classes], in the order of `classes_`."""
        with as_value_errors():
            return self._fitted().outcomes(self._rows(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label (labels) is right."""
        with as_value_errors():
            told, y = self.predict(X), targets(y)
            right = (told == y) if y.ndim == 1 else (told == y).all(axis=1)
            return float(np.average(right, weights=sample_weight))


class MLPRegressor(_Estimator):
    """A multilayer perceptron for values; arguments and attributes are those of `MLPClassifier`, without classes.

    >>> X = [[k / 50] for k in range(100)]
    >>> y = [2 * row[0] for row in X]
    >>> MLPRegressor(hidden=[16], optimizer__lr=0.05, train__epochs=60).fit(X, y).score(X, y) > 0.9
    True
    """

    _estimator_type = "regressor"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with values y, [rows] or [rows, targets]. Raises ValueError, Diverged."""
        with as_value_errors():
            X, name = self._look_at(X), getattr(y, "name", None)
            self._train(X, numbers(targets(y)), sample_weight, "regression", name)
        return self

    def predict(self, X: Any) -> Any:
        """The value of every row [rows], or of every target [rows, targets]."""
        with as_value_errors():
            return self._fitted().predict(self._rows(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R squared: 1 - (sum of squared errors) / (sum of squared distances from the mean)."""
        with as_value_errors():
            told, y = self.predict(X), numbers(targets(y))
            weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
            told, y = (values.reshape(len(y), -1) for values in (told, y))
            return float(compute("regression", ["r2"], Outcome(told, y, weight))["r2"])

"""What a caller of an estimator hands over: columns by their names, targets, weights; and how it is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlp_core.data.readers.frames import column_names, is_missing, label_name
from mlp_core.errors import DataError, Problem, Refused


class InvalidArgument(Refused, ValueError):
    """What the command line refuses with exit code 2, as the ValueError that Python programs expect."""


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Refusals inside, with the same text, as ValueErrors."""
    try:
        yield
    except InvalidArgument:
        raise
    except Refused as error:
        raise InvalidArgument(error.problems) from None


class NamesDiffer(InvalidArgument):
    """Other columns than those of the training rows: told in scikit-learn's words, on lines of their own."""

    def __str__(self) -> str:
        return self.problems[0].message


def targets(y: Any) -> Any:
    """Targets as an array, a column of them laid flat with a warning. Raises DataError for gaps in them."""
    if y is None:
        message = "requires y to be passed, but the target y is None"
        raise DataError(Problem("missing_target", message))
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples,), for example using ravel().",
            _conversion_warning(),
            stacklevel=4,
        )
        array = array[:, 0]
    if array.dtype.kind == "O":
        array = _of_one_kind(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else f"infinity or a value too large for {array.dtype!r}"
        raise DataError(Problem("missing_target", f"Input y contains {what}.", "leave these rows out"))
    return array


def _of_one_kind(array: Any) -> Any:
    """Targets that came as objects, as what all of them are, else as words. Raises DataError for a missing one."""
    values = array.ravel().tolist()
    if any(map(is_missing, values)):
        raise DataError(Problem("missing_target", "Input y contains NaN.", "leave these rows out"))
    kinds = {type(value) for value in values}
    for found, dtype in (({bool}, bool), ({int}, np.int64), ({int, float}, np.float64)):
        if kinds <= found:
            return array.astype(dtype)
    return np.array([label_name(value) for value in values]).reshape(array.shape)


def numbers(y: Any) -> Any:
    """Values of a regression. Raises DataError for words."""
    try:
        return np.asarray(y, np.float64)
    except ValueError:
        raise DataError(Problem("not_a_number", "y holds words, a regression needs numbers", "MLPClassifier")) from None


def weights(weight: Any, X: Any) -> Any:
    """Row weights, one number standing for all rows."""
    if weight is None:
        return None
    array = np.asarray(weight)
    return np.full(len(X), float(array)) if array.ndim == 0 else array


def raw_names(X: Any) -> Sequence[Any]:
    """Column names as they are, words or not."""
    return list(X) if isinstance(X, Mapping) else list(getattr(X, "columns", getattr(X, "column_names", ())))


def renamed(X: Any, names: list[str]) -> Any:
    """The columns in their order under other names; arrays of numbers need none."""
    if column_names(X) is None:
        array = np.asarray(X)
        return X if array.dtype.kind in "biuf" else {name: column for name, column in zip(names, array.T, strict=True)}
    if isinstance(X, Mapping):
        return dict(zip(names, X.values(), strict=True))
    if hasattr(X, "set_axis"):
        return X.set_axis(names, axis=1)
    if hasattr(X, "rename"):
        return X.rename(dict(zip(column_names(X) or (), names, strict=True)))
    return X.rename_columns(names)


def compare_names(own: list[str], names: list[str]) -> None:
    """Raise DataError where the columns are not those of the training rows, in the words of scikit-learn."""
    if own == names:
        return
    unseen, missing = sorted(set(names) - set(own)), sorted(set(own) - set(names))
    message = "The feature names should match those that were passed during fit.\n"
    for head, some in (("unseen at fit time", unseen), ("seen at fit time, yet now missing", missing)):
        if some:
            message += f"Feature names {head}:\n" + "".join(f"- {name}\n" for name in some[:5])
            message += "- ...\n" if len(some) > 5 else ""
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise NamesDiffer(Problem("columns_differ", message))


def _conversion_warning() -> type[Warning]:
    """scikit-learn's kind of this warning, where it is installed."""
    try:
        from sklearn.exceptions import DataConversionWarning
    except ImportError:
        return UserWarning
    return DataConversionWarning  # type: ignore[no-any-return]


def not_fitted(name: str) -> Exception:
    """scikit-learn's kind of this error, where it is installed."""
    message = f"This {name} instance is not fitted yet. Call 'fit' with appropriate arguments before using it."
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return InvalidArgument(Problem("not_fitted", message))
    return NotFittedError(message)  # type: ignore[no-any-return]

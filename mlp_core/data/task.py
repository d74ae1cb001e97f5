"""What is to be learned: the kind of task, its classes, and how labels become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from mlp_core.data.readers.formats import Source
from mlp_core.data.readers.table import number_name
from mlp_core.errors import DataError, Problem, counted

Kind: TypeAlias = Literal["binary", "multiclass", "multilabel", "regression"]
MAX_CLASSES = 20  # more distinct whole numbers than this are quantities, not labels


@dataclass(frozen=True)
class Task:
    """What a network learns from the data.

    outputs: numbers the network gives per row: 1 for binary, else the number of classes or targets.
    classes: label names in the order of the class indices; () for regression, the targets for multilabel.
    targets, features: names of the target columns and of the input columns.
    kinds: numeric, categorical or boolean for every input column; () when all are numeric.
    weight, ids: names of the column of row weights, if there is one, and of the columns that name a row.
    """

    kind: Kind
    outputs: int
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    features: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    weight: str | None = None
    ids: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The input columns that hold words, to be read as text whatever they look like."""
        return tuple(name for name, kind in zip(self.features, self.kinds, strict=False) if kind != "numeric")

    @property
    def classifies(self) -> bool:
        """Whether every row has one class: y holds class indices."""
        return self.kind in ("binary", "multiclass")

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The task of a checkpoint. Raises ValueError when it is not one."""
        names = [tuple(state[key]) for key in ("classes", "targets", "features")]
        later = [tuple(state.get(key, ())) for key in ("kinds", "ids")]
        weight = state.get("weight")
        if state["kind"] not in get_args(Kind) or not all(
            isinstance(name, str) for part in names + later for name in part
        ):
            raise ValueError("not the state of a task")
        if later[0] and len(later[0]) != len(names[2]):
            raise ValueError("a kind is missing for an input column")
        classes, targets, features = names
        expected = {"binary": 2, "regression": 0}.get(state["kind"], state["outputs"])
        if len(classes) != expected or (state["kind"] == "binary" and state["outputs"] != 1):
            raise ValueError("classes and outputs do not fit the kind of task")
        kinds, ids = later
        weight = weight if weight is None else str(weight)
        return cls(state["kind"], int(state["outputs"]), classes, targets, features, kinds, weight, ids)


@dataclass(frozen=True)
class Wish:
    """What the config says about the task (`data.task`, `data.classes`, `data.positive`)."""

    kind: str = "auto"
    classes: tuple[str, ...] | None = None
    positive: str | None = None


def infer(source: Source, features: Sequence[int], targets: Sequence[int], wish: Wish) -> tuple[Task, str]:
    """The task of the target columns, and one line saying why.

    Several targets: multilabel when all values are 0 or 1, else regression. One target: text, or at most 20 distinct
    whole numbers that occur twice or more on average, are classes, as are the labels of an IDX file; two classes make
    the task binary, more make it multiclass. Anything else is regression. Numeric labels are sorted by value, others
    as text; a binary task's positive class is the second.

    Raises DataError, at the cell for a bad target value, with the config key for a wish that does not fit.
    """
    check_targets(source, targets)
    names = source.names
    inputs, outputs = tuple(names[column] for column in features), tuple(names[column] for column in targets)
    if len(targets) > 1 or wish.kind == "multilabel":
        return _several(source, targets, wish, inputs, outputs)
    labels, whole = _labels(source, targets[0])
    kind, why = _kind(source, targets[0], labels, whole, wish)
    if kind == "regression":
        _refuse_text(source, targets, "regression")
        if wish.classes or wish.positive:
            raise _wish("data.classes" if wish.classes else "data.positive", "regression has no classes", "remove it")
        return Task("regression", 1, (), outputs, inputs), f"task: regression ({why})"
    classes = tuple(labels) if wish.classes is None else wish.classes
    if kind == "binary" and len(classes) != 2:
        raise _wish("data.task", f"binary needs two classes, the target has {len(classes)}", "multiclass fits")
    if len(classes) < 2:
        message = f'target "{outputs[0]}" has only one value ("{classes[0]}")'
        raise DataError(source.problem("one_class", message, None, targets[0], "nothing can be learned from it"))
    if wish.positive is not None:
        classes = _positive_last(classes, wish.positive)
    return Task(kind, 1 if kind == "binary" else len(classes), classes, outputs, inputs), f"task: {kind} ({why})"


def encode(source: Source, targets: Sequence[int], task: Task) -> npt.NDArray[Any]:
    """The targets as the task wants them: class indices int64 [rows], or float64 [rows, outputs].

    Raises DataError with the place of a missing or unfit value, or of a label that is no class of the task.
    """
    check_targets(source, targets)
    if task.classifies:
        return _indices(source, targets[0], task.classes)
    _refuse_text(source, targets, task.kind)
    values = np.ascontiguousarray(source.matrix(targets), np.float64)
    if task.kind == "multilabel" and (bad := np.argwhere((values != 0) & (values != 1))).size:
        row, index = (int(at) for at in bad[0])
        message = f'target "{task.targets[index]}" is {number_name(float(values[row, index]))}, expected 0 or 1'
        raise DataError(source.problem("label_out_of_range", message, row, targets[index]))
    return values


def check_targets(source: Source, targets: Sequence[int]) -> None:
    """Raise DataError at the first target cell that is missing or not a finite number."""
    for column in targets:
        values = source.matrix([column])[:, 0]
        bad = np.flatnonzero(~np.isfinite(values))
        if not bad.size:
            continue
        row = min(source.odd[column]) if source.odd.get(column) else int(bad[0])
        cell = source.cell(row, column)
        if source.odd.get(column):
            code, message, hint = "not_a_number", f'not a number ("{cell}")', "mend the cell or remove the row"
        elif cell in ("inf", "-inf"):
            code, message, hint = "not_finite", f"target is not finite ({cell})", "remove the row"
        else:
            code, message, hint = "missing_target", f'no value of the target "{source.names[column]}"', "remove the row"
        raise DataError(source.problem(code, message, row, column, hint))


def _several(
    source: Source, targets: Sequence[int], wish: Wish, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> tuple[Task, str]:
    if wish.kind in ("binary", "multiclass"):
        raise _wish("data.task", f"{wish.kind} needs one target column, there are {len(targets)}", "multilabel fits")
    if wish.classes or wish.positive:
        key = "data.classes" if wish.classes else "data.positive"
        raise _wish(key, "several targets have no common classes", "remove it")
    _refuse_text(source, targets, "several targets")
    values = source.matrix(targets)
    zero_one = bool(((values == 0) | (values == 1)).all())
    if wish.kind == "multilabel" or (wish.kind == "auto" and zero_one):
        note = f"task: multilabel ({counted(len(targets), 'target')} of 0 and 1)"
        return Task("multilabel", len(targets), outputs, outputs, inputs), note
    return Task(
        "regression", len(targets), (), outputs, inputs
    ), f"task: regression ({counted(len(targets), 'target')})"


def _labels(source: Source, column: int) -> tuple[list[str], bool]:
    """The target's distinct values as label names in their order, and whether all are whole numbers."""
    values = source.matrix([column])[:, 0]
    if column in source.words:
        used = np.unique(values.astype(np.int64))
        return sorted(source.words[column][code] for code in used), False
    distinct = np.unique(values)
    return [number_name(float(value)) for value in distinct], bool((distinct == np.floor(distinct)).all())


def _kind(source: Source, column: int, labels: list[str], whole: bool, wish: Wish) -> tuple[Kind, str]:
    name = source.names[column]
    if wish.kind != "auto":
        return cast(Kind, wish.kind), "as the config says"
    marked = getattr(source, "labels", False)
    few = whole and len(labels) <= MAX_CLASSES and 2 * len(labels) <= source.rows
    if column in source.words or few or marked or wish.classes:
        what = "labels" if column in source.words or marked or wish.classes else "whole values"
        count = len(wish.classes or labels)
        return "binary" if count == 2 else "multiclass", f'target "{name}" has {count:,} {what}'
    shape = "whole values, more than labels would have" if whole else "values, not all whole"
    return "regression", f'target "{name}" has {len(labels):,} {shape}'


def _positive_last(classes: tuple[str, ...], positive: str) -> tuple[str, ...]:
    if len(classes) != 2:
        raise _wish("data.positive", f"needs two classes, there are {len(classes)}", "remove it")
    if positive not in classes:
        raise _wish("data.positive", f'no class "{positive}"', "choose from " + ", ".join(classes))
    return classes if classes[1] == positive else (classes[1], classes[0])


def _indices(source: Source, column: int, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The class index of every row's label."""
    values = source.matrix([column])[:, 0]
    index = {name: place for place, name in enumerate(classes)}
    if column in source.words:
        lookup = np.array([index.get(word, -1) for word in source.words[column]], np.int64)
        indices = lookup[values.astype(np.int64)]
    else:
        distinct = np.unique(values)
        lookup = np.array([index.get(number_name(float(value)), -1) for value in distinct], np.int64)
        indices = lookup[np.searchsorted(distinct, values)]
    unknown = np.flatnonzero(indices < 0)
    if unknown.size:
        row = int(unknown[0])
        label = source.cell(row, column)
        if column not in source.words:
            label = number_name(float(values[row]))
        known = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        message, hint = f'label "{label}" is not one of the classes', f"the classes are {known}"
        raise DataError(source.problem("unknown_label", message, row, column, hint))
    return indices


def _refuse_text(source: Source, targets: Sequence[int], what: str) -> None:
    for column in targets:
        if column in source.words:
            message = f'target "{source.names[column]}" holds text ("{source.cell(0, column)}"), {what} needs numbers'
            raise DataError(source.problem("not_a_number", message, 0, column))


def _wish(key: str, message: str, hint: str) -> DataError:
    return DataError(Problem("task_does_not_fit", message, hint=hint, key=key))

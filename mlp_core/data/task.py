"""What is to be learned: the kind of task, its classes, and how labels become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt

from mlp_core.data.column_types import truth
from mlp_core.data.kept import Kept
from mlp_core.data.preprocess.categories import canonical
from mlp_core.data.readers.source import Source
from mlp_core.data.readers.table import number_name
from mlp_core.errors import DataError, Problem, counted

if TYPE_CHECKING:
    from mlp_core.config.data import Data as Wish

Kind: TypeAlias = Literal["binary", "multiclass", "multilabel", "regression"]
Found: TypeAlias = tuple[Kind, tuple[str, ...], str]  # the kind of task, its classes, and why it is that
MAX_CLASSES = 20  # more distinct whole numbers than this are quantities, not labels


@dataclass(frozen=True)
class Task:
    """What a network learns from the data.

    outputs: numbers the network gives per row: 1 for binary, else the number of classes or targets.
    classes: label names in the order of the class indices; () for regression, the targets for multilabel.
    targets, features: names of the target columns and of the input columns.
    kinds: numeric, categorical, boolean, date or time for every input column; () when all are numeric.
    weight, ids: names of the column of row weights, if there is one, and of the columns that name a row.
    kept: how the training file is written. One class may have one target each, 1 where a row is of it (`one_hot`).
    """

    kind: Kind
    outputs: int
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    features: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    weight: str | None = None
    ids: tuple[str, ...] = ()
    kept: Kept = field(default_factory=Kept)

    @property
    def input_kinds(self) -> tuple[str, ...]:
        """The kind of every input column, where all are numeric, too."""
        return self.kinds or ("numeric",) * len(self.features)

    @property
    def words(self) -> tuple[str, ...]:
        """The columns that hold words, or numbers in a notation, to be read as text whatever they look like."""
        words = [name for name, kind in zip(self.features, self.kinds, strict=False) if kind != "numeric"]
        return tuple(dict.fromkeys([*words, *self.kept.columns]))

    @property
    def one_hot(self) -> bool:
        """Whether every class has a target of its own, 1 in its rows and 0 in all others."""
        return self.classifies and len(self.targets) > 1

    @property
    def classifies(self) -> bool:
        """Whether every row has one class: y holds class indices."""
        return self.kind in ("binary", "multiclass")

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {**asdict(replace(self, kept=Kept())), "kept": self.kept.to_state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The task of a checkpoint. Raises ValueError when it is not one."""
        classes, targets, features = (tuple(state[key]) for key in ("classes", "targets", "features"))
        kinds, ids = (tuple(state.get(key, ())) for key in ("kinds", "ids"))
        words, weight = (*classes, *targets, *features, *kinds, *ids), state.get("weight")
        if state["kind"] not in get_args(Kind) or not all(isinstance(word, str) for word in words):
            raise ValueError("not the state of a task")
        if kinds and len(kinds) != len(features):
            raise ValueError("a kind is missing for an input column")
        if not targets:
            raise ValueError("no target")
        expected = {"binary": 2, "regression": 0}.get(state["kind"], state["outputs"])
        if len(classes) != expected or (state["kind"] == "binary" and state["outputs"] != 1):
            raise ValueError("classes and outputs do not fit the kind of task")
        weight = weight if weight is None else str(weight)
        kept = Kept.from_state(state.get("kept", {}))
        return cls(state["kind"], int(state["outputs"]), classes, targets, features, kinds, weight, ids, kept)


def infer(source: Source, features: Sequence[int], targets: Sequence[int], wish: Wish) -> tuple[Task, str]:
    """The task of the target columns, and one line saying why.

    Several targets: classes when every row has exactly one 1 among zeros, multilabel when all values are 0 or 1, else
    regression. Rows without a target say nothing. One target: text, or at most 20 distinct
    whole numbers that occur twice or more on average, are classes, as are the labels of an IDX file; two classes make
    the task binary, more make it multiclass. Anything else is regression. Numeric labels are sorted by value, others
    as text; a binary task's positive class is the second.

    wish: what the config says (`data.task`, `data.classes`, `data.positive`). Raises DataError, at the cell for a bad
    target value, with the config key for a wish that does not fit.
    """
    check_targets(source, targets)
    outputs, inputs = (tuple(source.names[column] for column in columns) for columns in (targets, features))
    if len(targets) > 1 and wish.task in ("auto", "binary", "multiclass") and is_one_hot(source.matrix(targets)):
        kind, classes, why = _one_hot(source, wish, outputs)
    elif len(targets) > 1 or wish.task == "multilabel":
        kind, classes, why = _several(source, targets, wish, outputs)
    else:
        kind, classes, why = _one(source, targets[0], wish)
    if wish.positive is not None:
        classes = _positive_last(classes, wish.positive)
    positive = f"; positive: {classes[1]}" if kind == "binary" else ""
    count = 1 if kind == "binary" else len(classes) or len(targets)
    return Task(kind, count, classes, outputs, inputs), f"task: {kind} ({why}{positive})"


def _one(source: Source, target: int, wish: Wish) -> Found:
    """What a single target is."""
    labels, whole = _labels(source, target)
    kind, why = _kind(source, target, labels, whole, wish)
    if kind == "regression":
        _refuse_text(source, [target], "regression")
        if wish.classes or wish.positive:
            raise _wish("data.classes" if wish.classes else "data.positive", "regression has no classes", "remove it")
        return kind, (), why
    classes = tuple(labels) if wish.classes is None else wish.classes
    if kind == "binary" and len(classes) != 2:
        raise _wish("data.task", f"binary needs two classes, the target has {len(classes)}", "multiclass fits")
    if len(classes) < 2:
        message = f'target "{source.names[target]}" has only one value ("{classes[0]}")'
        raise DataError(source.problem("one_class", message, None, target, "nothing can be learned from it"))
    return kind, classes, why


def is_one_hot(values: npt.NDArray[Any]) -> bool:
    """Whether every row [rows, targets] that misses no value has a single 1 and else zeros, and no column the same in
    all."""
    present = values[~np.isnan(values).any(axis=1)]
    ones = present == 1
    return bool(
        len(present) and (ones | (present == 0)).all() and (ones.sum(axis=1) == 1).all() and ones.any(axis=0).all()
    )


def _one_hot(source: Source, wish: Wish, outputs: tuple[str, ...]) -> Found:
    """Classes that have a target each, as Keras wants them."""
    names = tuple(map(str, range(len(outputs)))) if source.targets is not None else outputs
    if wish.classes is not None:
        if len(wish.classes) != len(outputs):
            raise _wish("data.classes", f"{len(wish.classes)} labels for {len(outputs)} targets", "name one for each")
        names = wish.classes
    kind: Kind = "binary" if len(outputs) == 2 else "multiclass"
    if wish.task == "binary" and kind != "binary":
        raise _wish("data.task", f"binary needs two classes, there are {len(outputs)} targets", "multiclass fits")
    why = f"each row has a 1 in one of {len(outputs)} targets; for labels that go together: data.task: multilabel"
    if wish.positive is not None and (kind != "binary" or wish.positive != names[1]):
        message, hint = "the targets have an order of their own", "name the positive one last in data.target"
        raise _wish("data.positive", message, hint)
    return kind, names, why


def encode(source: Source, targets: Sequence[int], task: Task) -> npt.NDArray[Any]:
    """The targets as the task wants them: class indices int64 [rows], or float64 [rows, outputs].

    Where a target is missing, the index is -1 and the number NaN. Raises DataError with the place of an unfit value, or
    of a label that is no class of the task.
    """
    check_targets(source, targets)
    if task.one_hot:
        return _columns(source, targets, task)
    if task.classifies:
        return _indices(source, targets[0], task.classes)
    _refuse_text(source, targets, task.kind)
    values = np.ascontiguousarray(source.matrix(targets), np.float64)
    if task.kind == "multilabel" and (bad := np.argwhere((values != 0) & (values != 1) & ~np.isnan(values))).size:
        row, index = (int(at) for at in bad[0])
        message = f'target "{task.targets[index]}" is {number_name(float(values[row, index]))}, expected 0 or 1'
        raise DataError(source.problem("label_out_of_range", message, row, targets[index]))
    return values


def check_targets(source: Source, targets: Sequence[int]) -> None:
    """Raise DataError at the first target cell that is not a finite number, or where all are missing."""
    for column in targets:
        values = source.matrix([column])[:, 0]
        name = source.names[column]
        if odd := source.odd.get(column):
            row = min(odd)
            hint = "mend the cell, list it under data.csv.na if it means missing, or set data.task: multiclass"
            raise DataError(source.problem("not_a_number", f'not a number ("{odd[row]}")', row, column, hint))
        if (infinite := np.flatnonzero(np.isinf(values))).size:
            row = int(infinite[0])
            message = f"target is not finite ({source.cell(row, column)})"
            raise DataError(source.problem("not_finite", message, row, column, "remove the row"))
        if np.isnan(values).all():
            message, hint = f'no row has a value of the target "{name}"', "check data.target"
            raise DataError(source.problem("missing_target", message, None, column, hint))


def without_target(source: Source, targets: Sequence[int]) -> npt.NDArray[np.int64]:
    """The numbers of the rows that miss a target."""
    found = np.zeros(source.rows, bool)
    for column in targets:
        found |= np.isnan(source.matrix([column])[:, 0])
    return np.flatnonzero(found)


def _several(source: Source, targets: Sequence[int], wish: Wish, outputs: tuple[str, ...]) -> Found:
    if wish.task in ("binary", "multiclass"):
        message = f"{wish.task} needs one target column, there are {len(targets)}"
        raise _wish("data.task", message, "multilabel fits; targets of which each row has one 1 would do, too")
    if wish.classes or wish.positive:
        key = "data.classes" if wish.classes else "data.positive"
        raise _wish(key, "several targets have no common classes", "remove it")
    _refuse_text(source, targets, "several targets")
    values = source.matrix(targets)
    zero_one = bool(((values == 0) | (values == 1) | np.isnan(values)).all())
    if wish.task == "multilabel" or (wish.task == "auto" and zero_one):
        return "multilabel", outputs, f"{counted(len(targets), 'target')} of 0 and 1"
    return "regression", (), counted(len(targets), "target")


def _labels(source: Source, column: int) -> tuple[list[str], bool]:
    """The target's distinct values as label names in their order, and whether all are whole numbers."""
    values = source.matrix([column])[:, 0]
    values = values[~np.isnan(values)]
    if column in source.words:
        used = np.unique(values.astype(np.int64))
        return sorted(source.words[column][code] for code in used), False
    distinct = np.unique(values)
    return [number_name(float(value)) for value in distinct], bool((distinct == np.floor(distinct)).all())


def _kind(source: Source, column: int, labels: list[str], whole: bool, wish: Wish) -> tuple[Kind, str]:
    name = source.names[column]
    if wish.task != "auto":
        return cast(Kind, wish.task), "as the config says"
    marked = source.labels
    few = whole and len(labels) <= MAX_CLASSES and 2 * len(labels) <= source.rows
    if column in source.words or few or marked or wish.classes:
        what = "labels" if column in source.words or marked or wish.classes else "whole values"
        count = len(wish.classes or labels)
        return "binary" if count == 2 else "multiclass", f'target "{name}" has {count:,} {what}'
    shape = "whole values, more than labels would have" if whole else "values, not all whole"
    return "regression", f'target "{name}" has {len(labels):,} {shape}'


def by_truth(classes: Sequence[str], label: str) -> str | None:
    """The class that a label means where both classes are words of yes and no, written otherwise in a further file.

    >>> by_truth(("False", "True"), "1")
    'True'
    """
    if len(classes) != 2:
        return None
    meant = {truth(canonical(name)): name for name in classes}
    return meant.get(truth(canonical(label))) if set(meant) == {0.0, 1.0} else None


def _positive_last(classes: tuple[str, ...], positive: str) -> tuple[str, ...]:
    if len(classes) != 2:
        raise _wish("data.positive", f"needs two classes, there are {len(classes)}", "remove it")
    if positive not in classes:
        raise _wish("data.positive", f'no class "{positive}"', "choose from " + ", ".join(classes))
    return classes if classes[1] == positive else (classes[1], classes[0])


def _indices(source: Source, column: int, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The class index of every row's label, -1 where it is missing."""
    values = source.matrix([column])[:, 0]
    present = ~np.isnan(values)
    index = {canonical(name): place for place, name in enumerate(classes)}
    index |= {name: place for place, name in enumerate(classes)}
    indices = np.full(len(values), -1, np.int64)

    def place(label: str) -> int:
        found = index.get(label, index.get(canonical(label)))
        return index.get(by_truth(classes, label) or "", -1) if found is None else found

    if column in source.words:
        lookup = np.array([place(word) for word in source.words[column]], np.int64)
        indices[present] = lookup[values[present].astype(np.int64)]
    else:
        distinct = np.unique(values[present])
        lookup = np.array([place(number_name(float(value))) for value in distinct], np.int64)
        indices[present] = lookup[np.searchsorted(distinct, values[present])]
    unknown = np.flatnonzero((indices < 0) & present)
    if unknown.size:
        row = int(unknown[0])
        label = source.cell(row, column)
        if column not in source.words:
            label = number_name(float(values[row]))
        known = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        message, hint = f'label "{label}" is not one of the classes', f"the classes are {known}"
        raise DataError(source.problem("unknown_label", message, row, column, hint))
    return indices


def _columns(source: Source, targets: Sequence[int], task: Task) -> npt.NDArray[np.int64]:
    """The class of every row from targets of which one is 1; -1 where they are missing."""
    values = np.asarray(source.matrix(targets), np.float64)
    present = ~np.isnan(values).any(axis=1)
    bad = np.flatnonzero(present & (((values != 0) & (values != 1)).any(axis=1) | ((values == 1).sum(axis=1) != 1)))
    if bad.size:
        message, hint = "not a 1 in one target and 0 in all others", "as the model was trained on"
        raise DataError(source.problem("label_out_of_range", message, int(bad[0]), targets[0], hint))
    return np.where(present, np.argmax(np.nan_to_num(values), axis=1), -1)


def _refuse_text(source: Source, targets: Sequence[int], what: str) -> None:
    for column in targets:
        if column in source.words:
            message = f'target "{source.names[column]}" holds text ("{source.cell(0, column)}"), {what} needs numbers'
            raise DataError(source.problem("not_a_number", message, 0, column))


def _wish(key: str, message: str, hint: str) -> DataError:
    return DataError(Problem("task_does_not_fit", message, hint=hint, key=key))

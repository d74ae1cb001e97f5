"""The cells of a source as numbers and codes: inputs, row weights, labels; what cannot be is refused at its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlp_core.data.column_types import are_truths, is_empty, truth
from mlp_core.data.notation import Notation, is_usual
from mlp_core.data.preprocess.categories import canonical
from mlp_core.data.preprocess.scaling import parts
from mlp_core.data.readers.npy_on_disk import Change
from mlp_core.data.readers.source import Source, on_disk
from mlp_core.data.readers.table import number_name
from mlp_core.data.task import Task
from mlp_core.errors import DataError, Problem

PLAIN = Notation()
MOST = 20  # problems told at once
MEND = "fix the cell, or leave it empty where the value is missing"
MOST_WORDS = 500_000  # categories of a column: nothing is learned from so many, and each takes memory


def inputs(source: Source, features: Sequence[int], task: Task, whole: bool = True) -> tuple[Any, dict[int, list[str]]]:
    """The input columns [rows, features] of a task, missing cells NaN, and the vocabularies of those that hold words.

    Columns of words hold codes into their vocabulary, columns of yes and no 1 and 0, numbers, dates and times are read
    by the notation of their column, if it has one. Columns on the disk stay there, and are not looked at yet (`survey`
    does). `whole` says that the source is all there is to learn from: then a column without any value is refused.
    Raises DataError naming the first bad cell of each column.
    """
    kinds, notations = task.input_kinds, task.kept.columns
    numeric = all(kind == "numeric" for kind in kinds)
    if numeric and source.targets is not None and not on_disk(source):
        return _finite(source, features), {}
    words, changes, problems = dict[int, list[str]](), dict[int, Change](), list[Problem]()
    for place, (column, kind) in enumerate(zip(features, kinds, strict=True)):
        change, vocabulary, problem = _column(source, column, kind, notations, whole)
        if whole and len(vocabulary) > MOST_WORDS:
            problem = _too_many_words(source, column, change)
        if kind == "categorical":
            words[place] = vocabulary
        if change is not None:
            changes[place] = change
        problems += [problem] if problem else []
        if len(problems) == MOST:
            break
    if problems:
        raise DataError(problems)
    if on_disk(source):
        cells = source.cells if numeric and not source.words else source.cells.as_type(np.float64)
        return cells.select(features, changes), words
    X = np.asarray(source.matrix(features), np.float64)
    if not numeric or not source.words.keys().isdisjoint(features):
        X = np.array(X)  # to be changed
    for place, change in changes.items():
        X[:, place] = change(X[:, place])
    return X, words


def _column(
    source: Source, column: int, kind: str, notations: Mapping[str, Notation], whole: bool
) -> tuple[Change | None, list[str], Problem | None]:
    """What is to be done to the cells of a column, if anything, its vocabulary if it is one of words, and what is wrong
    with it. Of columns on the disk only those are read of which nothing else tells it."""
    if (problem := _odd(source, column, notations, whole)) is not None:
        return None, [], problem
    if whole and is_empty(source, column):
        return None, [], _no_values(source, column)
    if kind == "categorical" and column in source.words:
        return *_one_spelling(source.words[column]), None
    if kind == "categorical":
        return *_named(_cells(source, column)), None
    if column in source.words or kind == "boolean":
        change, problem = _numbers(source, column, kind, notations, whole)
        return change, [], problem
    return None, [], None


def _too_many_words(source: Source, column: int, change: Change | None) -> Problem:
    """What is wrong with a column of words that are more than can be learned, at the first row beyond the limit where
    the cells are in memory."""
    name, row = source.names[column], None
    if not on_disk(source):
        codes = _cells(source, column)
        row = int(np.argmax((codes if change is None else change(codes)) >= MOST_WORDS))
    hint = f"leave the column out with data.drop: [{name}], or put its words into groups"
    message = f'more than {MOST_WORDS:,} categories in column "{name}"'
    return source.problem("too_many_words", message, row, column, hint)


def _cells(source: Source, column: int) -> npt.NDArray[np.float64]:
    """The cells of a column, from the disk if they are there."""
    return np.asarray(source.cells[:, column], np.float64)


def _named(values: npt.NDArray[np.float64]) -> tuple[Change, list[str]]:
    """What makes codes of numbers that are names, and the vocabulary (`3` for 3.0)."""
    distinct = np.unique(values)
    distinct = distinct[~np.isnan(distinct)]

    def change(block: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(np.isnan(block), np.nan, np.searchsorted(distinct, block).astype(np.float64))

    return change, [number_name(float(value)) for value in distinct]


def _looked_up(lookup: npt.NDArray[Any]) -> Change:
    """From codes to what they mean; the last entry is for missing cells."""

    def change(block: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        return lookup[np.where(np.isnan(block), len(lookup) - 1, block).astype(np.int64)]

    return change


def weights(source: Source, column: int) -> npt.NDArray[np.float64]:
    """The row weights of a column. Raises DataError at the first that is no number of at least 0, or if all
    are zero."""
    values = np.array(source.matrix([column])[:, 0], np.float64)
    name = source.names[column]
    if column in source.words:
        raise DataError(source.problem("bad_weight", f'weight column "{name}" holds text', 0, column))
    bad = np.flatnonzero(~(values >= 0) | ~np.isfinite(values))
    if bad.size:
        row = int(bad[0])
        message = f'weight "{source.cell(row, column)}" in column "{name}"'
        raise DataError(source.problem("bad_weight", message, row, column, "give a number of at least 0"))
    if not values.any():
        raise DataError(source.problem("bad_weight", f'all weights in column "{name}" are zero', None, column))
    return values


def relabel(source: Source, targets: Sequence[int], labels: Mapping[str, str]) -> Source:
    """The source with labels as they are meant, where they are written in another way (data.labels)."""
    if not labels or source.targets is not None:
        return source
    cells, words = dict[int, npt.NDArray[np.float64]](), dict(source.words)
    for column in targets:
        coded, vocabulary = source.cells[:, column], source.words.get(column)
        if vocabulary is None:
            change, vocabulary = _named(coded)
            coded = change(coded)
        meant = list(dict.fromkeys(labels.get(word, word) for word in vocabulary))
        lookup = np.array([*(meant.index(labels.get(word, word)) for word in vocabulary), np.nan])
        cells[column], words[column] = _looked_up(lookup)(coded), meant
    return source.with_columns(cells, words)


def refuse_missing(source: Source, columns: Sequence[int]) -> None:
    """Raise DataError at the first missing cell of each of the columns, which may not miss any."""
    problems = []
    for column in columns:
        rows = np.flatnonzero(np.isnan(source.matrix([column])[:, 0]))
        if rows.size:
            name = source.names[column]
            hint = f"fill the cell, set preprocess to impute it, or leave the column out with data.drop: [{name}]"
            message = f'missing value in column "{name}"'
            problems.append(source.problem("missing_value", message, int(rows[0]), column, hint))
    if problems:
        raise DataError(problems[:MOST])


def _finite(source: Source, features: Sequence[int]) -> npt.NDArray[Any]:
    """The columns of arrays, every cell a number or NaN, which is a missing cell."""
    X, problems = source.matrix(features), []
    infinite = np.zeros(X.shape[1], bool)
    for rows in parts(X) if X.dtype.kind == "f" else ():  # in blocks, so that no second matrix is made
        infinite |= np.isinf(X[rows]).any(axis=0)
    for place in np.flatnonzero(infinite)[:MOST].tolist():
        row = int(np.argmax(np.isinf(X[:, place])))
        message = f"not a finite number ({X[row, place]})"
        problems.append(source.problem("not_finite", message, row, features[place], "mend the array"))
    if problems:
        raise DataError(problems)
    return X


def _one_spelling(words: list[str]) -> tuple[Change | None, list[str]]:
    """What makes codes of a vocabulary those of one where every number has one spelling (1 for 1.0), and that one."""
    places: dict[str, int] = {}
    lookup = [float(places.setdefault(canonical(word), len(places))) for word in words]
    return (None, words) if len(places) == len(words) else (_looked_up(np.array([*lookup, np.nan])), list(places))


def _read(
    source: Source, column: int, kind: str, notations: Mapping[str, Notation], whole: bool = True
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """What the words of a column are as numbers, NaN for a missing cell at the end; and which of them are none.

    In a further file yes and no may be missing in words that mean so everywhere; for numbers these mean it anyhow."""
    words = source.words[column]
    if kind == "boolean":
        found: list[float | None] = [truth(word) for word in words]
        wrong = [np.isnan(truth(word)) and (whole or not is_usual(word)) for word in words]
    else:
        notation = notations.get(source.names[column], PLAIN)
        found = [notation.number(word) for word in words]
        if not whole and are_truths([word for word, value in zip(words, found, strict=True) if value is None]):
            found = [truth(word) if value is None else value for word, value in zip(words, found, strict=True)]
        wrong = [value is None for value in found]
    return np.array([*(np.nan if value is None else value for value in found), np.nan]), np.array([*wrong, False])


def _numbers(
    source: Source, column: int, kind: str, notations: Mapping[str, Notation], whole: bool
) -> tuple[Change | None, Problem | None]:
    """What makes numbers of the cells of a column, of yes and no 1 and 0 (None: they are), and what is wrong with the
    first cell that is none."""
    change = None
    if column in source.words:
        lookup, wrong = _read(source, column, kind, notations, whole)
        change = _looked_up(lookup)
        bad = np.flatnonzero(_looked_up(wrong)(_cells(source, column))) if wrong.any() else np.empty(0)
    else:
        values = _cells(source, column)
        bad = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
    if not bad.size:
        return change, None
    row, name = int(bad[0]), source.names[column]
    what = {"boolean": "yes or no", "date": "a date", "time": "a time of day"}.get(kind, "a number")
    message = f'not {what} ("{source.cell(row, column)}") in column "{name}"'
    hint = f"fix the cell, list it under data.csv.na, or set data.types: {{{name}: categorical}}" if whole else MEND
    if kind == "date" and (notation := notations.get(name)) is not None:
        told = f"dates are taken as {notation.order}; if that is wrong" if notation.order else ""
        told = told or "in training all have the year first or the month by its name; for others"
        hint = f"{told}, set data.date_order{'' if whole else ' and train again'}. Or {hint}"
    return change, source.problem("not_a_boolean" if kind == "boolean" else "not_a_number", message, row, column, hint)


def as_numbers(source: Source, notations: Mapping[int, Notation]) -> Source:
    """The source with the numbers that some columns of words hold (targets, weights). Raises DataError at the first
    cell that is none."""
    if not notations or source.targets is not None:
        return source
    cells: dict[int, npt.NDArray[np.float64]] = {}
    for column, notation in notations.items():
        change, _, problem = _column(source, column, "numeric", {source.names[column]: notation}, whole=False)
        if problem is not None:
            raise DataError(problem)
        if change is not None:
            cells[column] = change(_cells(source, column))
    words = {column: vocabulary for column, vocabulary in source.words.items() if column not in cells}
    return source.with_columns(cells, words, plain=notations)


def _no_values(source: Source, column: int) -> Problem:
    name = source.names[column]
    hint = f"leave the column out with data.drop: [{name}]"
    return source.problem("empty_column", f'column "{name}" has no values', 0, column, hint)


def _odd(source: Source, column: int, notations: Mapping[str, Notation], whole: bool) -> Problem | None:
    """What is wrong with a column of numbers, at the first cell that is none and does not mean missing."""
    missing = notations.get(source.names[column], PLAIN).missing
    odd = source.odd.get(column, {})
    odd = {row: cell for row, cell in odd.items() if cell.strip() not in missing and not is_usual(cell)}
    if not odd:
        return None
    row = min(odd)
    cell = odd[row].strip()
    hint = "fix the cell, or list it under data.csv.na if it means missing" if whole else MEND
    if "," in cell:
        hint = "if it is a decimal comma, set data.csv.decimal" if whole else "write numbers as in the training file"
    return source.problem("not_a_number", f'not a number ("{cell}")', row, column, hint)

"""What is written otherwise in a further file than in the training file, and how it is taken: told, never silent."""

from __future__ import annotations

from collections.abc import Sequence

from mlp_core.data.column_types import are_truths, truth
from mlp_core.data.dates import is_open
from mlp_core.data.notation import Notation, is_usual
from mlp_core.data.readers.source import Source
from mlp_core.data.readers.table import number_name
from mlp_core.data.task import Task, by_truth
from mlp_core.errors import clean

MANY = 12  # dates of which none has a day beyond the 12th: one file in thousands
LOOKED_AT = 1000


def unlike(source: Source, features: Sequence[int], targets: Sequence[int], task: Task) -> dict[tuple[str, str], str]:
    """A line for everything of that kind in a further file, under (what, name of the column).

    Words that mean a missing number and did not occur in training, dates whose day and month may be exchanged, numbers
    without the unit that all had in training, and labels of yes and no in other words.
    """
    if source.targets is not None:
        return {}
    told: dict[tuple[str, str], str] = {}
    for name, other in source.twice:
        if name in (*task.features, *task.targets) and other not in task.features:
            told["twice", name] = f'column "{clean(name)}" stands there more than once; the first one is taken'
    for column, kind in zip(features, task.input_kinds, strict=True):
        if kind == "categorical":
            continue
        name = source.names[column]
        notation = task.kept.columns.get(name, Notation())
        cells = source.words.get(column) or list(dict.fromkeys(source.odd.get(column, {}).values()))
        missing = [cell for cell in cells if is_usual(cell) and cell.strip() not in notation.missing]
        if missing:
            told["missing", name] = f'column "{clean(name)}": {_some(missing)} taken as missing'
        truths = [cell for cell in cells if notation.number(cell) is None]
        if kind == "numeric" and are_truths(truths):
            meant = ", ".join(f'"{clean(word)}" as {truth(word):g}' for word in truths[:2])
            told["truths", name] = f'column "{clean(name)}": taken as numbers, {meant}'
        dated = cells[:LOOKED_AT] if notation.order in ("dmy", "mdy") else []
        if len(dated) >= MANY and is_open(dated) and source.rows >= MANY:
            first = {"dmy": "day", "mdy": "month"}[notation.order]
            other = {"day": "month", "month": "day"}[first]
            taken = f"taken with the {first} first, as in training, though all would fit with the {other} first"
            told["order", name] = f'column "{clean(name)}": dates such as "{clean(dated[0])}" {taken}'
        told |= _without_unit(name, notation, cells)
    for column in () if task.classifies else targets:
        name = source.names[column]
        told |= _without_unit(name, task.kept.columns.get(name, Notation()), source.words.get(column, ()))
    if task.classifies and not task.one_hot:
        told |= _labels(source, targets, task.classes)
    return told


def _without_unit(name: str, notation: Notation, cells: Sequence[str]) -> dict[tuple[str, str], str]:
    """A line about numbers without the unit that all numbers of the training file have."""
    bare = next((cell for cell in cells if notation.bare(cell)), None)
    if bare is None:
        return {}
    unit = clean(notation.units[0])
    taken = f"{clean(bare)} is taken as {clean(bare)}{'' if unit == '%' else ' '}{unit}"
    return {("unit", name): f'column "{clean(name)}": numbers without "{unit}", which all had in training; {taken}'}


def _labels(source: Source, targets: Sequence[int], classes: Sequence[str]) -> dict[tuple[str, str], str]:
    """A line about labels that are classes only by what they mean."""
    told = {}
    for column in targets:
        name, words = source.names[column], source.words.get(column)
        labels = words or [number_name(value) for value in (0.0, 1.0) if value in source.matrix([column])[:, 0]]
        found = [(label, by_truth(classes, label)) for label in labels if label not in classes]
        meant = [f'"{clean(label)}" as "{clean(one)}"' for label, one in found if one is not None]
        if meant:
            told["labels", name] = f'column "{clean(name)}": labels taken by what they mean, {", ".join(meant[:2])}'
    return told


def _some(cells: Sequence[str]) -> str:
    shown = ", ".join(f'"{clean(cell.strip(), 20)}"' for cell in cells[:3]) + (", ..." if len(cells) > 3 else "")
    return f"{shown} {'is' if len(cells) == 1 else 'are'}"

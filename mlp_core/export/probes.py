"""Test rows that travel with an exported model, beside the answers that the model gave to them before it left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlp_core.errors import Failed, Problem
from mlp_core.export import operations as op
from mlp_core.export.description import Description, Member
from mlp_core.rng import generator
from mlp_core.runs.predict import Predictor
from mlp_core.training.ensemble import Saved

ROWS = 16
GAPS = 0.15  # share of cells that miss a value, where that is allowed
UNSEEN = 0.1  # share of words that training did not keep
NEAR = 1e-3  # a row whose label is decided by less than this is drawn again: rounding might turn it
DRAWS = 100

Cell = float | str | None
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Probes:
    """Rows of raw cells (None: missing), and what is to be answered, column by column under the names of `predict`.

    units: what a difference in a column of numbers is measured in: 1 for probabilities, else the largest value.
    """

    rows: dict[str, list[Cell]]
    numbers: Columns
    labels: Columns
    units: dict[str, float]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.rows.values())))


def draw(model: Saved, description: Description) -> Probes:
    """16 rows within the ranges of the training rows, as far as the preprocessing knows them, and the model's answers.

    The same model gives the same rows. Gaps and words never seen are among them, where they are not refused. Raises
    Failed where the model answers with infinite numbers only.
    """
    rng, predictor = generator(0, "export"), Predictor(model, probabilities=True)
    rows: dict[str, list[Cell]] = {column.name: [] for column in description.columns}
    told: Columns = {}
    count = 0
    for attempt in range(DRAWS):
        cells = _draw(description, rng)
        answers = predictor.answer(*_encoded(description, cells))
        sure = np.flatnonzero(_sure(description, answers, NEAR * 0.8**attempt))[: ROWS - count].tolist()
        for kept, drawn in zip(rows.values(), cells, strict=True):
            kept += [drawn[at] for at in sure]
        for name, values in answers.items():
            told.setdefault(name, []).extend(np.asarray(values)[sure].tolist())
        count += len(sure)
    if not count:
        raise Failed(Problem("not_finite", "the model's answers to its test rows are not finite numbers"))
    numbers = {name: told[name] for answer in description.answers for name in answer.columns}
    labels = {name: values for name, values in told.items() if name not in numbers}
    sizes = {name: 1.0 if description.decision else max(map(abs, values)) or 1.0 for name, values in numbers.items()}
    return Probes(rows, numbers, labels, sizes)


def _sure(description: Description, answers: Any, margin: float) -> Any:
    """Which rows have finite answers that are decided by more than a margin."""
    P = np.stack([answers[name] for answer in description.answers for name in answer.columns], axis=1)
    sure, decision = np.isfinite(P).all(axis=1), description.decision
    if decision is None:
        return sure
    if decision.several or P.shape[1] == 2:
        one = P if decision.several else P[:, 1:]
        return sure & (np.abs(one - decision.threshold).min(axis=1) >= margin * min(1.0, decision.threshold))
    best = np.sort(P, axis=1)
    return sure & (best[:, -1] - best[:, -2] >= margin)


def _draw(description: Description, rng: np.random.Generator) -> list[list[Cell]]:
    """Columns of drawn cells."""
    words = _words(description)
    number = _numbers(description.members[0])
    drawn: list[list[Cell]] = []
    for place, column in enumerate(description.columns):
        values: list[Cell] = []
        for gap in (rng.random(ROWS) < (0 if column.required else GAPS)).tolist():
            if gap:
                values.append(None)
            elif place in words:
                values.append(_word(*words[place], rng))
            else:
                values.append(float(rng.integers(2)) if column.kind == "boolean" else number(place, rng))
        drawn.append(values)
    return drawn


def _words(description: Description) -> dict[int, tuple[list[str], bool]]:
    """For each column of words those that members know, and whether another one is refused by any of them."""
    columns: dict[int, list[op.Words]] = {}
    for one in (one for member in description.members for one in member.inputs if isinstance(one, op.Words)):
        columns.setdefault(one.column, []).append(one)
    known = {}
    for column, kept in columns.items():
        refusing = [set(one.words) for one in kept if one.refuse]
        words = dict.fromkeys(word for one in kept for word in one.words)
        known[column] = [word for word in words if all(word in some for some in refusing)], bool(refusing)
    return known


def _word(words: Sequence[str], refuse: bool, rng: np.random.Generator) -> str:
    """One of the words, or one that was never seen."""
    if words and (refuse or rng.random() >= UNSEEN):
        return words[int(rng.integers(len(words)))]
    return f"never seen {int(rng.integers(1000))}"


def _numbers(member: Member) -> Callable[[int, np.random.Generator], float]:
    """A function that draws a number for a column: among its quantiles, or around what its scaling shifts it by."""
    steps = {type(one): one for one in member.inputs if not isinstance(one, op.Words | op.Ranks)}
    quantiles = {one.place: one.quantiles for one in member.inputs if isinstance(one, op.Ranks)}

    def one(column: int, rng: np.random.Generator) -> float:
        j = steps[op.Numbers].columns.index(column)
        shift, scale = float(steps[op.Scale].shift[j]), float(steps[op.Scale].scale[j]) or 1.0
        if j in quantiles:
            knots = quantiles[j]
            value = rng.choice(knots) if rng.random() < 0.3 else rng.uniform(knots[0], knots[-1])
        elif (shift, scale) == (0.0, 1.0):  # not scaled: what stands in for a gap is known
            value = steps[op.Fill].values[j] * rng.uniform(0, 2) or rng.uniform(-1, 1)
        else:
            value = shift + rng.uniform(-0.5, 1.5) / scale
        if op.Log in steps and j in steps[op.Log].places:
            value = np.expm1(min(value, 50.0))
        return float(f"{value:.5g}")  # as somebody would type it

    return one


def _encoded(description: Description, cells: Sequence[Sequence[Cell]]) -> tuple[Any, dict[int, list[str]]]:
    """Columns of cells as the preprocessing takes them: numbers, and codes into vocabularies."""
    X, vocabularies = np.full((len(cells[0]), len(cells)), np.nan), dict[int, list[str]]()
    for place, (column, values) in enumerate(zip(description.columns, cells, strict=True)):
        present = [cell is not None for cell in values]
        if column.kind == "categorical":
            words = vocabularies[place] = sorted({str(cell) for cell in values if cell is not None})
            X[present, place] = [words.index(str(cell)) for cell in values if cell is not None]
        else:
            X[present, place] = [float(cell) for cell in values if cell is not None]
    return X, vocabularies

"""A model as it leaves: the columns it takes, its members with what each does, what it tells and decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlp_core.export import operations as op


@dataclass(frozen=True)
class Column:
    """A column of raw cells. kind: numeric, boolean or categorical. required: a missing cell is refused.

    meaning: what a number is that in the training file is written in a notation of its own, else "".
    """

    name: str
    kind: str
    required: bool
    meaning: str = ""


@dataclass(frozen=True)
class Answer:
    """Numbers that are told: their `name` as a whole, what `mlpbp predict` calls each column.

    average: how they are made of what several members tell. steps: what is done to these then.
    """

    name: str
    columns: tuple[str, ...]
    average: op.Mean | op.Mixture = field(default_factory=op.Mean)
    steps: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Labels from the probabilities, the first answer.

    several: each of `labels` holds (1) from `threshold` on, or does not (0). Else one of them per row: of two the
    second from `threshold` on, of more the most probable.
    """

    labels: tuple[str, ...]
    threshold: float
    several: bool


@dataclass(frozen=True)
class Member:
    """A network with inputs of its own. width: how many these are. outputs: logits.

    answers: for each answer of the model, the steps that lead to it from the logits.
    """

    inputs: tuple[Any, ...]
    width: int
    network: tuple[Any, ...]
    outputs: int
    answers: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Description:
    """A model as it leaves: what it takes, what it does, what it tells.

    kind: of task. gaps: texts that stand for a missing cell. targets: the columns that are predicted.
    """

    version: str
    kind: str
    dtype: str
    targets: tuple[str, ...]
    columns: tuple[Column, ...]
    gaps: tuple[str, ...]
    members: tuple[Member, ...]
    answers: tuple[Answer, ...]
    decision: Decision | None

    @property
    def limit(self) -> float:
        """The largest difference that is rounding."""
        return 1e-5 if self.dtype == "float32" else 1e-12

    @property
    def matrix(self) -> bool:
        """Whether all columns are numbers, so that rows can be a matrix."""
        return all(column.kind == "numeric" for column in self.columns)

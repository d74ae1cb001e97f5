"""The inputs of a model as ONNX nodes: from raw cells to what the network sees."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from mlp_core.data.column_types import TRUTHS
from mlp_core.data.preprocess import quantile_scores as ranks
from mlp_core.errors import Problem, UsageError
from mlp_core.export import operations as op
from mlp_core.export.description import Description
from mlp_core.export.onnx_graph import Graph, Tensor
from mlp_core.export.walk import Walk
from mlp_core.nn.complex_math import _polynomial

FAR = 1e100  # bent, what is farther comes to the same, and its square is still a number
REFUSED = -2
"""The place of a word that is refused; a graph cannot stop, so such a row is answered by what is no number."""


class Cells(Walk):
    """The block X, the inputs behind it, and for each row whether a cell is refused, as they grow."""

    to = "ONNX"

    def __init__(self, graph: Graph, description: Description, raw: dict[int, Tensor], matrix: Tensor | None) -> None:
        self.graph, self.description, self.raw, self.matrix = graph, description, raw, matrix
        self.columns = description.columns
        self.X: Tensor | None = None
        self.width = 0
        self.behind: list[Tensor] = []
        self.refused: list[Tensor] = []

    def inputs(self, operations: tuple[Any, ...]) -> Tensor:
        """The inputs of the network, in its type."""
        self.walk(operations)
        whole = self.graph.join([*([self.X] if self.X is not None else []), *self.behind])
        made = whole.astype(self.description.dtype)
        self.refused.append(self.graph.any(self.graph.node("IsInf", made, dtype=bool)))
        return made

    @property
    def block(self) -> Tensor:
        assert self.X is not None
        return self.X

    def row(self, values: Any) -> Any:
        """Values as one row, to stand beside all rows."""
        return np.asarray(values, np.float64)[None, :]

    def missing(self, X: Tensor) -> Tensor:
        """Where cells are missing."""
        return self.graph.node("IsNaN", X, dtype=bool)

    def chosen(self, places: tuple[int, ...], changed: Tensor) -> None:
        """X, but in these places what it was changed to."""
        mask = np.isin(np.arange(self.width), places)[None, :]
        self.X = self.graph.where(self.graph.tensor(mask, bool), changed, self.block)

    def visit_Numbers(self, one: op.Numbers) -> None:
        graph, columns = self.graph, self.columns
        self.width = len(one.columns)
        if self.matrix is not None:
            self.X = self.matrix
        else:
            self.X = graph.join(
                [self.yes_or_no(k) if columns[k].kind == "boolean" else self.raw[k] for k in one.columns]
            )
        self.refused.append(graph.any(graph.node("IsInf", self.X, dtype=bool)))
        if required := [j for j, column in enumerate(one.columns) if columns[column].required]:
            self.refused.append(graph.any(self.missing(self.X.columns(required))))

    def yes_or_no(self, column: int) -> Tensor:
        """A column of yes and no as 1 and 0, in any mixture of small and capital letters."""
        written = {
            "".join(letters): value
            for word, value in TRUTHS.items()
            for letters in product(*({letter.lower(), letter.upper()} for letter in word))
        }
        gaps = {"", *self.description.gaps} - set(written)
        keys = [*sorted(written), *sorted(gaps)]
        values = [*(written[word] for word in sorted(written)), *(float("nan") for _ in gaps)]
        found = self.graph.lookup(self.raw[column], keys, values, float(REFUSED)).astype(np.float64)
        self.refused.append(found < -1.0)
        return found

    def visit_Flag(self, one: op.Flag) -> None:
        self.behind.append(self.missing(self.block.columns(list(one.places))).astype(np.float64))

    def visit_Circles(self, one: op.Circles) -> None:
        graph = self.graph
        for place, period in zip(one.places, one.periods, strict=True):
            x = self.block.columns([place])
            angle = graph.node("Mod", x, graph.tensor(period, np.float64), fmod=1) * (2 * np.pi) / period
            missing = self.missing(x)
            self.behind += [graph.where(missing, 0.0, graph.node(kind, angle)) for kind in ("Sin", "Cos")]

    def visit_Fill(self, one: op.Fill) -> None:
        self.X = self.graph.where(self.missing(self.block), self.row(one.values), self.block)

    def visit_Clip(self, one: op.Clip) -> None:
        self.X = self.graph.maximum(self.graph.minimum(self.block, self.row(one.high)), self.row(one.low))

    def visit_Log(self, one: op.Log) -> None:
        self.chosen(one.places, self.graph.log1p(self.graph.maximum(self.block, -0.999999)))

    def visit_Scale(self, one: op.Scale) -> None:
        self.X = (self.block - self.row(one.shift)) * self.row(one.scale)

    def visit_Bend(self, one: op.Bend) -> None:
        X = self.graph.minimum(self.graph.maximum(self.block, -FAR), FAR)
        self.chosen(one.places, X / self.graph.sqrt((X / 3.0) * (X / 3.0) + 1.0))

    def visit_Ranks(self, one: op.Ranks) -> None:
        self.chosen((one.place,), _normal_scores(self.graph, self.block.columns([one.place]), one.quantiles))

    def place(self, one: op.Words) -> Tensor:
        """The place of each word, [rows, 1], int64."""
        column = self.columns[one.column]
        if one.hashed:
            message = f'column "{column.name}": encode: hash cannot be exported to ONNX, which has no checksum of words'
            raise UsageError(Problem("not_exportable", message, "export to c, numpy or torch"))
        missing = REFUSED if column.required else one.missing
        gaps = sorted({"", *self.description.gaps} - set(one.words))
        keys, values = [*one.words, *gaps], [*range(len(one.words)), *(missing for _ in gaps)]
        place = self.graph.lookup(self.raw[one.column], keys, values, REFUSED if one.refuse else one.unknown)
        if column.required or one.refuse:
            self.refused.append(place.equals(REFUSED))
            place = self.graph.maximum(place, -1)
        return place

    def visit_OneHot(self, one: op.OneHot) -> None:
        places = np.where(np.isin(np.arange(one.places), one.silent), REFUSED - 1, np.arange(one.places))
        self.behind.append(self.place(one).equals(places[None, :]).astype(np.float64))

    def visit_Levels(self, one: op.Levels) -> None:
        places = np.array([[*range(one.places), -1]])
        chosen = self.place(one).equals(places).astype(np.float64)
        self.behind.append(self.graph.node("MatMul", chosen, self.graph.tensor(one.table, np.float64)))

    def visit_Ordinal(self, one: op.Ordinal) -> None:
        self.behind.append(self.place(one).astype(np.float64) / max(1, one.places - 1))

    def visit_Code(self, one: op.Code) -> None:
        self.behind.append(self.graph.maximum(self.place(one), 0).astype(np.float64))


def _normal_scores(graph: Graph, x: Tensor, quantiles: Any) -> Tensor:
    """The normal scores of a column x [rows, 1], as `quantile_scores` has them."""
    n = len(quantiles)
    shares = graph.tensor(np.linspace(0, 1, n), np.float64)
    knots = graph.tensor(quantiles, np.float64)
    near = graph.abs(x) * 1e-15  # rounding must not take x off a quantile
    above = graph.minimum(_count(graph, x - near, quantiles, "Less"), n - 1)  # the first quantile not below x
    below = graph.maximum(_count(graph, x + near, quantiles, "LessOrEqual") - 1, 0)  # the last one not above it
    s0, s1, q0, q1 = (graph.node("Gather", table, k) for table in (shares, knots) for k in (below, above))
    width = q1 - q0
    slope = graph.where(width > 0.0, (s1 - s0) / graph.maximum(width, 1e-300), 0.0)
    share = (slope * (x - q0) + s0 + (s1 - slope * (q1 - x))) * 0.5
    p = graph.minimum(graph.maximum(share, 1e-7), 1 - 1e-7)
    q = p - 0.5
    r = 0.180625 - q * q
    centre = q * _polynomial(ranks._CENTRE[0], r) / _polynomial(ranks._CENTRE[1], r)
    t = graph.sqrt(-graph.log(graph.minimum(p, 1 - p))) - 1.6
    tail = graph.copysign(_polynomial(ranks._TAIL[0], t) / _polynomial(ranks._TAIL[1], t), q)
    score = graph.where(graph.abs(q) <= 0.425, centre, tail)
    return graph.minimum(graph.maximum(score, -ranks.LIMIT), ranks.LIMIT)


def _count(graph: Graph, x: Tensor, quantiles: Any, order: str) -> Tensor:
    """How many quantiles are less (or not greater) than x, by halving the stretch that is left."""
    rounds = len(quantiles).bit_length()
    padded = np.concatenate([quantiles, np.full(2**rounds - len(quantiles), np.inf)])
    table, found = graph.tensor(padded, np.float64), graph.tensor([[0]], np.int64)
    for k in reversed(range(rounds)):
        middle = graph.node("Gather", table, found + (2**k - 1))
        found = graph.where(graph.node(order, middle, x, dtype=bool), found + 2**k, found)
    return found

"""The inputs of a model as ONNX nodes: from raw cells to what the network sees."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from mlp_core.data.column_types import TRUTHS
from mlp_core.data.preprocess import quantile_scores as ranks
from mlp_core.errors import Problem, UsageError
from mlp_core.export import operations as op
from mlp_core.export.description import Description
from mlp_core.export.onnx_graph import Graph, Tensor
from mlp_core.nn.complex_math import _polynomial

FAR = 1e100  # bent, what is farther comes to the same, and its square is still a number
REFUSED = -2
"""The place of a word that is refused; a graph cannot stop, so such a row is answered by what is no number."""


class Cells:
    """The block X, the inputs behind it, and for each row whether a cell is refused, as they grow."""

    def __init__(self, graph: Graph, description: Description, raw: dict[int, Tensor], matrix: Tensor | None) -> None:
        self.graph, self.description, self.raw, self.matrix = graph, description, raw, matrix
        self.X: Tensor | None = None
        self.width = 0
        self.behind: list[Tensor] = []
        self.refused: list[Tensor] = []

    def add(self, operations: tuple[Any, ...]) -> Tensor:
        """The inputs of the network, in its type."""
        for one in operations:
            _CELLS[type(one)](one, self)
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

    def chosen(self, places: tuple[int, ...], changed: Tensor) -> None:
        """X, but in these places what it was changed to."""
        mask = np.isin(np.arange(self.width), places)[None, :]
        self.X = self.graph.where(self.graph.tensor(mask, bool), changed, self.block)


def _numbers(one: op.Numbers, cells: Cells) -> None:
    graph, columns = cells.graph, cells.description.columns
    cells.width = len(one.columns)
    if cells.matrix is not None:
        cells.X = cells.matrix
    else:
        cells.X = graph.join(
            [_yes_or_no(k, cells) if columns[k].kind == "boolean" else cells.raw[k] for k in one.columns]
        )
    cells.refused.append(graph.any(graph.node("IsInf", cells.X, dtype=bool)))
    required = [j for j, column in enumerate(one.columns) if columns[column].required]
    if required:
        cells.refused.append(graph.any(graph.node("IsNaN", cells.X.columns(required), dtype=bool)))


def _yes_or_no(column: int, cells: Cells) -> Tensor:
    """A column of yes and no as 1 and 0, in any mixture of small and capital letters."""
    written = {
        "".join(letters): value
        for word, value in TRUTHS.items()
        for letters in product(*({letter.lower(), letter.upper()} for letter in word))
    }
    gaps = {"", *cells.description.gaps} - set(written)
    keys = [*sorted(written), *sorted(gaps)]
    values = [*(written[word] for word in sorted(written)), *(float("nan") for _ in gaps)]
    found = cells.graph.lookup(cells.raw[column], keys, values, float(REFUSED)).astype(np.float64)
    cells.refused.append(found < -1.0)
    return found


def _flag(one: op.Flag, cells: Cells) -> None:
    missing = cells.graph.node("IsNaN", cells.block.columns(list(one.places)), dtype=bool)
    cells.behind.append(missing.astype(np.float64))


def _circles(one: op.Circles, cells: Cells) -> None:
    graph = cells.graph
    for place, period in zip(one.places, one.periods, strict=True):
        x = cells.block.columns([place])
        angle = graph.node("Mod", x, graph.tensor(period, np.float64), fmod=1) * (2 * np.pi) / period
        missing = graph.node("IsNaN", x, dtype=bool)
        cells.behind += [graph.where(missing, 0.0, graph.node(kind, angle)) for kind in ("Sin", "Cos")]


def _fill(one: op.Fill, cells: Cells) -> None:
    missing = cells.graph.node("IsNaN", cells.block, dtype=bool)
    cells.X = cells.graph.where(missing, cells.row(one.values), cells.block)


def _clip(one: op.Clip, cells: Cells) -> None:
    cells.X = cells.graph.maximum(cells.graph.minimum(cells.block, cells.row(one.high)), cells.row(one.low))


def _log(one: op.Log, cells: Cells) -> None:
    cells.chosen(one.places, cells.graph.log1p(cells.graph.maximum(cells.block, -0.999999)))


def _scale(one: op.Scale, cells: Cells) -> None:
    cells.X = (cells.block - cells.row(one.shift)) * cells.row(one.scale)


def _bend(one: op.Bend, cells: Cells) -> None:
    graph = cells.graph
    X = graph.minimum(graph.maximum(cells.block, -FAR), FAR)
    cells.chosen(one.places, X / graph.sqrt((X / 3.0) * (X / 3.0) + 1.0))


def _ranks(one: op.Ranks, cells: Cells) -> None:
    cells.chosen((one.place,), _normal_scores(cells.graph, cells.block.columns([one.place]), one.quantiles))


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


def _place(one: op.Words, cells: Cells) -> Tensor:
    """The place of each word, [rows, 1], int64."""
    column = cells.description.columns[one.column]
    if one.hashed:
        message = f'column "{column.name}": encode: hash cannot be exported to ONNX, which has no checksum of words'
        raise UsageError(Problem("not_exportable", message, "export to c, numpy or torch"))
    missing = REFUSED if column.required else one.missing
    gaps = sorted({"", *cells.description.gaps} - set(one.words))
    keys, values = [*one.words, *gaps], [*range(len(one.words)), *(missing for _ in gaps)]
    place = cells.graph.lookup(cells.raw[one.column], keys, values, REFUSED if one.refuse else one.unknown)
    if column.required or one.refuse:
        cells.refused.append(place.equals(REFUSED))
        place = cells.graph.maximum(place, -1)
    return place


def _one_hot(one: op.OneHot, cells: Cells) -> None:
    places = np.where(np.isin(np.arange(one.places), one.silent), REFUSED - 1, np.arange(one.places))
    cells.behind.append(_place(one, cells).equals(places[None, :]).astype(np.float64))


def _levels(one: op.Levels, cells: Cells) -> None:
    places = np.array([[*range(one.places), -1]])
    chosen = _place(one, cells).equals(places).astype(np.float64)
    cells.behind.append(cells.graph.node("MatMul", chosen, cells.graph.tensor(one.table, np.float64)))


def _ordinal(one: op.Ordinal, cells: Cells) -> None:
    cells.behind.append(_place(one, cells).astype(np.float64) / max(1, one.places - 1))


def _code(one: op.Code, cells: Cells) -> None:
    cells.behind.append(cells.graph.maximum(_place(one, cells), 0).astype(np.float64))


_CELLS: dict[type, Callable[[Any, Cells], None]] = {
    op.Numbers: _numbers,
    op.Flag: _flag,
    op.Circles: _circles,
    op.Fill: _fill,
    op.Clip: _clip,
    op.Log: _log,
    op.Scale: _scale,
    op.Bend: _bend,
    op.Ranks: _ranks,
    op.OneHot: _one_hot,
    op.Levels: _levels,
    op.Ordinal: _ordinal,
    op.Code: _code,
}

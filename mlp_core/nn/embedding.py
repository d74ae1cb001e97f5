"""Learned vectors of words: each word of a column has a row of numbers, trained with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, ClassVar

from mlp_core.nn.backend import Array, Backend
from mlp_core.nn.layers import Layer, Pass, as_device, head
from mlp_core.nn.parameters import Spec
from mlp_core.nn.primitives import add_rows
from mlp_core.rng import generator


class Embedding(Layer):
    """A = [X, E1[c1], E2[c2], ...]: numbers as they are, and for each column of codes a row of its table.

    X [b, n + k] holds n columns of numbers and after them k of codes, whole numbers from 0; tables are [words, dim].
    The derivative to a code is 0: nothing changes until the next word.
    """

    DEVIATION: ClassVar[float] = 0.1  # small beside inputs of deviation 1, so that words start out alike
    MATRIX_WORDS: ClassVar[int] = 512  # up to here a product with a matrix of zeros and ones beats adding row by row

    def __init__(self, index: int, inputs: int, tables: Sequence[tuple[int, int]]) -> None:
        super().__init__(index, inputs + sum(dim - 1 for _, dim in tables))
        self.inputs, self.numbers, self.tables = inputs, inputs - len(tables), tuple(tables)
        self.parts = self._parts()

    def _parts(self) -> list[slice]:
        """Where the numbers of each table stand among the outputs."""
        ends = accumulate((dim for _, dim in self.tables), initial=self.numbers)
        return [slice(start, end) for start, end in pairwise(ends)]

    def specs(self) -> list[Spec]:
        return [Spec(f"{self.index}.{k}.weight", shape, is_weight=True) for k, shape in enumerate(self.tables)]

    def bind(self, values: Mapping[str, Array], gradients: Mapping[str, Array], kept: Mapping[str, Array]) -> None:
        names = [spec.name for spec in self.specs()]
        self.E, self.dE = [values[name] for name in names], [gradients[name] for name in names]

    def initialize(self, seed: int) -> None:
        for k, E in enumerate(self.E):
            host = self.DEVIATION * generator(seed, "init", self.index, k).standard_normal(E.shape)
            E[...] = self._asarray(host)

    def allocate(self, backend: Backend, dtype: Any, rows: int, training: bool) -> None:
        self._asarray = partial(as_device, backend, dtype)
        self.xp, self._add_rows = backend.xp, backend.primitive(add_rows)
        self._A = backend.empty((rows, self.units), dtype)
        self._dX: Array = backend.zeros((rows, self.inputs), dtype) if training else None
        self._places = [backend.xp.arange(words, dtype="float32")[:, None] for words, _ in self.tables]
        wide = [words if words <= self.MATRIX_WORDS and training else 0 for words, _ in self.tables]
        self._chosen = [backend.empty((words, rows), dtype) for words in wide]
        self._use_passes(backend, dtype, rows)

    def forward(self, X: Array, mode: Pass) -> Array:
        A, self.codes = head(self._A, len(X)), []
        A[:, : self.numbers] = X[:, : self.numbers]
        for k, (E, part) in enumerate(zip(self.E, self.parts, strict=True)):
            codes = self.xp.clip(self.xp.rint(X[:, self.numbers + k].real), 0, len(E) - 1)
            self.codes.append(codes)
            A[:, part] = E[codes.astype("int64")]  # [b, dim]
        return A

    def backward(self, Delta: Array, input_gradient: bool = True) -> Array | None:
        tables = zip(self.codes, self._places, self._chosen, self.dE, self.parts, strict=True)
        for codes, places, chosen, dE, part in tables:
            if len(chosen):
                one = chosen[:, : len(Delta)]
                one[...] = places == codes  # [words, b], 1 where a row has the word
                self.xp.matmul(one, Delta[:, part], out=dE)  # [words, dim] = [words, b] @ [b, dim]
            else:
                dE[...] = 0
                self._add_rows(dE, codes.astype("int64"), Delta[:, part])
        if not input_gradient:
            return None
        dX = self._dX[: len(Delta)]
        dX[:, : self.numbers] = Delta[:, : self.numbers]
        return dX
